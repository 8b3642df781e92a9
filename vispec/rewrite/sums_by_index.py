"""A sum over elements of what each says of the one that it points at, by one addition by index.

Σ_n where(index_n = e, x_n, 0) for each e → add_by_index(x, index): as many additions as there are x, not one for each e too."""

from __future__ import annotations

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Call, Const, Map, Node, Part, Position, Reduce
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    match node:
        case Reduce("sum", Map("where", (Map("eq", (index, Position(place))), x, Const(0))), over):
            fits = x.dtype == "real" and place not in over and place not in x.axes | index.axes
            return by_index(x, index, place, over) if fits and index.axes & {*over} else None
    return None


def by_index(x: Node, index: Node, place: Axis, over: tuple[Axis, ...]) -> Node:
    """Σ over axes of x, at each place that the index names. What does not count along a ragged axis adds 0."""
    ragged = [axis for axis in over if axis.lengths is not None]
    if ragged:
        inside = build.both(*map(build.inside, ragged))
        x, index = build.where(inside, x, 0.0), build.where(inside, index, 0)
    around = index.axes - {*over}
    x = build.spread(x, {*around, *over})
    rest = tuple(sorted(x.axes - around - {*over}, key=lambda axis: axis.serial))
    number = Axis("_".join(axis.hint for axis in over), "plate")
    index, x = build.merge(index, over, number), build.merge(x, over, number)
    given = ((x, (number, *rest), ""), (index, (number,), ""))
    return Part(Call("kernel", KERNEL, given, (((place, *rest), "real"),), (("size", place),)), 0)


KERNEL = "vispec.kernels.sums.scatter:add_by_index"


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule(name="sums_by_index", what="sums of what points at an element are additions by index", rewrite=rewrite)
