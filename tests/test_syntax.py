"""Text to tree: every construct, exact spans, several problems in one run, and no text that breaks the parser."""

import random
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import lark
import pytest
from syntax_tools import SPECS, bare, spoil

from vispec.diagnostics import SpecError, render
from vispec.source import Source
from vispec.syntax import grammar
from vispec.syntax import tree as t
from vispec.syntax.lines import MAX_PROBLEMS
from vispec.syntax.parse import parse


def read(text: str) -> t.Tree:
    return parse(Source("test.vispec", text))


def statement(text: str) -> Any:
    (only,) = read(text).body
    return only


def value(text: str) -> Any:
    """The tree of one expression, without spans."""
    return bare(statement(f"let v = {text}").value)


def problems(text: str) -> list[tuple[str, int]]:
    """(code, line) of each diagnostic."""
    with pytest.raises(SpecError) as caught:
        read(text)
    return [(d.code, d.primary.span.line) for d in caught.value.diagnostics]


def name(id: str) -> tuple[str, str]:
    return ("Name", id)


def number(of: float) -> tuple[str, float]:
    return ("Number", of)


def binary(op: str, left: Any, right: Any) -> tuple[Any, ...]:
    return ("Binary", op, left, right)


# ---- expressions

A, B, C, T = name("a"), name("b"), name("c"), name("t")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1", number(1)),
        ("1e-3", number(0.001)),
        (".5", number(0.5)),
        ("2.5", number(2.5)),
        ('"mine:Net"', ("String", "mine:Net")),
        ("a + b * c", binary("+", A, binary("*", B, C))),
        ("(a + b) * c", binary("*", binary("+", A, B), C)),
        ("a - b - c", binary("-", binary("-", A, B), C)),
        ("a ^ b ^ c", binary("^", A, binary("^", B, C))),
        ("-a ^ 2", ("Unary", "-", binary("^", A, number(2)))),
        ("a ^ -2", binary("^", A, ("Unary", "-", number(2)))),
        ("not a and b or c", binary("or", binary("and", ("Unary", "not", A), B), C)),
        ("not a < b", ("Unary", "not", binary("<", A, B))),
        ("a + 1 >= b", binary(">=", binary("+", A, number(1)), B)),
        ("a if b else c", ("IfElse", A, B, C)),
        ("a if b else c if t else 1", ("IfElse", A, B, ("IfElse", C, T, number(1)))),
        ("a[*]", ("Index", A, (("All",),))),
        ("a[<t]", ("Index", A, (("Before", T),))),
        ("a[t-1]", ("Index", A, (binary("-", T, number(1)),))),
        ("a[b, c]", ("Index", A, (B, C))),
        ("a[b[c]]", ("Index", A, (("Index", B, (C,)),))),
        ("|a|", ("Length", A)),
        ("|a[b]| > 3", binary(">", ("Length", ("Index", A, (B,))), number(3))),
        ("a(b).c", ("Attribute", ("Call", A, (B,), ()), "c")),
        ("a()", ("Call", A, (), ())),
        ("a(b, c=1, t)", ("Call", A, (B, T), (("Keyword", "c", number(1)),))),
        ("a(b for t)", ("Call", A, (("Comprehension", B, T),), ())),
        ("a(b[*] where c[*])", ("Call", A, (("Where", ("Index", B, (("All",),)), ("Index", C, (("All",),))),), ())),
        ("a[*] where b[*]", ("Where", ("Index", A, (("All",),)), ("Index", B, (("All",),)))),
        ("[a, [b]]", ("ListOf", (A, ("ListOf", (B,))))),
        ("[]", ("ListOf", ())),
        ("a(\n    b,  # one\n    c,\n)", ("Call", A, (B, C), ())),
    ],
)
def test_expressions(text: str, tree: Any) -> None:
    assert value(text) == tree


def test_words_of_the_language_are_names_where_no_keyword_can_stand() -> None:
    words = ("size", "vocab", "latent", "plate", "guide", "fit", "where", "for", "up", "to", "over", "epochs", "steps", "mean")
    for word in words:
        assert bare(statement(f"let {word} = {word}[{word}] + f({word}={word})")) == (
            "Let",
            name(word),
            binary("+", ("Index", name(word), (name(word),)), ("Call", name("f"), (), (("Keyword", word, name(word)),))),
            None,
        )
        guide, infer, fit = read(
            f"guide:\n    z ~ a\n    {word} ~ a\ninfer:\n    z : b\n    {word} : b\nfit:\n    c : 1\n    {word} : 1"
        ).body
        assert bare(guide)[1][1] == ("GuideLaw", name(word), A)
        assert bare(infer)[1][1] == ("InferLaw", name(word), B, None, None)
        assert bare(fit)[1][1] == ("FitEntry", name(word), number(1))


