"""What is wrong with a user's file, as data; drawing it is a separate function."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from vispec.source import Source, Span

CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def plain(text: str, keep: str = "") -> str:
    """The text without what moves a cursor, changes a terminal or turns lines around; that is written as escapes, `\\x1b`."""
    return CONTROLS.sub(lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), text)


@dataclass(frozen=True)
class Label:
    """A stretch of the source and a few words on what it is."""

    span: Span
    text: str = ""


@dataclass(frozen=True)
class Diagnostic:
    """One fact about the file. `code` is stable and searchable; `help` is the edit that fixes it."""

    code: str
    message: str
    primary: Label
    related: tuple[Label, ...] = ()
    help: str | None = None
    severity: Literal["error", "warning"] = "error"


class SpecError(Exception):
    """A spec that cannot go on, with everything found in it."""

    def __init__(self, source: Source, diagnostics: Iterable[Diagnostic]):
        self.source = source
        self.diagnostics = tuple(sorted(diagnostics, key=lambda d: (d.primary.span.start, d.code)))
        super().__init__(f"\n{render(source, self.diagnostics)}")


def to_json(source: Source, diagnostic: Diagnostic) -> dict[str, Any]:
    """The diagnostic as `check --json` prints it."""
    span = diagnostic.primary.span
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": source.name,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
        "help": diagnostic.help,
        "related": [
            {
                "line": label.span.line,
                "column": label.span.column,
                "end_line": label.span.end_line,
                "end_column": label.span.end_column,
                "message": label.text,
            }
            for label in diagnostic.related
        ],
    }


def render(source: Source, diagnostics: Iterable[Diagnostic]) -> str:
    """All diagnostics with their source lines and carets, as plain text."""
    return "\n".join(_render_one(source, diagnostic) for diagnostic in diagnostics)


def _render_one(source: Source, diagnostic: Diagnostic) -> str:
    span = diagnostic.primary.span
    head = (
        f"{plain(source.name)}:{span.line}:{span.column}: {diagnostic.severity}[{diagnostic.code}]: {plain(diagnostic.message)}"
    )
    labels = ((diagnostic.primary, "^"), *((label, "-") for label in diagnostic.related))
    lines = [line for label, mark in labels for line in _underline(source, label, mark)]
    tail = ["help: " + plain(diagnostic.help, keep="\n")] if diagnostic.help else []
    return "\n".join((head, *lines, *tail)) + "\n"


def _underline(source: Source, label: Label, mark: str) -> list[str]:
    """The label's first line and the marks under it; tabs are kept so that the marks stay below their words."""
    span = label.span
    text = source.line(span.line)
    stop = span.end_column if span.end_line == span.line else len(text) + 1
    shown, marked = plain(text, keep="\t"), plain(text[span.column - 1 : stop - 1], keep="\t")
    lead = "".join("\t" if c == "\t" else " " for c in plain(text[: span.column - 1], keep="\t"))
    marks = mark * max(1, stop - span.column, len(marked))
    return [f"{span.line:4} | {shown}", f"     | {lead}{marks} {plain(label.text)}".rstrip()]


def dump(value: Any) -> str:
    """One line of strict JSON: names as they are, but for what a terminal would obey, numbers that JSON lacks as null."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
