"""Nodes: one value each, over named axes. Equal nodes are one object, so sharing and comparing are by identity.

Nodes are made by build.py, which folds them; only what is not simpler otherwise arrives here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from weakref import WeakValueDictionary

from vispec.program.axis import Axis, ordered
from vispec.program.size import Size

Dtype = Literal["real", "int", "bool"]
Axes = frozenset[Axis]

_known: WeakValueDictionary[Any, Node] = WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class Node:
    """`axes`: along which its value differs, `dtype`: real numbers have the module's precision."""

    def __new__(cls, *fields: Any) -> Node:
        key = (cls, *((type(f), repr(f)) if isinstance(f, int | float) else f for f in fields))
        found = _known.get(key)
        if found is None:
            found = object.__new__(cls)
            _known[key] = found
        return found

    @property
    def axes(self) -> Axes:
        raise TypeError(f"{type(self).__name__} has several outputs, each with axes of its own")

    @property
    def dtype(self) -> Dtype:
        return "real"

    @cached_property
    def args(self) -> tuple[Node, ...]:
        """The nodes that it is computed from, those inside its fields included."""
        return tuple(_nodes_in(tuple(self.__dict__[name] for name in self.__dataclass_fields__)))

    @property
    def works_along(self) -> tuple[Axis, ...]:
        """The axes along which it adds up or compares, so that it matters how many elements count."""
        return getattr(self, "binds", ())

    @cached_property
    def needs(self) -> tuple[Node, ...]:
        """What must be known before it: its arguments, and the lengths of the axes that it works along."""
        return (*self.args, *(axis.lengths for axis in self.works_along if axis.lengths is not None))


class Scalar(Node):
    """Differs along no axis."""

    @property
    def axes(self) -> Axes:
        return frozenset()


class WholeNumber(Scalar):
    """A scalar whole number."""

    @property
    def dtype(self) -> Dtype:
        return "int"


def _nodes_in(value: Any) -> list[Node]:
    if isinstance(value, Node):
        return [value]
    if isinstance(value, tuple):
        return [node for item in value for node in _nodes_in(item)]
    return []


def _union(*nodes: Node) -> Axes:
    return frozenset[Axis]().union(*(node.axes for node in nodes))


def _lengths(over: tuple[Axis, ...]) -> Axes:
    """The axes along which it differs how many elements count."""
    return frozenset[Axis]().union(*(axis.lengths.axes for axis in over if axis.lengths is not None))


# ---- leaves


@dataclass(frozen=True, eq=False)
class Input(Node):
    """A tensor from outside with its axes in the order in which it comes. source: "batch", "parameter" as it is stored or, in
    its domain, "property", "argument"."""

    name: str
    order: tuple[Axis, ...]
    kind: Dtype
    source: str

    @cached_property
    def axes(self) -> Axes:
        return frozenset(self.order)

    @property
    def dtype(self) -> Dtype:
        return self.kind


@dataclass(frozen=True, eq=False)
class Site(Node):
    """A variable of the model at its own element, before it is decided how it is held; substituted by what holds it."""

    name: str
    order: tuple[Axis, ...]
    kind: Dtype

    @cached_property
    def axes(self) -> Axes:
        return frozenset(self.order)

    @property
    def dtype(self) -> Dtype:
        return self.kind


@dataclass(frozen=True, eq=False)
class Const(Scalar):
    value: float | int | bool

    @property
    def dtype(self) -> Dtype:
        return "bool" if isinstance(self.value, bool) else "int" if isinstance(self.value, int) else "real"


@dataclass(frozen=True, eq=False)
class Number(WholeNumber):
    """A size as a whole number."""

    size: Size


@dataclass(frozen=True, eq=False)
class Extent(WholeNumber):
    """How many elements an axis has, padding included, as a whole number."""

    axis: Axis


@dataclass(frozen=True, eq=False)
class Position(Node):
    """0, 1, ... along an axis."""

    axis: Axis

    @cached_property
    def axes(self) -> Axes:
        return frozenset({self.axis})

    @property
    def dtype(self) -> Dtype:
        return "int"


