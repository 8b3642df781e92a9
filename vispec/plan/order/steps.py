"""The steps of an order, as data. Each takes factors by name, gives one by name, and builds what it says on their nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vispec.plan.order.problem import Axes
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Call, Node, Part
from vispec.structures import structures
from vispec.structures.entry import Group

Values = Mapping[str, Node]


@dataclass(frozen=True)
class Step:
    """terms: how many it adds up, for one element of all kept axes, by the numbers that the order was found with."""

    inputs: tuple[str, ...]
    output: str
    terms: int

    def build(self, values: Values, algebra: str) -> Node:
        raise NotImplementedError

    def count(self, numbers: Numbers) -> int:
        """How many terms it adds up where axes have these numbers of elements."""
        return 0

    @property
    def words(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self.output} = {self.words} {', '.join(self.inputs)}".rstrip()

    def sum_of(self, values: Values) -> Node:
        """The product of the inputs, in logs."""
        return build.add(*(values[name] for name in self.inputs))


@dataclass(frozen=True)
class Sum(Step):
    """Over the values of a latent. touched: the axes of all that reads it."""

    over: Axis
    touched: Axes

    def count(self, numbers: Numbers) -> int:
        return numbers.elements(self.touched)

    def build(self, values: Values, algebra: str) -> Node:
        return build.reduce(algebra, self.sum_of(values), (self.over,))

    @property
    def words(self) -> str:
        return f"log-sum-exp over {self.over} of"


@dataclass(frozen=True)
class Expected(Step):
    """Over the values of a latent under a guide, the first of the inputs: Σ_z q(z) (log f(z) − log q(z)).

    A query asks the guide itself. asked: inputs that take part in that, tilts and other guides; silent: what is summed out
    inside, which has no say in the guide's weights, and answers of its own under each value."""

    over: Axis
    touched: Axes
    asked: tuple[str, ...]
    silent: tuple[str, ...]

    def count(self, numbers: Numbers) -> int:
        return numbers.elements(self.touched)

    def build(self, values: Values, algebra: str) -> Node:
        guide, *rest = self.inputs
        inside = build.inside(self.over)
        log_q = build.spread(build.where(inside, values[guide], -float("inf")), (self.over,))
        if algebra == "total":
            parts = [values[name] for name in self.asked]
            if self.silent:
                inner = build.add(*(values[name] for name in self.silent))
                parts.append(kernel("vispec.kernels.sums.logsum:gradient_alone", (inner, ())))
            return build.reduce("total", build.add(log_q, *parts), (self.over,))
        joint = build.spread(build.add(*(values[name] for name in rest)), (self.over,))
        own = (self.over,)
        return kernel("vispec.kernels.sums.logsum:expected_under", (log_q, own), (joint, own))

    @property
    def words(self) -> str:
        return f"mean over {self.over} under"


def kernel(name: str, *given: tuple[Node, tuple[Axis, ...]]) -> Node:
    """A call of a kernel with one result."""
    return Part(Call("kernel", name, tuple((node, own, "") for node, own in given), (((), "real"),), ()), 0)


@dataclass(frozen=True)
class Product(Step):
    """Over the elements of plates, which are independent given what is left."""

    over: tuple[Axis, ...]

    def build(self, values: Values, algebra: str) -> Node:
        return build.reduce("sum", self.sum_of(values), self.over)

    @property
    def words(self) -> str:
        return f"product over {', '.join(map(str, self.over))} of"


@dataclass(frozen=True)
class Structured(Step):
    """The sum over a structure, an entry of vispec.structures. around: the axes of its parts that are not its own."""

    kind: str
    group: Group
    around: Axes

    def count(self, numbers: Numbers) -> int:
        return structures()[self.kind].terms(self.group, numbers) * numbers.elements(self.around)

    def build(self, values: Values, algebra: str) -> Node:
        nodes = [values[name] for name in self.inputs]
        return structures()[self.kind].build(self.group, nodes, "total" if algebra == "total" else "sum")

    @property
    def words(self) -> str:
        states = ", ".join(map(str, self.group.own))
        return f"{self.kind} of {states} along {self.group.plate} ({structures()[self.kind].words}) of"


