"""What the names of a file stand for, and the plates: filled by declare.py, read by everything that resolves."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from vispec.model import dims
from vispec.model import model as m
from vispec.model.problems import Problems
from vispec.model.types import Dim, Type
from vispec.model.values.ranges import Ranges
from vispec.source import Source, Span
from vispec.syntax import tree as t

if TYPE_CHECKING:
    from vispec.model.names.stretches import Stretches

Kind = Literal[
    "size",
    "vocabulary",
    "embedding",
    "plate",
    "chain",
    "parameter",
    "variable",
    "let",
    "net",
    "chain of stretches",
    "length of stretches",
]


@dataclass
class Symbol:
    """A declared name. `type` is None until known, and stays None where the declaration is wrong: nobody complains twice.

    plates: those that it stands in, the data plate first."""

    name: str
    kind: Kind
    span: Span
    node: t.Statement | t.GuideLet
    plates: tuple[str, ...] = ()
    type: Type | None = None
    guide: bool = False
    value: m.Expression | None = None  # of a let

    @property
    def law_plates(self) -> tuple[str, ...]:
        """The plates that are open where its law is read: all but the one that labels stand along."""
        along = None if self.type is None else self.type.along
        return tuple(plate for plate in self.plates if plate != along)

    @property
    def a(self) -> str:
        """What it is, with an article: `a plate`."""
        if isinstance(self.node, t.Variable):
            return ("an " if self.node.role == "observed" else "a ") + self.node.role + " variable"
        return f"an {self.kind}" if self.kind == "embedding" else f"a {self.kind}"


@dataclass
class PlateInfo:
    """A plate under construction; see model.Plate."""

    name: str
    kind: Literal["plate", "chain"]
    size: Dim | None
    inside: tuple[str, ...]
    span: Span
    data: bool = False
    ragged: bool = False
    implicit: bool = False  # the one row of a spec without a data plate
    wrong: bool = False  # reported; what stands in it raises no further complaint
    first: str | None = None  # the first given, observed or partial variable declared directly in it

    @property
    def card(self) -> Dim:
        """How many elements; a ragged plate's own symbol where the data tells."""
        return dims.ragged(self.name) if self.size is None else self.size


@dataclass(frozen=True)
class Signature:
    """A net as its callers see it; heads whose type is wrong are None."""

    name: str
    span: Span
    args: tuple[tuple[str, Type | None], ...]
    heads: tuple[tuple[str, Type | None], ...]
    ahead: Span | None = None  # the layer that reads in both directions
    memory: bool = False  # whether a layer reads one sequence from the states of the others
    asks: Span | None = None  # the flag by which it does, so that there must be one to read
    apart: bool = False  # whether the user's own layer gets each sequence as it is


@dataclass
class Scope:
    """Everything declared. `values`: sizes that are known numbers. `used`: names that something reads."""

    source: Source
    problems: Problems
    symbols: dict[str, Symbol] = field(default_factory=dict)
    plates: dict[str, PlateInfo] = field(default_factory=dict)
    nets: dict[str, Signature] = field(default_factory=dict)
    embeddings: dict[str, m.Embedding] = field(default_factory=dict)
    stretches: dict[str, "Stretches"] = field(default_factory=dict)  # by the name of their label
    values: dict[str, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    poisoned: set[str] = field(default_factory=set)
    ranges: Ranges = field(default_factory=Ranges)

    def same(self, left: Dim | None, right: Dim | None) -> bool:
        """Whether two sizes are equal: as formulas, or as numbers where both are known. None is equal to nothing."""
        if left is None or right is None:
            return False
        if left == right:
            return True
        a, b = dims.evaluate(left, self.values), dims.evaluate(right, self.values)
        return a is not None and a == b

    def same_shape(self, left: tuple[Dim, ...], right: tuple[Dim, ...]) -> bool:
        return len(left) == len(right) and all(self.same(a, b) for a, b in zip(left, right, strict=True))

    def card(self, kind: Type) -> Dim | None:
        """How many values a finite scalar takes, with a ragged plate's own symbol for an index into it."""
        if kind.domain in ("index", "tree"):
            plate = self.plates.get(kind.plate or "")
            return plate.card if plate else None
        return kind.card

    def shown(self, dim: Dim | None) -> str:
        """A size for a message: with its number where it is a formula of known value."""
        if dim is None or isinstance(dim, int):
            return str(dim)
        value = dims.evaluate(dim, self.values)
        return dim if value is None else f"{dim} = {value}"

    @property
    def written(self) -> tuple[str, ...]:
        """The plates that the text names."""
        return tuple(plate.name for plate in self.plates.values() if not plate.implicit)

    def sized(self, plate: str) -> str:
        """The way out where a series stands in a data plate, whose rows are independent."""
        size = next(name for name in ("T", "N", f"{plate}_size") if name not in self.symbols)
        return f"where all of it is one row, give the plate a size: `size {size}`, and `plate {plate}[{size}]:`"

    def of_kind(self, *kinds: Kind) -> Mapping[str, Symbol]:
        return {name: symbol for name, symbol in self.symbols.items() if symbol.kind in kinds}


@dataclass(frozen=True)
class Context:
    """Where an expression stands. open: plates around it, outermost first. past: how many elements of each open chain surely
    come before this one (the number of a law in `A then B then ...`); -1 in a `then` without a chain, which is reported.
    guide: its lets are visible."""

    open: tuple[str, ...] = ()
    past: int = 0
    guide: bool = False
    owner: str = ""  # the variable or let whose law or value this is

    def within(self, plate: str) -> "Context":
        """The same with one more plate open."""
        return replace(self, open=(*self.open, plate))

    def after(self, elements: int) -> "Context":
        """The same in the law for elements that have so many before them."""
        return replace(self, past=elements)
