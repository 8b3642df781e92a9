"""Optimisers by the lower-case names of their classes in torch.optim."""

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

HIDDEN = frozenset({"optimizer", "sparseadam"})  # the base class; and one that no emitted gradient suits
RESERVED = frozenset({"self", "params", "lr", "maximize", "differentiable", "capturable"})  # not for a fit to choose

WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


@cache
def optimisers() -> dict[str, Callable[..., torch.optim.Optimizer]]:
    """Every usable class of torch.optim by its lower-case name."""
    found = {name.lower(): item for name, item in vars(torch.optim).items() if inspect.isclass(item)}
    usable = {name: item for name, item in found.items() if issubclass(item, torch.optim.Optimizer) and name not in HIDDEN}
    return dict(sorted(usable.items()))


def make_optimiser(name: str, lr: float, options: dict[str, Any], parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser over `parameters`; ValueError, in the user's terms, where torch has none such."""
    if name not in optimisers():
        raise ValueError(f"there is no optimizer `{name}`; torch.optim has {', '.join(optimisers())}")
    kind = optimisers()[name]
    allowed = [key for key in inspect.signature(kind).parameters if key not in RESERVED]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"`{name}` has no option `{unknown[0]}`; it has lr, {', '.join(allowed)}")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    if name == "lbfgs":
        settings = {"line_search_fn": "strong_wolfe"} | settings  # torch's default, no search, often diverges
    if "fused" in allowed and not options.keys() & {"fused", "foreach"}:
        settings["fused"] = True  # one operation for all of a step, four times as fast on a CPU
    try:
        return uncompiled(kind)(list(parameters), lr=lr, **settings)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ValueError(f"`{name}` refuses these options: {error}") from error


@cache
def uncompiled(kind: Any) -> Callable[..., torch.optim.Optimizer]:
    """The class without what torch puts around its methods for `torch.compile` and for its profiler, of which a fit needs
    nothing. A wrapper of the first kind imports the compiler when it is first called, which takes longer than to import the
    rest of torch; that of the second takes a third of a step of few parameters."""
    own = {name: inspect.unwrap(getattr(kind, name)) for name in WRAPPED}
    return type(kind.__name__, (kind,), own | {"step": hooked_step(inspect.unwrap(kind.step))})


def hooked_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """The method with the hooks that are registered at its optimiser, and without gradients."""

    @torch.no_grad()
    def hooked(self: Any, closure: Callable[[], float] | None = None) -> Any:
        for hook in self._optimizer_step_pre_hooks.values():
            hook(self, (), {})
        found = step(self, closure)
        for hook in self._optimizer_step_post_hooks.values():
            hook(self, (), {})
        return found

    hooked.hooked = True  # or torch puts its own around it  # pyright: ignore[reportFunctionMemberAccess]
    return hooked


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that a fit moves."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def drop_denormals(optimiser: torch.optim.Optimizer) -> None:
    """Put 0 for what has decayed, in the optimiser's memory, below the smallest normal number; parameters are not touched.

    The average gradient of a word that has not come for 800 steps is such a number, and stays one: 0.9 of the least is rounded
    to the least. A processor takes a hundred times as long over it: with a fifth of such words, Adam takes ten times as long.
    """
    for state in optimiser.state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                value.copy_(F.hardshrink(value, torch.finfo(value.dtype).tiny))


def needs_closure(optimiser: torch.optim.Optimizer) -> bool:
    """Whether a step evaluates the loss several times."""
    return isinstance(optimiser, torch.optim.LBFGS)
