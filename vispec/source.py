"""Where text comes from: a Source is a named text, a Span a stretch of it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Span:
    """Characters start..end of a source; lines and columns count from 1, the end column is one past the last character."""

    start: int
    end: int
    line: int
    column: int
    end_line: int
    end_column: int

    def to(self, other: "Span") -> "Span":
        """The stretch from here to the end of `other`."""
        return Span(self.start, other.end, self.line, self.column, other.end_line, other.end_column)


@dataclass(frozen=True)
class Source:
    """A spec's text and the name to show for it."""

    name: str
    text: str

    @classmethod
    def read(cls, path: str | Path) -> "Source":
        """The file's text; raises OSError, or UnicodeDecodeError where it is not UTF-8."""
        return cls(str(path), Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))

    def line(self, number: int) -> str:
        """Line `number`, counted from 1, without its end; empty past the last one."""
        lines = self.text.split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else ""
