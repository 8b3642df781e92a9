"""Which cells the names in a formula stand for: `c[t]`, `z[i, *]`, `x[<t]`, at the present elements of plates."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tests.formulas.text import split
from vispec.explain.formula import Writer
from vispec.model import model as m
from vispec.verify.oracle.expressions import Scene
from vispec.verify.oracle.reads import names_in
from vispec.verify.oracle.row import Cell, Row, without_data


class UnsaidError(Exception):
    """The formula does not say what its value depends on."""


@dataclass(frozen=True)
class Place:
    """row: its number. at: elements of plates. bound: values of cells. drawn: names under an expectation. sample: a draw."""

    row: int = 0
    at: Mapping[str, int] = field(default_factory=dict)
    bound: Mapping[Cell, Tensor] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()
    sample: int | None = None


@dataclass
class Cells:
    """scenes: of each row. known: what was asked before."""

    writer: Writer
    scenes: list[Scene]
    known: dict[object, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model: m.Model = self.writer.model
        name = self.writer.notation.name
        self.plates = {name(plate.name): plate.name for plate in self.model.plates}
        self.names = {name(v.name): v.name for v in self.model.variables}
        self.lets = {let.name: let.value for let in (*self.model.lets, *self.model.guide_lets)}
        self.nets = {name(net.name) for net in self.model.nets if net.random}
        self.guides = {entry.name: entry.law for entry in self.model.guide}
        self.data = {plate.name for plate in self.model.plates if plate.data}

    def row(self, here: Place) -> Row:
        return self.scenes[here.row].row

    def cells(self, text: str, here: Place) -> list[Cell]:
        """Those that `c[i, *]`, `x[<t]` or `c[t−1]` name; none that is not there."""
        key = ("cells", text, here.row, *here.at.items())
        if key not in self.known:
            self.known[key] = self.listed(text, here)
        return self.known[key]

    def listed(self, text: str, here: Place) -> list[Cell]:
        name, _, inside = text.partition("[")
        variable = self.model.variable[self.names[name]]
        indices = split(inside.removesuffix("]"))
        plates = without_data(self.model, variable.plates)
        assert len(indices) == len(plates), (text, plates)
        found = [dict[str, int]()]
        for plate, index in zip(plates, indices, strict=True):
            found = [{**at, plate: i} for at in found for i in self.places(plate, index, {**here.at, **at}, here)]
        return [(variable.name, tuple(at.values())) for at in found]

    def places(self, plate: str, index: str, at: Mapping[str, int], here: Place) -> list[int]:
        count = self.row(here).count(plate, at)
        if index == "*":
            return list(range(count))
        if index.isdigit():
            return [int(index)] if int(index) < count else []
        base, back = re.fullmatch(r"<?(\w+)(?:−(\d+))?", index).groups()  # pyright: ignore[reportOptionalMemberAccess]
        if self.plates.get(base) not in here.at:
            raise UnsaidError(f"index {base} is not bound")
        number = here.at[self.plates[base]] - int(back or 0)
        return list(range(min(number, count))) if index[0] == "<" else [number] if 0 <= number < count else []

    def cell(self, name: str, here: Place) -> Cell:
        return name, tuple(here.at[plate] for plate in without_data(self.model, self.model.variable[name].plates))

    # ---- what a density may read

    def allowed(self, given: str, own: set[Cell], here: Place) -> set[Cell]:
        """The cells that a density may read: what it names, what its lets read, and what indices inside brackets read."""
        key = (given, here.row, *here.at.items())
        if key not in self.known:
            self.known[key] = self.said(given, here)
        return own | self.known[key]

    def said(self, given: str, here: Place) -> set[Cell]:
        found = set[Cell]()
        for text in split(given):
            name, plain = text.partition("[")[0], re.fullmatch(r"\w+(\[[\w−<*, ]*\])?", text)
            if plain and name in self.names and self.indexed(text):
                found |= {*self.cells(text, here)}
            else:
                for each in re.findall(r"\w+", text):
                    found |= self.all_of(each, here)
        return found

    def indexed(self, text: str) -> bool:
        inside = split(text.partition("[")[2].removesuffix("]"))
        return all(index == "*" or index.isdigit() or re.sub(r"^<|−\d+$", "", index) in self.plates for index in inside)

    def all_of(self, written: str, here: Place) -> set[Cell]:
        """All cells of a variable, or of those that a let reads."""
        own = next((n for n in (*self.names.values(), *self.lets) if self.writer.notation.name(n) == written), "")
        names = {own} if own in self.model.variable else names_in(self.lets[own], self.lets) if own in self.lets else set[str]()
        variables = [self.model.variable[name] for name in names if name in self.model.variable]
        return {cell for variable in variables for cell in self.row(here).cells(variable)}
