"""Sums of products of affine forms, a block for each two of the latents that they read: what reads one element by an index is
added where the index points, never spread over all elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vispec.program import build
from vispec.program.affine.forms import Term, dense_along
from vispec.program.axis import Axis, copy, ordered
from vispec.program.node import Node
from vispec.program.pointed import added_at

Entry = tuple[Node, tuple[tuple[Axis, Node], ...]]


@dataclass(frozen=True)
class Piece:
    """What a form has along one axis of a latent's numbers, or of several; where it is one number there are none.

    terms: coefficients, each with the axes along which it reads one element, and which. seeds: one axis for each of the
    latent's that counts here. own: the one axis of all numbers."""

    terms: tuple[Entry, ...]
    seeds: tuple[Axis, ...] = ()
    own: Axis | None = None

    def copied(self) -> Piece:
        """Along axes of its own, for the other side of a product."""
        pairs = {seed: dense_along(seed) for seed in self.seeds}
        own = None if self.own is None else pairs.get(self.own) or copy(self.own)
        terms = ((build.rename(node, pairs), tuple((pairs[seed], place) for seed, place in at)) for node, at in self.terms)
        return Piece(tuple(terms), tuple(pairs.values()), own)


def piece(terms: Sequence[Term], seeds: Mapping[Axis, Axis], own: Axis | None) -> Piece:
    """Of all terms of a latent. seeds: for each of its axes that counts here the one along all elements."""
    found = list[Entry]()
    for term in terms:
        places = {seeds[axis]: place for axis, place in term.at if axis in seeds}
        whole = {place: seed for seed, place in places.items() if isinstance(place, Axis)}
        at = tuple((seed, place) for seed, place in places.items() if isinstance(place, Node))
        found.append((build.rename(term.coefficient, whole), at))
    return Piece(tuple(found), tuple(seeds.values()), own)


def number(node: Node) -> Piece:
    """Of no latent, but of the number 1."""
    return Piece(((build.apply("real", node), ()),))


@dataclass(frozen=True)
class Sums:
    """Sums over elements. over: their axes. inside: which of the elements that are left count. at: of the axes that are left
    those of which an element is added to where an index points."""

    over: frozenset[Axis]
    inside: Node
    at: tuple[tuple[Axis, Node], ...] = ()

    def table(self, rows: Sequence[Piece], columns: Sequence[Piece], row: Axis, column: Axis) -> Node:
        """Of products of each two, one after the other along two axes."""
        across, known = {each: each.copied() for each in (*rows, *columns)}, dict[tuple[Piece, Piece], Node]()
        for one in rows:
            for other in columns:
                turned, names = known.get((other, one)), ((across[one].own, one.own), (other.own, across[other].own))
                swap = {old: new for old, new in names if old is not None and new is not None}
                known[one, other] = self.products(one, across[other]) if turned is None else build.rename(turned, swap)
        lines = [(joined([(known[one, other], across[other].own) for other in columns], column), one.own) for one in rows]
        return joined(lines, row)

    def products(self, one: Piece, other: Piece) -> Node:
        """Along the numbers of both."""
        found = build.add(build.node(0.0), *(self.product(a, b) for a in one.terms for b in other.terms))
        node = build.spread(found, (*one.seeds, *other.seeds))
        for side in (one, other):
            if side.own is not None and side.seeds != (side.own,):
                node = build.merge(node, side.seeds, side.own)
        return node

    def product(self, one: Entry, other: Entry) -> Node:
        """Of two coefficients; by two indices at most, others are compared with all elements."""
        node = build.spread(build.where(self.inside, build.apply("wide", build.mul(one[0], other[0])), 0.0), self.over)
        at = [*self.at, *one[1], *other[1]]
        by = [pair for pair in at if pair[1].axes & self.over][:2]
        for axis, place in at:
            if (axis, place) not in by:
                node = build.where(build.eq(place, build.position(axis)), node, 0.0)
        if build.is_const(node, 0) or not by:
            return build.reduce("sum", node, self.over)
        return added_at(node, by, ordered(self.over))


def joined(parts: Sequence[tuple[Node, Axis | None]], axis: Axis) -> Node:
    """One after the other along an axis."""
    if len(parts) > 1:
        return build.concat(parts, axis)
    ((alone, own),) = parts
    return build.spread(alone, (axis,)) if own is None else build.rename(alone, {own: axis})