def test_a_name_may_begin_with_a_keyword() -> None:
    assert value("notch + ifs") == binary("+", name("notch"), name("ifs"))
    assert bare(statement("size sizeof = 3")) == ("Size", name("sizeof"), number(3))
    assert problems("sizeK = 3") == [("V010", 1)]


# ---- statements


def test_types() -> None:
    def parsed(text: str) -> Any:
        return bare(statement(f"param p : {text}").type)

    assert parsed("real") == ("TypeOf", "real", (), False)
    assert parsed("real[3, H, 2 * W]") == ("TypeOf", "real", (number(3), name("H"), binary("*", number(2), name("W"))), False)
    assert parsed("token[V]*") == ("TypeOf", "token", (name("V"),), True)
    assert parsed("real[-50..50]") == ("TypeOf", "real", (("Range", -50, 50),), False)
    assert parsed("real[-n]") == ("TypeOf", "real", (("Unary", "-", name("n")),), False)


def test_declarations() -> None:
    assert bare(statement("size D")) == ("Size", name("D"), None)
    assert bare(statement("vocab V")) == ("Vocab", name("V"), ())
    assert bare(statement("vocab V(lower, min_count=2)")) == (
        "Vocab",
        name("V"),
        (("Keyword", "lower", name("true")), ("Keyword", "min_count", number(2))),
    )


def test_net() -> None:
    net = statement(
        "net f(y: real[D], w: token[V]*) -> (loc: real, scale: positive)\n"
        "    = (linear(5) ~ Normal(0, 1))  # with a prior of its own\n"
        "\n"
        "    |> mean |> lstm(embed=2, bidirectional) ~ Normal(0, 2)\n"
    )
    assert [argument.name for argument in net.args] == ["y", "w"]
    assert [head.name for head in net.heads] == ["loc", "scale"]
    assert [stage.call.function.id for stage in net.trunk] == ["linear", "mean", "lstm"]
    assert bare(net.trunk[0].prior) == ("Call", name("Normal"), (number(0), number(1)), ())
    assert bare(net.prior) == ("Call", name("Normal"), (number(0), number(2)), ())
    assert bare(statement("net f(y: real) -> simplex[K]* = mean()")) == bare(statement("net f(y: real) -> simplex[K]* = mean"))


def test_plates_and_laws() -> None:
    plate = statement(
        "plate n:\n"
        "  plate k[K]: param mu : real\n"
        "  chain t:\n"
        "    latent c : index[k] ~ a then b\n"
        "        then c if t else a\n"
        "    given y : real\n"
    )
    inner, chain = plate.body
    assert (inner.kind, inner.size.id, chain.kind, chain.size) == ("plate", "K", "chain", None)
    latent, given = chain.body
    assert bare(latent.law) == ("Then", (A, B, ("IfElse", C, T, A)))
    assert (given.role, given.law) == ("given", None)


def test_sections() -> None:
    guide, infer, fit = read(
        "guide:\n    let h = f(x[*])\n    z ~ Normal(h, 1)\n"
        "infer:\n    f : exact up to 2^16 else score(samples=8)\n    z : map()\n"
        "fit:\n    anneal : kl from 0 to 1 over 10 epochs\n    offset : x(21)\n"
    ).body
    assert [type(entry).__name__ for entry in guide.entries] == ["GuideLet", "GuideLaw"]
    budgeted, plain = infer.entries
    assert bare(budgeted.estimator) == name("exact")
    assert bare(budgeted.budget) == binary("^", number(2), number(16))
    assert budgeted.otherwise.function.id == "score"
    assert (plain.budget, plain.otherwise) == (None, None)
    assert bare(fit.entries[0].value) == ("Schedule", name("kl"), number(0), number(1), number(10), "epochs")


# ---- spans


def nodes(of: Any) -> Iterator[t.Node]:
    if isinstance(of, t.Node):
        yield of
    if is_dataclass(of):
        for field in fields(of):
            yield from nodes(getattr(of, field.name))
    elif isinstance(of, tuple):
        for item in of:
            yield from nodes(item)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_spans_cover_exactly_the_words_of_their_node(path: Path) -> None:
    source = Source.read(path)
    for node in nodes(parse(source).body):
        span = node.span
        words = source.text[span.start : span.end]
        assert words == words.strip() != ""
        assert source.text.count("\n", 0, span.start) + 1 == span.line
        assert span.start - (source.text.rfind("\n", 0, span.start) + 1) == span.column - 1
        assert source.text.count("\n", 0, span.end) + 1 == span.end_line
        assert span.end - (source.text.rfind("\n", 0, span.end) + 1) == span.end_column - 1
        if isinstance(node, t.Name):
            assert words == node.id


