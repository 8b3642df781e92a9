"""Writes docs/errors.md, the index of all diagnostics, from the tables of codes that the stages keep."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from vispec.model.codes import CODES as MODEL
from vispec.plan.refused.refuse import CODES as PLAN
from vispec.syntax.codes import CODES as SYNTAX
from vispec.train.data.encoding.codes import CODES as DATA

PAGE = Path(__file__).with_name("errors.md")
HEAD = """\
# Diagnostics

Every diagnostic has a code that stays the same between versions. Codes that begin with V are about a spec, those with D
about data. With `--json`, commands print them as data ([training.md](training.md#output-for-programs)). This page is
written by `python docs/make_errors.py`.
"""
SECTIONS: Mapping[str, str] = {
    "V0": "Reading the text",
    "V1": "Names, sizes and plates",
    "V2": "Indexing and causality",
    "V3": "Types and shapes",
    "V4": "Laws and distributions",
    "V5": "Nets",
    "V6": "Guide, infer, fit",
    "V7": "What this version does not compile",
    "D1": "Data",
}


def page() -> str:
    """The text of docs/errors.md."""
    return "\n".join((HEAD, *(line for prefix in SECTIONS for line in section(prefix))))


def section(prefix: str) -> Iterator[str]:
    """One heading with the table of the codes that begin with `prefix`."""
    codes = SYNTAX | MODEL | PLAN | dict(DATA)
    yield f"## {prefix}xx: {SECTIONS[prefix]}\n"
    yield "| Code | Says |"
    yield "|---|---|"
    yield from (f"| {code} | {title[0].lower()}{title[1:]} |" for code, title in codes.items() if code.startswith(prefix))
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
