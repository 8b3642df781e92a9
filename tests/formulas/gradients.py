"""What the gradient that `explain` prints comes to: the mean of ∇ log p under the posterior that it names, over draws that the
module made and all values of what is summed, beside the gradient of the emitted module."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from tests.formulas.cells import Place
from tests.formulas.text import sides
from tests.formulas.told import ROWS, Told
from vispec.graph.reads import reads
from vispec.model import model as m
from vispec.verify.oracle.row import Cell, without_data


def gradients(told: Told) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(parameter, formula, module) for all that the formula is of, but those of guides and drawn laws: draws teach these too.
    None where rows share latents, or draws are weighed."""
    if told.plan.has_shared or told.plan.combine in ("iwae", "mc") or not has_section(told):
        return
    mine = torch.stack([averaged(told, row) for row in range(ROWS)])
    found, theirs = told.trial.gradients(mine), told.trial.gradients(told.drawn.log_prob)
    drawn, laws = told.evaluator.draws, [v for v in told.model.variables if v.law is not None]
    elsewhere = reached(told, [*(g.law for g in told.model.guide), *(v.law for v in laws if v.law and v.name in drawn)])
    own = reached(told, [v.law for v in laws if v.law and v.name not in drawn]) - elsewhere
    for name, gradient in found.items():
        if name.partition(".")[0].removeprefix("raw_") in own:
            yield name, gradient, theirs[name]


def has_section(told: Told) -> bool:
    return any(section.heading == "Gradient" for section in told.explanation.sections)


def averaged(told: Told, row: int) -> Tensor:
    """What the gradient is of: log p in the mean under weights that are held fixed."""
    _, node = sides(told.read("Gradient").replace("∇ ", ""))
    densities, part = (node.names, node.parts[0]) if node.kind == "mean" else ((), node)
    evaluator, total = told.evaluator, torch.zeros((), dtype=torch.float64)
    for sample in range(evaluator.samples):
        here = Place(row, drawn=frozenset(map(evaluator.writer.notation.name, evaluator.draws)), sample=sample)
        values = [weight * evaluator.value(part, there) for weight, there in weighed(told, densities, here) if weight > 0]
        total = total + torch.stack(values).sum() / evaluator.samples
    return total


def weighed(told: Told, densities: tuple[str, ...], here: Place) -> Iterator[tuple[Tensor, Place]]:
    """All values of what is summed and their weights: by the guides of those that have some, then by the posterior."""
    _, joint = sides(told.read("Joint"))
    evaluator = told.evaluator
    guided = [(own, given) for letter, own, given in map(parts, densities) if letter == "q" and undrawn(told, own)]
    summed = [name for letter, names, _ in map(parts, densities) if letter == "p" for name in names.split(", ")]
    summed = [name for name in summed if undrawn(told, name)]
    free = [evaluator.writer.notation.name(t.variable) for t in told.plan.treatments.values() if t.kind == "free"]
    for there in evaluator.assigned(unseen(told, [own for own, _ in guided], here), here):
        by_guide = [
            evaluator.density("q", own, given, replace(there, at=places))
            for own, given in guided
            for places in elements(told, own, there)
        ]
        places = list(evaluator.assigned(unseen(told, [*summed, *free] if summed else [], there), there))
        log_p = torch.stack([evaluator.log(joint, each) for each in places]) if summed else torch.zeros(1, dtype=torch.float64)
        weights = (log_p.log_softmax(0) + sum(by_guide)).exp().detach()
        yield from zip(weights, places, strict=True)


def parts(density: str) -> tuple[str, str, str]:
    """Letter, names and what is given of `q(z[i] | x)`."""
    own, _, given = density[2:-1].partition(" | ")
    return density[0], own, given


def undrawn(told: Told, own: str) -> bool:
    name = own.split(", ")[0].partition("[")[0]
    return name in told.evaluator.names and told.evaluator.names[name] not in told.evaluator.draws


def unseen(told: Told, names: list[str], here: Place) -> list[Cell]:
    row = told.evaluator.row(here)
    cells = [cell for name in names for cell in row.cells(variable(told, name))]
    return [cell for cell in cells if cell not in row.values]


def elements(told: Told, own: str, here: Place) -> Iterator[dict[str, int]]:
    """The places of all cells of a variable."""
    plates = without_data(told.model, variable(told, own).plates)
    for _, index in told.evaluator.row(here).cells(variable(told, own)):
        yield dict(zip(plates, index, strict=True))


def variable(told: Told, own: str) -> m.Variable:
    return told.model.variable[told.evaluator.names[own.partition("[")[0]]]


def reached(told: Told, laws: Iterable[m.Law]) -> set[str]:
    """Parameters and nets that laws read, through all lets."""
    lets = {let.name: let.value for let in (*told.model.lets, *told.model.guide_lets)}
    found, ahead = set[str](), [read.name for law in laws for read in reads(law)]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += [read.name for read in reads(lets[name])] if name in lets else []
    return found
