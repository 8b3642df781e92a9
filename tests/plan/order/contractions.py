"""Random plated contractions with their value by brute force: every joint value of all elements of all latents, in float64."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from vispec.plan.order.problem import Factor, Joint, Lag, Latent, Pointer, Problem
from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.cost import Numbers
from vispec.program.interpreter.interpret import World
from vispec.program.node import Input, Node
from vispec.program.size import Size
from vispec.structures import sums

MOST = 2**11  # joint values that are enumerated


@dataclass
class Table:
    """A factor from element `first` of its chain on: an input with these axes."""

    input: Input
    first: int = 0


@dataclass
class Made:
    """A factor: where it stands, its latents' axes, and its tables, the later the further they are from a chain's beginning."""

    name: str
    plates: tuple[Axis, ...]
    tables: list[Table]
    chain: Axis | None = None


@dataclass
class Contraction:
    """A problem, its numbers, and how to add it up by brute force."""

    problem: Problem
    made: list[Made]
    extents: dict[Axis, int]
    lengths: dict[Axis, tuple[tuple[Axis, ...], Tensor]] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    indices: dict[str, tuple[tuple[Axis, ...], Tensor]] = field(default_factory=dict)

    def world(self) -> World:
        return World(inputs=self.inputs, structures=sums())

    def extent(self, axis: Axis) -> int:
        return self.extents[axis.origin]

    def count(self, axis: Axis, at: Mapping[Axis, int]) -> int:
        """How many elements count along an axis, at elements of others."""
        if axis.lengths is None:
            return self.extent(axis)
        axes, lengths = self.lengths[axis.origin]
        return int(lengths[tuple(at[outer] for outer in axes)])

    def elements(self, plates: tuple[Axis, ...], at: Mapping[Axis, int]) -> Iterator[dict[Axis, int]]:
        """All elements of plates that count, those of which others' lengths differ first."""
        inner = [plate for plate in plates if plate not in at]
        inner.sort(key=lambda plate: (plate.lengths is not None, plate.serial))
        if not inner:
            yield dict(at)
            return
        first, *_ = inner
        for number in range(self.count(first, at)):
            yield from self.elements(plates, {**at, first: number})

    def brute(self) -> dict[tuple[int, ...], tuple[Tensor, dict[str, Tensor]]]:
        """For each element of the kept plates: log Z (), and each latent's marginals, by element and value."""
        kept = sorted(self.problem.kept, key=lambda axis: axis.serial)
        found = {}
        for at in self.elements(tuple(kept), {}):
            found[tuple(at[axis] for axis in kept)] = self.one(at)
        return found

    def one(self, row: Mapping[Axis, int]) -> tuple[Tensor, dict[str, Tensor]]:
        places: dict[tuple[Axis, tuple[tuple[Axis, int], ...]], int] = {}
        ranges = list[range]()
        for latent in self.problem.latents:
            for at in self.elements(tuple(latent.plates), row):
                places[latent.values, spot(at, latent.plates)] = len(ranges)
                ranges.append(range(self.count(latent.values, at)))
        joint = torch.tensor(list(itertools.product(*ranges)), dtype=torch.long)
        joint = joint.reshape(prod(map(len, ranges)), len(ranges))
        total = torch.zeros(len(joint), dtype=torch.float64)
        for made in self.made:
            for at in self.elements(made.plates, row):
                total = total + self.entry(made, at, places, joint)
        log_z = torch.logsumexp(total, 0) if len(total) else torch.tensor(-torch.inf, dtype=torch.float64)
        marginals = {}
        weights = (total - log_z).exp().detach()
        for latent in self.problem.latents:
            for (values, at), place in places.items():
                if values is latent.values:
                    share = torch.zeros(self.extent(values), dtype=torch.float64)
                    key = f"{latent.name} {[number for _, number in at]}"
                    marginals[key] = share.index_add(0, joint[:, place], weights)
        return log_z, marginals

    def entry(self, made: Made, at: Mapping[Axis, int], places: Mapping, joint: Tensor) -> Tensor:
        now = at[made.chain] if made.chain is not None else 0
        table = next(table for table in reversed(made.tables) if now >= table.first).input
        index = []
        for axis in table.order:
            if axis in at:
                index.append(torch.tensor(at[axis]))
                continue
            whole = next((joint for joint in self.problem.joints if joint.joint is axis), None)
            if whole is not None:
                index.append(self.whole(whole, at, places, joint))
                continue
            lag = next((lag for lag in self.problem.lags if lag.past is axis), None)
            pointer = next((pointer for pointer in self.problem.pointers if pointer.selected is axis), None)
            there, values = dict(at), axis
            if lag is not None:
                there[lag.plate], values = there[lag.plate] - lag.lag, lag.values
            if pointer is not None:
                values = pointer.values
                for plate, node in pointer.at:
                    assert isinstance(node, Input)
                    axes, numbers = self.indices[node.name]
                    there[plate] = int(numbers[tuple(at[outer] for outer in axes)])
            latent = next(latent for latent in self.problem.latents if latent.values is values)
            index.append(joint[:, places[values, spot(there, latent.plates)]])
        return self.inputs[table.name][tuple(index)].expand(len(joint)) if index else self.inputs[table.name]

    def whole(self, reading: Joint, at: Mapping[Axis, int], places: Mapping, joint: Tensor) -> Tensor:
        """Which of the joint values of a latent along a plate each row has."""
        latent = next(latent for latent in self.problem.latents if latent.values is reading.values)
        found = torch.zeros(len(joint), dtype=torch.long)
        for number in range(self.count(reading.plate, at)):
            place = places[reading.values, spot({**at, reading.plate: number}, latent.plates)]
            found = found + joint[:, place] * self.extent(reading.values) ** number
        return found


