"""What an emitted module calls what the spec has a name for: of words that Python or the module needs, it has another."""

from typing import Any

from torch import nn

from vispec.emit.writer import identifier


def has(module: nn.Module, name: str) -> bool:
    """Whether the module has a parameter or net of this name in the spec."""
    return hasattr(module, identifier(name))


def get(module: nn.Module, name: str) -> Any:
    """The parameter, in constrained space, or the net."""
    return getattr(module, identifier(name))


def put(module: nn.Module, name: str, value: Any) -> None:
    """Assign a parameter in constrained space."""
    held = module._parameters.get(identifier(name))
    if held is None:
        setattr(module, identifier(name), value)
    else:  # it has no constraint
        held.data.copy_(value)
