"""The integral over one set of coupled latents, and their posterior moments.

    ∫ N(e; 0, 1) Π exp(-r(e)² / 2) de = exp(-(c - bᵀ A⁻¹ b) / 2) |A|^(-1/2),    [[A, b], [bᵀ, c]] = I + Σ r rᵀ over e and 1

Each latent is its law's location plus its scale times standard normal numbers e, so that a scale may be 0. Those that each
element of their plates has for itself are integrated there, the deepest plates first; what is left of the sum of squares goes
on to those of the plates around (a Schur complement), and posterior moments come back from these.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from vispec.plan.gaussian.chains import Chain, NoChainError
from vispec.plan.gaussian.groups import Group, Placed, all_own, ordered_groups, pointed
from vispec.plan.gaussian.pieces import Piece, Sums, number, piece
from vispec.plan.gaussian.sizes import merged, sum_of
from vispec.plan.gaussian.squares import KERNELS, Square
from vispec.program import build
from vispec.program.affine.forms import Form, Term, added, dense_along, densified
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers
from vispec.program.entry import entry
from vispec.program.node import Call, Dtype, Node, Part
from vispec.program.size import Size

Results = tuple[tuple[tuple[Axis, ...], Dtype], ...]
APART = "vispec.kernels.sums.gaussian_apart"
CHAIN = "vispec.kernels.sums.gaussian_chain"
FEW_KERNELS = "vispec.kernels.sums.gaussian_few"
FEW = 6
"""Numbers of an element, its ancestors' and 1 that stand one by one: so many columns are 21 products of two."""
ONE, ONE_TOO = Axis("1", "event", Size.of(1)), Axis("1'", "event", Size.of(1))


@dataclass(frozen=True)
class Elimination:
    """A group integrated out. given: what the kernel takes; rest: what it leaves of the sum of squares; half: half the
    logarithm of a determinant."""

    given: tuple[tuple[Node, tuple[Axis, ...], str], ...]
    call: Call
    constants: tuple[Node, ...] = ()

    @property
    def rest(self) -> Node:
        return build.add(Part(self.call, 0), *self.constants)

    @property
    def half(self) -> Node:
        return Part(self.call, 1)