def spot(at: Mapping[Axis, int], plates: frozenset[Axis]) -> tuple[tuple[Axis, int], ...]:
    return tuple((axis, at[axis]) for axis in sorted(plates, key=lambda axis: axis.serial))


class Maker:
    """Draws a contraction. kinds: which readings it may have ("lag", "pointer")."""

    def __init__(self, seed: int, kinds: tuple[str, ...] = (), zeros: bool = True):
        self.random = random.Random(seed)
        self.torch = torch.Generator().manual_seed(seed)
        self.kinds, self.zeros = kinds, zeros
        self.extents: dict[Axis, int] = {}
        self.lengths: dict[Axis, tuple[tuple[Axis, ...], Tensor]] = {}
        self.inputs: dict[str, Tensor] = {}
        self.indices: dict[str, tuple[tuple[Axis, ...], Tensor]] = {}
        self.lags: list[Lag] = []
        self.pointers: list[Pointer] = []
        self.joints: list[Joint] = []
        self.kept = list[Axis]()
        self.inside: dict[Axis, frozenset[Axis]] = {}

    def contraction(self) -> Contraction:
        while True:
            found = self.attempt()
            if found is not None:
                return found

    def attempt(self) -> Contraction | None:
        for value in (self.extents, self.lengths, self.inputs, self.indices, self.inside):
            value.clear()
        for value in (self.lags, self.pointers, self.joints, self.kept):
            value.clear()
        if self.random.random() < 0.5:
            self.kept.append(self.plate("row", (), None))
        plates = list[Axis]()
        for name in ("p", "q", "r")[: self.random.randint(0, 3)]:
            outer = [axis for axis in (*self.kept, *plates) if axis.lengths is None]
            plates.append(self.plate(name, outer, self.random.random() < 0.3))
        latents = [self.latent(f"z{n}", plates) for n in range(self.random.randint(1, 6))]
        many = prod(
            self.extent(latent.values) ** prod(self.extent(p) for p in latent.plates - {*self.kept}) for latent in latents
        )
        if many > MOST:
            return None
        made = [self.law(latent) for latent in latents]
        made += [self.factor(f"f{n}", latents, plates) for n in range(self.random.randint(0, 4))]
        factors = tuple(Factor(each.name, self.node(each), frozenset(each.plates)) for each in made)
        asked = frozenset(latent.name for latent in latents)
        kept = frozenset(self.kept)
        problem = Problem(
            factors,
            tuple(latents),
            kept,
            tuple(self.lags),
            tuple(self.pointers),
            tuple(self.joints),
            asked,
            Numbers(told=dict(self.extents)),
        )
        return Contraction(problem, made, dict(self.extents), dict(self.lengths), dict(self.inputs), dict(self.indices))

    def extent(self, axis: Axis) -> int:
        return self.extents[axis.origin]

    def plate(self, name: str, outer: list[Axis] | tuple[Axis, ...], ragged: bool | None) -> Axis:
        """A plate: of a size that is told, or with lengths along another one in which it stands."""
        number = self.random.randint(1, 3)
        if not ragged or not outer:
            axis = Axis(name, "plate", None if ragged is None else Size.of(number))
            self.extents[axis] = number
            self.inside[axis] = frozenset()
            return axis
        along = self.random.choice(outer)
        lengths = torch.randint(0, number + 1, (self.extent(along),), generator=self.torch)
        axis = Axis(name, "plate", None, Input(f"len_{name}", (along,), "int", "batch"))
        self.inputs[f"len_{name}"] = lengths
        self.inputs[f"size_{name}"] = torch.zeros(number)
        self.extents[axis], self.lengths[axis] = number, ((along,), lengths)
        self.inside[axis] = frozenset({along}) - {*self.kept}
        return axis

    def latent(self, name: str, plates: list[Axis]) -> Latent:
        stands = {plate for plate in plates if self.random.random() < 0.35}
        for plate in [*stands]:
            stands |= self.inside[plate]
        stands |= {*self.kept}
        values = Axis(f"{name}_values", "values", Size.of(self.random.randint(1, 3)))
        assert values.size is not None
        self.extents[values] = values.size.value({})
        ragged = [plate for plate in plates if plate.lengths is not None and plate.lengths.axes <= stands]
        if ragged and self.random.random() < 0.4:
            values = copy(self.random.choice(ragged), f"{name}_values", "values")
        return Latent(name, values, frozenset(stands), law=f"law_{name}")

    def law(self, latent: Latent) -> Made:
        """A law of the latent alone, or of its past."""
        outer = {*self.kept}.union(*(self.inside[plate] for plate in latent.plates))
        chains = sorted(latent.plates - outer, key=lambda axis: axis.serial)
        if "lag" in self.kinds and chains and self.random.random() < 0.6:
            chain = self.random.choice(chains)
            tables = [self.table(f"law_{latent.name}", latent.plates, [latent.values])]
            pasts = list[Axis]()
            for lag in range(1, self.random.choice((1, 1, 2)) + 1):
                pasts.append(copy(latent.values, f"{latent.name}_{lag}_back"))
                self.lags.append(Lag(pasts[-1], latent.values, chain, lag))
                tables.append(self.table(f"law_{latent.name}_{lag}", latent.plates, [*pasts, latent.values], lag))
            return Made(f"law_{latent.name}", tuple(latent.plates), tables, chain)
        return Made(
            f"law_{latent.name}", tuple(latent.plates), [self.table(f"law_{latent.name}", latent.plates, [latent.values])]
        )

    def factor(self, name: str, latents: list[Latent], plates: list[Axis]) -> Made:
        """A factor of one to four latents, that stands in their plates and maybe more."""
        read = self.random.sample(latents, min(len(latents), self.random.choice((1, 2, 2, 3, 4))))
        stands = {*self.kept}.union(*(latent.plates for latent in read))
        more = [plate for plate in plates if self.random.random() < 0.2]
        stands |= {*more}.union(*(self.inside[plate] for plate in more))
        values = [latent.values for latent in read]
        joint = self.joint(read) if "joint" in self.kinds and self.random.random() < 0.5 else None
        if joint is not None:
            values[0] = joint.joint
            stands = {*self.kept}.union(read[0].plates - {joint.plate}, *(latent.plates for latent in read[1:]))
            return Made(name, tuple(stands), [self.table(name, frozenset(stands), values)])
        points = [n for n, latent in enumerate(read) if latent.plates - {*self.kept}]
        if "pointer" in self.kinds and points and self.random.random() < 0.7:
            n = self.random.choice(points)
            plate = self.random.choice(sorted(read[n].plates - {*self.kept}, key=lambda axis: axis.serial))
            others = {*self.kept, *more}.union(*(latent.plates for m, latent in enumerate(read) if m != n))
            others = others.union(*(self.inside[each] for each in more)) | (read[n].plates - {plate})
            known = values[n].lengths is None or values[n].lengths.axes <= others  # type: ignore[union-attr]
            if plate.lengths is None and not any(plate in self.inside[other] for other in read[n].plates) and known:
                stands = others
                selected = copy(values[n], f"{name}_selected")
                self.pointers.append(Pointer(selected, values[n], ((plate, self.index(name, stands, plate)),)))
                values[n] = selected
        return Made(name, tuple(stands), [self.table(name, frozenset(stands), values)])

    def joint(self, read: list[Latent]) -> Joint | None:
        """The joint values of the first latent along one of its plates, inside of which none of its others lies."""
        first = read[0]
        known = next((joint for joint in self.joints if joint.values is first.values), None)
        outer = {*self.kept}.union(*(self.inside[plate] for plate in first.plates))
        plates = sorted(first.plates - outer, key=lambda axis: axis.serial)
        if known is not None or not plates or (first.values.lengths is not None and first.values.lengths.axes & {*plates}):
            return known
        plate = self.random.choice(plates)
        joint = Axis(f"{first.name}_joint", "joint", None, None, None, (first.values, plate))
        self.extents[joint] = self.extent(first.values) ** self.extent(plate)
        self.joints.append(Joint(joint, first.values, plate))
        return self.joints[-1]

    def index(self, name: str, stands: set[Axis], plate: Axis) -> Input:
        order = tuple(
            axis for axis in sorted(stands, key=lambda a: a.serial) if axis in self.kept or self.random.random() < 0.8
        )
        shape = [self.extent(axis) for axis in order]
        numbers = torch.randint(0, self.extent(plate), shape, generator=self.torch)
        self.inputs[f"{name}_index"] = numbers
        self.indices[f"{name}_index"] = order, numbers
        return Input(f"{name}_index", order, "int", "batch")

    def table(self, name: str, plates: frozenset[Axis], values: list[Axis], first: int = 0) -> Table:
        """Numbers along some of the plates and all of these values, in any order; some are -inf."""
        order = [axis for axis in plates if self.random.random() < 0.8] + values
        order.sort(key=lambda axis: axis.serial)
        self.random.shuffle(order)
        numbers = torch.randn([self.extent(axis) for axis in order], generator=self.torch, dtype=torch.float64)
        if self.zeros and self.random.random() < 0.3:
            numbers[torch.rand(numbers.shape, generator=self.torch) < 0.3] = -torch.inf
        self.inputs[name] = numbers
        return Table(Input(name, tuple(order), "real", "batch"), first)

    def node(self, made: Made) -> Node:
        """The factor as one node: each table from its element on."""
        found: Node = made.tables[0].input
        for table in made.tables[1:]:
            assert made.chain is not None
            found = build.where(build.lt(build.position(made.chain), table.first), found, table.input)
        return found
