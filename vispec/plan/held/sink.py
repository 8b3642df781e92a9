"""What is read of another element is read at the latents: shifts and picks of computed values go down to the sites in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Concat, Const, Link, Map, Node, Pick, Reduce, Rename, Shift, Site, Spread
from vispec.program.walk import nodes, with_fields


def sink(roots: Iterable[Node], names: Collection[str]) -> list[Node]:
    """The roots with each shift and pick of something that is computed from these sites applied to what it is computed from."""
    roots, known = list(roots), dict[Node, Node]()
    for found in nodes(roots):
        made = with_fields(found, lambda arg: known[arg])
        match made:
            case Shift(arg, axis, lag, fill):
                made = shifted(arg, axis, lag, fill, names)
            case Pick(table, at):
                made = picked(table, dict(at), names)
        known[found] = made
    return [known[root] for root in roots]


def below(roots: Iterable[Node], names: Collection[str]) -> dict[Node, frozenset[Site]]:
    """For each node the sites of these names that it is computed from."""
    found = dict[Node, frozenset[Site]]()
    for node in nodes(roots):
        own = frozenset({node}) if isinstance(node, Site) and node.name in names else frozenset[Site]()
        found[node] = own.union(*(found[arg] for arg in node.args))
    return found


def varies(node: Node, axis: Axis, names: Collection[str]) -> bool:
    """Whether a value differs along an axis by one of these sites."""
    return any(axis in site.axes for site in below([node], names)[node])


def shifted(arg: Node, axis: Axis, lag: int, fill: Node, names: Collection[str]) -> Node:
    """The element `lag` steps back, of what is computed from sites by their elements so far back.

    What stands where there is none is not read, so it may be anything."""
    if isinstance(arg, Site) or not varies(arg, axis, names):
        return build.shift(arg, axis, lag, fill)

    def earlier(node: Node) -> Node:
        if axis not in node.axes:
            return node
        if isinstance(node, Site) or not varies(node, axis, names):
            return build.shift(node, axis, lag, zero(node))
        match node:
            case Map() | Spread() | Concat():
                return with_fields(node, earlier)
            case Rename(_, pairs) if axis not in dict(pairs).values():
                return with_fields(node, earlier)
            case Link(_, _, over) | Reduce(_, _, over) if axis not in over:
                return with_fields(node, earlier)
            case Pick(table, at):
                return build.pick(earlier(table), {each: earlier(index) for each, index in at})
        return build.shift(node, axis, lag, zero(node))

    return earlier(arg)


def picked(table: Node, at: dict[Axis, Node], names: Collection[str]) -> Node:
    """The elements that indices point at, of what is computed from sites by the elements of these."""
    own = {axis: index for axis, index in at.items() if axis in table.axes}
    if isinstance(table, Site) or not any(varies(table, axis, names) for axis in own):
        return build.pick(table, at)
    match table:
        case Map():
            return with_fields(table, lambda each: picked(each, own, names))
        case Link(_, _, over) | Reduce(_, _, over) if not {*over} & {*own}:
            return with_fields(table, lambda each: picked(each, own, names))
    return build.pick(table, at)


def zero(node: Node) -> Const:
    """Anything of a node's kind."""
    return Const({"real": 0.0, "int": 0, "bool": False}[node.dtype])
