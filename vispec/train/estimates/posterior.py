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
    args = {place: getattr(module, identifier(str(getattr(arg, "name", "")))) for place, arg in law.args}
    found = getattr(torch.distributions, torch_class)(**args)
    try:
        mean, deviation = found.mean.detach().double(), found.stddev.detach().double()
    except NotImplementedError:
        return None
    return (mean, deviation) if bool(mean.isfinite().all() and deviation.isfinite().all()) else None


@dataclass
class Running:
    """Sums over draws (S, *plates, *event), less the first of them."""

    count: int
    origin: Tensor
    first: Tensor
    squares: Tensor

    @classmethod
    def at(cls, origin: Tensor) -> "Running":
        return cls(0, origin, torch.zeros_like(origin), torch.zeros_like(origin))

    def add(self, draws: Tensor) -> None:
        gap = draws - self.origin
        self.count, self.first, self.squares = (
            self.count + len(draws),
            self.first + gap.sum(0),
            self.squares + gap.square().sum(0),
        )

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation."""
        mean = self.first / self.count
        variance = (self.squares - self.count * mean.square()).clamp(min=0) / (self.count - 1)
        return self.origin + mean, variance.sqrt()


def moments_by_draws(plan: Plan, module: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Means and deviations over DRAWS draws of what all rows share, or a few more; the same ones each time."""
    sums: dict[str, Running] = {}
    with evaluating(module, 0, torch.device("cpu")):
        while not sums or min(each.count for each in sums.values()) < DRAWS:
            for name, value in zip(plan.shared_latents, module.shared(), strict=False):  # pyright: ignore[reportCallIssue]
                draws = value.double() if value.dim() > _rank(plan, name) else value.double().unsqueeze(0)
                sums.setdefault(name, Running.at(draws[0])).add(draws)
    return {name: each.moments for name, each in sums.items()}


def _rank(plan: Plan, name: str) -> int:
    """The dimensions of one draw."""
    variable = plan.model.variable[name]
    return len(variable.plates) + len(variable.type.shape)
