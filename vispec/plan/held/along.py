"""Draws along a chain, each given the ones before: a loop over its elements, with only what reads the past inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vispec.factors.laws import ChoiceLaw, DrawLaw, FlowLaw, Law, StateLaw, ThenLaw
from vispec.plan.held.sink import below
from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.node import (
    Call,
    Carried,
    Const,
    Decide,
    Draw,
    Link,
    Loop,
    Map,
    Node,
    Part,
    Position,
    Reduce,
    Rename,
    Scan,
    Shift,
    Site,
    Spread,
)
from vispec.program.walk import nodes, substitute, with_fields


@dataclass(frozen=True)
class Member:
    """A variable that the loop draws. lags: how many elements back its value is read."""

    site: Site
    law: Law
    lags: int


@dataclass
class Body:
    """One step: what stands along the axis at `now`, the members' values that are drawn in it so far, and those before.

    first: how many elements stand before it, None where any number may. later: what the last body reads of all elements.
    ragged: of an axis whose elements differ in number along the chain, that of the present one's."""

    loop: str
    axis: Axis
    now: Node
    first: int | None
    around: tuple[Axis, ...]
    names: Mapping[Site, int]
    present: dict[Node, Node] = field(default_factory=dict)
    places: Mapping[tuple[Site, int], int] = field(default_factory=dict)
    known: dict[Node, Node] = field(default_factory=dict)
    hints: dict[Node, str] = field(default_factory=dict)
    later: frozenset[Node] = frozenset()
    ragged: dict[Axis, Axis] = field(default_factory=dict)

    def at(self, node: Node) -> Node:
        """A node at the present element."""
        if node not in self.known:
            found = self.known[node] = self._at(node)
            if node in self.hints and type(found) is type(node):
                self.hints.setdefault(found, self.hints[node])
        return self.known[node]

    def _at(self, node: Node) -> Node:
        if node in self.present:
            return self.present[node]
        sites = {site.name for site in self.names}
        match node:
            case Shift(Site() as site, axis, lag) if site in self.names and axis is self.axis:
                return self.before(site, lag)
        if present := {axis: self.at_now(axis) for axis in node.works_along if self.moves(axis)}:
            return self.among(node, present)
        alone = not below([node], sites)[node]
        if alone and isinstance(node, Draw | Decide):
            return build.pick(node, {self.axis: self.now})
        if alone and not any(self.moves(axis) for each in nodes([node]) for axis in each.works_along):
            few = self.first is not None and node not in self.later
            return self.early(node) if few else build.pick(node, {self.axis: self.now})
        match node:
            case Position(axis):
                return self.now
            case Shift(_, axis) if axis is self.axis:  # of what is computed from several elements
                return build.pick(self.whole(node), {axis: self.now})
            case Scan(op, arg, axis, empty) if axis is self.axis:
                past = build.lt(build.position(axis), self.now)
                return build.reduce(op, build.where(past, self.whole(arg), empty), (axis,))
            case Rename(_, pairs) if self.axis in dict(pairs):  # of all elements, for each one
                return self.whole(node)
            case Part(Call() as call, index) if any(self.axis in own for _, own, _ in call.given):
                found = self.whole(call)
                assert isinstance(found, Call)
                return build.pick(Part(found, index), {self.axis: self.now})
        return with_fields(node, self.at)

    def moves(self, axis: Axis) -> bool:
        """Whether elements of the chain differ in how many elements of another axis they have."""
        return axis.lengths is not None and self.axis in axis.lengths.axes

    def at_now(self, axis: Axis) -> Axis:
        """Such an axis as the present element has it."""
        if axis not in self.ragged:
            assert axis.lengths is not None
            self.ragged[axis] = replace(copy(axis), lengths=self.at(axis.lengths))
        return self.ragged[axis]

    def among(self, node: Node, present: Mapping[Axis, Axis]) -> Node:
        """What is added up or compared along such axes, among the present element's."""
        back = {new: old for old, new in present.items()}
        match node:
            case Reduce(op, arg, over):
                return build.reduce(op, build.rename(self.at(arg), present), tuple(present.get(axis, axis) for axis in over))
            case Link(op, arg, over):
                found = build.link(op, build.rename(self.at(arg), present), tuple(present.get(axis, axis) for axis in over))
                return build.rename(found, back)
        raise TypeError(f"{type(node).__name__} inside a law")

    def early(self, node: Node) -> Node:
        """One of the first elements of what does not depend on members: only that much of it is computed."""
        if self.axis not in (node.shared if isinstance(node, Call) else node.axes):
            return node
        match node:
            case Spread(arg, over):
                return build.spread(self.at(arg), tuple(axis for axis in over if axis is not self.axis))
            case Map():
                return with_fields(node, self.at)
            case Link(_, _, over) | Reduce(_, _, over) if self.axis not in over:
                return with_fields(node, self.at)
            case Part(Call() as call) if not any(self.axis in own for _, own, _ in call.given):
                return with_fields(node, self.at)
            case Call():
                return with_fields(node, self.at)
        return build.pick(node, {self.axis: self.now})

    def whole(self, node: Node) -> Node:
        """A node with all that was put out of members in their place."""
        return substitute([node], {site: self.history(site) for site in self.names})[0]

    def before(self, site: Site, lag: int) -> Node:
        """A member's value so many elements back; of the first elements anything, for it is not read."""
        if self.first is not None and lag > self.first:
            return Const({"real": 0.0, "int": 0, "bool": False}[site.kind])
        return Carried(self.loop, "state", self.places[site, lag], self.axes_of(site), site.kind)

    def history(self, site: Site) -> Node:
        order = (*self.axes_of(site), self.axis)
        return Carried(self.loop, "history", self.places[site, 1], order, site.kind)

    def axes_of(self, site: Site) -> tuple[Axis, ...]:
        return (*self.around, *(axis for axis in site.order if axis.kind == "event"))


