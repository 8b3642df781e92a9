"""Where a loss that is no finite number came from."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vispec.model.model import Expression, Model
from vispec.model.problems import listed
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import law_parts, walk
from vispec.plan.planner import plan_of
from vispec.train.casts import broken_cast
from vispec.train.errors import DivergenceError
from vispec.train.loop.trace import first_nan, impossible_draw
from vispec.train.store.module import evaluating

Array = np.ndarray[Any, Any]


def diverged(
    module: nn.Module,
    batch: Mapping[str, Tensor],
    rows: Array,
    loss: float,
    where: str,
    variables: Iterable[str] = (),
    model: Model | None = None,
    alone: bool = True,
) -> DivergenceError:
    """The error for a step whose loss or gradient is not finite. rows: those of the batch, by their numbers in the data. alone:
    whether no other process has others."""
    what = f"the loss is {loss} {where}"
    name = _parameter(module, gradients=False)
    if name is not None:
        return DivergenceError(name, f"{what}: parameter `{name}` is not finite")
    name = _trace(module, batch)
    if name is not None:
        return DivergenceError(name, f"{what}: variable `{name}` produced it")
    cast = broken_cast(module, batch, rows)
    if cast is not None:
        return DivergenceError(None, f"{what}: {cast}")
    origin = first_nan(module, batch, variables)
    if origin is not None:
        blamed = f"variable `{origin.variable}`" if origin.variable else "it"
        return DivergenceError(
            origin.variable, f"{what}: {blamed} is first nan in line {origin.line} of module.py: {origin.text}"
        )
    if model is not None and (blamed := by_a_draw(module, batch, rows, model)) is not None:
        return DivergenceError(blamed[0], f"{what}: {blamed[1]}")
    row = _row(module, batch, rows)
    if row is not None:
        return DivergenceError(None, f"{what}: row {row} of the data has no finite log-probability")
    name = _parameter(module, gradients=True)
    if name is not None:
        return DivergenceError(name, f"the gradient of parameter `{name}` is not finite {where} (loss {loss})")
    return DivergenceError(None, f"{what}, {too_large(module, batch) if alone else 'on another process'}")


def too_large(module: nn.Module, batch: Mapping[str, Tensor]) -> str:
    """What is said where all is finite but the size of the gradient."""
    floats = {name: values for name, values in batch.items() if values.is_floating_point() and values.numel()}
    most = {name: float(values.abs().max()) for name, values in floats.items()}
    precision = str(next((p.dtype for p in module.parameters()), torch.float32)).removeprefix("torch.")
    told = f"and the length of its gradient is beyond {precision}"
    if not most:
        return told
    name = max(most, key=lambda name: most[name])
    return f"{told}; numbers of `{name}` are as large as {most[name]:.3g}: take them in another unit, less their mean"


def by_a_draw(module: nn.Module, batch: Mapping[str, Tensor], rows: Array, model: Model) -> tuple[str, str] | None:
    """The observed variable whose value a draw of a latent made impossible, and a sentence about it."""
    drawn = [treatment.variable for treatment in plan_of(model).drawn]
    observed = [variable.name for variable in model.variables if variable.role in ("observed", "partial")]
    found = impossible_draw(module, batch, observed) if drawn else None
    if found is None:
        return None
    law = model.variable[found.variable].law
    near = [name for name in drawn if law is not None and any(name in read(model, part) for part in law_parts(law))] or drawn
    text = f"a draw of {listed(near)} makes the value of `{found.variable}` in row {int(rows[found.row]) + 1} impossible"
    finite = [name for name in near if model.variable[name].type.domain in FINITE_DOMAINS]
    help = [f"`{name} : exact` sums over its values instead of drawing" for name in finite[:1]]
    return found.variable, "; ".join([text, *help])


def read(model: Model, expression: Expression) -> set[str]:
    """The names that an expression reads, through deterministic nodes."""
    names = {str(getattr(each, "name", "")) for each in walk(expression)}
    return names.union(*(read(model, model.let[name].value) for name in names if name in model.let))


def all_finite(module: nn.Module) -> bool:
    """Whether every parameter is."""
    return _parameter(module, gradients=False) is None


def _trace(module: nn.Module, batch: Mapping[str, Tensor]) -> str | None:
    """The variable that the module itself blames, if it can trace one."""
    trace = getattr(module, "trace_nonfinite", None)
    found = trace(batch) if callable(trace) else None
    return None if found is None else str(found)


def _parameter(module: nn.Module, gradients: bool) -> str | None:
    """The first parameter that is, or whose gradient is, not finite; a fixed one may lie at the edge of its domain."""
    for name, parameter in module.named_parameters():
        tensor = parameter.grad if gradients else parameter if parameter.requires_grad else None
        if tensor is not None and not bool(tensor.isfinite().all()):
            return name
    return None


def _row(module: nn.Module, batch: Mapping[str, Tensor], rows: Array) -> int | None:
    """The first row, counted from 1, whose log-probability is not finite."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    with evaluating(module, 0, device):
        bad = ~module.log_prob(batch).isfinite()  # pyright: ignore[reportCallIssue]
    return int(rows[bad.nonzero()[0, 0].cpu()]) + 1 if bool(bad.any()) else None
