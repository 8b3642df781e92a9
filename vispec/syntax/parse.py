"""Text → Tree. The grammar is grammar/vispec.lark; problems of layout and of grammar are gathered into one SpecError."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from lark import Lark
from lark.indenter import Indenter
from lark.exceptions import UnexpectedInput
from vispec.source import Source, Span
from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.syntax.build import build
from vispec.syntax.tree import Tree


class Layout(Indenter):
    NL_type = "_NL"
    OPEN_PAREN_types = ["LPAR", "LSQB"]
    CLOSE_PAREN_types = ["RPAR", "RSQB"]
    INDENT_type = "_INDENT"
    DEDENT_type = "_DEDENT"
    tab_len = 8


@cache
def grammar() -> Lark:
    package = Path(__file__).parents[1]
    path = next(p for p in (package / "grammar" / "vispec.lark", package.parent / "grammar" / "vispec.lark") if p.exists())
    return Lark(path.read_text(), parser="lalr", postlex=Layout(), propagate_positions=True, maybe_placeholders=True)


def parse(source: Source) -> Tree:
    try:
        return Tree(source, build(grammar().parse(source.text + "\n")), ())
    except UnexpectedInput as e:
        span = Span(
            e.pos_in_stream or 0,
            (e.pos_in_stream or 0) + 1,
            max(e.line, 1),
            max(e.column, 1),
            max(e.line, 1),
            max(e.column, 1) + 1,
        )
        raise SpecError(source, [Diagnostic("V019", "this does not parse", Label(span))]) from None