class Block:
    """axes: of each latent those of its numbers. laws: of latents of which some numbers have no law, 1 for each that has one
    and 0 for the others. asked: forms of whose moments are asked."""

    def __init__(
        self,
        axes: Mapping[str, tuple[Axis, ...]],
        squares: Sequence[Placed],
        laws: Mapping[str, Node],
        numbers: Numbers,
        asked: Sequence[Placed] = (),
        chains: Mapping[str, Chain] | None = None,
    ):
        self.axes, self.laws, chains = axes, laws, chains or {}
        steps = [step(chain, name) for name, chain in chains.items()]
        every = [*squares, *asked, *steps]
        dense = {name: {axis for axis in own if not all_own(every, name, axis)} for name, own in axes.items()}
        for name, chain in chains.items():
            events = {axis for axis in axes[name] if axis is not chain.axis and axis not in chain.around}
            if dense[name] - events:
                raise NoChainError
            dense[name] = events
        apart = {} if chains else pointed(every, axes, dense)
        for name, axis in apart.items():
            dense[name].discard(axis)
        self.groups = ordered_groups(axes, dense, [*squares, *steps], numbers, chains, apart)
        self.group = {name: group for group in self.groups for name in group.names}
        self.seeds = {name: {axis: dense_along(axis) for axis in ordered(of)} for name, of in dense.items()}
        self.own_columns = {name: self.column(name) for name in axes}
        for group in self.groups:
            size = self.number_of(every_of(group), 1)
            if group.apart is not None and self.are_few(every_of(group)):
                group.apart, group.few = None, group.apart
            group.row, group.column = Axis("e", "event", size), Axis("e'", "event", size)
        self.squares = [
            replace(each, square=replace(each.square, form=without(each.square.form, each.square.form.names - {*axes})))
            for each in squares
        ]

    @property
    def name(self) -> str:
        return "_".join(re.sub(r"\W+", "_", name) for name in self.axes)

    def column(self, name: str) -> Axis | None:
        """The axis of all numbers that a latent has for an element of its group; None where that is one."""
        seeds = [*self.seeds[name].values()]
        return merged(name, seeds)

    def number_of(self, groups: Sequence[Group], more: int = 0) -> Size | None:
        """How many columns groups have, and more, where that is known."""
        return sum_of([*[None] * more, *(own for _, own in self.columns(groups))])

    def many(self, group: Group, numbers: Numbers) -> int:
        """How many numbers of a group are integrated at once."""
        return sum(1 if own is None else numbers.of(own) for own in (self.own_columns[name] for name in group.names))

    def columns(self, groups: Sequence[Group]) -> list[tuple[str, Axis | None]]:
        return [(name, self.own_columns[name]) for each in groups for name in each.names]

    # ---- squares as matrices

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
            return self.table(each, group, every_of(group), every_of(group), (group.row, group.column))
        square, over = replace(each.square, form=self.laid(each.square.form)), each.axes - group.own
        there = build.both(*(build.inside(axis) for axis in ordered(each.axes)))
        vector = build.spread(self.vector(square.form, every_of(group), group.row, square.form.offset), ordered(over))
        vector = build.apply("wide", build.where(there, vector, 0.0))
        if not square.linear:
            if not over:
                return build.mul(vector, build.rename(vector, {group.row: group.column}))
            number = Axis("_".join(axis.hint for axis in ordered(over)), "plate")
            given = ((build.merge(vector, ordered(over), number), (number, group.row), ""),)
            return Part(Call("kernel", f"{KERNELS}:gram", given, (((group.row, group.column), "real"),), ()), 0)
        last = self.vector(Form(build.node(0.0)), every_of(group), group.column, build.node(1.0))
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
        if each.square.linear or not over or len(at) > 1 or not self.are_few(every_of(group)):
            return None
        number = through(ordered(over))
        there = build.both(*(build.inside(axis) for axis in ordered(each.axes)))
        columns = self.numbers(self.laid(form), every_of(group))

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
        """Which element of each axis of a group's own a form reads."""
        terms = (term for term in form.terms if self.group[term.name] in (group, *group.ancestors))
        return {axis: place for t in terms for axis, place in t.at if axis in group.own and isinstance(place, Node)}

    @cached_property
    def eliminated(self) -> dict[int, Elimination]:
        """Of each group its elimination, with what is left of those that were integrated before it."""
        place = {name: at for at, group in enumerate(self.groups) for name in group.names}
        squares, left = [list[Placed]() for _ in self.groups], [list[Node]() for _ in self.groups]
        for each in self.squares:
            squares[min(place[name] for name in each.square.form.names)].append(each)
        found = dict[int, Elimination]()
        for at, group in enumerate(self.groups):
            if group.apart is None:
                found[at] = self.together(group, [*left[at], *(self.gram(each, group) for each in squares[at])])
            else:
                found[at], rest = self.apart(group, squares[at])
                for each in rest:  # what is free of all latents counts at any that is left
                    after = [place[name] for name in each.square.form.names]
                    squares[min(after or [self.groups.index(group.parent or group)])].append(each)
            if group.parent is not None:
                rest = build.reduce("sum", found[at].rest, group.batch - group.parent.own)
                left[self.groups.index(group.parent)].append(rest)
        return found

    def together(self, group: Group, parts: Sequence[Node]) -> Elimination:
        """By one matrix over the group's numbers and its ancestors'. parts: what it is the sum of."""
        matrix = build.add(*parts) if parts else self.nothing(group)
        matrix = build.spread(matrix, (group.row, group.column, *ordered(group.own)))
        results = self.results(group)
        if group.chain is not None:
            given = self.told(group, group.chain, matrix)
            return Elimination(given, Call("kernel", f"{CHAIN}:eliminate_chain", given, results, ()))
        given = ((matrix, (group.row, group.column), ""), *self.prior(group))
        kernel = f"{FEW_KERNELS}:eliminate_few" if self.are_few(every_of(group)) else f"{KERNELS}:eliminate"
        return Elimination(given, Call("kernel", kernel, given, results, self.size(group)))

    def apart(self, group: Group, squares: Sequence[Placed]) -> tuple[Elimination, list[Placed]]:
        """By a matrix over the numbers of each element and one over these and what is left; and what is left of the squares."""
        assert group.apart is not None
        own, own_too = Axis("q", "event", self.number_of([group])), Axis("q'", "event", self.number_of([group]))
        column = ONE_TOO if group.parent is None else group.parent.column
        blocks = [self.table(each, group, [group], [group], (own, own_too), (False, False)) for each in squares]
        crossed = [self.table(each, group, [group], group.ancestors, (own, column), (False, True)) for each in squares]
        along, nothing = (group.apart, *ordered(group.left)), build.apply("wide", build.node(0.0))
        given = (
            (build.spread(build.add(nothing, *blocks), (*along, own, own_too)), (group.apart, own, own_too), ""),
            (build.spread(build.add(nothing, *crossed), (*along, own, column)), (group.apart, own, column), ""),
            *((node, (group.apart, *axes), name) for node, axes, name in self.prior(group)),
        )
        call = Call("kernel", f"{APART}:eliminate_apart", given, self.results(group), ())
        rest = [replace(each, square=replace(each.square, form=without(each.square.form, group.names))) for each in squares]
        if group.parent is not None:
            return Elimination(given, call), rest
        outside = Group(group.left, ())
        constants = (self.table(each, outside, (), (), (ONE, ONE_TOO)) for each in rest)
        return Elimination(given, call, (*constants,)), []

    def results(self, group: Group) -> Results:
        one, other = (ONE, ONE_TOO) if group.parent is None else (group.parent.row, group.parent.column)
        return (((one, other), "real"), ((), "real"))

    def nothing(self, group: Group) -> Node:
        """The matrix where no square reads a group."""
        zero, groups = build.node(0.0), every_of(group)
        zeros = [self.vector(Form(zero), groups, axis, zero) for axis in (group.row, group.column)]
        return build.apply("wide", build.mul(*zeros))

    def prior(self, group: Group) -> list[tuple[Node, tuple[Axis, ...], str]]:
        """Where some numbers of a group have no law, which have one: all past the ends of plates, so that none is
        undetermined."""
        if not self.laws.keys() & {*group.names}:
            return []
        parts = list[tuple[Node, Axis | None]]()
        for name in group.names:
            inside = build.both(*(build.inside(axis) for axis in self.axes[name]))
            known = build.where(inside, self.laws.get(name, build.node(1.0)), 1.0)
            own, seeds = self.own_columns[name], self.seeds[name]
            laid = build.spread(build.rename(known, seeds), [*seeds.values()])
            parts.append((laid if own is None else build.merge(laid, [*seeds.values()], own), own))
        along = Axis("e", "event")
        return [(build.concat(parts, along), (along,), "prior")]

    def told(self, group: Group, chain: Chain, matrix: Node) -> tuple[tuple[Node, tuple[Axis, ...], str], ...]:
        """What the kernels of chains take: the sums of squares, how states follow from those before, and how noise enters."""
        many = sum_of([self.own_columns[name] for name in group.names])
        loads_of = sum_of([event for events in chain.noise.values() for event in (events[:1] or (None,))])
        single = all(len(events) < 2 for events in chain.noise.values())
        state, noise = Axis("s", "event", many), Axis("noise", "event", loads_of if single else None)
        t = chain.axis
        rows, loads = list[tuple[Node, Axis | None]](), list[tuple[Node, Axis | None]]()
        for name in group.names:
            events = [*self.seeds[name]]
            seeds, own = [*self.seeds[name].values()], self.own_columns[name]
            form = chain.forms[name]
            for target, axis in ((rows, group.column), (loads, noise)):
                if target is rows:
                    laid = self.laid(form)
                    vector = self.vector(laid, every_of(group), axis, laid.offset)
                else:
                    vector = noise_of(form, chain, axis)
                vector = build.rename(build.spread(vector, events), self.seeds[name])
                target.append((vector if own is None else build.merge(vector, seeds, own), own))
        step, load = build.concat(rows, state), build.concat(loads, state)
        return (
            (build.spread(matrix, (t,)), (t, group.row, group.column), ""),
            (build.spread(step, (t,)), (t, state, group.column), ""),
            (build.spread(load, (t,)), (t, state, noise), ""),
        )

    def size(self, group: Group) -> tuple[tuple[str, Node], ...]:
        """How many numbers a group has."""
        many = (build.node(1) if (own := self.own_columns[name]) is None else build.extent(own) for name in group.names)
        return (("size", build.add(*many)),)

    # ---- answers

    def evidence(self) -> tuple[Node, frozenset[Axis]]:
        """The log of the integral, for each element of these axes."""
        roots = [group for group in self.groups if group.parent is None]
        kept = frozenset.intersection(*(group.left for group in roots))
        parts = list[Node]()
        for at, group in enumerate(self.groups):
            found = self.eliminated[at]
            if group.parent is None:
                rest = build.pick(found.rest, {ONE: build.node(0), ONE_TOO: build.node(0)})
                parts.append(build.reduce("sum", build.mul(-0.5, rest), group.batch - kept))
            parts.append(build.neg(build.reduce("sum", found.half, group.batch - kept)))
        return build.add(*parts), kept


