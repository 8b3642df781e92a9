"""Factors with all latents integrated out that are jointly Gaussian, and what is asked of their posterior put in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vispec.factors.laws import ChoiceLaw, DrawLaw, Law, ThenLaw, by_position
from vispec.factors.make import Factors
from vispec.plan.gaussian.block import Block, Moments
from vispec.plan.gaussian.groups import Placed, coupled
from vispec.plan.gaussian.squares import Square, Squares
from vispec.plan.order.problem import Factor
from vispec.program import build
from vispec.program.affine import Affine, Form, NotAffineError
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
    """The factors with latents integrated out: what is free of them, and log-evidences. values: of each latent, as its law makes
    it of noise. Raises NotGaussianError."""
    names = [*values]
    frame, model = f.frame, f.model
    axes = {name: (*map(frame.plate, model.variable[name].plates), *frame.shape(model.variable[name].type)) for name in names}
    squares, found, left = Squares(Affine(axes)), list[Placed](), list[Factor]()
    for name, value in values.items():
        try:
            squares.affine.form(value)
        except NotAffineError as error:
            raise NotGaussianError(f"log_{name}", error.names, error.why) from error
    asked = asked_in(parts, squares.affine)
    for each in parts:
        if reads_of([each.node], Call) and any(call in asked for call in reads_of([each.node], Call)):
            left.append(each)
            continue
        try:
            told = squares.of(each.node)
        except NotAffineError as error:
            raise NotGaussianError(each.name, error.names, error.why) from error
        left.append(replace(each, node=told.rest))
        found += [Placed(square, each.plates | square.over) for square in told.squares]
    laws = {name: known for name in names if not build.is_const(known := has_law(f.factors[name].law), 1)}
    blocks = blocks_of(found, axes, laws, numbers_of(f), [*asked.values()])
    for block in blocks:
        if block.squares:
            node, kept = block.evidence()
            plates = frozenset(axis for axis in kept if axis.kind == "plate")
            node = build.apply("narrow", build.reduce("sum", node, kept - plates))
            left.append(Factor(f"evidence_{'_'.join(block.axes)}", node, plates))
    told = answers(asked, blocks)
    return [replace(each, node=node) for each, node in zip(left, substitute([each.node for each in left], told), strict=True)]


def asked_in(parts: Sequence[Factor], affine: Affine) -> dict[Call, Form]:
    """What moments are asked of in the factors. Raises NotGaussianError."""
    found = dict[Call, Form]()
    for each in parts:
        for call in reads_of([each.node], Call):
            if call.kind == "moments" and call not in found:
                try:
                    found[call] = affine.form(call.given[0][0])
                except NotAffineError as error:
                    raise NotGaussianError(each.name, error.names, error.why) from error
    return found


def blocks_of(
    squares: list[Placed], axes: dict[str, tuple[Axis, ...]], laws: dict[str, Node], numbers: Numbers, asked: Sequence[Form]
) -> list[Block]:
    """One for each set of latents that are coupled."""
    placed = [Placed(Square(form), form.axes) for form in asked]
    found = list[Block]()
    for names in coupled(squares, [*axes]):
        own = [each for each in squares if each.square.form.names & {*names}]
        read = [replace(each, square=Square(only(each.square.form, names))) for each in placed]
        found.append(Block({name: axes[name] for name in names}, own, {n: laws[n] for n in names if n in laws}, numbers, read))
    return found


def only(form: Form, names: Sequence[str]) -> Form:
    return Form(form.offset, tuple(term for term in form.terms if term.name in names))


def answers(asked: dict[Call, Form], blocks: list[Block]) -> dict[Node, Node]:
    """The mean and the variance of each value, over blocks that are independent."""
    found = dict[Node, Node]()
    for call, form in asked.items():
        parts = [block.moments(own) for block in blocks if (own := only(form, [*block.axes])).terms]
        mean, variance = (build.add(build.node(0.0), *nodes) for nodes in ([p.mean for p in parts], [p.variance for p in parts]))
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


def numbers_of(f: Factors) -> Numbers:
    return Numbers({size.name: size.value for size in f.model.sizes if size.value is not None})
