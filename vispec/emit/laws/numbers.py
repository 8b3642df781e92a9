"""Whole numbers, truth values and bits, each where another is wanted."""

from vispec.emit.value import Value
from vispec.emit.writer import Writer


def truth(value: Value, code: str) -> str:
    """The text of a value as truth values: bits are the numbers 0 and 1."""
    if value.truth:
        return code
    return f"({code} != 0)" if value.scalar else f"{code}.bool()"


def real(w: Writer, value: Value) -> Value:
    """Whole numbers and truth values in the module's dtype."""
    if value.scalar or not (value.integer or value.truth):
        return value
    hint = value.code if value.code.isidentifier() else "number"
    return w.let(hint, f"{value.code}.to(self.one.dtype)", value.axes, value.event)
