"""`vispec posterior` of what a fit only drew: which rows are exact, what is said of the others, words that bits choose."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vispec.cli.main import main
from vispec.screen import chosen, shown

SPEC = """\
vocab V
net select(word: token[V]) -> unit = embed(4)
net classify(words: token[V]*) -> simplex[3] = embed(4) |> mean

plate review:
    plate i:
        given  y : token[V]
        latent f : bit ~ Bernoulli(select(y))
    observed x : category[3] ~ Categorical(classify(y[*] where f[*]))
    let share = mean(f[*])
    let any = max(f[*])

infer:
    f : score(samples=2)
"""
CODES = """\
net decode(b: bit[6]) -> unit[4] = linear(4)
net encode(x: bit[4]) -> unit[6] = linear(6)
plate n:
    latent   b : bit[6] ~ Bernoulli(0.5)
    observed x : bit[4] ~ Bernoulli(decode(b))
guide:
    b ~ Bernoulli(encode(x))
infer:
    b : wake_sleep()
"""
TEXTS = ["good film", "a b c d e " * 6, "a film", "b film " * 15]  # two of 30 words


def vispec(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        rows = [{"y": text.split(), "x": i % 3} for i, text in enumerate(TEXTS)]
        Path("d.jsonl").write_text("\n".join(map(json.dumps, rows)))
        Path("short.jsonl").write_text(json.dumps(rows[0]))
        Path("e.jsonl").write_text("\n".join(json.dumps({"x": [i % 2, 1, 0, 1]}) for i in range(4)))
        Path("chars.jsonl").write_text(json.dumps({"y": list("aabb"), "x": 1}))
        Path("rationale.vispec").write_text(SPEC)
        Path("chars.vispec").write_text(SPEC.replace("vocab V", "vocab V(chars)").replace("select(y)", "0.9999999"))
        Path("upto.vispec").write_text(SPEC.replace("score(samples=2)", "exact up to 2^8 else score(samples=2)"))
        Path("codes.vispec").write_text(CODES)
        for run, data in (("rationale", "d.jsonl"), ("upto", "d.jsonl"), ("codes", "e.jsonl"), ("chars", "chars.jsonl")):
            words = (
                "fit",
                f"{run}.vispec",
                data,
                "--out",
                run,
                "--threads",
                "1",
                "--epochs",
                "2",
                "--no-verify",
                "--batch",
                "4",
            )
            result = vispec(*words)
            assert result.exit_code == 0, result.output
    return place


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def told(*words: str) -> tuple[list[dict[str, Any]], str]:
    result = vispec("posterior", *words, "--jsonl")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def approximately(rows: list[list[float]]) -> list[Any]:
    return [pytest.approx(row, abs=1e-6) for row in rows]


@pytest.mark.parametrize("run", ["rationale", "upto"])
@pytest.mark.parametrize("query", ["marginals", "mode", "sample"])
def test_rows_that_can_be_summed_are_exact(run: str, query: str) -> None:
    """Row by row, in their order; the others say how many draws they are worth."""
    rows, said = told(run, "d.jsonl", "--query", query, "--samples", "200")
    assert [len(row["f"]) for row in rows] == [2, 30, 2, 30]
    assert ["(effective_samples)" in row for row in rows] == [False, True, False, True]
    assert all(100 < row["(effective_samples)"] <= 200 for row in rows[1::2])
    assert "`f`: by 200 weighted draws from laws of their own where sums take too much" in said
    assert "2 of 4 rows by weighted draws" in said
    assert ("the mode is the draw of greatest joint density" in said) == (query == "mode")
    if query != "sample":
        alone, said = told(run, "short.jsonl", "--query", query)
        assert alone[0]["f"] == (pytest.approx if query == "mode" else approximately)(rows[0]["f"])
        assert "weighted" not in said


@pytest.mark.parametrize("name", ["share", "any"])
def test_derived_quantities_of_both(name: str) -> None:
    rows, _ = told("rationale", "d.jsonl", "--of", name)
    assert ["(effective_samples)" in row for row in rows] == [False, True, False, True]
    chances = [p[1] for p in told("rationale", "d.jsonl", "--query", "marginals")[0][1]["f"]]
    assert rows[1][name] == pytest.approx(sum(chances) / 30 if name == "share" else 1.0, abs=1e-4)


@pytest.mark.parametrize("query", ["entropy", "kbest(2)"])
@pytest.mark.parametrize("run", ["rationale", "codes"])
def test_what_draws_do_not_tell_is_refused(run: str, query: str) -> None:
    result = vispec("posterior", run, "e.jsonl" if run == "codes" else "d.jsonl", "--query", query)
    assert result.exit_code == 1, result.output
    assert "draws" in result.stderr
    assert "marginals, mode, sample" in result.stderr
    assert "Traceback" not in result.output


def test_codes_under_a_guide() -> None:
    rows, said = told("codes", "e.jsonl", "--query", "marginals", "--samples", "50")
    assert "`b`: by 50 weighted draws from guides, not exactly" in said
    assert all(len(row["b"]["mean"]) == 6 and 1 <= row["(effective_samples)"] <= 50 for row in rows)
    rows, _ = told("codes", "e.jsonl", "--query", "sample")
    assert all(set(row["b"]) <= {0, 1} for row in rows)


def test_rationales_are_the_text_with_marks() -> None:
    rows, _ = told("rationale", "d.jsonl", "--query", "mode")
    lines = vispec("posterior", "rationale", "d.jsonl").stdout.splitlines()
    words = [f"[{word}]" if on else word for word, on in zip(TEXTS[0].split(), rows[0]["f"], strict=True)]
    assert lines[0] == f"     1  f: {' '.join(words)}"
    assert lines[1] == "row 2"
    assert any(line.startswith("  effective samples: ") for line in lines)
    p = [each[1] for each in told("rationale", "d.jsonl", "--query", "marginals")[0][2]["f"]]
    beside = [f"[{w}={q:.2f}]" if q >= 0.5 else f"{w}={q:.2f}" for w, q in zip(("a", "film"), p, strict=True)]
    assert f"f: {' '.join(beside)}" in vispec("posterior", "rationale", "d.jsonl", "--query", "marginals").stdout
    assert "f: good/0" in vispec("posterior", "rationale", "short.jsonl", "--query", "entropy").stdout


def test_characters_stand_together() -> None:
    assert vispec("posterior", "chars", "chars.jsonl").stdout == "     1  f: [aabb]\n"


def test_a_terminal_shows_marks_in_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    text = f"a {chosen('good')} film"
    assert shown(text, Terminal()) == "a \x1b[1mgood\x1b[0m film"
    assert shown(text, io.StringIO()) == "a [good] film"
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(text, Terminal()) == "a [good] film"
