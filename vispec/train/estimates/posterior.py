"""What guides say of the latents that all rows share: the mean and deviation of each number, or the point that was fitted."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vispec.catalog import distributions
from vispec.emit.writer import identifier
from vispec.model.model import Draw, Ref
from vispec.plan.make import guide_law
from vispec.plan.plan import Plan
from vispec.train.estimates.nodes import Node
from vispec.train.store.module import evaluating

DRAWS = 10_000


@dataclass(frozen=True, eq=False)
class Shared:
    """A latent that all rows share, (*plates, *event) each. deviation: None for a point estimate."""

    node: Node
    mean: Tensor
    deviation: Tensor | None


def shared_latents(plan: Plan, module: nn.Module) -> list[Shared]:
    """Those that are drawn, in the order of the spec, in float64: from the law of the guide where it says them, else by draws.
    Point estimates are among them where the objective has noise."""
    if plan.exact:
        return []
    wanted = [variable for variable in plan.model.variables if variable.name in plan.shared_latents]
    found: list[Shared] = []
    drawn: dict[str, tuple[Tensor, Tensor]] = {}
    for variable in wanted:
        node = Node(variable.name, variable.type, variable.plates)
        exact = moments_of_law(plan, variable.name, module)
        if exact is None and not drawn:
            drawn = moments_by_draws(plan, module)
        mean, deviation = exact or drawn[variable.name]
        point = plan.treatments[variable.name].gradient == "point"
        found.append(Shared(node, mean, None if point else deviation))
    return found


@torch.no_grad()
def moments_of_law(plan: Plan, name: str, module: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation of a guide that is a law of torch with parameters of the module; None where it is another one."""
    law = guide_law(name, plan.model)
    if not isinstance(law, Draw) or not all(isinstance(arg, Ref) and arg.name in plan.model.param for _, arg in law.args):
        return None
    torch_class = distributions()[law.distribution].torch_class
    if torch_class is None:
        return None
    args = {place: getattr(module, identifier(arg.name)) for place, arg in law.args}  # pyright: ignore[reportAttributeAccessIssue]
    found = getattr(torch.distributions, torch_class)(**args)
    try:
        mean, deviation = found.mean.double(), found.stddev.double()
    except NotImplementedError:
        return None
    return (mean, deviation) if bool(mean.isfinite().all() and deviation.isfinite().all()) else None


def moments_by_draws(plan: Plan, module: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Means and deviations over at least DRAWS draws of what all rows share, the same ones each time."""
    names, count = plan.shared_latents, 0
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    start: dict[str, Tensor] = {}
    with evaluating(module, 0, torch.device("cpu")):
        while count < DRAWS:
            drawn = module.shared()  # pyright: ignore[reportCallIssue]
            for name, value in zip(names, drawn, strict=False):
                draws = value.double() if value.dim() > _rank(plan, name) else value.double().unsqueeze(0)
                origin = start.setdefault(name, draws[0])
                first, squares = sums.get(name, (torch.zeros_like(origin), torch.zeros_like(origin)))
                sums[name] = (first + (draws - origin).sum(0), squares + (draws - origin).square().sum(0))
                step = len(draws)
            count += step
    means = {name: first / count for name, (first, _) in sums.items()}
    return {
        name: (start[name] + mean, ((sums[name][1] / count - mean.square()).clamp(min=0) * count / (count - 1)).sqrt())
        for name, mean in means.items()
    }


def _rank(plan: Plan, name: str) -> int:
    """The dimensions of one draw."""
    variable = plan.model.variable[name]
    return len(variable.plates) + len(variable.type.shape)