@dataclass(frozen=True, eq=False)
class Flag(Scalar):
    """A truth that the module holds: "training"."""

    name: str

    @property
    def dtype(self) -> Dtype:
        return "bool"


@dataclass(frozen=True, eq=False)
class Zeros(Node):
    """0 for each element of some axes, in this order, as a tensor of its own."""

    order: tuple[Axis, ...]

    @cached_property
    def axes(self) -> Axes:
        return frozenset(self.order)


# ---- elementwise, along axes, between axes


@dataclass(frozen=True, eq=False)
class Map(Node):
    """An operation of ops.py on each element; axes meet by identity."""

    op: str
    operands: tuple[Node, ...]

    @cached_property
    def axes(self) -> Axes:
        return _union(*self.operands)

    @cached_property
    def dtype(self) -> Dtype:
        from vispec.program.ops import OPS

        return OPS[self.op].dtype(tuple(node.dtype for node in self.operands))


@dataclass(frozen=True, eq=False)
class Link(Node):
    """A link function along event axes, which it keeps: softmax, log_softmax, ordered (one axis), cholesky (two)."""

    op: str
    arg: Node
    over: tuple[Axis, ...]

    @cached_property
    def axes(self) -> Axes:
        return self.arg.axes | _lengths(self.over)

    @property
    def works_along(self) -> tuple[Axis, ...]:
        return self.over


@dataclass(frozen=True, eq=False)
class Reduce(Node):
    """sum, log_sum_exp, max, min, all, any over axes; along a ragged axis over the elements that count.

    "total" is a sum in the log domain under the algebra of a query."""

    op: str
    arg: Node
    over: tuple[Axis, ...]

    @cached_property
    def axes(self) -> Axes:
        return (self.arg.axes | _lengths(self.over)) - {*self.over}

    @property
    def works_along(self) -> tuple[Axis, ...]:
        return self.over

    @property
    def dtype(self) -> Dtype:
        return self.arg.dtype


@dataclass(frozen=True, eq=False)
class Scan(Node):
    """At each element of an axis, the reduction ("sum", "max", "min") of the elements before it; of none, `empty`."""

    op: str
    arg: Node
    axis: Axis
    empty: Node

    @cached_property
    def axes(self) -> Axes:
        return self.arg.axes | {self.axis}

    @property
    def dtype(self) -> Dtype:
        return self.arg.dtype


@dataclass(frozen=True, eq=False)
class Pick(Node):
    """A table's entries along some of its axes, at whole numbers; what a padded element points at is anything valid."""

    table: Node
    at: tuple[tuple[Axis, Node], ...]

    @cached_property
    def axes(self) -> Axes:
        return (self.table.axes - {axis for axis, _ in self.at}) | _union(*(index for _, index in self.at))

    @property
    def dtype(self) -> Dtype:
        return self.table.dtype


@dataclass(frozen=True, eq=False)
class Shift(Node):
    """The element `lag` steps back along an axis; `fill` where there is none."""

    arg: Node
    axis: Axis
    lag: int
    fill: Node

    @cached_property
    def axes(self) -> Axes:
        return self.arg.axes | self.fill.axes

    @property
    def dtype(self) -> Dtype:
        return self.arg.dtype


@dataclass(frozen=True, eq=False)
class Rename(Node):
    """The same numbers along other axes."""

    arg: Node
    pairs: tuple[tuple[Axis, Axis], ...]

    @cached_property
    def axes(self) -> Axes:
        new = dict(self.pairs)
        return frozenset(new.get(axis, axis) for axis in self.arg.axes)

    @property
    def dtype(self) -> Dtype:
        return self.arg.dtype