@dataclass(frozen=True)
class Scatter(Step):
    """What elements say of a latent that each points at by indices in the data, multiplied where they point:

        log f_e(z_e) = Σ_{i : a_i = e} log f_i(z_{a_i})

    at: each plate that is pointed into, and the index. names: selected values axis → the latent's. over: the plates that go.
    fresh: plates of those that the result has too, by other axes. Built as a sum of what is 0 elsewhere; a rewriting makes it
    one addition by index."""

    at: tuple[tuple[Axis, Node], ...]
    names: tuple[tuple[Axis, Axis], ...]
    over: tuple[Axis, ...]
    fresh: tuple[tuple[Axis, Axis], ...]

    def build(self, values: Values, algebra: str) -> Node:
        away = dict(self.fresh)
        found = build.rename(build.rename(self.sum_of(values), away), dict(self.names))
        here = [build.eq(build.rename(index, away), build.position(plate)) for plate, index in self.at]
        return build.reduce("sum", build.where(build.both(*here), found, 0.0), self.over)

    @property
    def words(self) -> str:
        return f"product over {', '.join(map(str, self.over))} by {', '.join(str(plate) for plate, _ in self.at)} of"


@dataclass(frozen=True)
class Digits(Step):
    """A factor that reads a latent along a plate, as one of its joint values along it: s has the digits of s in base K.

    own: the latent's axis. reads: for each axis of its values, that of the joint value in which it is a digit, and the digit's
    place: an index, or so many elements back. counted: whether values past the number that counts must be left out.
    touched: the axes of the result."""

    own: Axis
    plate: Axis
    reads: tuple[tuple[Axis, Axis, Node | int], ...]
    counted: bool
    touched: Axes = frozenset()

    def count(self, numbers: Numbers) -> int:
        return numbers.elements(self.touched)

    def build(self, values: Values, algebra: str) -> Node:
        (found,) = (values[name] for name in self.inputs)
        at = {axis: self.digit(joint, place) for axis, joint, place in self.reads}
        picked = build.pick(found, at)
        if not self.counted or self.own.lengths is None:
            return picked
        return build.where(build.lt(at[self.own], self.own.lengths), picked, -float("inf"))

    def digit(self, joint: Axis, place: Node | int) -> Node:
        """The value of an element in each joint value."""
        if isinstance(place, int):
            here = build.position(self.plate)
            place = build.apply("max", build.sub(here, place), 0) if place else here
        K = build.extent(self.own)
        return build.apply("mod", build.apply("floor_div", build.position(joint), build.apply("int_pow", K, place)), K)

    @property
    def words(self) -> str:
        return f"for each joint value of {self.own} along {self.plate},"


@dataclass(frozen=True)
class Counted(Step):
    """0 for the joint values along a ragged plate that count, -inf for others: those of fewer elements come first."""

    values: Axis
    joint: Axis
    plate: Axis

    def build(self, values: Values, algebra: str) -> Node:
        number = build.apply("int_pow", build.extent(self.values), build.count(self.plate))
        return build.where(build.lt(build.position(self.joint), number), 0.0, -float("inf"))

    @property
    def words(self) -> str:
        return f"which joint values of {self.values} there are"


@dataclass(frozen=True)
class Element(Step):
    """A factor at one element of a plate that is unrolled, whose latents there are variables of their own.

    plate: the one that is unrolled. at: axes of the factor at numbers: the plate, and pasts where nothing is. names: axes of
    latents, and of plates and values whose lengths differ along the plate, by those of their copies. where: indices that must
    point at elements, else it is 0."""

    plate: Axis
    at: tuple[tuple[Axis, int], ...]
    names: tuple[tuple[Axis, Axis], ...]
    where: tuple[tuple[Node, int], ...] = ()

    def build(self, values: Values, algebra: str) -> Node:
        (found,) = (values[name] for name in self.inputs)
        found = self.copied(found)
        if not self.where:
            return found
        tests = [build.eq(self.copied(index), number) for index, number in self.where]
        return build.where(build.both(*tests), found, 0.0)

    def copied(self, node: Node) -> Node:
        """A node at the element, along the copies' axes."""
        picked = build.pick(node, dict(self.at))
        return build.pick(picked, {old: build.position(new) for old, new in self.names})

    @property
    def words(self) -> str:
        return f"at {', '.join(f'{axis} = {number}' for axis, number in self.at)}"


@dataclass(frozen=True)
class Total(Step):
    """The product of all that is left."""

    def build(self, values: Values, algebra: str) -> Node:
        return self.sum_of(values)

    @property
    def words(self) -> str:
        return "product of"


def names_of(axes: Sequence[Axis]) -> str:
    """Axes as part of a name."""
    return "_".join(axis.hint for axis in axes)
