"""Where the parser stopped, in the language's words: what was expected there, what was found, and the edit that fixes it."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from lark.exceptions import UnexpectedInput

from vispec.diagnostics import Diagnostic, Label
from vispec.source import Span
from vispec.syntax.lines import Line, Lines
from vispec.syntax.words import BLOCKS, GOES_ON, ROLES, SECTIONS, STATEMENTS

_WORD = re.compile(r'[A-Za-z_]\w*|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|"[^"\n]*"|\|>|->|\.\.|[<>=!]=|\S')
_TYPED = (*ROLES, "param", "net")
_OUTER = ("size", "vocab", "embedding", "net", *SECTIONS)

# What the parser can take next, as words for people; operators and other terminals not listed here are "an operator".
_SAY = {
    "COLON": "`:`",
    "COMMA": "`,`",
    "EQUAL": "`=`",
    "TILDE": "`~`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "VBAR": "`|`",
    "ARROW": "`->`",
    "PIPE": "`|>`",
    "DOTS": "`..`",
    "NAME": "a name",
    "NUMBER": "a number",
    "STAR": "`*`",
    "_IF": "`if`",
    "_ELSE": "`else`",
    "_TO": "`to`",
    "_UP": "`up to`",
    "_FROM": "`from`",
    "_OVER": "`over`",
    "_THEN": "`then`",
    "EPOCHS": "`epochs`",
    "STEPS": "`steps`",
    "TOKENS": "`tokens`",
    "_NL": "the end of the line",
}
_OPERATORS = {"PLUS", "MINUS", "SLASH", "HAT", "LESS", "LESS_EQUAL", "MORE", "MORE_EQUAL", "EQUALS", "UNEQUAL", "AND", "OR"}
_GO_ON = {"LPAR", "LSQB", "STAR", "_IF", "_THEN"}  # not worth listing beside "an operator"


@dataclass(frozen=True)
class Stop:
    """The place where the parser stopped: the words of the statement before it, the one found, and the terminals it could take.

    found is '' at the end of the statement; after is the word behind the one found.
    """

    line: Line
    before: tuple[str, ...]
    found: str
    after: str
    accepts: frozenset[str]
    span: Span
    head_span: Span

    @property
    def head(self) -> str:
        return self.before[0] if self.before else ""

    @property
    def previous(self) -> str:
        return self.before[-1] if self.before else ""

    @property
    def shown(self) -> str:
        """What was found, as the end of a sentence."""
        return f"not `{self.found}`" if self.found else "but the line ends"


def explain(lines: Lines, line: Line, error: UnexpectedInput) -> Diagnostic:
    """The diagnostic for a statement that does not parse."""
    stop = _locate(lines, line, error)
    return next(found for rule in RULES if (found := rule(stop)) is not None)


def _locate(lines: Lines, line: Line, error: UnexpectedInput) -> Stop:
    """Words and place of the stop; the parser saw the line `shift` columns to the left of where it is written."""
    parser = getattr(error, "interactive_parser", None)
    accepts = frozenset(parser.accepts()) if parser is not None else frozenset()
    words = _words(lines, line)
    row, column = error.line, error.column - 1 + (line.shift if error.line == line.first else 0)
    inside = row > 0 and getattr(getattr(error, "token", None), "type", "") not in ("_NL", "_INDENT", "_DEDENT", "$END")
    before = tuple(w for w in words if not inside or (w[0], w[1]) < (row, column))
    rest = words[len(before) :]
    if rest:
        at, start, text = rest[0]
        span = lines.span(at, start, start + len(text))
    else:
        at, start, text = words[-1]
        span = lines.span(at, start + len(text), start + len(text) + 1)
    following = rest[1][2] if len(rest) > 1 else ""
    head = lines.span(words[0][0], words[0][1], words[0][1] + len(words[0][2]))
    return Stop(line, tuple(w[2] for w in before), rest[0][2] if rest else "", following, accepts, span, head)


def _words(lines: Lines, line: Line) -> list[tuple[int, int, str]]:
    """(line number, column from 0, text) of each word and mark of a statement."""
    comments = dict(lines.comments)
    found: list[tuple[int, int, str]] = []
    for number in range(line.first, line.last + 1):
        row = lines.rows[number - 1]
        code = row.rstrip().removesuffix(comments[number]) if number in comments else row
        found += [(number, m.start(), m[0]) for m in _WORD.finditer(code)]
    return found


# ---- one rule per kind of mistake, the most telling first


def _diagnose(code: str, message: str, stop: Stop, label: str = "", help: str | None = None) -> Diagnostic:
    return Diagnostic(code, message, Label(stop.span, label), help=help)


def _misplaced(stop: Stop) -> Diagnostic | None:
    """A statement of the language where it cannot stand."""
    section = stop.line.parent.word if stop.line.parent is not None else ""
    word = stop.head or stop.found
    if stop.line.parent is None or word not in STATEMENTS:
        return None
    if section in SECTIONS and word != "let" and len(stop.before) == 1 and re.match(r"\w", stop.found):
        help = {
            "guide": "an entry reads `z ~ law`",
            "infer": "an entry reads `z : estimator`",
            "fit": "an entry reads `key : value`",
        }
        return Diagnostic("V016", f"`{word}` cannot stand inside `{section}:`", Label(stop.head_span), help=help[section])
    if not stop.before and word in _OUTER:
        return _diagnose("V016", f"`{word}` cannot stand inside a plate", stop, help="move it to the left margin")
    return None


def _no_statement(stop: Stop) -> Diagnostic | None:
    """A line whose first word the language does not know."""
    if stop.before:
        return None
    message = f"no statement begins with `{stop.found}`"
    if stop.found in ("=", "|>", "->", "~", "then"):
        return _diagnose("V010", message, stop, help="indent this line to go on with the statement above")
    if stop.found in STATEMENTS:
        return _diagnose(
            "V016", f"`{stop.found}` cannot stand here", stop, help="indent it under a plate, or move it to the left margin"
        )
    if not re.match(r"[A-Za-z_]", stop.found):
        return _diagnose("V010", message, stop, help="a line begins with a word such as `plate`, `latent`, `observed`, `param`")
    near = get_close_matches(stop.found.lower(), STATEMENTS, n=1, cutoff=0.7)
    if near and (near[0] in SECTIONS or stop.after not in (":", "~", "=")):
        return _diagnose("V010", message, stop, help=f"did you mean `{near[0]}`?")
    if stop.after in (":", "~"):
        return _diagnose("V010", message, stop, help=f"say its role: `latent {stop.found}`, `observed {stop.found}`, ...")
    if stop.after == "=":
        return _diagnose("V010", message, stop, help=f"write `let {stop.found} = ...`, or `size {stop.found} = ...` for a size")
    return _diagnose("V010", message, stop, help="one of " + ", ".join(f"`{word}`" for word in STATEMENTS))


def _no_colon(stop: Stop) -> Diagnostic | None:
    """A header that ends without one; a plate of elements alone, `plate d[4]`, needs none, but then nothing stands under it."""
    over_a_block = stop.line.word == "plate" and stop.line.opens
    if stop.head not in BLOCKS or not ("COLON" in stop.accepts or over_a_block) or stop.found:
        return None
    return _diagnose("V011", f"this `{stop.head}` needs a `:` at the end", stop, "expected `:`", help="add `:`")


def _given_with_law(stop: Stop) -> Diagnostic | None:
    if stop.head != "given" or stop.found != "~" or len(stop.before) < 2:
        return None
    name = stop.before[1]
    help = f"drop the law, or make it `observed {name}`"
    return _diagnose("V015", f"`{name}` is given, so it has no law", stop, help=help)


def _param_with_law(stop: Stop) -> Diagnostic | None:
    if stop.head != "param" or stop.found != "~" or len(stop.before) < 2:
        return None
    name = stop.before[1]
    help = f"what has a prior is a latent: `latent {name}`; with `{name} : map()` in `infer:` it is its most probable value"
    return _diagnose("V015", f"`{name}` is a parameter, so it has no law", stop, help=help)


def _no_law(stop: Stop) -> Diagnostic | None:
    if stop.head not in ROLES or "TILDE" not in stop.accepts or stop.found:
        return None
    name = stop.before[1]
    help = "end the line with `~` and a law, such as `~ Normal(0, 1)`" + (
        "" if stop.head == "latent" else f", or make it `given {name}`"
    )
    return _diagnose("V014", f"`{name}` has no law", stop, "expected `~`", help=help)


def _goes_on(stop: Stop) -> Diagnostic | None:
    """A statement broken behind the mark that its next line begins with."""
    if stop.found or stop.previous not in GOES_ON or not {"NAME", "NUMBER"} & stop.accepts:
        return None
    what = (
        "a law"
        if stop.previous in ("~", "then")
        else "a type"
        if stop.previous == "->"
        else "a layer"
        if stop.head == "net"
        else "a value"
    )
    help = f"write {what} behind it; to go on in the next line, begin that line with `{stop.previous}`, indented"
    return _diagnose("V018", f"expected {what} after `{stop.previous}`, but the line ends", stop, help=help)


def _no_type(stop: Stop) -> Diagnostic | None:
    """`observed x : ~ law` and `observed x ~ law`."""
    if stop.head not in _TYPED:
        return None
    after_colon = stop.previous in (":", "->") and "NAME" in stop.accepts and "NUMBER" not in stop.accepts
    if after_colon:
        help = "a type is written like `real`, `real[D]`, `category[K]` or `token[V]`"
        return _diagnose("V013", f"expected a type after `{stop.previous}`, {stop.shown}", stop, help=help)
    if "COLON" in stop.accepts and stop.head != "let":
        lead = "" if stop.head == "net" else f"{stop.head} "
        help = f"write `{lead}{stop.previous} : real`, with its type in place of `real`"
        return _diagnose("V013", f"`{stop.previous}` has no type", stop, "expected `:` and a type", help=help)
    return None


def _no_layer(stop: Stop) -> Diagnostic | None:
    if (
        stop.head != "net"
        or stop.previous not in ("=", "|>")
        or not {"NAME", "LPAR"} <= stop.accepts
        or "NUMBER" in stop.accepts
    ):
        return None
    message = f"expected a layer after `{stop.previous}`, {stop.shown}"
    return _diagnose("V018", message, stop, help="a layer is written like `mlp([64])` or `mean`")


def _no_expression(stop: Stop) -> Diagnostic | None:
    if "NUMBER" not in stop.accepts or "NAME" not in stop.accepts:
        return None
    what = "a law" if stop.previous in ("~", "then") else "a value"
    return _diagnose("V018", f"expected {what} after `{stop.previous}`, {stop.shown}", stop, help=_slip(stop))


def _no_name(stop: Stop) -> Diagnostic | None:
    if "NAME" not in stop.accepts:
        return None
    help = "a name is made of letters, digits and `_`, and begins with no digit"
    return _diagnose("V012", f"expected a name after `{stop.previous}`, {stop.shown}", stop, help=help)


def _otherwise(stop: Stop) -> Diagnostic:
    return _diagnose("V019", f"expected {_options(stop.accepts)} after `{stop.previous}`, {stop.shown}", stop, help=_slip(stop))


RULES: tuple[Callable[[Stop], Diagnostic | None], ...] = (
    _misplaced,
    _no_statement,
    _no_colon,
    _given_with_law,
    _param_with_law,
    _no_law,
    _goes_on,
    _no_type,
    _no_layer,
    _no_expression,
    _no_name,
    _otherwise,
)


def _slip(stop: Stop) -> str | None:
    """The edit for slips that are common, many of them brought along from other languages."""
    in_index = stop.before.count("[") > stop.before.count("]")
    slips = (
        (stop.head in SECTIONS and stop.previous == ":", "put each entry on a line of its own, indented"),
        (
            stop.head == "let" and stop.found == ":" and len(stop.before) == 2,
            "a `let` of a guide has no type: write `=` and its value",
        ),
        (stop.found == "*" and stop.previous == "*", "a power is written `^`"),
        (stop.found == "=" and "EQUALS" in stop.accepts, "equality is written `==`"),
        (stop.found == ":" and in_index, "the prefix before element `i` is `x[<i]`, the whole sequence `x[*]`"),
        ("ARROW" in stop.accepts, "say what the net gives, such as `-> real`"),
        (
            ("_ELSE" in stop.accepts and stop.found == "") or "if" in (stop.previous, stop.found),
            "a choice is written `a if condition else b`",
        ),
        ("COMMA" in stop.accepts and re.match(r"\w", stop.found) is not None, "put `,` between arguments"),
        (stop.previous in ("~", "then"), "a law is a distribution such as `Normal(0, 1)`"),
    )
    return next((help for applies, help in slips if applies), None)


def _options(accepts: Iterable[str]) -> str:
    """`a`, `b` or `c`, without the operators where anything else is possible."""
    accepts = set(accepts)
    after_operand = bool(accepts & _OPERATORS)
    listed = [text for name, text in _SAY.items() if name in accepts and not (after_operand and name in _GO_ON)]
    listed = ["an operator", *listed] if after_operand else listed
    listed = listed or ["nothing more"]
    return " or ".join(filter(None, (", ".join(listed[:-1]), listed[-1])))
