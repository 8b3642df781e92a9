"""Alignments as sets of links between words, from 0, and their error rate (Och and Ney 2003).

In a file in Pharaoh's form a line is a row: `1-2` a sure link, `1?2` or `1p2` a possible one, source before target; the source
is what an alignment points at, and the target where it stands. A file of lines `row source target S`, all from 1, with P for
a possible link, is the form of the shared task of 2003."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vispec.answers.show import Aligned
from vispec.model.model import Model, Variable
from vispec.model.problems import listed
from vispec.train.data import DataError
from vispec.train.data.diagnostics import DataDiagnostic
from vispec.train.errors import RunError

Links = set[tuple[int, int]]
PHARAOH = re.compile(r"(\d+)([-?p])(\d+)")
NUMBERED = re.compile(r"(\d+)\s+(\d+)\s+(\d+)(?:\s+([SP]))?(?:\s+[\d.]+)?")


@dataclass
class Gold:
    """The links of a row that people drew; sure ones are possible, too."""

    sure: Links = field(default_factory=set[tuple[int, int]])
    possible: Links = field(default_factory=set[tuple[int, int]])

    def add(self, source: int, target: int, sure: bool) -> None:
        self.possible.add((source, target))
        if sure:
            self.sure.add((source, target))


def read_links(path: str, rows: int, flip: bool = False) -> list[Gold]:
    """The links of each row. flip: target stands before source. DataError where a line is neither of the forms."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError([DataDiagnostic("D104", "the file is not UTF-8", path)]) from None
    except OSError as error:
        raise DataError([DataDiagnostic("D101", f"cannot read the file: {error.strerror}", path)]) from None
    written = [line for line in lines if line.strip()]
    by_rows = bool(written) and all(map(NUMBERED.fullmatch, map(str.strip, written)))
    if not by_rows and len(lines) != rows:
        raise DataError([DataDiagnostic("D113", f"there are {len(lines)} lines of links for {rows} rows", path)])
    found = [Gold() for _ in range(rows)]
    for number, line in enumerate(lines, 1):
        for row, source, target, sure in numbered(line) if by_rows else linked(line, path, number):
            if by_rows and not 1 <= row <= rows:
                raise DataError([DataDiagnostic("D113", f"links of row {row}, and the data have {rows}", path, line=number)])
            pair = (target, source) if flip else (source, target)
            found[row - 1].add(*pair, sure)
    return found


def numbered(line: str) -> Iterable[tuple[int, int, int, bool]]:
    """Row, source, target and whether it is sure, of a line of the shared task."""
    found = NUMBERED.fullmatch(line.strip())
    return [] if found is None else [(int(found[1]), int(found[2]) - 1, int(found[3]) - 1, found[4] != "P")]


def linked(line: str, path: str, number: int) -> Iterable[tuple[int, int, int, bool]]:
    """The same of all links of a line of Pharaoh's."""
    for word in line.split():
        found = PHARAOH.fullmatch(word)
        if found is None:
            help = "a link is 1-2, or 1?2 where it is possible and not sure, from 0; or a line is: row source target S, from 1"
            raise DataError([DataDiagnostic("D105", f"{word!r} is no link", path, line=number, help=help)])
        yield number, int(found[1]), int(found[3]), found[2] == "-"


def error_rate(found: Sequence[Links], gold: Sequence[Gold]) -> float:
    """AER = 1 − (|A∩S| + |A∩P|) / (|A| + |S|) over all rows: A is found, S sure, P possible."""
    hits = sum(len(a & g.sure) + len(a & g.possible) for a, g in zip(found, gold, strict=True))
    total = sum(len(a) + len(g.sure) for a, g in zip(found, gold, strict=True))
    if not total:
        raise RunError("there are no links, found or sure, of which there could be an error rate")
    return 1 - hits / total


def alignment(model: Model) -> Variable:
    """The one variable that points from each word of a row at one of another plate."""
    found = [v for v in model.variables if v.role != "given" and v.type.domain == "index" and points(model, v)]
    if len(found) != 1:
        there = listed([v.name for v in found]) if found else "no variable"
        raise RunError(f"an alignment is an index[j] into a plate without a size, in another one: {there} is such, not one")
    return found[0]


def points(model: Model, variable: Variable) -> bool:
    inner = [name for name in variable.plates if not model.plate[name].data]
    return len(inner) == 1 and model.plate[variable.type.plate or ""].ragged and not variable.type.shape


def links(model: Model, variable: Variable, value: Sequence[Any], beside: Mapping[str, Any]) -> Links:
    """The links of a row's alignment; none of the symbols around a sequence. beside: the row's data."""
    own = next(name for name in variable.plates if not model.plate[name].data)
    places = [place(model, own, beside, at, len(value)) for at in range(len(value))]
    sources = [place(model, variable.type.plate or "", beside, int(at)) for at in value]
    return {(a, b) for a, b in zip(sources, places, strict=True) if a is not None and b is not None}


def place(model: Model, plate: str, beside: Mapping[str, Any], at: int, count: int | None = None) -> int | None:
    """Which word of the data an element of a plate is, from 0; None for a symbol that its vocabulary puts around them."""
    words = [v for v in model.variables if v.type.domain == "token" and v.plates and v.plates[-1] == plate]
    options = next((dict(vocab.options) for vocab in model.vocabs for v in words if vocab.name == v.type.card), {})
    sizes = [len(beside[v.name]) for v in words if isinstance(beside.get(v.name), list)]
    last = (sizes[0] if sizes else at + 2 if count is None else count) - bool(options.get("end"))
    return at - bool(options.get("begin")) if bool(options.get("begin")) <= at < last else None


def links_of(model: Model, rows: Iterable[tuple[Mapping[str, Any], Aligned]]) -> list[Links]:
    """Of all rows the links that were found."""
    variable = alignment(model)
    return [links(model, variable, row[variable.name], aligned.values) for row, aligned in rows if variable.name in row]


def pharaoh(found: Links) -> str:
    """A row's links as a line, by target."""
    return " ".join(f"{a}-{b}" for a, b in sorted(found, key=lambda link: (link[1], link[0])))
