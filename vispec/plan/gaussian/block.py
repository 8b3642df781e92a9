"""The integral over one set of coupled latents, and their posterior moments.

    ∫ N(e; 0, 1) Π exp(-r(e)² / 2) de = exp(-(c - bᵀ A⁻¹ b) / 2) |A|^(-1/2),    [[A, b], [bᵀ, c]] = I + Σ r rᵀ over e and 1

Each latent is its law's location plus its scale times standard normal numbers e, so that a scale may be 0. Those that each
element of their plates has for itself are integrated there, the deepest plates first; what is left of the sum of squares goes
on to those of the plates around (a Schur complement), and posterior moments come back from these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from vispec.plan.gaussian.chains import Chain, NoChainError, noise_of
from vispec.plan.gaussian.groups import Group, Placed, all_own, ordered_groups, pointed, step
from vispec.plan.gaussian.matrices import FEW_KERNELS, Matrices
from vispec.plan.gaussian.sizes import merged, sum_of
from vispec.plan.gaussian.squares import KERNELS
from vispec.program import build
from vispec.program.affine.forms import Form, dense_along
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers
from vispec.program.node import Call, Dtype, Node, Part
from vispec.program.size import Size

Results = tuple[tuple[tuple[Axis, ...], Dtype], ...]
APART = "vispec.kernels.sums.gaussian_apart"
CHAIN = "vispec.kernels.sums.gaussian_chain"
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


class Block(Matrices):
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
        self.own_columns = {name: merged(name, [*own.values()]) for name, own in self.seeds.items()}
        for group in self.groups:
            size = self.number_of(group.every, 1)
            if group.apart is not None and self.are_few(group.every):
                group.apart, group.few = None, group.apart
            group.row, group.column = Axis("e", "event", size), Axis("e'", "event", size)
        self.squares = [
            replace(each, square=replace(each.square, form=each.square.form.without(each.square.form.names - {*axes})))
            for each in squares
        ]

    @property
    def name(self) -> str:
        return "_".join(re.sub(r"\W+", "_", name) for name in self.axes)

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
        kernel = f"{FEW_KERNELS}:eliminate_few" if self.are_few(group.every) else f"{KERNELS}:eliminate"
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
        rest = [replace(each, square=replace(each.square, form=each.square.form.without(group.names))) for each in squares]
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
        zero, groups = build.node(0.0), group.every
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
                    vector = self.vector(laid, group.every, axis, laid.offset)
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
