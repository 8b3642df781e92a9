"""What guides say of the latents that all rows share: the mean and deviation of each number, or the point that was fitted."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vispec.catalog import distributions
from vispec.model.model import Const, Draw, Law, Model, Ref
from vispec.named import get
from vispec.plan.guides import point_of
from vispec.plan.guides.families import ends_of, positions
from vispec.plan.planned import Plan
from vispec.plan.treat import guide_law
from vispec.train.estimates.nodes import Node
from vispec.train.estimates.values import Ends
from vispec.train.scores.moments import moments
from vispec.train.store.module import evaluating

DRAWS = 1_000  # where each call of the module gives but one or a few

Moments = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Shared:
    """A latent that all rows share, or a deterministic node of such ones (derived): (*plates, *event) each. deviation: None for
    a point estimate."""

    node: Node
    mean: Tensor
    deviation: Tensor | None
    derived: bool = False


def shared_latents(plan: Plan, module: nn.Module, batch: dict[str, Tensor] | None) -> list[Shared]:
    """Those that are drawn, in the order of the spec, in float64: from the law of the guide where it says them, else by draws.
    Point estimates are among them where the objective has noise. batch: any row, with which also deterministic nodes are
    told."""
    if plan.exact or not plan.shared_latents:
        return []
    model = plan.model
    points = {name for name in plan.shared_latents if plan.treatments[name].gradient == "point"}
    exact = {name: (point if name in points else moments_of_law)(plan, name, module) for name in plan.shared_latents}
    outside = [let for let in model.lets if not any(model.plate[plate].data for plate in let.plates)]
    drawn: dict[str, Moments] = {}
    if batch is not None and hasattr(module, "draws") and (outside or None in exact.values()):
        with evaluating(module, 0, torch.device("cpu")):
            drawn = {name: (told["mean"], told["sd"]) for name, told in moments(module, batch, 1).items()}
    if any(found is None and name not in drawn for name, found in exact.items()):
        drawn = moments_by_draws(plan, module) | drawn
    found: list[Shared] = []
    for variable in (each for each in model.variables if each.name in exact):
        mean, deviation = exact[variable.name] or drawn[variable.name]
        node = Node(variable.name, variable.type, variable.plates)
        found.append(Shared(node, mean, None if variable.name in points else deviation))
    nodes = [(Node(let.name, let.type, let.plates), *drawn[let.name]) for let in outside if let.name in drawn]
    return found + [Shared(node, mean, deviation, True) for node, mean, deviation in nodes]


def known_ends(model: Model, name: str) -> Ends:
    """Where a latent's law ends between the ends of its domain, if the spec says it in numbers."""
    variable = model.variable.get(name)
    found = set() if variable is None else {_numbers(law) for law in positions(variable.law)}
    return found.pop() if len(found) == 1 else (None, None)


def _numbers(law: Law) -> Ends:
    low, high = (float(end.value) if isinstance(end, Const) else None for end in ends_of(law) or (None, None))
    return low, None if low is None else high


@torch.no_grad()
def point(plan: Plan, name: str, module: nn.Module) -> Moments:
    """A point estimate, which has no deviation: a parameter, or between ends what is computed of one."""
    found = point_of(plan.model.variable[name], plan.model)
    at = plan.shared_latents.index(name)
    value = get(module, found.name) if isinstance(found, Ref) else module.shared()[at]  # pyright: ignore[reportCallIssue]
    value = value.detach().double()
    return value, torch.zeros_like(value)


@torch.no_grad()
def moments_of_law(plan: Plan, name: str, module: nn.Module) -> Moments | None:
    """Mean and deviation of a guide that is a law of torch with parameters of the module; None where it is another one."""
    law = guide_law(name, plan.model)
    if not isinstance(law, Draw) or not all(isinstance(arg, Ref) and arg.name in plan.model.param for _, arg in law.args):
        return None
    torch_class = distributions()[law.distribution].torch_class
    if torch_class is None:
        return None
    args = {place: get(module, str(getattr(arg, "name", ""))) for place, arg in law.args}
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


def moments_by_draws(plan: Plan, module: nn.Module) -> dict[str, Moments]:
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
