"""What a label is called, which come before which, and which variables share theirs.

A number is one label however it is written: 1, 1.0 and "1" are one, as are true and True; 007 is a word. Numbers come in their
order, words after them in that of the alphabet."""

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from vispec.model.model import Model, Variable
from vispec.model.types import Type

NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)?(?:\.\d*)?")
WHOLE = re.compile(r"-?(?:0|[1-9]\d*)")


def label_of(value: str | float | bool) -> str:
    """The one way to write a cell's value, which is not missing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    if value.lower() in ("true", "false"):
        return value.lower()
    if not NUMBER.fullmatch(value) or not any(map(str.isdecimal, value)):
        return value
    whole, _, rest = value.lstrip("+").partition(".")
    rest = rest.rstrip("0")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    sign = sign if rest or digits.strip("0") else ""
    return f"{sign}{digits or '0'}.{rest}" if rest else f"{sign}{digits or '0'}"


@lru_cache(2**16)  # the blocks of large data have the same labels again and again
def is_whole(label: str) -> bool:
    return WHOLE.fullmatch(label) is not None


@lru_cache(2**16)
def number_of(label: str) -> float | None:
    """The number that a label is, if it is one."""
    try:
        found = int(label) if is_whole(label) else float(label)
    except (ValueError, OverflowError):
        return None
    return found if NUMBER.fullmatch(label) and math.isfinite(found) else None


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Numbers first, in their order, then words in the order of the alphabet."""

    def place(label: str) -> tuple[bool, float, str]:
        number = number_of(label)
        return number is None, number or 0, label

    return tuple(sorted(labels, key=place))


def told(labels: Sequence[str]) -> Sequence[str | int]:
    """Labels as answers have them: whole numbers as numbers, if all of them are."""
    return [int(label) for label in labels] if all(map(is_whole, labels)) else labels


def is_coded(model: Model, type_: Type) -> bool:
    """Whether values of the type are labels: categories, and elements of a plate of which all rows have the same."""
    return type_.domain == "category" or (type_.domain == "index" and not model.plate[type_.plate or ""].ragged)


def card_of(model: Model, type_: Type) -> int | str | None:
    return type_.card if type_.domain == "category" else model.plate[type_.plate or ""].size


def group_of(model: Model, variable: Variable) -> str:
    """Under which name labels are kept: of the size, which all variables of that size share; of the plate that an index points
    into; or else the variable's own."""
    card = card_of(model, variable.type)
    return card if isinstance(card, str) else variable.type.plate or variable.name
