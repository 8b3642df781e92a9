"""A branch that is not taken sends no gradient, whatever its value.

where(test, f(x), y) → where(test, f(where(test, x, s)), y) where f is singular somewhere, s a number at which it is not; else
0 · ∞ would arrive at x. Only where needed: f's argument is left alone where it is surely at a regular point, or where no
gradient goes through the branch. Past the ends of ragged plates data hold valid numbers; there exponentials need no guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.facts import least, moving, positive
from vispec.program.node import Call, Const, Density, Link, Map, Node, Part, Position, Reduce, Rename, Scan, Spread
from vispec.program.program import Program
from vispec.program.walk import nodes, with_fields
from vispec.rewrite.masks import Masks
from vispec.rewrite.rules import Rule


@dataclass(frozen=True)
class Singular:
    """place: the operand at fault. safe: the number that stands for it. regular: whether it is surely at a regular point."""

    place: int
    safe: float
    regular: Callable[[Sequence[Node]], bool]


def _falling(args: Sequence[Node]) -> bool:
    """Whether an exponent is surely no large number."""
    match args[0]:
        case Map("neg", (inner,)):
            return least(inner) > -80
        case Map("log_sigmoid") | Link("log_softmax"):
            return True
        case Const():
            return True
        case Map("mul", operands):  # a square by a negative number
            negative = [each for each in operands if isinstance(each, Const) and each.value < 0]
            return len(negative) == 1 and all(least(each) >= 0 for each in operands if each not in negative)
    return False


def _may_be_of_none(found: Reduce) -> bool:
    """Whether the least or the greatest of no elements, an infinity, may be among them."""
    if found.op not in ("min", "max"):
        return False
    arg = found.arg
    while isinstance(arg, Rename | Spread):
        arg = arg.arg
    chosen = isinstance(arg, Map) and any(isinstance(each, Const) and abs(each.value) == inf for each in arg.operands)
    return chosen or any(axis.lengths is not None for axis in found.over)


def _apart_from_0(args: Sequence[Node]) -> bool:
    return positive(args[-1]) or (isinstance(args[-1], Const) and args[-1].value != 0)


SINGULAR: dict[str, Singular] = {
    "exp": Singular(0, 0.0, _falling),
    "expm1": Singular(0, 0.0, _falling),
    "log": Singular(0, 1.0, lambda args: positive(args[0])),
    "log1p": Singular(0, 0.0, lambda args: least(args[0]) > -1),
    "sqrt": Singular(0, 1.0, lambda args: positive(args[0])),
    "div": Singular(1, 1.0, _apart_from_0),
    "pow": Singular(0, 1.0, lambda args: positive(args[0]) and isinstance(args[1], Const)),
    "lgamma": Singular(0, 1.0, lambda args: positive(args[0])),
}
EXPONENTIALS = frozenset({"exp", "expm1"})
CASTS = "vispec.kernels.casts:"
LINEAR = frozenset({"add", "sub", "neg", "where", "real"})
"""Through these, and through reductions, an infinite value sends a finite gradient; and log itself sends 0 where none arrives
(see the kernel log_of)."""


class Guards:
    """replaced: what stands for a node inside a branch."""

    def __init__(self) -> None:
        self.replaced: dict[Node, Node] = {}

    def rule(self, found: Node) -> Node | None:
        match found:
            case Map("where", (test, then, otherwise)) if not isinstance(test, Const):
                padding = _is_inside(test)
                first = self.safe(test, padding, then)
                second = self.safe(build.apply("not", test), padding, otherwise)
                return build.where(test, first, second) if first is not then or second is not otherwise else None
        return None

    def safe(self, test: Node, padding: bool, branch: Node) -> Node:
        if not moving(branch):
            return branch
        guard = Guard(test, padding)
        found = guard.safe(branch)
        self.replaced |= {old: new for old, new in guard.known.items() if old is not new}
        return found


def _is_inside(test: Node) -> bool:
    """Whether a test says which elements of ragged plates count, and no more."""
    match test:
        case Map("lt", (Position(axis), lengths)):
            return axis.lengths is lengths
        case Map("and", tests):
            return all(map(_is_inside, tests))
    return False


class Guard:
    """What is computed in a branch, regular where the branch is not taken. padding: whether that is past ragged ends alone."""

    def __init__(self, test: Node, padding: bool):
        self.test, self.padding = test, padding
        self.known: dict[Node, Node] = {}

    def safe(self, root: Node) -> Node:
        """Elementwise operations from the branch down, as far as the test's axes are those of the branch."""
        order = list(nodes([root]))
        self.steep = set[Node]()
        for found in reversed(order):
            linear = isinstance(found, Spread | Rename | Reduce) or (isinstance(found, Map) and found.op in LINEAR)
            if found in self.steep or not linear:
                self.steep |= {*found.args}
        for found in order:
            self.known.setdefault(found, self.made(found))
        return self.known[root]

    def made(self, found: Node) -> Node:
        match found:
            case Map(op, operands):
                args = [self.known[each] for each in operands]
                singular = SINGULAR.get(op)
                if singular is not None and not self.harmless(found) and not singular.regular(operands):
                    args[singular.place] = self.guarded(args[singular.place], singular.safe)
                return build.apply(op, *args) if any(a is not b for a, b in zip(args, operands, strict=True)) else found
            case Spread(arg, over):
                return build.spread(self.known[arg], over)
            case Scan(empty=Const(value)) if abs(value) == inf:
                return self.guarded(found, 0.0)
            case Rename(arg, pairs) if not {axis for pair in pairs for axis in pair} & self.test.axes:
                return build.rename(self.known[arg], dict(pairs))
            case Reduce(op, arg, over):
                made = found if {*over} & self.test.axes else build.reduce(op, self.known[arg], over)
                return self.guarded(made, 0.0) if _may_be_of_none(found) else made
            case Density(law, value, params, events) if not {*events} & self.test.axes:
                new = tuple((name, self.known[param], own) for name, param, own in params)
                return Density(law, self.known[value], new, events)
            case Part(Call(kind="kernel", name=name) as call) if name.startswith(CASTS):
                return with_fields(found, lambda _: with_fields(call, lambda arg: self.known[arg]))
        return found

    def harmless(self, found: Map) -> bool:
        """Whether its singular points do no harm here."""
        if self.padding and found.op in EXPONENTIALS:
            return True
        return found not in self.steep and (found.op == "log" or not moving(found))

    def guarded(self, arg: Node, safe: float) -> Node:
        """The argument where some use of it is in the branch, a safe number elsewhere."""
        elsewhere = self.test.axes - arg.axes
        test = among_all(self.test, frozenset(axis for axis in elsewhere if axis.kind == "joint"))
        elsewhere &= test.axes
        test = build.reduce("any", test, elsewhere) if elsewhere else test
        return build.where(test, arg, safe)


def among_all(test: Node, joint: frozenset[Axis]) -> Node:
    """What a test says of an argument that all joint values read: whatever else they are asked, some of them pass it."""
    if not joint & test.axes:
        return test
    match test:
        case Map("and", tests):
            return build.both(*(among_all(each, joint) for each in tests))
    return Const(True)


def rewrite(program: Program, numbers: Numbers) -> Program:
    guards = Guards()
    found = program.rewritten(guards.rule)
    named = {new: found.hints[old] for old, new in guards.replaced.items() if old in found.hints}
    return Program(found.outputs, {**named, **found.hints}, found.spans).rewritten(Masks().rule)


WHAT = "branches that are not taken send no gradient"
ENTRY = Rule(name="guard", what=WHAT, rewrite=rewrite, after=("choices", "lengths", "masks"), needed=True)
