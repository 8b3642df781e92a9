"""Which parameters of a fit of a bound have units, and an optimiser that steps in them.

It is for models whose only nets are those of automatic guides: their parameters and guides are few, and stand in units of the
data or of a prior. Units are powers of two, so that to divide and multiply by them loses no digit. They are part of the
optimiser's state, so that a fit that is resumed goes on in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vispec.catalog import distributions
from vispec.model.model import Model
from vispec.model.walk import draws
from vispec.named import called, stored
from vispec.plan.estimate import source_of
from vispec.plan.guides import complete_guides
from vispec.plan.guides.together import WITH
from vispec.plan.planned import Plan
from vispec.plan.planner import plan_of
from vispec.train.loop.approach import DRAWS, approach
from vispec.train.setup.optimisers import needs_closure

DOMAINS = frozenset({"real", "positive", "ordered", "cholesky"})  # whose numbers are in units; others are shares and odds
HEADS = ".out.bias"  # of a net
LOCATED = frozenset({"loc", "scale", "scale_tril", "low", "high"})
SMOOTH = frozenset({"pathwise", "stl", "point"})
SHORTEST, LONGEST = 0.03, 0.05  # a step, in distances over which the bound of all rows loses half a nat: of a posterior, about
# its deviation


@dataclass(frozen=True)
class Measured:
    """names: parameters in units of their own. rows: further ones, and the parameter whose units their rows have."""

    names: tuple[str, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()


def measured_in(model: Model, module: nn.Module) -> Measured:
    """Nothing where the model is no bound, has nets of its own, or a gradient that is not of a smooth function of noise."""
    if model.nets or not model.order:
        return Measured()
    plan = plan_of(model)
    if plan.exact or not {t.gradient for t in plan.drawn} <= SMOOTH or not all(is_smooth(t.variable, plan) for t in plan.drawn):
        return Measured()
    whole = complete_guides(model)
    own = [param for param in whole.params if param.type.domain in DOMAINS and f"_{WITH}" not in param.name]
    names = [stored(module, whole, param) for param in own]
    nets = [called(module, net.name) for net in whole.nets]
    names += [f"{net}{HEADS}" for net in nets]
    rows = [(f"{net}.out.weight", f"{net}{HEADS}") for net in nets]
    if whole.joint is not None:
        loc = f"{whole.joint.attribute}.loc"
        names += [loc, f"{whole.joint.attribute}.log_diagonal", f"{whole.joint.attribute}.raw_scale"]
        rows += [(f"{whole.joint.attribute}.below", loc), (f"{whole.joint.attribute}.directions", loc)]
    return Measured(tuple(names), tuple(rows))


def is_smooth(name: str, plan: Plan) -> bool:
    """Whether the draws of a variable are a smooth function of noise: those of a law with a location are, but of others the
    sampler may reject some, as the parameters are."""
    law = source_of(name, plan.model)
    if law is None or plan.treatments[name].gradient == "point":
        return True
    params = [set(distributions()[draw.distribution].params) for draw in draws(law)]
    return all("loc" in each and each <= LOCATED for each in params)


def start_in_units(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Mapping[str, Tensor],
    num_data: int,
    measured: Measured,
    work: int,
) -> None:
    """Walk the module to near the optimum of the bound and give the optimiser the units found there. work: how many times a
    batch the walk may be gone through. The last layers of guides' nets, which are random, wait until their unit is known."""
    named = dict(module.named_parameters())
    names = [name for name in measured.names if name in named and named[name].requires_grad]
    rows = [(name, of) for name, of in measured.rows if name in named and of in names]
    if not names or work < DRAWS[0] or needs_closure(optimiser):
        return
    kept = {name: named[name].detach().clone() for name, _ in rows}
    with torch.no_grad():
        for name, _ in rows:
            named[name].zero_()
    units = approach(module, batch, num_data, names, work)
    for name, of in rows:
        units[name] = units[of].unsqueeze(-1).expand_as(named[name])
        with torch.no_grad():
            named[name].copy_(kept[name] * units[name])
    rate = max(group["lr"] for group in optimiser.param_groups)
    own = rate * num_data**0.5  # a step of one unit, in those distances
    factor = min(max(own, SHORTEST), LONGEST) / own
    nets = {part for pair in rows if pair[1].endswith(HEADS) for part in pair}  # they learn more than where one number lies
    step_in_units(optimiser, {named[n]: rounded(unit if n in nets else unit * factor) for n, unit in units.items()})


def rounded(unit: Tensor) -> Tensor:
    """The nearest powers of two."""
    return torch.exp2(unit.log2().round())


def step_in_units(optimiser: torch.optim.Optimizer, units: Mapping[nn.Parameter, Tensor]) -> None:
    for group in optimiser.param_groups:
        group["units"] = [units.get(p) for p in group["params"]]


def with_units(optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimiser, with every step in the variables divided by their units, wherever it has some."""

    def before(optimiser: torch.optim.Optimizer, *_: object) -> None:
        for parameter, unit in _in_units(optimiser):
            parameter.div_(unit)
            if parameter.grad is not None:
                parameter.grad.mul_(unit)

    def after(optimiser: torch.optim.Optimizer, *_: object) -> None:
        for parameter, unit in _in_units(optimiser):
            parameter.mul_(unit)

    optimiser.register_step_pre_hook(torch.no_grad()(before))
    optimiser.register_step_post_hook(torch.no_grad()(after))
    return optimiser


def _in_units(optimiser: torch.optim.Optimizer) -> Sequence[tuple[nn.Parameter, Tensor]]:
    groups = [group for group in optimiser.param_groups if "units" in group]
    pairs = [pair for group in groups for pair in zip(group["params"], group["units"], strict=True)]
    return [(parameter, unit.to(parameter)) for parameter, unit in pairs if unit is not None]
