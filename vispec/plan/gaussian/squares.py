"""Log-densities as sums of squares of affine forms in standard normal numbers, or the reason why one is not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from vispec.program import build
from vispec.program.affine.fold import Affine
from vispec.program.affine.forms import Form, NotAffineError, added, dense_along, moved, summed
from vispec.program.axis import Axis
from vispec.program.node import Call, Density, Map, Node, Part, Reduce, Spread

KERNELS = "vispec.kernels.sums.gaussian"
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Square:
    """What a factor adds to the log-density beside a constant, for each element of `over`: -½ form², or where it is linear the
    form itself."""

    form: Form
    over: frozenset[Axis] = frozenset()
    linear: bool = False


@dataclass(frozen=True)
class Quadratic:
    """The log of a factor: a node that is free of the latents, and squares."""

    rest: Node
    squares: tuple[Square, ...] = ()


class Squares:
    """Raises NotAffineError with what stands in the way."""

    def __init__(self, affine: Affine):
        self.affine = affine

    def of(self, node: Node) -> Quadratic:
        names = self.affine.below(node)
        if not names:
            return Quadratic(node)
        match node:
            case Density("Normal", value, ((_, loc, _), (_, scale, _))):
                self.free(scale, "a scale that reads")
                scaled = self.error(value, loc).mapped(lambda each: build.apply("div", each, scale))
                return Quadratic(build.sub(build.neg(build.log(scale)), HALF_LOG_2PI), (Square(scaled),))
            case Density("MultivariateNormal", value, ((_, loc, own), (_, factor, (row, column))), (event,)):
                self.free(factor, "a scale that reads")
                error = self.error(value, build.rename(loc, {own[-1]: event}) if own else loc)
                return whitened(error, factor, row, column, event)
            case Reduce("sum", arg, over):
                found = self.of(arg)
                squares = (replace(square, over=square.over | {*over}) for square in found.squares)
                return Quadratic(build.reduce("sum", found.rest, over), tuple(squares))
            case Spread(arg, over):
                found = self.of(arg)
                return Quadratic(build.spread(found.rest, over), tuple(spread(square, over) for square in found.squares))
            case Map("where", (test, then, otherwise)):
                self.free(test, "a condition that reads")
                one, other = self.of(then), self.of(otherwise)
                squares = [masked(each, test) for each in one.squares]
                squares += [masked(each, build.apply("not", test)) for each in other.squares]
                return Quadratic(build.where(test, one.rest, other.rest), tuple(squares))
            case Map("add", operands):
                parts = [self.of(each) for each in operands]
                return Quadratic(build.add(*(each.rest for each in parts)), tuple(s for each in parts for s in each.squares))
            case Density(law):
                raise NotAffineError(node, names, f"{law} of {listed(names)}")
        return Quadratic(build.node(0.0), (Square(self.affine.form(node), linear=True),))

    def error(self, value: Node, loc: Node) -> Form:
        return added([self.affine.form(value), self.affine.form(loc).mapped(build.neg)])

    def free(self, node: Node, what: str) -> None:
        if names := self.affine.below(node):
            raise NotAffineError(node, names, f"{what} {listed(names)}")


def listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))


def whitened(error: Form, factor: Node, row: Axis, column: Axis, event: Axis) -> Quadratic:
    """Of a vector with a covariance: independent entries, L⁻¹ (x - loc)."""
    other = dense_along(event)
    call = Call("kernel", f"{KERNELS}:inverse_factor", ((factor, (row, column), ""),), (((row, column), "real"),), ())
    inverse = build.rename(Part(call, 0), {row: event, column: other})
    form = moved(error, lambda each: build.rename(each, {event: other})).times(inverse)
    zero = build.spread(build.node(0.0), (event,))
    rest = Density("MultivariateNormal", zero, (("loc", zero, (event,)), ("scale_tril", factor, (row, column))), (event,))
    return Quadratic(rest, (Square(summed(form, other), frozenset({event})),))


def spread(square: Square, over: Iterable[Axis]) -> Square:
    return replace(square, form=Form(build.spread(square.form.offset, over), square.form.terms))


def masked(square: Square, test: Node) -> Square:
    return replace(square, form=square.form.mapped(lambda each: build.where(test, each, 0.0)))
