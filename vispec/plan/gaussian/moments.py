"""Posterior moments of Gaussian latents: they come back from what was integrated last to what was integrated first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from vispec.plan.gaussian.block import APART, CHAIN, Block, Results
from vispec.plan.gaussian.squares import KERNELS
from vispec.program import build
from vispec.program.affine.forms import Form
from vispec.program.axis import Axis
from vispec.program.node import Call, Node, Part


@dataclass(frozen=True)
class Moments:
    """Of a value that is affine in the latents: its posterior mean and variance."""

    mean: Node
    variance: Node


@dataclass(frozen=True)
class Posterior:
    """The mean along `row`, the covariance along `row` and `column`; across: that with the ancestors' numbers, along `row` and
    `beside`, of a group apart."""

    mean: Node
    covariance: Node
    row: Axis
    column: Axis
    across: Node | None
    beside: Axis


@dataclass(frozen=True)
class Posteriors:
    """Of the latents of a block."""

    block: Block

    @cached_property
    def each(self) -> dict[int, Posterior]:
        """Of each group's numbers and its ancestors'; of a group apart of its own, and how these vary with its ancestors'."""
        found = dict[int, Posterior]()
        for at in reversed(range(len(self.block.groups))):
            group, given = self.block.groups[at], [*self.block.eliminated[at].given]
            row, column = Axis("e", "event"), Axis("e'", "event")
            parent = None if group.parent is None else found[self.block.groups.index(group.parent)]
            if parent is not None:
                given += [(parent.mean, (parent.row,), "mean"), (parent.covariance, (parent.row, parent.column), "covariance")]
            lead = group.chain.axis if group.chain is not None else group.apart
            along = () if lead is None else (lead,)
            beside = Axis("r", "event")
            results: Results = (((*along, row), "real"), ((*along, row, column), "real"))
            crossed: Results = (((*along, row, beside), "real"),)
            if group.apart is not None:
                kernel, results = f"{APART}:moments_apart", (*results, *crossed)
            else:
                kernel = f"{KERNELS}:moments" if group.chain is None else f"{CHAIN}:moments_of_chain"
            call = Call("kernel", kernel, tuple(given), results, self.block.size(group) if lead is None else ())
            across = Part(call, 2) if group.apart is not None and parent is not None else None
            found[at] = Posterior(Part(call, 0), Part(call, 1), row, column, across, beside)
        return found

    def of(self, form: Form) -> Moments:
        """Of the part of a form that reads latents of this block; the offset is none of it."""
        at = min(self.block.groups.index(self.block.group[term.name]) for term in form.terms)
        group, found = self.block.groups[at], self.each[at]
        places = {axis: place for axis, place in self.block.places(form, group).items() if place is not build.position(axis)}
        mean, covariance = build.pick(found.mean, places), build.pick(found.covariance, places)
        laid = self.block.laid(Form(build.node(0.0), form.terms))
        if group.apart is None:
            vector = build.apply("wide", self.block.vector(laid, group.every, found.row, None))
            return quadratic(vector, mean, covariance, found)
        vector = build.apply("wide", self.block.vector(laid, (group,), found.row, None))
        own = quadratic(vector, mean, covariance, found)
        above = form.without(group.names)
        if not above.terms or found.across is None:
            return own
        rest = self.of(above)
        others = build.apply("wide", self.block.vector(laid, group.ancestors, found.beside, None))
        both = build.contract((vector, build.pick(found.across, places), others), (found.row, found.beside))
        return Moments(build.add(own.mean, rest.mean), build.add(own.variance, rest.variance, build.mul(2.0, both)))


def quadratic(vector: Node, mean: Node, covariance: Node, found: Posterior) -> Moments:
    """Of a sum of numbers, each times an entry of a vector."""
    row, column = found.row, found.column
    other = build.rename(vector, {row: column})
    return Moments(build.contract((vector, mean), (row,)), build.contract((vector, covariance, other), (row, column)))