@dataclass(frozen=True, eq=False)
class Spread(Node):
    """The same for each element of further axes: where something must have them."""

    arg: Node
    over: tuple[Axis, ...]

    @cached_property
    def axes(self) -> Axes:
        return self.arg.axes | {*self.over}

    @property
    def dtype(self) -> Dtype:
        return self.arg.dtype


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Parts one after the other along an axis: each along an axis of its own, or one element where that is None."""

    parts: tuple[tuple[Node, Axis | None], ...]
    axis: Axis

    @cached_property
    def axes(self) -> Axes:
        own = (node.axes - {axis} if axis is not None else node.axes for node, axis in self.parts)
        return frozenset[Axis]({self.axis}).union(*own)

    @property
    def dtype(self) -> Dtype:
        kinds: list[Dtype] = [node.dtype for node, _ in self.parts]
        return kinds[0] if len({*kinds}) == 1 else "real"


@dataclass(frozen=True, eq=False)
class Merge(Node):
    """Several axes as one, the last of them running fastest."""

    arg: Node
    over: tuple[Axis, ...]
    axis: Axis

    @cached_property
    def axes(self) -> Axes:
        return (self.arg.axes - {*self.over}) | {self.axis}

    @property
    def dtype(self) -> Dtype:
        return self.arg.dtype


@dataclass(frozen=True, eq=False)
class Tail(Node):
    """The elements of an axis from a number on, along an axis of their own."""

    arg: Node
    old: Axis
    start: int
    axis: Axis

    @cached_property
    def axes(self) -> Axes:
        return (self.arg.axes - {self.old}) | {self.axis}

    @property
    def dtype(self) -> Dtype:
        return self.arg.dtype


@dataclass(frozen=True, eq=False)
class Contract(Node):
    """Σ over axes of a product: a matrix product where there are two factors."""

    factors: tuple[Node, ...]
    over: tuple[Axis, ...]

    @cached_property
    def axes(self) -> Axes:
        return _union(*self.factors) - {*self.over}


@dataclass(frozen=True, eq=False)
class Stop(Node):
    """The value, through which no gradient goes."""

    arg: Node

    @cached_property
    def axes(self) -> Axes:
        return self.arg.axes

    @property
    def dtype(self) -> Dtype:
        return self.arg.dtype


# ---- laws and draws


@dataclass(frozen=True, eq=False)
class Density(Node):
    """log p(value) under a law of the catalog, in nats. params: those of its kernel, each with the event axes that it has of
    its own, in order; events: those of the value that one draw has. What else they have is elementwise."""

    law: str
    value: Node
    params: tuple[tuple[str, Node, tuple[Axis, ...]], ...]
    events: tuple[Axis, ...]

    @cached_property
    def axes(self) -> Axes:
        own = (node.axes - {*events} for _, node, events in self.params)
        return (self.value.axes - {*self.events}).union(*own)


@dataclass(frozen=True, eq=False)
class Draw(Node):
    """A draw of a law, one for each element of `order` and of its params' axes; two sites are two draws.

    pathwise: whether gradients go through it."""

    site: str
    law: str
    params: tuple[tuple[str, Node, tuple[Axis, ...]], ...]
    events: tuple[Axis, ...]
    order: tuple[Axis, ...]
    pathwise: bool
    kind: Dtype

    @cached_property
    def axes(self) -> Axes:
        own = (node.axes - {*events} for _, node, events in self.params)
        return frozenset({*self.order, *self.events}).union(*own)

    @property
    def dtype(self) -> Dtype:
        return self.kind


@dataclass(frozen=True, eq=False)
class Decide(Node):
    """A value of a law by the rule that a method is given: a draw, the most probable one, or the mean, which of a label is the
    probabilities of all unless it is read again."""

    site: str
    law: str
    params: tuple[tuple[str, Node, tuple[Axis, ...]], ...]
    events: tuple[Axis, ...]
    order: tuple[Axis, ...]
    read: bool
    kind: Dtype

    @cached_property
    def axes(self) -> Axes:
        own = (node.axes - {*events} for _, node, events in self.params)
        return frozenset({*self.order, *self.events}).union(*own)

    @property
    def dtype(self) -> Dtype:
        return self.kind


@dataclass(frozen=True, eq=False)
class Noise(Node):
    """Numbers of a law without parameters ("normal", "uniform", "exponential"), one for each element of `order`."""

    site: str
    law: str
    order: tuple[Axis, ...]

    @cached_property
    def axes(self) -> Axes:
        return frozenset(self.order)


# ---- several outputs


@dataclass(frozen=True)
class Output:
    """One of several: what it adds to the axes of its source, in order, and its dtype."""

    own: tuple[Axis, ...]
    dtype: Dtype = "real"


@dataclass(frozen=True, eq=False)
class Source(Node):
    """Something with several outputs: see Part. All arguments' other axes are those of each output."""

    @property
    def shared(self) -> Axes:
        """The axes that each output has."""
        raise NotImplementedError

    @property
    def outputs(self) -> tuple[Output, ...]:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Part(Node):
    """One output of a source."""

    source: Source
    index: int

    @cached_property
    def axes(self) -> Axes:
        return self.source.shared | {*self.source.outputs[self.index].own}

    @property
    def dtype(self) -> Dtype:
        return self.source.outputs[self.index].dtype


