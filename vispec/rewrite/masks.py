"""What is added up or compared along a ragged axis: elements that do not count are made neutral, then all are taken.

`sum` of x along i → sum of where(inside, x, 0) along an axis with as many elements, all of which count."""

from __future__ import annotations

from math import inf

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.facts import below_infinity, count_or_one, moving
from vispec.program.node import Const, Input, Link, Map, Node, Part, Pick, Reduce, Rename, Spread
from vispec.program.program import Program
from vispec.rewrite.rules import Rule

NEUTRAL = {"sum": 0.0, "log_sum_exp": -inf, "total": -inf, "max": -inf, "min": inf, "all": True, "any": False}
WHOLE = {"sum": 0, "max": -(2**62), "min": 2**62}
"""The number, by dtype, that changes nothing."""


class Masks:
    """dense: for each ragged axis one with as many elements that all count."""

    def __init__(self) -> None:
        self.dense: dict[Axis, Axis] = {}

    def rule(self, node: Node) -> Node | None:
        match node:
            case Reduce(op, arg, over) if ragged := [axis for axis in over if axis.lengths is not None]:
                return self.masked_reduce(op, arg, over, ragged)
            case Link("softmax" | "log_softmax" as op, arg, over) if ragged := [
                axis for axis in over if axis.lengths is not None
            ]:
                new = self.renamed(ragged)
                masked = build.rename(inside(arg, build.both(*map(inside_or_first, ragged)), -inf), new)
                found = build.link(op, masked, tuple(new.get(axis, axis) for axis in over))
                return build.rename(found, {dense: axis for axis, dense in new.items()})
        return None

    def masked_reduce(self, op: str, arg: Node, over: tuple[Axis, ...], ragged: list[Axis]) -> Node:
        neutral = WHOLE.get(op, 0) if arg.dtype == "int" else NEUTRAL[op]
        if arg.dtype == "bool" and op in ("sum", "max", "min"):
            neutral = op == "min"
        new = self.renamed(ragged)
        masked = (
            arg if is_neutral_outside(arg, ragged, neutral) else inside(arg, build.both(*map(build.inside, ragged)), neutral)
        )
        return build.reduce(op, build.rename(masked, new), tuple(new.get(axis, axis) for axis in over))

    def renamed(self, ragged: list[Axis]) -> dict[Axis, Axis]:
        for axis in ragged:
            self.dense.setdefault(axis, Axis(axis.hint, axis.kind, axis.size, None, axis, axis.of))
        return {axis: self.dense[axis] for axis in ragged}


def inside_or_first(axis: Axis) -> Node:
    """Which elements count; where none may, the first: a softmax of nothing is no number."""
    return build.lt(build.position(axis), count_or_one(axis))


def inside(arg: Node, counts: Node, neutral: float | bool) -> Node:
    """The value where an element counts, the neutral one elsewhere."""
    if arg.dtype == "bool":
        return build.apply("or", build.apply("not", counts), arg) if neutral else build.both(counts, arg)
    if neutral == -inf and isinstance(arg, Map) and arg.op == "add" and (place := smallest(arg, counts)) is not None:
        masked = build.where(counts, arg.operands[place], neutral)
        return build.add(*arg.operands[:place], masked, *arg.operands[place + 1 :])
    return build.where(counts, arg, neutral)


def smallest(total: Map, counts: Node) -> int | None:
    """The place of the one term that must be masked: it has fewer axes than the sum, and all others are regular everywhere."""
    terms = total.operands
    found = min(range(len(terms)), key=lambda at: (len(terms[at].axes | counts.axes), moving(terms[at])))
    others = (term for at, term in enumerate(terms) if at != found)
    return found if len(terms[found].axes | counts.axes) < len(total.axes) and all(map(is_regular, others)) else None


def is_regular(term: Node) -> bool:
    """Whether it is below infinity, and sends finite gradients: what softmax, or nothing, makes of nets and parameters."""
    if not below_infinity(term):
        return False
    while isinstance(term, Link | Pick | Rename | Spread):
        term = term.args[0]
    return isinstance(term, Input | Part) or not moving(term)


def is_neutral_outside(arg: Node, ragged: list[Axis], neutral: float | bool) -> bool:
    """Whether it is so already: by a choice of its own, or as a sum of what is -inf there and of what is below ∞."""
    wanted = {build.inside(axis) for axis in ragged}
    match arg:
        case Map("where", (test, _, Const(value))) if value == neutral:
            return wanted <= conditions(test)
        case Map("and") | Map("lt") if neutral is False:
            return wanted <= conditions(arg)
        case Map("add", operands) if neutral == -inf:
            masked = [each for each in operands if is_neutral_outside(each, ragged, neutral)]
            return bool(masked) and all(below_infinity(each) for each in operands if each not in masked)
    return False


def conditions(test: Node) -> set[Node]:
    """All of what a test asks for."""
    return {*test.operands} if isinstance(test, Map) and test.op == "and" else {test}


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(Masks().rule)


WHAT = "what does not count along a ragged axis is made neutral"
ENTRY = Rule(name="masks", what=WHAT, rewrite=rewrite, after=("joint_values", "sums_by_index"), needed=True)
