"""Squares of forms as matrices: along the numbers of a group of latents, those of what is integrated later, and 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vispec.plan.gaussian.groups import Group, Placed
from vispec.plan.gaussian.pieces import Piece, Sums, number, piece
from vispec.plan.gaussian.sizes import sum_of
from vispec.plan.gaussian.squares import KERNELS
from vispec.program import build
from vispec.program.affine.forms import Form, Term, added, densified
from vispec.program.axis import Axis, merged, ordered
from vispec.program.cost import Numbers
from vispec.program.entry import entry
from vispec.program.node import Call, Node, Part
from vispec.program.size import Size

FEW_KERNELS = "vispec.kernels.sums.gaussian_few"
FEW = 6
"""Numbers of an element, its ancestors' and 1 that stand one by one: so many columns are 21 products of two."""


class Matrices:
    """axes: of each latent those of its numbers. seeds: of each latent, for those of its axes that one element of its group has
    all of, the axis along all elements. own_columns: the axis of all numbers that a latent has for an element of its group,
    None where that is one. group: of each latent its own."""

    axes: Mapping[str, tuple[Axis, ...]]
    seeds: Mapping[str, Mapping[Axis, Axis]]
    own_columns: Mapping[str, Axis | None]
    group: Mapping[str, Group]

    def number_of(self, groups: Sequence[Group], more: int = 0) -> Size | None:
        """How many columns groups have, and more, where that is known."""
        return sum_of([*[None] * more, *(own for _, own in self.columns(groups))])

    def many(self, group: Group, numbers: Numbers) -> int:
        """How many numbers of a group are integrated at once."""
        return sum(1 if own is None else numbers.of(own) for own in (self.own_columns[name] for name in group.names))

    def columns(self, groups: Sequence[Group]) -> list[tuple[str, Axis | None]]:
        return [(name, self.own_columns[name]) for each in groups for name in each.names]

    def laid(self, form: Form) -> Form:
        """Its terms along the axes of all numbers of each latent."""
        terms = (densified(t, [*self.seeds[t.name]], self.seeds[t.name]) for t in form.terms if t.name in self.axes)
        return added([Form(form.offset), *(Form(build.node(0.0), (term,)) for term in terms)])

    def vector(self, form: Form, groups: Sequence[Group], axis: Axis, last: Node | None) -> Node:
        """The coefficients of a form along the numbers of groups, and then `last`."""
        terms = {term.name: term for term in form.terms}
        parts = [(self.part(terms.get(name), name, own), own) for name, own in self.columns(groups)]
        parts += [] if last is None else [(build.apply("real", last), None)]
        ((alone, own),) = parts if len(parts) == 1 else ((None, None),)
        return build.rename(alone, {own: axis}) if alone is not None and own is not None else build.concat(parts, axis)

    def part(self, term: Term | None, name: str, own: Axis | None) -> Node:
        if term is None:
            return build.node(0.0) if own is None else build.spread(build.node(0.0), (own,))
        seeds = [*self.seeds[name].values()]
        return term.coefficient if own is None else build.merge(build.spread(term.coefficient, seeds), seeds, own)

    def gram(self, each: Placed, group: Group) -> Node:
        """Σ form formᵀ over all elements that the group has not for itself; of a linear one what makes -½ of it the form."""
        by_number = self.gram_of_few(each, group)
        if by_number is not None:
            return by_number
        if by_index(each):
            return self.table(each, group, group.every, group.every, (group.row, group.column))
        square, over = replace(each.square, form=self.laid(each.square.form)), each.axes - group.own
        there = build.both(*(build.inside(axis) for axis in ordered(each.axes)))
        vector = build.spread(self.vector(square.form, group.every, group.row, square.form.offset), ordered(over))
        vector = build.apply("wide", build.where(there, vector, 0.0))
        if not square.linear:
            if not over:
                return build.mul(vector, build.rename(vector, {group.row: group.column}))
            number = merged(ordered(over))
            given = ((build.merge(vector, ordered(over), number), (number, group.row), ""),)
            return Part(Call("kernel", f"{KERNELS}:gram", given, (((group.row, group.column), "real"),), ()), 0)
        last = self.vector(Form(build.node(0.0)), group.every, group.column, build.node(1.0))
        crossed = build.neg(build.mul(build.reduce("sum", vector, over), last))
        return build.add(crossed, build.rename(crossed, {group.row: group.column, group.column: group.row}))

    def are_few(self, groups: Sequence[Group]) -> bool:
        """Whether groups have so few numbers that these stand one by one."""
        size = self.number_of(groups, 1)
        plain = all(len(self.seeds[name]) < 2 for group in groups for name in group.names)
        return plain and size is not None and size.number is not None and size.number <= FEW

    def gram_of_few(self, each: Placed, group: Group) -> Node | None:
        """Σ form formᵀ by one column for each of few numbers; None where it is not made so."""
        form, over = each.square.form, each.axes - group.own
        at = [(axis, place) for axis, place in self.places(form, group).items() if place is not build.position(axis)]
        if each.square.linear or not over or len(at) > 1 or not self.are_few(group.every):
            return None
        number = merged(ordered(over))
        there = build.both(*(build.inside(axis) for axis in ordered(each.axes)))
        columns = self.numbers(self.laid(form), group.every)

        def along(node: Node) -> Node:
            return build.merge(build.spread(node, over), ordered(over), number)

        given = [(along(build.apply("real", column)), (number,), "") for column in columns]
        if not build.is_const(there, True):
            given.append((along(there), (number,), "inside"))
        names = (group.row, group.column)
        if not at:
            return Part(Call("kernel", f"{FEW_KERNELS}:gram_of", tuple(given), ((names, "real"),), ()), 0)
        ((axis, place),) = at
        given = [(along(place), (number,), ""), *given]
        return Part(Call("kernel", f"{FEW_KERNELS}:gram_at", tuple(given), (((axis, *names), "real"),), (("size", axis),)), 0)

    def numbers(self, form: Form, groups: Sequence[Group]) -> list[Node]:
        """The coefficients of a form at each number of groups, and its offset."""
        terms, found = {term.name: term.coefficient for term in form.terms}, list[Node]()
        for name, own in self.columns(groups):
            node = terms.get(name, build.node(0.0))
            many = 1 if own is None or own.origin.size is None else own.origin.size.number or 1
            found += [node] if own is None else [entry(node, own, at) for at in range(many)]
        return [*found, form.offset]

    def table(
        self,
        each: Placed,
        group: Group,
        rows: Sequence[Group],
        columns: Sequence[Group],
        names: tuple[Axis, Axis],
        last: tuple[bool, bool] = (True, True),
    ) -> Node:
        """Σ form formᵀ over the elements that a group has not for itself, for the numbers of some groups and of others, where
        an index says whose they are; of a linear form what makes -½ of it the form."""
        form, over = each.square.form, each.axes - group.own
        at = tuple((axis, place) for axis, place in self.places(form, group).items() if place is not build.position(axis))
        sums = Sums(over, build.both(*(build.inside(axis) for axis in ordered(each.axes - over))), at)
        left, right = self.pieces(form, rows, last[0]), self.pieces(form, columns, last[1])
        if not each.square.linear:
            return sums.table(left, right, *names)
        one, other = (
            self.pieces(Form(build.node(1.0)), side, whole) for side, whole in zip((rows, columns), last, strict=True)
        )
        crossed = build.add(sums.table(left, other, *names), sums.table(one, right, *names))
        return build.neg(crossed)

    def pieces(self, form: Form, groups: Sequence[Group], last: bool) -> list[Piece]:
        """What a form has along the numbers of groups, and then its offset."""
        names = [name for group in groups for name in group.names]
        found = [piece([t for t in form.terms if t.name == n], self.seeds[n], self.own_columns[n]) for n in names]
        return [*found, number(form.offset)] if last else found

    def places(self, form: Form, group: Group) -> dict[Axis, Node]:
        """Which element of each axis of a group's own a form reads; of an ancestor that has all numbers along one at once, its
        coefficients tell which of them."""
        terms = [(term, self.group[term.name]) for term in form.terms]
        own = [(term, group.own & its.own) for term, its in terms if its in (group, *group.ancestors)]
        return {axis: place for term, axes in own for axis, place in term.at if axis in axes and isinstance(place, Node)}


def by_index(each: Placed) -> bool:
    """Whether one of the elements that a square reads is where an index points."""
    places = [(axis, place) for term in each.square.form.terms for axis, place in term.at]
    return any(isinstance(place, Node) and place is not build.position(axis) for axis, place in places)
