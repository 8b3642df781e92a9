"""Costs as formulas: the folds over orders and programs with sizes in place of numbers, |t| for what only the data can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, cast

from vispec.program.at_tokens import never_whole
from vispec.program.axis import ORDER, Axis
from vispec.program.cost import FREE, Numbers
from vispec.program.node import Node, Source
from vispec.program.size import Monomial, Size, Whole, power
from vispec.program.walk import nodes

WIDTH = {"real": 4, "int": 8, "bool": 1}
"""Bytes of one number."""


@dataclass
class Symbols:
    """How many elements axes have, as polynomials: it stands where numbers are asked for. sizes: those of the spec that are
    known. told: axes of which it is said. rank: the order in which sizes are written."""

    sizes: Mapping[str, int]
    told: Mapping[Axis, int]
    rank: dict[str, tuple[int, int]] = field(default_factory=dict)

    def of(self, axis: Axis) -> Size:
        origin = axis.origin
        found = self._of(origin)
        for name in found.names:
            self.rank[name] = min(self.rank.get(name, (len(ORDER), 0)), (ORDER.index(axis.kind), axis.serial))
        return found

    def _of(self, axis: Axis) -> Size:
        if axis in self.told:
            return Size.of(self.told[axis])
        if axis.more:
            return self.of(axis.of[0]) + axis.more
        if axis.kind == "joint":
            values, *along = axis.of
            return power(self.of(values), self.elements(along))
        if axis.of:
            return self.elements(axis.of)
        return Size.of(f"|{axis.hint}|") if axis.size is None else axis.size.given(self.sizes)

    def first(self, axes: Iterable[Axis]) -> None:
        """Write the sizes of these before all others."""
        for axis in axes:
            self.rank |= {name: (-1, axis.serial) for name in self.of(axis).names}

    def elements(self, axes: Iterable[Axis]) -> Size:
        return prod(map(self.of, axes), start=Size.of(1))

    @property
    def numbers(self) -> Numbers:
        """Itself, for a fold that adds and multiplies numbers alone."""
        return cast(Numbers, cast(Any, self))

    def text(self, size: Size) -> str:
        """A polynomial as it is read: 1024 · |sentence| · |t|^2, the highest powers first."""
        found = sorted(size.terms, key=lambda term: (-len(term[0]), [self._place(each) for each in term[0]], term[1]))
        return " + ".join(self._product(key, count) for key, count in found) or "0"

    def _product(self, key: Monomial, count: int) -> str:
        powers = Counter(self._factor(each) for each in sorted(key, key=self._place))
        factors = [name if many == 1 else f"{name}^{many}" for name, many in powers.items()]
        return " · ".join([*([str(count)] if count != 1 or not key else []), *factors])

    def _factor(self, found: str | Whole) -> str:
        if isinstance(found, str):
            return found
        left, right = (
            self.text(each) if len(each.terms) == 1 else f"({self.text(each)})" for each in (found.left, found.right)
        )
        right = f"({right})" if " " in right and not right.startswith("(") else right
        return f"{left}^{right}" if found.op == "power" else f"{left} // {right}"

    def _place(self, found: str | Whole) -> tuple[int, int, str]:
        names = [found] if isinstance(found, str) else [*found.left.names, *found.right.names]
        kind, serial = max((self.rank.get(name, (len(ORDER), 0)) for name in names), default=(0, 0))
        return kind, serial, str(found)


def bytes_of(node: Node, symbols: Symbols) -> Size:
    """What a node's value of its own takes."""
    return symbols.elements(node.axes) * WIDTH[node.dtype]


def computed(roots: Iterable[Node]) -> list[Node]:
    """The nodes that have a value of their own."""
    found = list(nodes(roots))
    apart = never_whole(found)
    return [node for node in found if not isinstance(node, (*FREE, Source)) and node not in apart]


def largest(found: Iterable[Node], numbers: Numbers) -> Node | None:
    """The node with most elements."""
    return max(found, key=lambda node: numbers.elements(node.axes), default=None)


def leading(size: Size, value: Callable[[Size], int], part: float = 0.1) -> Size:
    """The products of a polynomial that are no small part of it, by the numbers that sizes have."""
    each = [Size((term,)) for term in size.terms]
    most = max(map(value, each), default=0)
    return sum((one for one in each if value(one) >= part * most), start=Size.of(0))
