"""Expressions of Python as trees of pieces, each with how strongly it binds; parentheses stand where they must."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vispec.program.node import Node

LOWEST, CONDITION, NOT, COMPARE, OR, XOR, AND, SUM, TERM, UNARY, POWER, POSTFIX = range(12)
"""How strongly an expression binds, from the weakest on."""


@dataclass(frozen=True)
class Slot:
    """The value of a node: the name of its line, or its expression, in parentheses where that binds less than `level`.

    named: whether it reads better with a name, unless it is one already."""

    node: Node
    level: int = LOWEST
    named: bool = False


@dataclass(frozen=True)
class Args:
    """A list in brackets, which may be broken into lines."""

    open: str
    items: tuple[Code, ...]
    close: str


@dataclass(frozen=True)
class Global:
    """A name of the file: a kernel with the module that defines it, or `F`."""

    name: str
    module: str = ""


@dataclass(frozen=True)
class Attribute:
    """Something that the module holds: kind "size", "parameter", "net", "buffer", by its name in the spec."""

    kind: str
    name: str


@dataclass(frozen=True)
class Told:
    """In the body of a loop: the number of the step (index None), or an output `lag` steps back (0: of this one, -1: as a
    sequence of one, None: all),
    where the loop's axis has that place among its dimensions."""

    loop: str
    index: int | None = None
    lag: int | None = None
    place: int = 0


Piece = str | Slot | Args | Global | Attribute | Told


@dataclass(frozen=True)
class Code:
    """operators: the places of the pieces before which a long expression may be broken."""

    pieces: tuple[Piece, ...]
    level: int = POSTFIX
    operators: tuple[int, ...] = ()


def text(code: str, level: int = POSTFIX) -> Code:
    return Code((code,), level)


def number(value: float | int | bool, real: bool = False) -> Code:
    """A constant; `real`: as a floating one."""
    if isinstance(value, bool):
        return text(str(value)) if not real else text(str(float(value)))
    if value != value:
        return text("torch.nan")
    if value in (float("inf"), -float("inf")):
        return text("torch.inf") if value > 0 else text("-torch.inf", UNARY)
    return text(repr(float(value) if real else value), UNARY if value < 0 else POSTFIX)


def within(code: Code, level: int, named: bool = False) -> tuple[Piece, ...]:
    """The pieces of a part of an expression that must bind at least so strongly."""
    if len(code.pieces) == 1 and isinstance(slot := code.pieces[0], Slot):
        return (Slot(slot.node, max(level, slot.level), named or slot.named),)
    return code.pieces if code.level >= level else ("(", *code.pieces, ")")


def call(function: Code | str | Global, *args: Code, **keywords: Code) -> Code:
    head = within(function, POSTFIX) if isinstance(function, Code) else (function,)
    named = [Code((f"{name}=", *within(value, LOWEST)), LOWEST) for name, value in keywords.items()]
    return Code((*head, Args("(", (*args, *named), ")")))


def method(of: Code, name: str, *args: Code, named: bool = False, **keywords: Code) -> Code:
    return call(Code((*within(of, POSTFIX, named), f".{name}")), *args, **keywords)


def attribute(of: Code, name: str) -> Code:
    return Code((*within(of, POSTFIX, True), f".{name}"))


def index(of: Code, items: Sequence[str | Code]) -> Code:
    """of[items]; the indexed value reads better with a name."""
    found = tuple(text(item) if isinstance(item, str) else item for item in items)
    return Code((*within(of, POSTFIX, True), Args("[", found, "]")))


def unary(op: str, of: Code) -> Code:
    level = NOT if op == "not " else UNARY
    return Code((op, *within(of, level)), level)


def negated(of: Code) -> Code | None:
    """x where the expression is -x."""
    if of.level != UNARY or of.pieces[:1] != ("-",):
        return None
    rest = of.pieces[1:]
    return Code(rest, rest[0].level if len(rest) == 1 and isinstance(rest[0], Slot) else POSTFIX)


def binary(level: int, first: Code, *rest: tuple[str, Code]) -> Code:
    """first op second op third: operators of one level, from the left."""
    both = level in (COMPARE, POWER)
    pieces: list[Piece] = [*within(first, level + 1 if both else level)]
    places = []
    for op, operand in rest:
        places.append(len(pieces))
        pieces += [f" {op} ", *within(operand, UNARY if level == POWER else level + 1)]
    return Code(tuple(pieces), level, tuple(places))


def listed(items: Iterable[Code], brackets: str = "()") -> Code:
    """A tuple, or a list."""
    found = tuple(items)
    close = f",{brackets[1]}" if len(found) == 1 and brackets == "()" else brackets[1]
    return Code((Args(brackets[0], found, close),))


def conditional(test: Code, then: Code, otherwise: Code) -> Code:
    pieces = (*within(then, OR), " if ", *within(test, NOT), " else ", *within(otherwise, CONDITION))
    return Code(pieces, CONDITION)


def pieces_of(code: Code) -> Iterator[Piece]:
    """All pieces, in the order of the text, those inside brackets included."""
    for piece in code.pieces:
        yield piece
        if isinstance(piece, Args):
            for item in piece.items:
                yield from pieces_of(item)


def slots(code: Code) -> Iterator[Slot]:
    return (piece for piece in pieces_of(code) if isinstance(piece, Slot))


def expanded(code: Code, inline: Mapping[Node, Code]) -> Code:
    """The expression with those of some nodes in the places of their slots."""
    pieces: list[Piece] = []
    operators = []
    for at, piece in enumerate(code.pieces):
        if at in code.operators:
            operators.append(len(pieces))
        if isinstance(piece, Slot) and piece.node in inline:
            inner = expanded(inline[piece.node], inline)
            if len(code.pieces) == 1:
                return inner
            bound = inner.level >= piece.level
            if bound and inner.level == code.level and inner.operators and at == 0:
                operators += [len(pieces) + place for place in inner.operators]
            pieces += inner.pieces if bound else [Args("(", (inner,), ")")]
        elif isinstance(piece, Args):
            pieces.append(Args(piece.open, tuple(expanded(item, inline) for item in piece.items), piece.close))
        else:
            pieces.append(piece)
    return Code(tuple(pieces), code.level, tuple(operators))
