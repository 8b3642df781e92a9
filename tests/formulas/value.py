"""What a formula of `explain` comes to, in float64: its signs by their meaning, its densities by the oracle of `verify`.

A density may read what stands in its brackets and nothing else, and of what is summed or drawn only what a sign around it
binds. Sums go through all values; an expectation is the mean over the draws that the emitted module made. A divergence is in
closed form or the sum over all values; of what all rows share, where that is asked, log q − log p at the draws."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import product

import torch
from torch import Tensor
from torch import distributions as dist

from tests.formulas.cells import Cells, Place, UnsaidError
from tests.formulas.text import Node, split, walk
from vispec.model import model as m
from vispec.verify.oracle.densities import chosen, log_density, torch_family
from vispec.verify.oracle.expressions import Scene
from vispec.verify.oracle.row import ENUMERABLE, Cell, Row, as_tensor, shape_of, without_data

Draw = Callable[[int, Cell, Mapping[Cell, Tensor]], Tensor | None]
"""(sample, cell, what else is bound) → the value that the module drew for it."""


@dataclass
class Evaluator(Cells):
    """draws: of each variable, for each row. points: names that have one value for all. apart: those of which the module takes
    log q − log p at the draws for the divergence. joint, flows: log q of a joint guide and of flows at each draw, as a Jacobian
    has it. weights: the divergence of all weights of nets; within: those that a row is computed with. given: values of hidden
    cells in each row, where no sum is over them. whole: the joint density as its own formula has it. recursion: the sides of
    that of α."""

    draws: Mapping[str, list[Draw]] = field(default_factory=dict)
    samples: int = 1
    points: frozenset[str] = frozenset()
    apart: frozenset[str] = frozenset()
    joint: tuple[Tensor, ...] = ()
    flows: Mapping[str, list[Draw]] = field(default_factory=dict)
    weights: Tensor | None = None
    within: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext()
    given: Sequence[Mapping[Cell, Tensor]] = ()
    whole: Node | None = None
    recursion: tuple[str, Node] | None = None

    # ---- numbers

    def value(self, node: Node, here: Place) -> Tensor:
        """Of an expression that may have either sign."""
        match node:
            case Node("total", _, parts):
                return torch.stack([self.value(part, here) for part in parts]).sum()
            case Node("minus", _, (part,)):
                return -self.value(part, here)
            case Node("times", _, parts):
                return torch.stack([self.value(part, here) for part in parts]).prod()
            case Node("log", _, (part,)):
                return self.log(part, here)
            case Node("sum", (name,), (part,)) if name in self.plates:
                return self.added([self.value(part, there) for there in self.elements(name, here)])
            case Node("pointing", (many, tests, "Σ"), (part,)):
                return self.added([self.value(part, there) for there in self.pointing(many, tests, here)])
            case Node("values", names, (part,)):
                found = [self.weighed(part, there) for there in self.values(names, here)]
                return self.added(found)
            case Node("mean", names, (part,)):
                return self.mean(names, part, here)
            case Node("divergence", _, (q, p)):
                return self.divergence(q, p, here)
            case Node("element", (plate, number), (part,)):
                return self.value(part, replace(here, at={**here.at, self.plates[plate]: int(number)}))
            case Node("test", tests, (part,)):
                return self.value(part, here) if self.holds(tests, here) else torch.zeros((), dtype=torch.float64)
            case Node("number", (text,)):
                return torch.tensor(float(text), dtype=torch.float64)
        return self.log(node, here).exp()

    def weighed(self, part: Node, here: Place) -> Tensor:
        """A term of a sum over values; 0 where its density is, whatever that is multiplied with."""
        if part.kind == "times" and not bool(self.log(part.parts[0], here) > -torch.inf):
            return torch.zeros((), dtype=torch.float64)
        return self.value(part, here)

    def added(self, values: list[Tensor]) -> Tensor:
        return torch.stack(values).sum() if values else torch.zeros((), dtype=torch.float64)

    def log(self, node: Node, here: Place) -> Tensor:
        """The logarithm of a product or sum of densities."""
        match node:
            case Node("times", _, parts):
                return self.added([self.log(part, here) for part in parts])
            case Node("over", _, (above, below)):
                return self.log(above, here) - self.log(below, here)
            case Node("product", (plate,), (part,)):
                return self.added([self.log(part, there) for there in self.elements(plate, here)])
            case Node("pointing", (many, tests, "∏"), (part,)):
                return self.added([self.log(part, there) for there in self.pointing(many, tests, here)])
            case Node("values", names, (part,)):
                return mixed([self.log(part, there) for there in self.values(names, here)])
            case Node("sum", (name,), (part,)):
                return mixed([self.log(part, there) for there in self.unseen(name, here)])
            case Node("draws", _, (part,)):
                there = [replace(here, sample=s, drawn=here.drawn | self.unguided()) for s in range(self.samples)]
                return mixed([self.log(part, each) for each in there]) - math.log(self.samples)
            case Node("exp", _, (part,)):
                return self.value(part, here)
            case Node("element", (plate, number), (part,)):
                return self.log(part, replace(here, at={**here.at, self.plates[plate]: int(number)}))
            case Node("test", tests, (part,)):
                return self.log(part, here) if self.holds(tests, here) else torch.zeros((), dtype=torch.float64)
            case Node("seen", (own,)):
                return self.as_seen(own, here)
            case Node("density", ("α", *names)):
                return self.alpha(names[0], here)
            case Node("density", (letter, own, given)):
                return self.density(letter, own, given, here)
            case Node("number", (text,)):
                return torch.tensor(float(text), dtype=torch.float64).log()
        raise AssertionError(f"the logarithm of {node.kind}")

    # ---- what signs range over

    def elements(self, plate: str, here: Place) -> Iterator[Place]:
        name = self.plates[plate]
        if name in self.data:
            return (replace(here, row=row) for row in range(len(self.scenes)))
        return (replace(here, at={**here.at, name: i}) for i in range(self.row(here).count(name, here.at)))

    def pointing(self, many: str, tests: str, here: Place) -> Iterator[Place]:
        """The elements whose indices point at the present ones: `e[mention] = entity`."""
        places = [here]
        for plate in filter(None, many.split(", ")):
            places = [inner for there in places for inner in self.elements(plate, there)]
        return (there for there in places if self.holds(split(tests), there))

    def holds(self, tests: tuple[str, ...], here: Place) -> bool:
        """Whether indices point at certain elements: `e[i] = 0`."""
        return all(len({self.pointed(side, here) for side in test.split(" = ")}) == 1 for test in tests)

    def pointed(self, index: str, here: Place) -> int:
        if index.isdigit():
            return int(index)
        if index in self.plates:
            return here.at[self.plates[index]]
        (cell,) = self.cells(index, here)
        return int(must(self.read(cell, here)))

    def values(self, names: tuple[str, ...], here: Place) -> Iterator[Place]:
        """All values of the cells that a sum names: `c[t]`, `c[*]`."""
        return self.assigned([cell for name in names for cell in self.cells(name, here)], here)

    def unseen(self, name: str, here: Place) -> Iterator[Place]:
        """All values of all cells of a variable that the data does not have."""
        cells = self.row(here).cells(self.model.variable[self.names[name]])
        return self.assigned([cell for cell in cells if cell not in self.row(here).values], here)

    def assigned(self, cells: list[Cell], here: Place) -> Iterator[Place]:
        row, values = self.row(here), list[list[Tensor]]()
        for name, index in cells:
            variable = self.model.variable[name]
            if variable.type.domain not in ENUMERABLE:
                raise UnsaidError(f"a sum over {name}, whose values cannot be listed")
            at = dict(zip(without_data(self.model, variable.plates), index, strict=True))
            values.append([as_tensor(each, variable.type, row.sizes) for each in row.support_of(variable, at)])
        for choice in product(*values):
            yield replace(here, bound={**here.bound, **dict(zip(cells, choice, strict=True))})

    # ---- densities

    def density(self, letter: str, own: str, given: str, here: Place) -> Tensor:
        if self.whole is not None:
            return replace(self, whole=None).log(self.whole, here)
        (name,) = split(own)
        if name in self.nets:
            return torch.zeros((), dtype=torch.float64)  # weights have a prior, but no law of the spec
        cells = self.cells(name, here)
        if not cells:
            raise UnsaidError(f"no element {name}")
        variable = self.model.variable[cells[0][0]]
        law = variable.law if letter == "p" else self.guides[variable.name]
        assert law is not None
        own_cells = cells if variable.type.along is not None else cells[:1]  # labels have one law for all of them
        if letter == "q" and cells[0] in self.row(here).values:  # a guide is certain of what is seen
            same = bool((must(self.read(cells[0], here)) == self.row(here).values[cells[0]]).all())
            return torch.tensor(0.0 if same else -math.inf, dtype=torch.float64)
        if self.read(cells[0], here, missing=True) is None and variable.role == "partial" and variable.type.along is None:
            return torch.zeros((), dtype=torch.float64)  # missing, and nothing depends on it
        scene = self.seeing(self.allowed(given, {*own_cells}, here), here)
        if isinstance(law, m.Flow):
            return must(self.flows[variable.name][here.row](here.sample or 0, cells[0], here.bound))
        read = frozenset((cell, *value.flatten().tolist()) for cell, value in scene.assignment.items())
        key = (letter, here.row, cells[0], read)
        if key not in self.known:
            plates = without_data(self.model, variable.plates)
            with self.within(here.row):
                each = [log_density(variable, law, dict(zip(plates, at, strict=True)), scene) for _, at in own_cells]
            self.known[key] = torch.stack(each).sum(0)
        return self.known[key]

    def alpha(self, own: str, here: Place) -> Tensor:
        """What a recursion has for these cells, and goes back from; 1 where there are none, before the first element."""
        assert self.recursion is not None
        left, right = self.recursion
        cells = [self.cells(text, here) for text in split(own)]
        if not any(cells):
            return torch.zeros((), dtype=torch.float64)
        (plate,) = (self.plates[split(split(left)[0].partition("[")[2].removesuffix("]"))[-1]],)
        first = next(cell for each in cells for cell in each)
        bound = {cell: here.bound[cell] for each in cells for cell in each}
        others = {cell: value for cell, value in here.bound.items() if cell[0] not in {name for name, _ in bound}}
        index = without_data(self.model, self.model.variable[first[0]].plates).index(plate)
        return self.log(right, replace(here, at={**here.at, plate: first[1][index]}, bound={**others, **bound}))

    def seeing(self, cells: set[Cell], here: Place) -> Scene:
        """A scene that has these cells alone."""
        scene, row = self.scenes[here.row], self.row(here)
        found = Scene(self.model, scene.module, Row(row.model, row.sizes, row.lengths, {}))
        found.calls, found.parameters = scene.calls, scene.parameters
        values = {cell: self.read(cell, here, missing=True) for cell in cells}
        found.assignment = {cell: value for cell, value in values.items() if value is not None}
        return found

    def read(self, cell: Cell, here: Place, missing: bool = False) -> Tensor | None:
        """The value of a cell: bound by a sum, drawn, or in the data."""
        if cell in here.bound:
            return here.bound[cell]
        if cell in self.row(here).values:
            return self.row(here).values[cell]
        if self.given and cell in self.given[here.row]:
            return self.given[here.row][cell]
        name = self.writer.notation.name(cell[0])
        if name in here.drawn or cell[0] in self.points:
            known = {**(self.given[here.row] if self.given else {}), **self.row(here).values, **here.bound}
            return self.draws[cell[0]][here.row](here.sample or 0, cell, known)
        if missing:
            return None
        raise UnsaidError(f"{cell} is not bound")

    def as_seen(self, own: str, here: Place) -> Tensor:
        (cell,) = self.cells(own, here)
        known = self.row(here).values.get(cell)
        value = must(self.read(cell, here))
        return torch.tensor(0.0 if known is None or bool((known == value).all()) else -math.inf, dtype=torch.float64)

    # ---- expectations

    def unguided(self) -> frozenset[str]:
        return frozenset(self.writer.notation.name(name) for name in self.draws if name not in self.guides)

    def mean(self, densities: tuple[str, ...], part: Node, here: Place) -> Tensor:
        """Over the draws; of what is averaged inside, at all of them."""
        own = {name.partition("[")[0] for text in densities for name in split(text[2:-1].partition(" | ")[0])}
        there = replace(here, drawn=here.drawn | own)
        if here.sample is not None or any(node.kind == "draws" for node in walk(part)):
            return self.value(part, there)
        return torch.stack([self.value(part, replace(there, sample=s)) for s in range(self.samples)]).mean()

    def divergence(self, q: Node, p: Node, here: Place) -> Tensor:
        (own, *more), found = split(q.names[1]), torch.zeros((), dtype=torch.float64)
        if own in self.nets:
            return must(self.weights)
        name = self.names[own.partition("[")[0]]
        if name in self.apart or more or (self.model.joint is not None and name in self.model.joint.names):
            return self.at_draws(q, p, here)
        variable, (cell,) = self.model.variable[name], self.cells(own, here)
        if variable.type.domain in ENUMERABLE:
            for there in self.assigned([cell], here):
                log_q = self.log(q, there)
                found = found + (log_q.exp() * (log_q - self.log(p, there)) if bool(log_q > -torch.inf) else 0.0)
            return found
        q_law, p_law = (self.family(variable, law, node, here) for law, node in ((self.guides[name], q), (variable.law, p)))
        try:
            return dist.kl_divergence(q_law, p_law).sum()
        except NotImplementedError:
            if any(plate in self.data for plate in variable.plates):
                raise
            return self.at_draws(q, p, here)

    def family(self, variable: m.Variable, law: m.Law | None, node: Node, here: Place) -> dist.Distribution:
        """The law as torch has it, of a density's own cell, from what the density names."""
        assert law is not None
        _, own, given = node.names
        (cell,) = self.cells(own, here)
        at = dict(zip(without_data(self.model, variable.plates), cell[1], strict=True))
        scene = self.seeing(self.allowed(given, set(), here), here)
        shape = shape_of(variable.type, self.row(here).sizes)
        family = torch_family(chosen(variable, law, at, scene), at, scene, shape)
        return family.expand(torch.Size(shape[: len(shape) - len(family.event_shape)]))

    def at_draws(self, q: Node, p: Node, here: Place) -> Tensor:
        """log q − log p, at the present draw or in the mean over all."""
        name = split(q.names[1])[0].partition("[")[0]
        own = frozenset(each.partition("[")[0] for each in split(q.names[1]))
        found = []
        for sample in range(self.samples) if here.sample is None else (here.sample,):
            there = replace(here, sample=sample, drawn=here.drawn | own)
            together = self.model.joint is not None and self.names[name] in self.model.joint.names
            log_q = self.joint[sample % len(self.joint)] if together else self.log(q, there)
            found.append(log_q - self.log(p, there))
        return torch.stack(found).mean()


def must(found: Tensor | None) -> Tensor:
    assert found is not None
    return found


def mixed(logs: list[Tensor]) -> Tensor:
    possible = [each for each in logs if bool(each > -torch.inf)]
    return torch.stack(possible).logsumexp(0) if possible else torch.tensor(-math.inf, dtype=torch.float64)
