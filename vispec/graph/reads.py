"""What an expression or a law reads: one Read per mention of a variable, param, let or net."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from vispec.model import model as m

Access = Literal["own", "all", "prefix", "past", "select", "net"]

_ACCESS: dict[type, Access] = {m.Ref: "own", m.All: "all", m.Prefix: "prefix", m.Past: "past"}
_ACCESS |= {m.Select: "select", m.NetCall: "net"}


@dataclass(frozen=True)
class Read:
    """A mention of `name`.

    access: its own element, all of a plate, the prefix, `lag` steps back, what an index points at, or a net applied.
    plate: the one along which another element than its own is read; of several the innermost.
    via: the nets that the mention passes through on its way to the reader, innermost first.
    """

    name: str
    access: Access
    lag: int | None = None
    via: tuple[str, ...] = ()
    plate: str | None = None


def reads(value: m.Expression | m.Law | None) -> tuple[Read, ...]:
    """Every distinct Read of an expression or law, in the order of the text."""
    return tuple(dict.fromkeys(_walk(value, ())))


def parts(value: object) -> Iterator[m.Expression | m.Law]:
    """The expressions and laws directly inside `value`, in the order of the text."""
    for field in fields(value):  # pyright: ignore[reportArgumentType]
        if field.name not in ("span", "type"):
            yield from _expressions(getattr(value, field.name))


def walk(value: m.Expression | m.Law) -> Iterator[m.Expression | m.Law]:
    """`value` and everything inside it, outermost first."""
    yield value
    for part in parts(value):
        yield from walk(part)


def _expressions(value: object) -> Iterator[m.Expression | m.Law]:
    if isinstance(value, m.Expression | m.Draw | m.Choice | m.Then | m.Flow):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _expressions(item)


def _walk(value: object, via: tuple[str, ...]) -> Iterator[Read]:
    if value is None:
        return
    access = _ACCESS.get(type(value))
    inner = via
    if access is not None:
        name = value.net if isinstance(value, m.NetCall) else value.name  # pyright: ignore[reportAttributeAccessIssue]
        yield Read(name, access, getattr(value, "lag", None), via, _plate(value))
        inner = (value.net, *via) if isinstance(value, m.NetCall) else via
    for part in parts(value):
        yield from _walk(part, inner)


def _plate(value: object) -> str | None:
    return value.by[-1][0] if isinstance(value, m.Select) else getattr(value, "plate", None)
