"""Sizes while data is read: those the spec and the user gave, and those the data tells."""

import ast
import operator
from collections.abc import Callable, Mapping

from vispec.model.model import Model
from vispec.model.types import Dim

OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
}


class Sizes:
    """Known sizes by name. `why` says for each learnt one which column told it."""

    def __init__(self, model: Model, given: Mapping[str, int]):
        self.names = tuple(size.name for size in model.sizes) + tuple(vocab.name for vocab in model.vocabs)
        self.known: dict[str, int] = {size.name: size.value for size in model.sizes if size.value is not None}
        self.known |= given
        self.why: dict[str, str] = {}

    def value(self, dim: Dim | None) -> int | None:
        """A size as a number; None while it is unknown."""
        if dim is None or isinstance(dim, int):
            return dim
        if dim in self.known:
            return self.known[dim]
        return self._evaluate(ast.parse(dim, mode="eval").body)

    def _evaluate(self, node: ast.expr) -> int | None:
        match node:
            case ast.Constant(value=int(value)):
                return value
            case ast.Name(id=name):
                return self.known.get(name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                a, b = self._evaluate(left), self._evaluate(right)
                return None if a is None or b is None else OPERATORS[type(op)](a, b)
        raise ValueError(f"the size {ast.unparse(node)} is not arithmetic over names")

    def learn(self, dim: Dim | None, value: int, why: str) -> bool:
        """Take `value` for a size that is a name still unknown. False where the size is known to be another number."""
        known = self.value(dim)
        if known is None and isinstance(dim, str) and dim.isidentifier():
            self.known[dim] = value
            self.why[dim] = why
        return known is None or known == value

    def origin(self, dim: Dim | None) -> str:
        """Where a known size comes from, for messages."""
        if isinstance(dim, str):
            return f"{dim} = {self.value(dim)}" + (f", from {self.why[dim]}" if dim in self.why else "")
        return str(dim)
