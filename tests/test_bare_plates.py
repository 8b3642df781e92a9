"""`plate d[4]` alone: a plate whose elements are numbers to point at."""

import pytest

from vispec.diagnostics import Diagnostic
from vispec.graph.build import build_graph, show_graph
from vispec.model.check import check
from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse
from vispec.verify.verify import verify

SPEC = """
size D = 3
plate d[D]
plate seq:
    plate e[2]  # of each row
    latent r : index[d] ~ Uniform()
    latent q : index[e] ~ Uniform()
    observed x : real ~ Normal(2 * r + q, 1 + sum(d for d))
"""


def found(text: str) -> list[Diagnostic]:
    return list(check(parse(Source("tiny.vispec", text)))[1])


def test_its_elements_are_numbers() -> None:
    assert found(SPEC) == []
    report = verify(Source("tiny.vispec", SPEC))
    assert not report.differs, str(report)


def test_one_that_nothing_reads_is_told() -> None:
    (warning,) = found("plate d[4]\nplate n:\n    observed x : real ~ Normal(0, 1)\n")
    assert warning.code == "V190"


@pytest.mark.parametrize("body", ["param dummy : real", "let w = 1"])
def test_what_stands_in_a_plate_for_nothing_may_be_left_out(body: str) -> None:
    use = "plate n:\n    latent r : index[d] ~ Uniform()\n    observed x : real ~ Normal(r, 1)\n"
    (warning,) = found(f"plate d[4]:\n    {body}\n{use}")
    assert "`plate d[4]` alone" in (warning.help or "")
    assert found(f"plate d[4]\n{use}") == []


def test_the_formatter_keeps_it() -> None:
    text = format_tree(parse(Source("tiny.vispec", SPEC)))
    assert "plate d[D]\n" in text
    assert "    plate e[2]  # of each row\n" in text
    assert format_tree(parse(Source("tiny.vispec", text))) == text


def test_it_is_drawn() -> None:
    model, _ = check(parse(Source("tiny.vispec", SPEC)))
    assert model is not None
    assert "r" in show_graph(build_graph(model))