def through(axes: Sequence[Axis]) -> Axis:
    """An axis of all elements along some."""
    hint = "_".join(axis.hint for axis in axes)
    return Axis(hint, "plate", like=axes[0]) if len(axes) == 1 else Axis(hint, "plate", of=tuple(axes))


def by_index(each: Placed) -> bool:
    """Whether one of the elements that a square reads is where an index points."""
    places = [(axis, place) for term in each.square.form.terms for axis, place in term.at]
    return any(isinstance(place, Node) and place is not build.position(axis) for axis, place in places)


def every_of(group: Group) -> tuple[Group, ...]:
    return (group, *group.ancestors)


def without(form: Form, names: Collection[str]) -> Form:
    return Form(form.offset, tuple(term for term in form.terms if term.name not in names))


def step(chain: Chain, name: str) -> Placed:
    """What a step reads of states and of others, as what couples them."""
    form = chain.forms[name]
    here = Term(name, tuple((axis, build.position(axis)) for axis in chain.states[name]), build.node(1.0))
    terms = tuple(term for term in form.terms if term.name not in chain.noise)
    return Placed(Square(Form(form.offset, (*terms, here))), form.axes | {*chain.states[name]})


def noise_of(form: Form, chain: Chain, axis: Axis) -> Node:
    """How standard normal numbers enter a state: the coefficients of all of a chain's noise, along an axis."""
    parts, terms = list[tuple[Node, Axis | None]](), {term.name: term for term in form.terms}
    for name, events in chain.noise.items():
        seeds = {event: dense_along(event) for event in events}
        own = merged(name, [*seeds.values()])
        node: Node = build.node(0.0)
        if name in terms:
            node = densified(terms[name], [*seeds], seeds).coefficient
        laid = build.spread(node, [*seeds.values()])
        parts.append((laid if own is None else build.merge(laid, [*seeds.values()], own), own))
    return build.concat(parts, axis)