Step = Callable[[Site, Law, tuple[Axis, ...], Body], tuple[Node, tuple[Node, ...]]]
"""Draws one element of a member: its value, and further nodes that the loop is to put out beside it."""


def along(
    name: str,
    axis: Axis,
    members: Sequence[Member],
    around: tuple[Axis, ...],
    step: Step,
    hints: dict[Node, str] | None = None,
) -> dict[str, list[Node]]:
    """For each member its values along the axis, and what its steps gave beside them. hints: what the spec calls nodes, to
    which those of single elements are added."""
    names = {member.site: place for place, member in enumerate(members)}
    many = max(len(member.law.laws) if isinstance(member.law, ThenLaw) else 1 for member in members)
    many = max(many, *(member.lags + 1 for member in members))
    places, slot = dict[tuple[Site, int], int](), 0
    for member in members:
        for lag in range(1, max(member.lags, 1) + 1):
            places[member.site, lag], slot = slot, slot + 1
    later = frozenset(nodes(node for member in members for node in parts(last_of(member.law))))
    bodies, besides = list[tuple[Node, ...]](), list[dict[Site, tuple[Node, ...]]]()
    for number in range(many):
        last = number == many - 1
        now = Carried(name, "now", 0, (), "int") if number or last else Const(0)  # there may be no second element
        told = {} if hints is None else hints
        body = Body(name, axis, now, None if last else number, around, names, {}, places, hints=told, later=later)
        states, beside = dict[int, Node](), dict[Site, tuple[Node, ...]]()
        for member in members:
            law = member.law.laws[min(number, len(member.law.laws) - 1)] if isinstance(member.law, ThenLaw) else member.law
            value, beside[member.site] = step(member.site, at_present(law, body), body.axes_of(member.site), body)
            body.present[member.site] = value
            body.known.clear()
            states[places[member.site, 1]] = value
            for lag in range(2, member.lags + 1):
                states[places[member.site, lag]] = body.before(member.site, lag - 1)
        bodies.append(tuple(states[place] for place in range(slot)))
        besides.append(beside)
    bodies = [
        body + tuple(n for member in members for n in beside[member.site]) for body, beside in zip(bodies, besides, strict=True)
    ]
    loop = Loop(name, axis, tuple(bodies), around, tuple(member.site.name for member in members))
    found, at = dict[str, list[Node]](), slot
    for member in members:
        extra = len(besides[-1][member.site])
        found[member.site.name] = [Part(loop, places[member.site, 1]), *(Part(loop, at + n) for n in range(extra))]
        at += extra
    return found


def last_of(law: Law) -> Law:
    """The law of all but the first elements."""
    return law.laws[-1] if isinstance(law, ThenLaw) else law


def at_present(law: Law, body: Body) -> Law:
    """A law at the present element."""
    match law:
        case DrawLaw(name, params):
            return DrawLaw(name, tuple((n, body.at(node), own) for n, node, own in params))
        case ChoiceLaw(test, then, otherwise):
            return ChoiceLaw(body.at(test), at_present(then, body), at_present(otherwise, body))
        case StateLaw(value):
            return StateLaw(body.at(value))
    raise TypeError(f"{type(law).__name__} inside the law of one element")


def lags_of(laws: Sequence[Law], site: Site) -> int:
    """How many elements back any of the laws reads a variable."""
    found = 0
    for law in laws:
        for node in parts(law):
            found = max([found, *(each.lag for each in shifts(node) if each.arg is site)])
    return found


def shifts(root: Node) -> list[Shift]:
    from vispec.program.walk import reads

    return reads(root, Shift)


def parts(law: Law) -> list[Node]:
    """The nodes that a law is made of."""
    match law:
        case DrawLaw(_, params):
            return [node for _, node, _ in params]
        case ChoiceLaw(test, then, otherwise):
            return [test, *parts(then), *parts(otherwise)]
        case ThenLaw(_, laws):
            return [node for each in laws for node in parts(each)]
        case StateLaw(value):
            return [value]
    raise TypeError(f"{type(law).__name__} has layers of its own")


def changed(law: Law, held: Mapping[Node, Node]) -> Law:
    """A law with nodes in place of others."""
    match law:
        case DrawLaw(name, params):
            new = substitute([node for _, node, _ in params], held)
            return DrawLaw(name, tuple((n, node, own) for node, (n, _, own) in zip(new, params, strict=True)))
        case ChoiceLaw(test, then, otherwise):
            return ChoiceLaw(substitute([test], held)[0], changed(then, held), changed(otherwise, held))
        case ThenLaw(axis, laws):
            return ThenLaw(axis, tuple(changed(each, held) for each in laws))
        case StateLaw(value):
            return StateLaw(substitute([value], held)[0])
        case FlowLaw(base, context):
            read = None if context is None else substitute([context], held)[0]
            inner = changed(base, held)
            assert isinstance(inner, DrawLaw)
            return replace(law, base=inner, context=read)
    raise TypeError(f"a {type(law).__name__} here")
