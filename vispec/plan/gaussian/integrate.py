"""Factors with all latents integrated out that are jointly Gaussian, and what is asked of their posterior put in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from vispec.factors.laws import ChoiceLaw, DrawLaw, Law, ThenLaw, by_position
from vispec.factors.make import Factors
from vispec.plan.gaussian.block import Block
from vispec.plan.gaussian.chains import Chain, NoChainError, chains_in
from vispec.plan.gaussian.groups import Placed, coupled, step
from vispec.plan.gaussian.moments import Moments, Posteriors
from vispec.plan.gaussian.squares import Square, Squares
from vispec.plan.order.problem import Factor
from vispec.program import build
from vispec.program.affine.fold import Affine
from vispec.program.affine.forms import Form, NotAffineError
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Call, Node, Part
from vispec.program.walk import reads_of, substitute


class NotGaussianError(Exception):
    """A factor that is no Gaussian one: its name, of which latents, and why."""

    def __init__(self, factor: str, names: frozenset[str], why: str):
        self.factor, self.names, self.why = factor, names, why
        super().__init__(why)


def moments(value: Node) -> Moments:
    """The posterior mean and variance of a value that is affine in Gaussian latents, given all else: nodes in whose place
    `without` puts what they are."""
    call = Call("moments", "", ((value, (), ""),), (((), "real"), ((), "real")), ())
    return Moments(Part(call, 0), Part(call, 1))


def without(values: Mapping[str, Node], f: Factors, parts: Sequence[Factor]) -> list[Factor]:
    """The factors with latents integrated out: what is free of them, and log-evidences. values: of each latent, as its law
    makes it of noise. Raises NotGaussianError."""
    try:
        return integrated(values, f, parts, unrolled=False)
    except NoChainError:
        return integrated(values, f, parts, unrolled=True)


def integrated(values: Mapping[str, Node], f: Factors, parts: Sequence[Factor], unrolled: bool) -> list[Factor]:
    """unrolled: whether loops are told in what they draw. Raises NotGaussianError, and NoChainError where they have to be."""
    axes = {name: f.frame.axes_of(f.model.variable[name]) for name in values}
    squares, found, left = Squares(Affine(axes, unrolled)), list[Placed](), list[Factor]()
    forms = {name: gaussian(f"log_{name}", squares.affine.form, value) for name, value in values.items()}
    asked = asked_in(parts, squares.affine)
    for each in parts:
        if any(call in asked for call in reads_of([each.node], Call)):
            left.append(each)
            continue
        told = gaussian(each.name, squares.of, each.node)
        left.append(replace(each, node=told.rest))
        found += [Placed(square, each.plates | square.over) for square in told.squares]
    laws = {name: known for name in values if not build.is_const(known := has_law(f.factors[name].law), 1)}
    read = [*(each.square.form for each in found), *asked.values(), *forms.values()]
    chains = chains_in(read, squares.affine, laws)
    blocks = blocks_of(found, axes, laws, f.numbers, [*asked.values()], chains)
    for block in blocks:
        if block.squares:
            node, kept = block.evidence()
            plates = frozenset(axis for axis in kept if axis.kind == "plate")
            node = build.apply("narrow", build.reduce("sum", node, kept - plates))
            left.append(Factor(f"evidence_{block.name}", node, plates))
    told = answers(asked, blocks)
    return [replace(each, node=node) for each, node in zip(left, substitute([each.node for each in left], told), strict=True)]


Found = TypeVar("Found")


def gaussian(factor: str, read: Callable[[Node], Found], node: Node) -> Found:
    """What is read of a node. Raises NotGaussianError with the factor's name."""
    try:
        return read(node)
    except NotAffineError as error:
        raise NotGaussianError(factor, error.names, error.why) from error


