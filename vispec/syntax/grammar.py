"""The parser for grammar/vispec.lark.

Building its tables takes longer than all else that `vispec check` does, so they are kept beside this file as JSON and used
where they come from this very grammar and this version of Lark; otherwise the parser is built from the grammar. After a change
of the grammar, `python -m vispec.syntax.grammar` writes them anew.
"""

import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import lark
from lark import Lark
from lark.grammar import Rule
from lark.indenter import Indenter
from lark.lexer import TerminalDef

TAB = 8
TABLES = Path(__file__).with_name("tables.json")


class Blocks(Indenter):
    """Turns the indentation of lines into `_INDENT` and `_DEDENT`, outside of brackets."""

    NL_type = "_NL"  # type: ignore[assignment]
    OPEN_PAREN_types = ["LPAR", "LSQB"]  # type: ignore[assignment]  # noqa: RUF012
    CLOSE_PAREN_types = ["RPAR", "RSQB"]  # type: ignore[assignment]  # noqa: RUF012
    INDENT_type = "_INDENT"  # type: ignore[assignment]
    DEDENT_type = "_DEDENT"  # type: ignore[assignment]
    tab_len = TAB  # type: ignore[assignment]


def grammar_text() -> str:
    """The grammar, from inside an installed package or from the top of a checkout."""
    package = Path(__file__).parents[1]
    places = (package / "grammar" / "vispec.lark", package.parent / "grammar" / "vispec.lark")
    return next(place for place in places if place.exists()).read_text(encoding="utf-8")


@cache
def parser() -> Lark:
    """The parser of whole files, built once."""
    text = grammar_text()
    kept = json.loads(TABLES.read_text(encoding="utf-8")) if TABLES.exists() else {}
    return restore(kept) if kept.get("origin") == origin(text) else build_parser(text)


def build_parser(text: str) -> Lark:
    return Lark(text, parser="lalr", postlex=Blocks(), propagate_positions=True, maybe_placeholders=True)


def origin(text: str) -> str:
    """What the tables depend on."""
    return f"lark {lark.__version__}, grammar {sha256(text.encode()).hexdigest()}"


def store(text: str) -> str:
    """The parser's tables as JSON."""
    data, memo = build_parser(text).memo_serialize([TerminalDef, Rule])
    data["options"]["postlex"] = None
    return json.dumps({"origin": origin(text), "data": data, "memo": memo}, separators=(",", ":"), sort_keys=True) + "\n"


def restore(kept: dict[str, Any]) -> Lark:
    """The parser from its tables; JSON has made strings of the numbers that are keys."""
    data, table = kept["data"], kept["data"]["parser"]["parser"]
    data["options"]["postlex"] = Blocks()
    table["tokens"] = numbered(table["tokens"])
    table["states"] = numbered({state: numbered(actions) for state, actions in table["states"].items()})
    return Lark.load({"data": data, "memo": numbered(kept["memo"])})


def numbered(table: dict[str, Any]) -> dict[int, Any]:
    return {int(key): value for key, value in table.items()}


if __name__ == "__main__":
    TABLES.write_text(store(grammar_text()), encoding="utf-8")
