"""The start of a fit of a bound, in whatever units the data are: a walk to near the optimum, and the unit of each parameter.

Adam moves a parameter by about its rate a step, so it neither arrives at a mean of 41,000 nor stays at a slope of 1e-5. The
walk is resilient backpropagation (Riedmiller and Braun 1993): a step of its own for each number, half as long after a change of
the gradient's sign and longer as long as there is none. It needs a function without noise, so the bound is averaged over a few
draws that stay the same (Giordano, Ingram and Broderick 2024). Everything is measured in nats, so that units do not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor, nn

from vispec.seeds import reseed

DRAWS = (4, 16)  # first some draws, for one alone does not determine a guide's scale; then more, whose optimum is nearer
LONGER, SHORTER, REFUSED = 1.5, 0.5, 0.25
FIRST = 0.01  # the first step
STEPS = (600, 60)  # at most so many with each number of draws, and
PATIENCE = (40, 20)  # until so many in a row have brought less than
ENOUGH = 1.0  # nats
FEW = 100  # numbers whose curvatures are each measured
IDLE = 1e-4  # nats: a step that promises less is not made, or a number to which the bound is indifferent would run away


@dataclass
class FixedDraws:
    """The mean over some draws of the loss per row, the draws the same at each call; value and gradients for each parameter."""

    module: nn.Module
    batch: Mapping[str, Tensor]
    num_data: int
    parameters: Sequence[nn.Parameter]
    draws: int

    def __call__(self) -> tuple[float, list[Tensor]]:
        value, gradients = 0.0, [torch.zeros_like(p) for p in self.parameters]
        devices = {p.device for p in self.parameters if p.device.type == "cuda"}
        with torch.random.fork_rng(devices=list(devices)):
            for draw in range(self.draws):
                reseed(draw)
                loss = self.module.loss(self.batch, num_data=self.num_data) / (self.draws * self.num_data)  # pyright: ignore[reportCallIssue]
                found = torch.autograd.grad(loss, list(self.parameters), allow_unused=True, materialize_grads=True)
                value += float(loss.detach())
                gradients = [a + b for a, b in zip(gradients, found, strict=True)]
        finite = abs(value) < inf and all(bool(g.isfinite().all()) for g in gradients)
        return (value if finite else inf), gradients


@dataclass
class Walker:
    """One parameter on its way: the step of each of its numbers, the gradient before, and sums of squares of how much the
    gradient changed over how far it went."""

    parameter: nn.Parameter
    step: Tensor = field(init=False)
    before: Tensor = field(init=False)
    change: Tensor = field(init=False)
    way: Tensor = field(init=False)
    moved: Tensor = field(init=False)

    def __post_init__(self) -> None:
        p = self.parameter.detach()
        self.step = torch.full_like(p, FIRST)
        self.before, self.change, self.way, self.moved = (torch.zeros_like(p) for _ in range(4))

    @torch.no_grad()
    def go(self, gradient: Tensor, idle: float) -> None:
        """One step against the sign of the gradient; none where the sign has changed, or where it promises less than idle."""
        turned, same = gradient * self.before < 0, gradient * self.before > 0
        self.step = self.step * torch.where(turned, SHORTER, torch.where(same, LONGER, 1.0))
        rests = turned | ((gradient * self.step).abs() < idle) & same
        self.before = torch.where(turned, 0.0, gradient)
        self.moved = torch.where(rests, 0.0, -gradient.sign() * self.step)
        self.parameter.add_(self.moved)

    @torch.no_grad()
    def back(self) -> None:
        """Undo the last step, which is refused, and make the next ones shorter."""
        self.parameter.sub_(self.moved)
        self.step, self.before = self.step * REFUSED, torch.zeros_like(self.before)

    def learn(self, difference: Tensor) -> None:
        """What the last step changed in the gradient; older ones fade."""
        went = self.moved != 0
        self.change = 0.9 * self.change + torch.where(went, difference.square(), 0.0)
        self.way = 0.9 * self.way + self.moved.square()

    def unit(self) -> Tensor:
        """One over the root of the curvature per row that the way shows, roughly, for other numbers moved too; 1 where it shows
        nothing."""
        return to_unit(self.change.sqrt() / self.way.sqrt(), torch.ones_like(self.step))


def to_unit(curvature: Tensor, otherwise: Tensor) -> Tensor:
    """The distance over which the bound of a row loses half a nat."""
    return torch.where((curvature > 0) & curvature.isfinite(), curvature.rsqrt(), otherwise)


def approach(
    module: nn.Module, batch: Mapping[str, Tensor], num_data: int, names: Sequence[str], work: float = inf
) -> dict[str, Tensor]:
    """Walk the named parameters to near the optimum of the bound; return the unit of each of their numbers.

    work: how many times the loss of the batch may be computed."""
    named = dict(module.named_parameters())
    walkers = [Walker(named[name]) for name in names]
    for draws, steps, patience in zip(DRAWS, STEPS, PATIENCE, strict=True):
        steps = int(min(steps, work // draws))
        work -= draws * walk(
            FixedDraws(module, batch, num_data, [w.parameter for w in walkers], draws), walkers, steps, patience
        )
    bound = FixedDraws(module, batch, num_data, [walker.parameter for walker in walkers], DRAWS[0])
    return dict(zip(names, units_of(bound, walkers), strict=True))


def walk(bound: FixedDraws, walkers: Sequence[Walker], steps: int, patience: int) -> int:
    """Steps of all walkers until they bring no more; they end at the best place met. Returns how many were made."""
    value, gradients = bound()
    best, kept = value, [walker.parameter.detach().clone() for walker in walkers]
    last, stale, made = value, 0, 0  # since when too little has come of it
    while made < steps and stale < patience:
        for walker, gradient in zip(walkers, gradients, strict=True):
            walker.go(gradient, IDLE / bound.num_data)
        found, after = bound()
        if found == inf:
            for walker in walkers:
                walker.back()
        else:
            for walker, old, new in zip(walkers, gradients, after, strict=True):
                walker.learn(new - old)
            gradients = after
            if found < best:
                best, kept = found, [walker.parameter.detach().clone() for walker in walkers]
        made += 1
        last, stale = (best, 0) if best < last - ENOUGH / bound.num_data else (last, stale + 1)
    with torch.no_grad():
        for walker, place in zip(walkers, kept, strict=True):
            walker.parameter.copy_(place)
            walker.before.zero_()
    return made


def units_of(bound: FixedDraws, walkers: Sequence[Walker]) -> list[Tensor]:
    """The unit of each number: one over the root of the curvature per row, where there are few by differences of gradients over
    a third of a posterior's deviation, as far as the first guess or the first result tells that."""
    units = [walker.unit() for walker in walkers]
    if sum(unit.numel() for unit in units) > FEW:
        return units
    _, here = bound()
    for _ in range(2):
        for at, (walker, unit) in enumerate(zip(walkers, units, strict=True)):
            place, found = walker.parameter.detach().view(-1), unit.clone().view(-1)
            for i, guess in enumerate(unit.view(-1).tolist()):
                before = float(place[i])
                place[i] += guess / (3 * bound.num_data**0.5)
                moved = float(place[i]) - before
                value, there = bound()
                place[i] = before
                if moved and value < inf:
                    curvature = (there[at].view(-1)[i] - here[at].view(-1)[i]).abs() / abs(moved)
                    found[i] = to_unit(curvature, found[i])
            units[at] = found.view_as(unit)
    return units