def asked_in(parts: Sequence[Factor], affine: Affine) -> dict[Call, Form]:
    """What moments are asked of in the factors. Raises NotGaussianError."""
    found = dict[Call, Form]()
    for each in parts:
        for call in reads_of([each.node], Call):
            if call.kind == "moments" and call not in found:
                found[call] = gaussian(each.name, affine.form, call.given[0][0])
    return found


def blocks_of(
    squares: list[Placed],
    axes: dict[str, tuple[Axis, ...]],
    laws: dict[str, Node],
    numbers: Numbers,
    asked: Sequence[Form],
    chains: Sequence[Chain],
) -> list[Block]:
    """One for each set of latents that are coupled: noise of chains is none of them, their states are."""
    inner = {name for chain in chains for name in chain.noise}
    free = {name: own for chain in chains for name, own in chain.free.items()}
    axes = {name: own for name, own in axes.items() if name not in inner} | free
    axes |= {name: own for chain in chains for name, own in chain.states.items()}
    laws = {name: law for name, law in laws.items() if name not in inner} | dict.fromkeys(free, build.node(0.0))
    of = {name: chain for chain in chains for name in chain.states}
    placed = [Placed(Square(form), form.axes) for form in asked]
    found = list[Block]()
    for names in coupled([*squares, *(step(chain, name) for name, chain in of.items())], [*axes]):
        own = [each for each in squares if each.square.form.names & {*names}]
        read = [replace(each, square=Square(each.square.form.only(names))) for each in placed]
        known, tied = {n: laws[n] for n in names if n in laws}, {n: of[n] for n in names if n in of}
        found.append(Block({name: axes[name] for name in names}, own, known, numbers, read, tied))
        check_size(found[-1], numbers)
    return found


MOST = 8192
"""Numbers that are integrated at once, whose matrix and its factor take 1 GiB."""


def check_size(block: Block, numbers: Numbers) -> None:
    """Raise NotGaussianError where latents would need a dense matrix that is too large, by the sizes that the spec has: of all
    numbers of a group, or of those of elements apart and what is left."""
    size, names = max((block.many(group, numbers), group.names) for group in block.groups)
    if size > MOST:
        work, gigabytes = f"{size**3 / 3:.1e}".replace("e+", "e"), 16 * size**2 / 1e9
        why = f"one dense matrix of {size:,} x {size:,} numbers, {gigabytes:.1f} GB and {work} multiply-adds a step"
        raise NotGaussianError("", frozenset(names), why)
    for group in block.groups:
        if group.apart is not None:
            rows = numbers.of(group.apart) * block.many(group, numbers)
            columns = 1 + sum(block.many(each, numbers) for each in group.ancestors)
            if rows * columns > MOST**2:
                why = f"one dense matrix of {rows:,} x {columns:,} numbers, {8 * rows * columns / 1e9:.1f} GB"
                raise NotGaussianError("", frozenset(group.names), why)


def answers(asked: dict[Call, Form], blocks: list[Block]) -> dict[Node, Node]:
    """The mean and the variance of each value, over blocks that are independent."""
    found, posteriors = dict[Node, Node](), [Posteriors(block) for block in blocks]
    for call, form in asked.items():
        told = ((each, form.only(each.block.axes)) for each in posteriors)
        parts = [each.of(own) for each, own in told if own.terms]
        mean, variance = (
            build.add(build.node(0.0), *nodes) for nodes in ([p.mean for p in parts], [p.variance for p in parts])
        )
        if parts:
            mean, variance = build.apply("narrow", mean), build.apply("narrow", variance)
        found[Part(call, 0)], found[Part(call, 1)] = build.add(form.offset, mean), variance
    return found


def has_law(law: Law) -> Node:
    """1 for each number that a law says something of, 0 where it is Flat."""
    match law:
        case DrawLaw(name):
            return build.node(0.0 if name == "Flat" else 1.0)
        case ChoiceLaw(test, then, otherwise):
            return build.where(test, has_law(then), has_law(otherwise))
        case ThenLaw(axis, laws):
            return by_position(axis, [has_law(each) for each in laws])
    return build.node(1.0)
