"""Rows for a reader's eyes: values beside the words that they belong to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vispec.diagnostics import plain
from vispec.model.model import Model


@dataclass(frozen=True)
class Aligned:
    """The data of one row, by variable, to write answers beside. opened: plates of whose elements they are one."""

    model: Model
    values: Mapping[str, Any]
    opened: tuple[str, ...] = ()

    def _inner(self, name: str) -> list[str]:
        """The plates along which a value is a list."""
        variable = self.model.variable[name]
        return [p for p in variable.plates if not self.model.plate[p].data and p not in self.opened]

    def words(self, plate: str) -> list[str] | None:
        """The words along a plate in which nothing else is open but the data plate, if a variable of tokens stands there."""
        for name, value in self.values.items():
            variable = self.model.variable[name]
            if (
                self._inner(name) == [plate]
                and variable.type.domain == "token"
                and variable.role != "latent"
                and not variable.type.shape
            ):
                return [plain(str(word)) for word in value]
        return None

    def label(self, name: str, value: Any) -> str:
        """One row's value of a variable: `the→le` for indices between words, `the/3` beside words, else the value alone."""
        variable = self.model.variable[name]
        inner = self._inner(name)
        if not isinstance(value, list) or len(inner) != 1:
            return _short(value)
        if variable.type.domain == "token":
            return " ".join(_short(item) for item in value)
        left = self.words(inner[0])
        target = self.words(variable.type.plate) if variable.type.plate is not None else None
        right = [target[v] if target is not None and isinstance(v, int) and v < len(target) else _short(v) for v in value]
        if left is None or len(left) != len(right):
            return " ".join(right)
        arrow = "→" if target is not None else "/"
        return " ".join(f"{a}{arrow}{b}" for a, b in zip(left, right, strict=True))


def describe(number: int, row: Mapping[str, Any], aligned: Aligned) -> str:
    """Row `number` as indented lines, one for each variable; on one line where there is one variable with a short value.
    What all rows share has no number."""
    if "(shared)" in row:
        return "\n".join(["all rows", *(f"  {name}: {_short(value)}" for name, value in row["(shared)"].items())])
    lines = list(_lines(row, aligned))
    if len(lines) == 1 and len(lines[0]) < 60:
        return f"{number:>6}  {lines[0]}"
    return "\n".join([f"row {number}", *(f"  {line}" for line in lines)])


def _lines(row: Mapping[str, Any], aligned: Aligned) -> Iterator[str]:
    """A line for each variable, and the ranks of several assignments with theirs below."""
    for name, value in row.items():
        if name in aligned.model.variable:
            yield f"{name}: {aligned.label(name, value)}"
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            for rank, item in enumerate(value, 1):
                yield f"{rank}."
                yield from (f"   {line}" for line in _lines(item, aligned))
        else:
            yield f"{name}: {_short(value)}"


def _short(value: Any) -> str:
    """Numbers to four digits, lists in brackets, objects as name=value."""
    if value is None:
        return "no value"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "[" + " ".join(_short(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return " ".join(f"{plain(str(key))}={_short(item)}" for key, item in value.items())
    return plain(str(value))
