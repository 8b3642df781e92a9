"""What commands print: within 100 columns, numbers beside what they are of, diagnostics in colour on a terminal alone."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vispec.answers.show import Aligned, describe
from vispec.explain.explain import explain
from vispec.explain.show import show_explanation
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.screen import WIDE, coloured, folded, tabled
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.estimates.show import body
from vispec.train.estimates.values import Estimate, Estimates

ROOT = Path(__file__).parents[1]
BAD = "plate n:\n    observed x : real ~ Nromal(0, 1)\n    observed y : real ~ Normal(0)\n"
COLOUR = re.compile("\x1b\\[[0-9;]*m")
MODEL = check_model(
    parse(
        Source(
            "m.vispec",
            """\
size K = 3
vocab V(begin=true, end=true)
param init : simplex[K]
param emit : simplex[V]
param share : simplex[K]
plate n:
    latent a : category[K] ~ Categorical(share)
    latent b : bit ~ Bernoulli(0.5)
    chain t:
        latent c : category[K] ~ Categorical(init)
        observed x : token[V] ~ Categorical(emit)
    plate i:
        plate j:
            observed y : category[K] ~ Categorical(share)
""",
        )
    )
)


def shown(row: dict, beside: dict | None = None, **labels: list) -> str:
    return describe(1, row, Aligned(MODEL, beside or {}, labels=labels))


def wide(text: str) -> list[str]:
    """Lines that words could have parted and that are too wide."""
    return [line for line in text.splitlines() if len(line) > WIDE and " " in line.strip()[: WIDE // 2]]


# ---- width


def test_plans_fit_the_screen() -> None:
    plans = sorted((ROOT / "tests" / "golden").glob("*/plan.txt"))
    assert len(plans) > 20
    assert [(path.parent.name, line) for path in plans for line in wide(path.read_text())] == []


@pytest.mark.parametrize("name", ["entity_types", "hmm_alignment", "eight_schools", "vae"])
def test_derivations_fit_the_screen(name: str) -> None:
    model = check_model(parse(Source.read(ROOT / "specs" / f"{name}.vispec")))
    text = show_explanation(explain(model, plan_model(model)))
    assert wide(text) == []
    assert len(text.splitlines()) > 15


def test_the_last_column_of_a_table_folds_beside_or_below_the_others() -> None:
    words = "one word after another " * 10
    lines = tabled([("name", "because"), ("x", words.strip())])
    assert lines[0] == "name  because"
    assert len(lines) > 3
    assert all(line.startswith("      one") or line[:6].strip() in ("name", "x", "") for line in lines)
    low = tabled([("n" * 90, "because"), ("x", words.strip())])
    assert low[1:3] == ["x", *folded(words, "    ")[:1]]
    assert " ".join(" ".join(lines[1:]).split()) == f"x {words.strip()}"
    assert max(map(len, lines + low)) <= WIDE


def test_reasons_beside_estimates_fold() -> None:
    reason = "not identified: " + "the data say nothing of this direction, and " * 4
    entry = Estimate(name="mu", labels=(), estimate=1.0, se=None, low=None, high=None, note=reason, scale="real")
    other = entry.model_copy(update={"name": "s", "note": "at its bound"})
    fields = Estimates.model_fields
    assert "parameters" in fields
    lines = body(Estimates.model_construct(parameters=[entry, other], folded=[], level=0.95, notes=[]))
    assert max(map(len, lines)) <= WIDE
    assert " ".join(reason.split()) in " ".join(" ".join(lines).split())


def test_a_long_row_folds_with_an_indent() -> None:
    lines = shown({"c": [0, 1, 2] * 100}).splitlines()
    assert lines[0] == "row 1"
    assert lines[1].startswith("  c: 0 1 2")
    assert all(line.startswith("      ") for line in lines[2:])
    assert max(map(len, lines)) <= WIDE
    assert sum(len(line.replace("c:", "").split()) for line in lines[1:]) == 300


# ---- numbers say what they are of


def test_probabilities_stand_beside_labels_or_positions() -> None:
    assert shown({"a": [0.98, 0.02, 0.0]}, a=["red", "blue", "a\x1b"]) == r"     1  a: red=0.98  blue=0.02  a\x1b=0"
    assert shown({"a": [0.98, 0.02, 0.0]}) == "     1  a: P(0)=0.98  P(1)=0.02  P(2)=0"
    assert shown({"b": [0.25, 0.75]}) == "     1  b: P(0)=0.25  P(1)=0.75"


def test_of_many_values_the_likeliest_are_told_and_the_others_counted() -> None:
    text = shown({"a": [0.001] * 80 + [0.7, 0.12, 0.05, 0.03, 0.02, 0.0]})
    assert text.startswith("     1  a: P(80)=0.7  P(81)=0.12  P(82)=0.05  P(83)=0.03  P(84)=0.02  P(0)=0.001  80 others=0.079")


def test_probabilities_along_plates_have_a_line_for_each_element() -> None:
    row, words = {"c": [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]}, {"x": ["the", "end"]}
    assert shown(row, words).splitlines() == [
        "row 1",
        "  c:",
        "    the: P(0)=0.5  P(1)=0.5  P(2)=0",
        "    end: P(0)=1  P(1)=0  P(2)=0",
    ]
    pairs = shown({"y": [[[0.5, 0.5, 0.0]], [[0.0, 0.0, 1.0]]]}, j=["p"])
    assert pairs.splitlines()[2:] == ["    0, p: P(0)=0.5  P(1)=0.5  P(2)=0", "    1, p: P(0)=0  P(1)=0  P(2)=1"]


def test_values_and_draws_are_no_probabilities() -> None:
    assert shown({"a": [2, 0, 1]}) == "     1  a: [2 0 1]"  # draws of it
    assert shown({"c": [0.1, 0.2]}) == "     1  c: 0.1 0.2"  # entropies along t


def test_states_stand_beside_words_also_where_symbols_around_them_are_left_out() -> None:
    assert shown({"c": [0, 1]}, {"x": ["a", "b"]}) == "     1  c: a/0 b/1"
    assert shown({"c": [2, 0, 1, 2]}, {"x": ["a", "b"]}) == "     1  c: (begin)/2 a/0 b/1 (end)/2"


# ---- colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_and_can_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "d.csv:3: error[D101]: row 2: no number\nhelp: write one\nd.csv: warning[D190]: odd\n   3 | x\n     | ^ here\n"
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert coloured(text, io.StringIO()) == text
    drawn = coloured(text, Terminal())
    assert COLOUR.sub("", drawn) == text
    assert "\x1b[1;31merror[D101]" in drawn
    assert "\x1b[1;33mwarning[D190]" in drawn
    assert "\x1b[1;31m^ here" in drawn
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured(text, Terminal()) == text


@pytest.mark.parametrize("refused", [False, True])
def test_check_on_a_terminal(tmp_path: Path, refused: bool) -> None:
    spec = tmp_path / "bad.vispec"
    spec.write_text(BAD)
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"}
    environment |= {"NO_COLOR": "1"} if refused else {}
    command = [sys.executable, "-m", "vispec", "check", str(spec)]
    piped = subprocess.run(command, capture_output=True, text=True, env=environment).stderr
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
        os.close(theirs)
        told = b""
        while chunk := read(ours):
            told += chunk
        assert process.wait() == 1
    text = told.decode().replace("\r\n", "\n")
    assert COLOUR.sub("", text) == piped
    assert "\x1b" not in piped
    assert bool(COLOUR.search(text)) is not refused


def read(descriptor: int) -> bytes:
    """What a terminal shows; nothing where its program has ended."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