@dataclass(frozen=True, eq=False)
class Call(Source):
    """A callable of the module (a net: kind "net", a method of one: "net.prefixes", a kernel: "kernel") on arguments.

    given: tuples (node, own axes in order, keyword or ""); results: (own axes in order, dtype) of each output; settings: plain
    values that the printer and the interpreter understand, "site" what it draws, so that no two draws are one."""

    kind: str
    name: str
    given: tuple[tuple[Node, tuple[Axis, ...], str], ...]
    results: tuple[tuple[tuple[Axis, ...], Dtype], ...]
    settings: tuple[tuple[str, Any], ...]

    @cached_property
    def shared(self) -> Axes:
        return frozenset[Axis]().union(*(node.axes - {*own} for node, own, _ in self.given))

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(Output(*each) for each in self.results)

    @property
    def site(self) -> str | None:
        return next((value for name, value in self.settings if name == "site"), None)


OF_NETS = frozenset({"symbols", "means", "heads", "behind", "vocabulary"})
"""Settings of a net's call that a rewriting or the printer may know of, and the net does not."""


@dataclass(frozen=True, eq=False)
class Structure(Node):
    """The log-sum over a structure (an entry of structures: "chain", "tree", ...) of its parts' potentials, in nats.

    given: potentials, in the entry's order; binds: the axes that it sums over, in the entry's order; settings: plain values and
    nodes. algebra: "sum", or "total" for that of a query."""

    kind: str
    given: tuple[Node, ...]
    binds: tuple[Axis, ...]
    settings: tuple[tuple[str, Any], ...]
    algebra: str

    @cached_property
    def axes(self) -> Axes:
        return _union(*self.given) - {*self.binds}


# ---- loops


@dataclass(frozen=True, eq=False)
class Carried(Node):
    """In the body of a loop: what it carries from one step to the next ("state"), all that it has put out before ("history",
    along the loop's axis; what is not there yet is anything valid), of this the last element ("last", along an axis of one, of
    none at the first step), or the number of the step ("now")."""

    loop: str
    what: str
    index: int
    order: tuple[Axis, ...]
    kind: Dtype

    @cached_property
    def axes(self) -> Axes:
        return frozenset(self.order)

    @property
    def dtype(self) -> Dtype:
        return self.kind


@dataclass(frozen=True, eq=False)
class Loop(Source):
    """For each element of an axis in turn new states; puts out each state along the axis.

    bodies: the states' nodes for the first element, the second, ..., the last for all that follow. A body reads what was before
    as Carried "state", what was put out as Carried "history", whose axes end in the loop's, and what stands along the axis at
    Carried "now"; the first one reads no state. around: axes that each output has, along which nothing may differ.
    draws: the sites that are drawn anew at each step."""

    loop: str
    axis: Axis
    bodies: tuple[tuple[Node, ...], ...]
    around: tuple[Axis, ...]
    draws: tuple[str, ...]

    @property
    def shared(self) -> Axes:
        return frozenset({*self.around, self.axis})

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        known = {*self.around, self.axis}
        each = zip(*self.bodies, strict=True)
        return tuple(Output(ordered(_union(*nodes) - known), nodes[-1].dtype) for nodes in each)
