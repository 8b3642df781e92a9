"""Sizes: polynomials in the spec's sizes and vocabularies, as frozen values that are never parsed from text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Whole:
    """A quotient rounded down, or a power, that no polynomial is: a factor of a size like a name."""

    op: str  # "floor" or "power"
    left: Size
    right: Size

    def __str__(self) -> str:
        return f"({self.left}) {'//' if self.op == 'floor' else '**'} ({self.right})"

    def value(self, sizes: Mapping[str, int]) -> int:
        left, right = self.left.value(sizes), self.right.value(sizes)
        return left // right if self.op == "floor" else left**right


Factor = str | Whole
Monomial = tuple[Factor, ...]


@dataclass(frozen=True)
class Size:
    """Σ coefficient · product of factors; `terms` are sorted, without zeros, so equal polynomials are equal values."""

    terms: tuple[tuple[Monomial, int], ...]

    @staticmethod
    def of(value: int | str | Size) -> Size:
        """A number, or the size of that name."""
        if isinstance(value, Size):
            return value
        if isinstance(value, int):
            return Size((((), value),) if value else ())
        return Size((((value,), 1),))

    def __add__(self, other: Size | int) -> Size:
        return _size([*self.terms, *Size.of(other).terms])

    def __neg__(self) -> Size:
        return Size(tuple((key, -count) for key, count in self.terms))

    def __sub__(self, other: Size | int) -> Size:
        return self + -Size.of(other)

    def __mul__(self, other: Size | int) -> Size:
        pairs = ((a, b) for a in self.terms for b in Size.of(other).terms)
        return _size([(tuple(sorted((*a[0], *b[0]), key=str)), a[1] * b[1]) for a, b in pairs])

    def __radd__(self, other: int) -> Size:
        return self + other

    def __rmul__(self, other: int) -> Size:
        return self * other

    def __pow__(self, times: int) -> Size:
        return prod([self] * times, start=Size.of(1))

    @property
    def number(self) -> int | None:
        """Its value where no size is in it."""
        return sum(count for _, count in self.terms) if all(key == () for key, _ in self.terms) else None

    @property
    def names(self) -> frozenset[str]:
        """The sizes that it needs."""
        found = set[str]()
        for key, _ in self.terms:
            for factor in key:
                found |= {factor} if isinstance(factor, str) else factor.left.names | factor.right.names
        return frozenset(found)

    def value(self, sizes: Mapping[str, int]) -> int:
        """Its value; KeyError names a size that is not given."""
        factor = lambda f: sizes[f] if isinstance(f, str) else f.value(sizes)  # noqa: E731
        return sum(count * prod(map(factor, key)) for key, count in self.terms)

    def given(self, sizes: Mapping[str, int]) -> Size:
        """With the values of the sizes that are known in their place."""

        def factor(found: Factor) -> Size:
            if isinstance(found, str):
                return Size.of(sizes.get(found, found))
            left, right = found.left.given(sizes), found.right.given(sizes)
            return floor_div(left, right) if found.op == "floor" else power(left, right)

        return sum((prod(map(factor, key), start=Size.of(count)) for key, count in self.terms), start=Size.of(0))

    def __str__(self) -> str:
        text = ""
        for key, count in sorted(self.terms, key=lambda term: (-len(term[0]), term[1] < 0, str(term[0]))):
            factors = [*([] if abs(count) == 1 and key else [str(abs(count))]), *map(str, key)]
            sign = ("-" if count < 0 else "") if not text else (" - " if count < 0 else " + ")
            text += sign + " * ".join(factors)
        return text or "0"


def floor_div(left: Size, right: Size) -> Size:
    """left / right rounded down."""
    if left.number is not None and right.number is not None:
        return Size.of(left.number // right.number)
    return Size((((Whole("floor", left, right),), 1),))


def power(left: Size, right: Size) -> Size:
    """left to the power of right."""
    if left.number is not None and right.number is not None:
        return Size.of(left.number**right.number)
    return Size((((Whole("power", left, right),), 1),))


def _size(terms: list[tuple[Monomial, int]]) -> Size:
    total: dict[Monomial, int] = {}
    for key, count in terms:
        total[key] = total.get(key, 0) + count
    return Size(tuple(sorted(((key, count) for key, count in total.items() if count), key=str)))
