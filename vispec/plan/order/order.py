"""order(problem): the cheapest steps that sum all latents, or a refusal with figures. Nothing is computed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vispec.plan.order.couple import resolved
from vispec.plan.order.plated import CoupledError, advance
from vispec.plan.order.problem import Axes, Problem, needed
from vispec.plan.order.refuse import IntractableError, Way, enough, figure
from vispec.plan.order.state import State, first_state
from vispec.plan.order.steps import Digits, Step, Structured, Sum, Total
from vispec.program.axis import Axis
from vispec.program.cost import Numbers

WIDTH = 4  # bytes of a number


@dataclass(frozen=True)
class Order:
    """steps: each takes factors by name and gives one; the last gives the total. terms: of all sums, for one element of all
    kept axes. runner_up: the terms of the next cheapest order and what it was. idle: latents that are left out because what is
    observed does not depend on them. bytes: of the largest value, for one element of kept plates."""

    steps: tuple[Step, ...]
    terms: int
    runner_up: tuple[int, str] | None
    idle: tuple[str, ...]
    bytes: int

    def count(self, numbers: Numbers) -> int:
        """The terms of all sums where axes have these numbers of elements."""
        return sum(step.count(numbers) for step in self.steps)

    def __str__(self) -> str:
        lines = [f"{step}{f'  ({figure(step.terms)} terms)' if step.terms else ''}" for step in self.steps]
        lines.append(f"{figure(self.terms)} terms")
        if self.runner_up is not None:
            lines.append(f"next: {self.runner_up[1]}, {figure(self.runner_up[0])} terms")
        return "\n".join(lines) + "\n"


def order(problem: Problem) -> Order:
    """The cheapest order that is found. Raises IntractableError where it takes more than the problem's budget."""
    problem, idle = needed(problem)
    shared_latents(problem)
    state = finished(first_state(problem))
    inputs = tuple(piece.name for piece in state.pieces)
    steps = (*state.steps, Total(inputs, state.fresh("total"), 0))
    other = None if state.runner_up is None else (state.terms + state.runner_up[0], state.runner_up[1])
    found = Order(steps, state.terms, other, idle, most_bytes(steps, problem, problem.numbers))
    within(found, problem)
    return found


def finished(state: State) -> State:
    """All latents summed, all plates multiplied."""
    while True:
        try:
            after = advance(state)
        except CoupledError as error:
            return resolved(error, finished)
        if after is None:
            return state
        state = after


def shared_latents(problem: Problem) -> None:
    """Raises IntractableError for a latent that elements of a kept plate share: there would be no total for each of them."""
    kept = frozenset(axis for axis in problem.kept if axis.kind == "plate")
    for latent in problem.latents:
        for factor in problem.factors:
            apart = (factor.plates & kept) - latent.plates
            if apart and latent.name in problem.read_by(factor):
                plates = ", ".join(map(str, apart))
                raise IntractableError(
                    f"{latent.name} is shared by all elements of {plates}", None, (latent.name,), (factor.name,), kind="shared"
                )


def most_bytes(steps: tuple[Step, ...], problem: Problem, numbers: Numbers) -> int:
    """Of the largest value that a sum reads, for one element of each kept plate."""
    samples = numbers.elements(axis for axis in problem.kept if axis.kind != "plate")
    return max((step.count(numbers) for step in steps if isinstance(step, Sum | Digits)), default=0) * samples * WIDTH


def within(found: Order, problem: Problem) -> None:
    """Raises IntractableError where an order exceeds the budget whatever the data: of what they alone can tell, two each."""
    sure = replace(problem.numbers, typical=min(problem.numbers.typical, 2))
    over = found.bytes if problem.memory is not None and most_bytes(found.steps, problem, sure) > problem.memory else None
    if found.count(sure) <= problem.work and over is None:
        return
    largest = max(found.steps, key=lambda step: step.terms)
    latents, factors = culprits(largest, found, problem)
    if over is not None:
        why, budget = f"summing out {', '.join(latents)} needs {figure(over)} bytes", f"a memory of {enough(over)} bytes"
    else:
        why = f"summing out {', '.join(latents)} takes {figure(largest.terms)} terms"
        budget = f"a budget of {enough(found.terms)} terms"
    raise IntractableError(why, found.terms, latents, factors, (Way(budget, found.terms),), largest.terms, over, "budget")


def culprits(step: Step, found: Order, problem: Problem) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The latents that a step sums out, or reads beside those, and the factors that it is made of."""
    made = {each.output: each for each in found.steps}
    todo, sources = [*step.inputs], dict[str, None]()
    while todo:
        name = todo.pop()
        if name in made:
            todo += made[name].inputs
        else:
            sources[name] = None
    named = [factor for factor in problem.factors if factor.name in sources]
    read = dict.fromkeys(name for factor in named for name in sorted(problem.read_by(factor)))
    own = {each.values: each.name for each in problem.latents}
    summed: Axes = frozenset[Axis]()
    if isinstance(step, Sum):
        summed = frozenset({step.over})
    if isinstance(step, Structured):
        summed = frozenset(step.group.own)
    first = [own[axis] for axis in summed if axis in own]
    return tuple(dict.fromkeys((*first, *read))), tuple(factor.name for factor in named)
