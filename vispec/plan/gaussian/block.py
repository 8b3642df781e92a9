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

from vispec.plan.gaussian.chains import Chain, NoChainError
from vispec.plan.gaussian.groups import Group, Placed, all_own, ordered_groups
from vispec.plan.gaussian.squares import KERNELS, Square
from vispec.program import build
from vispec.program.affine.forms import Form, Term, added, dense_along, densified
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers
from vispec.program.node import Call, Dtype, Node, Part
from vispec.program.size import Size

Results = tuple[tuple[tuple[Axis, ...], Dtype], ...]
CHAIN = "vispec.kernels.sums.gaussian_chain"
ONE, ONE_TOO = Axis("1", "event", Size.of(1)), Axis("1'", "event", Size.of(1))


@dataclass(frozen=True)
class Moments:
    """Of a value that is affine in the latents: its posterior mean and variance."""

    mean: Node
    variance: Node


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
        self.groups = ordered_groups(axes, dense, [*squares, *steps], numbers, chains)
        self.group = {name: group for group in self.groups for name in group.names}
        self.seeds = {name: {axis: dense_along(axis) for axis in ordered(of)} for name, of in dense.items()}
        self.own_columns = {name: self.column(name) for name in axes}
        for group in self.groups:
            size = self.number(group)
            group.row, group.column = Axis("e", "event", size), Axis("e'", "event", size)
        self.squares = [replace(each, square=replace(each.square, form=self.laid(each.square.form))) for each in squares]

    @property
    def name(self) -> str:
        return "_".join(re.sub(r"\W+", "_", name) for name in self.axes)

    def column(self, name: str) -> Axis | None:
        """The axis of all numbers that a latent has for an element of its group; None where that is one."""
        seeds = [*self.seeds[name].values()]
        return None if not seeds else seeds[0] if len(seeds) == 1 else Axis(name, "event", size_of(seeds))

    def number(self, group: Group) -> Size | None:
        """How many columns a group has, where that is known."""
        return sum_of([None, *(own for _, own in self.columns(group))])

    def many(self, group: Group, numbers: Numbers) -> int:
        """How many numbers of a group are integrated at once."""
        return sum(1 if own is None else numbers.of(own) for own in (self.own_columns[name] for name in group.names))

    def columns(self, group: Group) -> list[tuple[str, Axis | None]]:
        return [(name, self.own_columns[name]) for each in (group, *group.ancestors) for name in each.names]

    # ---- squares as matrices

    def laid(self, form: Form) -> Form:
        """Its terms along the axes of all numbers of each latent."""
        terms = (densified(t, [*self.seeds[t.name]], self.seeds[t.name]) for t in form.terms if t.name in self.axes)
        return added([Form(form.offset), *(Form(build.node(0.0), (term,)) for term in terms)])

    def vector(self, form: Form, group: Group, axis: Axis, last: Node | None) -> Node:
        """The coefficients of a form along the numbers of a group and of its ancestors, and then `last`."""
        terms = {term.name: term for term in form.terms}
        parts = [(self.part(terms.get(name), name, own), own) for name, own in self.columns(group)]
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
        square, over = each.square, each.axes - group.own
        there = build.both(*(build.inside(axis) for axis in ordered(each.axes)))
        vector = build.spread(self.vector(square.form, group, group.row, square.form.offset), ordered(over))
        vector = build.apply("wide", build.where(there, vector, 0.0))
        swapped = {group.row: group.column}
        if not square.linear:
            factors = (vector, build.rename(vector, swapped))
            return build.contract(factors, over) if over else build.mul(*factors)
        last = self.vector(Form(build.node(0.0)), group, group.column, build.node(1.0))
        crossed = build.neg(build.mul(build.reduce("sum", vector, over), last))
        return build.add(crossed, build.rename(crossed, {group.row: group.column, group.column: group.row}))

    @cached_property
    def eliminated(self) -> dict[int, tuple[Node, Call]]:
        """Of each group its matrix, those of what was integrated before it counted in, and its elimination."""
        place = {name: at for at, group in enumerate(self.groups) for name in group.names}
        left = [list[Node]() for _ in self.groups]
        for each in self.squares:
            first = min(place[name] for name in each.square.form.names)
            left[first].append(self.gram(each, self.groups[first]))
        found = dict[int, tuple[Node, Call]]()
        for at, group in enumerate(self.groups):
            matrix = build.add(*left[at]) if left[at] else self.nothing(group)
            matrix = build.spread(matrix, (group.row, group.column, *ordered(group.own)))
            parent = group.parent
            one, other = (ONE, ONE_TOO) if parent is None else (parent.row, parent.column)
            results: Results = (((one, other), "real"), ((), "real"))
            if group.chain is not None:
                call = Call("kernel", f"{CHAIN}:eliminate_chain", self.told(group, group.chain, matrix), results, ())
            else:
                given = ((matrix, (group.row, group.column), ""), *self.prior(group))
                call = Call("kernel", f"{KERNELS}:eliminate", given, results, self.size(group))
            if parent is not None:
                left[self.groups.index(parent)].append(build.reduce("sum", Part(call, 0), group.left - parent.own))
            found[at] = matrix, call
        return found

    def nothing(self, group: Group) -> Node:
        """The matrix where no square reads a group."""
        zeros = [self.vector(Form(build.node(0.0)), group, axis, build.node(0.0)) for axis in (group.row, group.column)]
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
                    vector = self.vector(laid, group, axis, laid.offset)
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
            _, call = self.eliminated[at]
            if group.parent is None:
                rest = build.pick(Part(call, 0), {ONE: build.node(0), ONE_TOO: build.node(0)})
                parts.append(build.reduce("sum", build.mul(-0.5, rest), group.left - kept))
            parts.append(build.neg(build.reduce("sum", Part(call, 1), group.left - kept)))
        return build.add(*parts), kept

    @cached_property
    def posterior(self) -> dict[int, tuple[Node, Node, Axis, Axis]]:
        """Of each group the means and covariances of its numbers and its ancestors', along two axes."""
        found = dict[int, tuple[Node, Node, Axis, Axis]]()
        for at in reversed(range(len(self.groups))):
            group, (matrix, _) = self.groups[at], self.eliminated[at]
            row, column = Axis("e", "event"), Axis("e'", "event")
            chain = group.chain
            given: list[tuple[Node, tuple[Axis, ...], str]] = (
                [(matrix, (group.row, group.column), ""), *self.prior(group)]
                if chain is None
                else [*self.told(group, chain, matrix)]
            )
            if group.parent is not None:
                mean, covariance, above, beside = found[self.groups.index(group.parent)]
                given += [(mean, (above,), "mean"), (covariance, (above, beside), "covariance")]
            lead = () if chain is None else (chain.axis,)
            results: Results = (((*lead, row), "real"), ((*lead, row, column), "real"))
            kernel = f"{KERNELS}:moments" if chain is None else f"{CHAIN}:moments_of_chain"
            call = Call("kernel", kernel, tuple(given), results, self.size(group) if chain is None else ())
            found[at] = Part(call, 0), Part(call, 1), row, column
        return found

    def moments(self, form: Form) -> Moments:
        """Of the part of a form that reads latents of this block; the offset is none of it."""
        form = self.laid(Form(build.node(0.0), form.terms))
        at = min(self.groups.index(self.group[term.name]) for term in form.terms)
        mean, covariance, row, column = self.posterior[at]
        vector = build.apply("wide", self.vector(form, self.groups[at], row, None))
        other = build.rename(vector, {row: column})
        return Moments(build.contract((vector, mean), (row,)), build.contract((vector, covariance, other), (row, column)))


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
        own = (
            None
            if not seeds
            else next(iter(seeds.values()))
            if len(seeds) == 1
            else Axis(name, "event", size_of([*seeds.values()]))
        )
        node: Node = build.node(0.0)
        if name in terms:
            node = densified(terms[name], [*seeds], seeds).coefficient
        laid = build.spread(node, [*seeds.values()])
        parts.append((laid if own is None else build.merge(laid, [*seeds.values()], own), own))
    return build.concat(parts, axis)


def sum_of(axes: Sequence[Axis | None]) -> Size | None:
    """How many elements they have one after the other, None being one, where that is known."""
    found = Size.of(0)
    for axis in axes:
        if axis is not None and axis.origin.size is None:
            return None
        found = found + (Size.of(1) if axis is None or axis.origin.size is None else axis.origin.size)
    return found


def size_of(axes: Sequence[Axis]) -> Size | None:
    """The product of their sizes, where all are known."""
    found = Size.of(1)
    for axis in axes:
        if axis.origin.size is None:
            return None
        found = found * axis.origin.size
    return found
