"""What is wrong with a user's data, as values that name file, row and column; drawing them is a separate function."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from vispec.diagnostics import plain

LIMIT = 20  # problems told in full; the rest are counted


@dataclass(frozen=True)
class DataDiagnostic:
    """One fact about a data file. `row` counts data rows and `line` lines of text, both from 1; None where not known."""

    code: str
    message: str
    file: str
    row: int | None = None
    column: str | None = None
    help: str | None = None
    line: int | None = None
    severity: Literal["error", "warning"] = "error"


class DataError(Exception):
    """Data that cannot be used, with what was found in it: the first problems in full, `more` others only counted."""

    def __init__(self, diagnostics: Iterable[DataDiagnostic], more: int = 0):
        self.diagnostics = tuple(diagnostics)
        self.more = more
        super().__init__(render(self.diagnostics, more))


def render(diagnostics: Iterable[DataDiagnostic], more: int = 0) -> str:
    """All diagnostics as plain text, one head line each; help stands below, once for several in a row that share it."""
    lines: list[str] = []
    told = tuple(diagnostics)
    for diagnostic, following in zip(told, (*told[1:], None), strict=True):
        where = [plain(diagnostic.file)]
        if diagnostic.line is not None:
            where.append(str(diagnostic.line))
        place = [f"row {diagnostic.row}"] if diagnostic.row is not None else []
        place += [f"column `{plain(diagnostic.column)}`"] if diagnostic.column is not None else []
        message = plain(diagnostic.message)
        text = f"{', '.join(place)}: {message}" if place else message
        lines.append(f"{':'.join(where)}: {diagnostic.severity}[{diagnostic.code}]: {text}")
        if diagnostic.help and (following is None or following.help != diagnostic.help):
            lines.append(f"help: {plain(diagnostic.help)}")
    if more:
        lines.append(f"and {more} more {'problem' if more == 1 else 'problems'}")
    return "\n".join(lines)


def to_json(diagnostic: DataDiagnostic) -> dict[str, Any]:
    """The keys of a spec's diagnostic, and `row`; `column` is the data column's name."""
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": diagnostic.file,
        "line": diagnostic.line,
        "row": diagnostic.row,
        "column": diagnostic.column,
        "end_line": diagnostic.line,
        "end_column": None,
        "help": diagnostic.help,
        "related": [],
    }


@dataclass
class Problems:
    """Collects what is found, so that one run reports it all."""

    found: list[DataDiagnostic] = field(default_factory=list)
    more: int = 0
    warnings: list[DataDiagnostic] = field(default_factory=list)

    def add(
        self,
        code: str,
        message: str,
        file: str,
        row: int | None = None,
        column: str | None = None,
        help: str | None = None,
        line: int | None = None,
    ) -> None:
        if len(self.found) < LIMIT:
            self.found.append(DataDiagnostic(code, message, file, row, column, help, line))
        else:
            self.more += 1

    def warn(self, code: str, message: str, file: str, column: str | None = None, help: str | None = None) -> None:
        self.warnings.append(DataDiagnostic(code, message, file, None, column, help, severity="warning"))

    def check(self) -> None:
        """Raise DataError if anything was found."""
        if self.found:
            raise DataError(self.found, self.more)