def test_span_of_a_product_of_sums_includes_the_parentheses() -> None:
    product = statement("let v = (a + b) * (c)").value
    assert (product.span.column, product.span.end_column) == (9, 22)
    assert (product.left.span.column, product.left.span.end_column) == (10, 15)


def test_header_and_section_spans() -> None:
    plate, guide = read("plate n[ 3 ] :\n    param a : real\n\nguide:\n    z ~ a\n\n# end\n").body
    assert (plate.head_span.start, plate.head_span.end, plate.span.end_line) == (0, 14, 2)
    assert (guide.span.line, guide.span.end_line, guide.span.end_column) == (4, 5, 10)


# ---- problems


MANY = """\
size = 3
plate n
  latent z real
  latnt w : real ~ a
  observed x : real ~ f(1 2)
guid:
  z ~ a)
  w + a
fit:
  epochs 3
"""


def test_problems_of_all_lines_in_one_run() -> None:
    codes = [
        ("V012", 1),
        ("V011", 2),
        ("V013", 3),
        ("V010", 4),
        ("V019", 5),
        ("V010", 6),
        ("V004", 7),
        ("V019", 8),
        ("V019", 10),
    ]
    assert problems(MANY) == codes


def test_columns_are_right_in_a_file_with_other_indentation() -> None:
    with pytest.raises(SpecError) as caught:
        read("plate n:\n\tplate m:\n\t\tlatent z ~ a\n")
    (found,) = caught.value.diagnostics
    assert (found.code, found.primary.span.line, found.primary.span.column) == ("V013", 3, 12)


def test_a_broken_header_does_not_spoil_its_block() -> None:
    assert problems("plte n:\n    let a = 1\n    let b = \n") == [("V010", 1), ("V018", 3)]
    assert problems("foo bar:\n    anything at all\n    goes here\nlet b = \n") == [("V010", 1), ("V018", 4)]


def test_the_number_of_problems_is_bounded() -> None:
    assert len(problems("let\n" * 1000)) == MAX_PROBLEMS


@pytest.mark.parametrize(
    "text",
    [
        "let x = " + "(" * 50_000,
        "let x = " + "(" * 50_000 + "1" + ")" * 50_000,
        "let x = " + "-" * 3000 + "1",
        "let x = " + "not " * 3000 + "a",
        "let x = " + "1 + " * 3000 + "1",
        "let x = " + "2^" * 3000 + "1",
        "let x = " + "a if b else " * 3000 + "c",
        "let x = " + "f(" * 1000 + "a" + ")" * 1000,
        "\n".join(" " * i + f"plate p{i}:" for i in range(200)),
    ],
    ids=["open", "parentheses", "minus", "not", "sum", "power", "if", "calls", "plates"],
)
def test_deep_nesting_is_a_diagnostic(text: str) -> None:
    assert {code for code, _ in problems(text)} <= {"V003", "V009", "V017"}


@pytest.mark.parametrize(
    "text", ["", "\n\n", "  \t ", "#", "\ufeff", "\x00", "\r", "plate", '"', ")", "\\", "  size K", "let x = 1e9999"]
)
def test_scraps_are_diagnosed(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize("seed", range(8))
def test_spoilt_specs_parse_or_are_diagnosed(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        source = Source("test.vispec", spoil(rng.choice(SPECS).read_text(encoding="utf-8"), rng))
        try:
            told: object = parse(source).body
        except SpecError as errors:
            told = render(source, errors.diagnostics)
        assert told


# ---- the kept tables


def test_the_kept_tables_are_those_of_the_grammar() -> None:
    """After a change of the grammar: PYTHONHASHSEED=0 python -m vispec.syntax.grammar."""
    kept = grammar.TABLES.read_text(encoding="utf-8")
    assert grammar.origin(grammar.grammar_text()).split(", ")[1] in kept[:-1]


def test_the_kept_tables_parse_like_the_grammar() -> None:
    built = grammar.build_parser(grammar.grammar_text())
    for path in SPECS:
        text = path.read_text(encoding="utf-8")
        assert grammar.parser().parse(text) == built.parse(text)


def test_stored_tables_restore() -> None:
    import json

    restored = grammar.restore(json.loads(grammar.store(grammar.grammar_text())))
    assert isinstance(restored.parse("size K = 3\n"), lark.Tree)
