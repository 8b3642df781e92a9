"""Visit, rebuild and substitute: each node once, arguments first, and what nothing touched stays the same object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import (
    Call,
    Carried,
    Concat,
    Contract,
    Decide,
    Draw,
    Link,
    Loop,
    Map,
    Merge,
    Node,
    Noise,
    Pick,
    Reduce,
    Rename,
    Scan,
    Shift,
    Spread,
    Stop,
    Tail,
)


def relooped(
    loop: str, axis: Axis, bodies: tuple[tuple[Node, ...], ...], around: tuple[Axis, ...], draws: tuple[str, ...]
) -> Loop:
    """A loop of changed bodies: a state that differs along further axes now is carried along these too."""
    while True:
        made = Loop(loop, axis, bodies, around, draws)
        carried = {each for body in bodies for each in reads_of(body, Carried) if each.loop == loop and each.what == "state"}
        more = {each: [a for a in made.outputs[each.index].own if a not in each.axes] for each in carried}
        new: dict[Node, Node] = {
            each: Carried(loop, "state", each.index, (*each.order, *own), each.kind) for each, own in more.items() if own
        }
        if not new:
            return made
        bodies = tuple(tuple(substitute(body, new)) for body in bodies)


REBUILD: dict[type, Callable[..., Node]] = {
    Map: lambda op, operands: build.apply(op, *operands),
    Link: build.link,
    Reduce: build.reduce,
    Scan: build.scan,
    Pick: lambda table, at: build.pick(table, dict(at)),
    Shift: build.shift,
    Rename: lambda arg, pairs: build.rename(arg, dict(pairs)),
    Spread: build.spread,
    Concat: build.concat,
    Contract: build.contract,
    Merge: build.merge,
    Tail: build.tail,
    Stop: build.stop,
    Loop: relooped,
}
"""How a node is made anew from changed fields; others are made as they are."""


def nodes(roots: Iterable[Node]) -> Iterator[Node]:
    """Each node once, arguments first, in the order in which the roots need them; lengths of axes come before what has them."""
    seen = set[Node]()
    for root in roots:
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            found, ready = stack.pop()
            if ready:
                yield found
            elif found not in seen:
                seen.add(found)
                stack.append((found, True))
                stack += [(each, False) for each in reversed(found.needs) if each not in seen]


def with_fields(found: Node, change: Callable[[Node], Node]) -> Node:
    """The node with each argument changed, made anew by its builder where one of them is another object."""
    new = {arg: change(arg) for arg in found.args}
    if all(made is arg for arg, made in new.items()):
        return found
    return REBUILD.get(type(found), type(found))(*(_changed(getattr(found, name), new) for name in found.__dataclass_fields__))


def _changed(value: Any, new: Mapping[Node, Node]) -> Any:
    if isinstance(value, Node):
        return new[value]
    if isinstance(value, tuple):
        found = tuple(_changed(item, new) for item in value)
        return value if all(a is b for a, b in zip(value, found, strict=True)) else found
    return value


def rebuild(roots: Iterable[Node], rule: Callable[[Node], Node | None], known: dict[Node, Node] | None = None) -> list[Node]:
    """The roots with the rule applied to each node whose arguments are rebuilt, None where it leaves a node as it is.

    The lengths of axes are not rebuilt. known: old node → new, which may be given and is added to."""
    known = {} if known is None else known
    roots = list(roots)
    for found in nodes(roots):
        if found not in known:
            same = all(known[arg] is arg for arg in found.args)
            made = found if same else with_fields(found, known.__getitem__)
            known[found] = rule(made) or made
    return [known[root] for root in roots]


def substitute(roots: Iterable[Node], new: Mapping[Node, Node], hints: dict[Node, str] | None = None) -> list[Node]:
    """The roots with some nodes replaced, outermost first: inside what is replaced nothing else is. hints: what the spec calls
    nodes, to which those in the place of others are added."""
    known = dict(new)
    found = [_substituted(root, known) for root in roots]
    for old, made in known.items():
        if hints is not None and old in hints and type(old) is type(made):
            hints.setdefault(made, hints[old])
    return found


def _substituted(root: Node, known: dict[Node, Node]) -> Node:
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        found, ready = stack.pop()
        if found in known:
            continue
        if ready:
            known[found] = with_fields(found, lambda arg: known[arg])
        else:
            stack.append((found, True))
            stack += [(arg, False) for arg in reversed(found.args)]
    return known[root]


def is_drawn_in(node: Node, loop: Loop) -> bool:
    """Whether a draw is made anew at each step of a loop."""
    return isinstance(node, Call | Draw | Decide | Noise) and node.site in loop.draws


def inside_loops(order: Iterable[Node]) -> dict[Node, frozenset[str]]:
    """For each node, which come arguments first, the loops in whose bodies alone it has a value."""
    found: dict[Node, frozenset[str]] = {}
    order = list(order)
    loops = [node for node in order if isinstance(node, Loop)]
    drawn = {each: loop.loop for loop in loops for body in loop.bodies for each in nodes(body) if is_drawn_in(each, loop)}
    for node in order:
        inner = frozenset[str]().union(*(found[arg] for arg in node.args))
        own = {node.loop} if isinstance(node, Carried) else {drawn[node]} if node in drawn else set[str]()
        found[node] = inner - {node.loop} if isinstance(node, Loop) else inner | own
    return found


def reads(root: Node, kind: type[Node]) -> list[Any]:
    """All nodes of a class below a root."""
    return reads_of([root], kind)


def reads_of(roots: Iterable[Node], kind: type[Node]) -> list[Any]:
    """The same below several."""
    return [found for found in nodes(roots) if isinstance(found, kind)]
