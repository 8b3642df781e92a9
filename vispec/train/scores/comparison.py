"""Another run whose posterior is to be compared with a run's own, on the same data."""

from pathlib import Path

import torch
from torch import nn

from vispec.model.model import Model, Variable
from vispec.model.types import Dim
from vispec.train.errors import RunError
from vispec.train.store.run import Run


def load_other(run: Run, module: nn.Module, folder: Path, device: torch.device, memory: int | None) -> nn.Module:
    """The module of the run in `folder`; RunError where its posterior over the same rows is not one over the same latents, or
    either is not exact."""
    other = Run.open(folder, run.trust)
    for own, theirs in ((run, other), (other, run)):
        for variable in own.model.variables:
            same = theirs.model.variable.get(variable.name)
            if same is None or kind(variable, own.model) != kind(same, theirs.model):
                raise RunError(f"{folder} has another model of the data: `{variable.name}` is not the same in both")
    if run.encoders != other.encoders:
        raise RunError(f"{folder} was fitted to data with other words or labels, so its values mean something else")
    found = other.load(device, memory)
    if not (hasattr(module, "sums") and hasattr(found, "sums")):
        raise RunError("a divergence is exact where all latents are discrete and summed out, which they are not in both runs")
    return found


def kind(variable: Variable, model: Model) -> tuple[object, ...]:
    """What decides whether values of two models mean the same: role, plates, and the type with its sizes in numbers."""
    type_ = variable.type
    card = None if type_.card is None else known(type_.card, model)
    shape = tuple(known(dim, model) for dim in type_.shape)
    return variable.role, variable.plates, type_.domain, type_.plate if card is None else card, shape


def known(dim: Dim, model: Model) -> Dim:
    """A size's number where the spec says it."""
    values = {size.name: size.value for size in model.sizes if size.value is not None}
    return values.get(dim, dim) if isinstance(dim, str) else dim
