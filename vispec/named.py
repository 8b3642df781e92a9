"""From a name of the spec to what an emitted module holds under it.

A module calls most things as the spec does. Where it or Python has a name already, its `renamed` says what is used in place of
it (vispec.torch.text.names); the modules of runs of 0.1.0 have a trailing underscore there and do not say so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vispec.factors.frame import stored_names
from vispec.model.model import Model, Param

if TYPE_CHECKING:
    from torch import nn


def called(module: nn.Module, name: str) -> str:
    """The attribute of a parameter, a net, or a deterministic node that parameters decide."""
    renamed: dict[str, str] = getattr(type(module), "renamed", {})
    if name in renamed or holds(module, name) or not holds(module, f"{name}_"):
        return renamed.get(name, name)
    return f"{name}_"


def holds(module: nn.Module, attribute: str) -> bool:
    """Whether it has a value of its own there, and no method."""
    made = module._parameters.keys() | module._modules.keys()
    return attribute in made or isinstance(getattr(type(module), attribute, None), property)


def has(module: nn.Module, name: str) -> bool:
    """Whether the module has a parameter, net or deterministic node of this name in the spec."""
    return holds(module, called(module, name))


def get(module: nn.Module, name: str) -> Any:
    """The parameter, in constrained space, the net or the node."""
    return getattr(module, called(module, name))


def put(module: nn.Module, name: str, value: Any) -> None:
    """Assign a parameter in constrained space."""
    held = module._parameters.get(called(module, name))
    if held is None:
        setattr(module, called(module, name), value)
    else:  # it has no constraint
        held.data.copy_(value)


def stored(module: nn.Module, model: Model, param: Param) -> str:
    """The name in the module's state of what is stored of a parameter of the spec, or of one that a guide of it has."""
    whole = model if param.name in model.param else replace(model, params=(*model.params, param))
    name = stored_names(whole)[param.name]
    return called(module, name)
