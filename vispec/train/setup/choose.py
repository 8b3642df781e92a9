"""Whether a fit is one for second-order steps: exact, free of noise, all rows at once, and few enough numbers."""

from torch import nn

from vispec.catalog import networks
from vispec.model.model import Model, Stage
from vispec.plan.held.adds import asked
from vispec.plan.planner import plan_of
from vispec.train.data import Dataset
from vispec.train.newton.search import STARTS
from vispec.train.setup.curved import is_curved
from vispec.train.setup.settings import Settings

LARGEST = 5000  # parameters
LITTLE = 2e7  # parameters times numbers in a minibatch: a millisecond or two
WORK = 5e7  # parameters times numbers of data: some tenths of a second for a gradient


def second_order(model: Model, module: nn.Module, settings: Settings, data: Dataset) -> bool:
    """Whether `auto` takes them. Nothing that only gradient steps have may be set, and a batch only if it holds all rows."""
    if settings.optimizer != "auto":
        return settings.optimizer == "newton"
    free = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return (
        free <= LARGEST
        and free * numbers(data) <= WORK
        and not settings.descends
        and (settings.batch is None or settings.batch >= data.num_rows)
        and noiseless(model)
    )


def noiseless(model: Model) -> bool:
    """Whether the objective is exact, smooth and the likelihood: no draws, no nets but linear ones, no smoothed labels."""
    plan = plan_of(model)
    if asked(model, "label_smoothing"):
        return False
    return plan.exact and not plan.has_shared and all(is_linear(stage) for net in model.nets for stage in net.trunk)


def is_linear(stage: Stage) -> bool:
    """Whether a layer has no activation."""
    linear = networks()[stage.layer].linear
    return not dict(stage.kwargs).get(linear) if isinstance(linear, str) else linear


def restarts(model: Model) -> int | None:
    """How many starts a second-order fit makes: several wherever a sum over latents or a curve may have several maxima; None
    elsewhere, where the first start tells."""
    treatments = plan_of(model).treatments.values()
    return STARTS if any(found.kind == "sum" for found in treatments) or is_curved(model) else None


def threads(module: nn.Module, settings: Settings, data: Dataset, most: int) -> int:
    """Of a processor: one where a minibatch is little work, which several would wait for each other over; else `most`."""
    free = sum(p.numel() for p in module.parameters() if p.requires_grad)
    share = (settings.batch or data.num_rows) / max(1, data.num_rows)
    return most if free * numbers(data) * share > LITTLE else 1


def numbers(data: Dataset) -> int:
    """How many numbers the data have in all."""
    return sum(field.values.size for field in data.fields.values())
