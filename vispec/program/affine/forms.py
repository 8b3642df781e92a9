"""What a value that is affine in some numbers is: a part free of them and, for each, a coefficient at an element of it.

    v = offset + Σ_term coefficient · e[at]

`at` says for each axis of e which element is meant: a whole number (its own position, the one before, an index in the data), or
an axis, along which all elements count, each with a coefficient of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.node import Node

At = tuple[tuple[Axis, Node | Axis], ...]


class NotAffineError(Exception):
    """What is not affine: the node, the names of what it reads, and why."""

    def __init__(self, node: Node, names: Collection[str], why: str):
        self.node, self.names, self.why = node, frozenset(names), why
        super().__init__(why)


@dataclass(frozen=True)
class Term:
    """coefficient · e[at]; an axis among the places stands in the coefficient, and the term is a sum along it."""

    name: str
    at: At
    coefficient: Node

    @property
    def dense(self) -> tuple[Axis, ...]:
        return tuple(place for _, place in self.at if isinstance(place, Axis))

    @property
    def axes(self) -> frozenset[Axis]:
        places = (place.axes for _, place in self.at if isinstance(place, Node))
        return (self.coefficient.axes - {*self.dense}).union(*places)

    def mapped(self, change: Callable[[Node], Node]) -> Term:
        return replace(self, coefficient=change(self.coefficient))

    def moved(self, change: Callable[[Node], Node]) -> Term:
        """The coefficient and the places changed alike, as by a pick or a shift."""
        at = tuple((axis, place if isinstance(place, Axis) else change(place)) for axis, place in self.at)
        return Term(self.name, at, change(self.coefficient))


@dataclass(frozen=True)
class Form:
    offset: Node
    terms: tuple[Term, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(term.name for term in self.terms)

    @property
    def axes(self) -> frozenset[Axis]:
        return self.offset.axes.union(*(term.axes for term in self.terms))

    def only(self, names: Collection[str]) -> Form:
        """With the terms of these latents alone."""
        return Form(self.offset, tuple(term for term in self.terms if term.name in names))

    def without(self, names: Collection[str]) -> Form:
        return Form(self.offset, tuple(term for term in self.terms if term.name not in names))

    def mapped(self, change: Callable[[Node], Node]) -> Form:
        """Each coefficient and the offset by a linear map of elements."""
        offset = self.offset if build.is_const(self.offset, 0) else change(self.offset)
        return Form(offset, tuple(term.mapped(change) for term in self.terms))

    def times(self, factor: Node) -> Form:
        return self.mapped(lambda node: build.mul(node, factor))


def added(forms: Iterable[Form]) -> Form:
    """Their sum; terms of the same elements are one."""
    forms = list(forms)
    found = dict[tuple[str, At], Node]()
    for term in (term for form in forms for term in form.terms):
        term = aligned(term, found)
        key = (term.name, term.at)
        found[key] = build.add(found[key], term.coefficient) if key in found else term.coefficient
    terms = tuple(Term(name, at, node) for (name, at), node in found.items())
    return Form(build.add(*(form.offset for form in forms)), terms)


def aligned(term: Term, known: Iterable[tuple[str, At]]) -> Term:
    """The term along the axes of one that is already known, where both are sums along the same axes of e."""
    for name, at in known:
        if name == term.name and all(same_place(a, b) for a, b in zip(at, term.at, strict=True)):
            pairs = {b: a for (_, a), (_, b) in zip(at, term.at, strict=True) if isinstance(a, Axis) and isinstance(b, Axis)}
            return Term(name, at, build.rename(term.coefficient, pairs))
    return term


def same_place(one: tuple[Axis, Node | Axis], other: tuple[Axis, Node | Axis]) -> bool:
    both_dense = isinstance(one[1], Axis) and isinstance(other[1], Axis)
    return one[0] is other[0] and (both_dense or one[1] is other[1])


def dense_along(axis: Axis) -> Axis:
    """An axis for all elements of e along one of its own."""
    return replace(copy(axis, kind="event"), lengths=None)


def densified(term: Term, axes: Collection[Axis], seeds: Mapping[Axis, Axis] | None = None) -> Term:
    """The term with all elements of e along these axes of its, each where it is meant."""
    at, coefficient = list[tuple[Axis, Node | Axis]](), term.coefficient
    for axis, place in term.at:
        seed = (seeds or {}).get(axis) or (dense_along(axis) if axis in axes else None)
        if axis not in axes or seed is None:
            at.append((axis, place))
        elif isinstance(place, Axis):
            coefficient = build.rename(coefficient, {place: seed})
            at.append((axis, seed))
        else:
            coefficient = build.where(build.eq(place, build.position(seed)), coefficient, 0.0)
            at.append((axis, seed))
    return Term(term.name, tuple(at), coefficient)


# ---- along axes


def moved(form: Form, change: Callable[[Node], Node]) -> Form:
    return Form(change(form.offset), tuple(term.moved(change) for term in form.terms))


def picked(node: Node, at: Mapping[Axis, Node]) -> Node:
    own = {axis: index for axis, index in at.items() if axis in node.axes}
    if len(own) == 1 and node in [build.position(axis) for axis in own]:
        return next(iter(own.values()))
    return build.pick(node, own) if own else node


def shifted(node: Node, axis: Axis, lag: int) -> Node:
    """The places of elements so far back; before the first anything."""
    if node is build.position(axis):
        return build.sub(node, lag)
    if node.dtype != "int":
        return node
    return build.shift(node, axis, lag, build.node(0)) if axis in node.axes else node


def inner_first(over: Iterable[Axis]) -> list[Axis]:
    """Axes in an order in which a ragged one comes before those that its lengths differ along."""
    left, found = list(over), list[Axis]()
    while left:
        ready = next(
            a for a in left if not any(a in (b.lengths.axes if b.lengths is not None else ()) for b in left if b is not a)
        )
        left.remove(ready)
        found.append(ready)
    return found


def summed(form: Form, axis: Axis) -> Form:
    """The sum along an axis."""
    terms = list[Term]()
    for term in form.terms:
        moving = [own for own, place in term.at if isinstance(place, Node) and axis in place.axes]
        if len(moving) == 1 and dict(term.at)[moving[0]] is build.position(axis):
            seed = dense_along(moving[0])
            inside = build.where(build.inside(axis), build.spread(term.coefficient, (axis,)), 0.0)
            at = tuple((own, seed if own is moving[0] else place) for own, place in term.at)
            terms.append(Term(term.name, at, build.rename(build.spread(inside, (axis,)), {axis: seed})))
            continue
        one = densified(term, moving) if moving else term
        terms.append(replace(one, coefficient=build.reduce("sum", one.coefficient, (axis,))))
    whole = added([Form(build.node(0.0), (term,)) for term in terms])
    return Form(build.reduce("sum", form.offset, (axis,)), whole.terms)


def one_after_another(parts: list[tuple[Form, Axis | None]], axis: Axis) -> Form:
    """Parts along an axis: the terms of one are none of the others."""
    offset = build.concat([(form.offset, own) for form, own in parts], axis)
    found = list[Form]()
    for at, (form, _) in enumerate(parts):
        for term in form.terms:

            def laid(node: Node, at: int = at) -> Node:
                zero = build.node(0 if node.dtype == "int" else 0.0)
                pieces = list[tuple[Node, Axis | None]]()
                for other, (_, own) in enumerate(parts):
                    mine = node if other == at else zero
                    pieces.append((build.spread(mine, (own,)) if own is not None else mine, own))
                return build.concat(pieces, axis)

            own = parts[at][1]
            places = tuple(
                (a, place if isinstance(place, Axis) or own not in place.axes else laid(place)) for a, place in term.at
            )
            found.append(Form(build.node(0.0), (Term(term.name, places, laid(term.coefficient)),)))
    return Form(offset, added(found).terms)
