"""Text on a screen: no more than 100 columns wide where words can part, and in colour where a terminal shows it."""

import os
import re
from collections.abc import Sequence
from textwrap import wrap
from typing import IO

WIDE = 100
NARROW = 28  # the last column of a table goes below the others where less than this is left for it

HEAD = re.compile(r"^(?P<place>\S.*?: )?(?P<kind>error|warning)(?P<code>\[\w+\])?: ", re.M)
MARKS = re.compile(r"^(?P<bar> +\|\s+)(?P<marks>\^+|-+)(?P<text> .*)?$", re.M)
HELP = re.compile(r"^help: ", re.M)
OPENS, CLOSES = "\x02", "\x03"  # around what is chosen: no text of the data has them, and they are as wide as brackets
BOLD, RED, YELLOW, BLUE, CYAN, PLAIN = (f"\x1b[{code}m" for code in ("1", "1;31", "1;33", "1;34", "1;36", "0"))


def folded(text: str, first: str = "", rest: str | None = None) -> list[str]:
    """The words of a text in lines behind `first`, from the second on behind `rest`, which is as wide if it is not said. A word
    is never parted."""
    rest = " " * len(first) if rest is None else rest
    lines = wrap(
        text,
        WIDE,
        initial_indent=first,
        subsequent_indent=rest,
        expand_tabs=False,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [first.rstrip()]


def tabled(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many cells in columns; the last column is of words, which fold within it, or below where it is narrow."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    used = sum(wide) + 2 * len(wide)
    lines = list[str]()
    for *cells, words in rows:
        lead = "".join(cell.ljust(width) + "  " for cell, width in zip(cells, wide, strict=True))
        beside = used + min(len(words), NARROW) <= WIDE
        lines += folded(words, lead) if beside else [lead.rstrip(), *folded(words, "    ")]
    return lines


def chosen(text: str) -> str:
    """A part of a text that is to stand out, until `shown` says how."""
    return f"{OPENS}{text}{CLOSES}"


def shown(text: str, stream: IO[str]) -> str:
    """A text as a stream shows it: what is chosen in bold on a terminal, elsewhere in brackets."""
    marks = (BOLD, PLAIN) if has_colour(stream) else ("[", "]")
    return text.replace(OPENS, marks[0]).replace(CLOSES, marks[1])


def has_colour(stream: IO[str]) -> bool:
    """Whether it is a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def coloured(text: str, stream: IO[str]) -> str:
    """Diagnostics as a stream shows them: in colour, where it has any."""
    if not has_colour(stream):
        return text
    text = HEAD.sub(_head, text)
    text = MARKS.sub(lambda m: f"{m['bar']}{RED if '^' in m['marks'] else BLUE}{m['marks']}{m['text'] or ''}{PLAIN}", text)
    return HELP.sub(f"{CYAN}help{PLAIN}: ", text)


def _head(found: re.Match[str]) -> str:
    place = f"{BOLD}{found['place']}{PLAIN}" if found["place"] else ""
    colour = RED if found["kind"] == "error" else YELLOW
    return f"{place}{colour}{found['kind']}{found['code'] or ''}{PLAIN}: "
