"""Predictions beside gold, by hand: shares, spans, BLEU, and the error rate of alignments."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vispec.answers.measured import measures
from vispec.answers.measured.asked import Metric, read_metrics
from vispec.answers.measured.links import Gold, error_rate, read_links
from vispec.cli.main import main
from vispec.train.data import DataError
from vispec.train.errors import OptionError, RunError

TAGGER = """\
vocab W
vocab TAG(unknown=false)
net tag(word: token[W]) -> simplex[TAG] = embed(8)
plate sentence:
    plate i:
        given    y : token[W]
        observed x : token[TAG] ~ Categorical(tag(y))
"""
ALIGNED = """\
vocab EN
vocab FR(begin="<null>")
net lex(y: token[FR]) -> simplex[EN] = embed(8)
plate pair:
    plate j:
        given y : token[FR]
    plate i:
        latent   a : index[j]  ~ Uniform()
        observed x : token[EN] ~ Categorical(lex(y[a]))
"""
PAIRS = [("das Haus", "the house"), ("das Buch", "the book"), ("ein Buch", "a book"), ("ein Haus", "a house")]


def vispec(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def done(*words: str) -> str:
    result = vispec(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(path: str, found: list[dict[str, str]]) -> str:
    Path(path).write_text("".join(json.dumps({k: v.split() for k, v in row.items()}) + "\n" for row in found))
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tagger(here: None) -> str:
    """It tags a as O, b as B-X, c as I-X."""
    Path("m.vispec").write_text(TAGGER)
    data = rows("d.jsonl", [{"y": "a b c", "x": "O B-X I-X"}] * 20)
    done("fit", "m.vispec", data, "--no-verify", "--epochs", "60", "--lr", "0.1", "--out", "run")
    return "run"


def test_accuracy_and_spans_of_a_tagger(tagger: str) -> None:
    data = rows("e.jsonl", [{"y": "a b c b", "x": "O B-X I-X O"}, {"y": "b c", "x": "B-X O"}])
    assert json.loads(done("predict", tagger, data, "--metric", "accuracy", "--jsonl")) == {"x": {"accuracy": 4 / 6}}
    pytest.importorskip("seqeval")
    # found: [b c] [b], [b c]; there: [b c], [b]: one of three is right, one of two was found
    told = json.loads(done("predict", tagger, data, "--metric", "f1(span=bio),accuracy", "--jsonl"))
    assert told["x"]["f1"] == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert re.search(r"x +accuracy +0\.6667|x +accuracy +0\.666667", done("predict", tagger, data, "--metric", "accuracy"))


def test_gold_must_be_there(tagger: str) -> None:
    told = vispec("predict", tagger, rows("e.jsonl", [{"y": "a b"}]), "--metric", "accuracy")
    assert told.exit_code == 1
    assert "no column for `x`" in told.output


def test_a_metric_of_something_else(tagger: str) -> None:
    told = vispec("predict", tagger, "d.jsonl", "--metric", "uas")
    assert told.exit_code == 1
    assert "uas is of a tree, and what is predicted is `x : token[TAG]`" in told.output
    assert "vispec posterior --aer FILE" in vispec("predict", tagger, "d.jsonl", "--metric", "aer").output
    for rule in ("probs", "sample(2)"):
        told = vispec("predict", tagger, "d.jsonl", "--metric", "accuracy", "--rule", rule)
        assert told.exit_code == 1, told.output
        assert "metrics compare one prediction of `x` a row" in told.output


def test_bleu_of_words_as_they_are() -> None:
    pytest.importorskip("sacrebleu")
    gold = [["the", "cat", "sat", "on", "the", "mat"]]
    assert measures.bleu(gold, gold, " ", "none") == pytest.approx(100)
    found = [["the", "cat", "sat", "on", "a", "mat"]]  # 5/6 words, 3/5, 2/4, 1/3 of longer parts
    assert measures.bleu(found, gold, " ", "none") == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    assert measures.chrf(gold, gold, " ") == pytest.approx(100)
    assert measures.chrf(found, gold, " ") < 100


def test_an_absent_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu", None)
    with pytest.raises(RunError, match=re.escape("takes sacrebleu: pip install 'vispec[metrics]'")):
        measures.bleu([["a"]], [["a"]], " ", "none")


def test_heads_and_labels() -> None:
    heads = ([[2, 0], [0]], [[2, 0], [0]])
    labels = ([["det", "obj"], ["root"]], [["det", "root"], ["root"]])
    assert measures.accuracy(*heads) == 1
    assert measures.las(heads, labels) == 2 / 3
    assert measures.las(([[2, 1], [0]], heads[1]), labels) == 2 / 3
    assert measures.las(([[0, 0], [0]], heads[1]), labels) == 1 / 3


def test_missing_gold_counts_for_nothing() -> None:
    assert measures.accuracy([["a", "b"], "c"], [["a", None], None]) == 1
    with pytest.raises(RunError, match="no values to compare with"):
        measures.accuracy([["a"]], [[None]])
    with pytest.raises(RunError, match="row 1 has 1 predicted elements and 2 in the data"):
        measures.accuracy([["a"]], [["a", "b"]])


@pytest.mark.parametrize("text", ["blue", "f1(span=x)", "accuracy(span=bio)", "bleu(", ""])
def test_what_is_no_metric(text: str) -> None:
    with pytest.raises(OptionError):
        read_metrics((text,))


def test_metrics_as_they_are_written() -> None:
    told = read_metrics(("bleu(tokenize=13a), accuracy", "f1"))
    assert told == [Metric("bleu", {"tokenize": "13a"}), Metric("accuracy"), Metric("f1", {"span": "bio"})]


TRANSLATION = """\
vocab EN(end=true)
vocab FR
net say(before: token[EN]*, source: token[FR]*) -> simplex[EN] = lstm(embed=8, hidden=8) |> attend
plate pair:
    plate j:
        given y : token[FR]
    chain i:
        observed x : token[EN] ~ Categorical(say(x[<i], y[*]))
"""
PARSER = """\
vocab V
vocab DEP(unknown=false)
net score(words: token[V]*) -> (head: real[4]*, dependent: real[4]*, root: real*) = lstm(embed=4, hidden=4)
net name(word: token[V]) -> simplex[DEP] = embed(8)
plate sentence:
    plate i:
        given    y   : token[V]
        observed dep : token[DEP] ~ Categorical(name(y))
    observed head : tree[i] ~ DependencyTree(score(y[*]))
"""


def test_translations_decoded_without_the_answer(here: None) -> None:
    pytest.importorskip("sacrebleu")
    Path("m.vispec").write_text(TRANSLATION)
    data = rows("d.jsonl", [{"y": y, "x": x} for y, x in PAIRS])
    done("fit", "m.vispec", data, "--no-verify", "--epochs", "30", "--lr", "0.1", "--out", "run")
    for rule in ("greedy", "beam(2)"):
        told = json.loads(done("predict", "run", data, "--rule", rule, "--metric", "bleu,chrf", "--jsonl"))
        found = [json.loads(line)["x"] for line in done("predict", "run", data, "--rule", rule, "--jsonl").splitlines()]
        gold = [x.split() for _, x in PAIRS]
        assert told["x"]["bleu"] == pytest.approx(measures.bleu(found, gold, " ", "none"))
        assert told["x"]["chrf"] == pytest.approx(measures.chrf(found, gold, " "))
        assert told["x"]["chrf"] > 0
    told = vispec("predict", "run", data, "--rule", "beam(2, n=2)", "--metric", "bleu")
    assert "metrics compare one prediction of `x` a row" in told.output


def test_trees_beside_those_of_a_treebank(here: None) -> None:
    Path("m.vispec").write_text(PARSER)
    gold = [
        {"y": ["the", "dog", "ran"], "dep": ["det", "nsubj", "root"], "head": [2, 3, 0]},
        {"y": ["ran"], "dep": ["root"], "head": [0]},
    ]
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold) * 10)
    done("fit", "m.vispec", "d.jsonl", "--no-verify", "--epochs", "60", "--lr", "0.1", "--out", "run")
    wrong = [{**gold[0], "head": [3, 3, 0], "dep": ["det", "obj", "root"]}, gold[1]]
    Path("e.jsonl").write_text("".join(json.dumps(row) + "\n" for row in wrong[1:] + gold[:1]))
    told = json.loads(done("predict", "run", "e.jsonl", "--metric", "uas,las,accuracy", "--jsonl"))
    assert told["head"] == {"uas": 1, "las": 1, "accuracy": 1}
    assert told["dep"] == {"accuracy": 1}
    wrong[0]["dep"][1] = "det"
    Path("e.jsonl").write_text("".join(json.dumps(row) + "\n" for row in wrong))
    told = json.loads(done("predict", "run", "e.jsonl", "--metric", "uas,las", "--jsonl"))
    assert told["head"] == {"uas": 3 / 4, "las": 2 / 4}


CONSTITUENTS = """\
vocab V
vocab L(unknown=false)
net score(words: token[V]*) -> (first: real[L, 4]*, last: real[L, 4]*) = lstm(embed=4, hidden=4)
plate sentence:
    plate i:
        given y : token[V]
    observed t : parse[i, L] ~ SpanTree(score(y[*]))
"""


def test_phrases_of_parses_that_no_prediction_has_seen(here: None) -> None:
    """Parses predicted from data that have them are those predicted from the words alone, right or wrong."""
    Path("m.vispec").write_text(CONSTITUENTS)
    trees = ["(S (N dog) (V (V ran) (A off)))", "(S (N cat) (V (V sat) (A up)))"]
    words = [
        " ".join(part.split()[-1] for part in tree.replace(")", "").split("(") if len(part.split()) == 2) for tree in trees
    ]
    Path("d.jsonl").write_text("".join(json.dumps({"y": y, "t": t}) + "\n" for y, t in zip(words, trees, strict=True)) * 10)
    done("fit", "m.vispec", "d.jsonl", "--no-verify", "--epochs", "60", "--lr", "0.1", "--out", "run")
    assert json.loads(done("predict", "run", "d.jsonl", "--metric", "brackets", "--jsonl"))["t"] == {"brackets": 1}
    other = ["(S (V (N dog) (V ran)) (A off))", "(S (N cat) (N (V sat) (A up)))"]
    Path("e.jsonl").write_text("".join(json.dumps({"y": y, "t": t}) + "\n" for y, t in zip(words, other, strict=True)))
    Path("y.txt").write_text("\n".join(words) + "\n")
    assert done("predict", "run", "e.jsonl", "--jsonl") == done("predict", "run", "y=y.txt", "--jsonl")
    assert json.loads(done("predict", "run", "e.jsonl", "--metric", "brackets", "--jsonl"))["t"] == {"brackets": 2 / 4}
    told = json.loads(done("predict", "run", "e.jsonl", "--metric", "brackets(labels=no)", "--jsonl"))
    assert told["t"] == {"brackets": 3 / 4}


# ---- alignments


def test_the_error_rate_by_hand() -> None:
    """Och and Ney: A = {00, 11, 22}, S = {00, 11}, P = S and {12}: 1 - (2 + 2) / (3 + 2)."""
    gold = Gold({(0, 0), (1, 1)}, {(0, 0), (1, 1), (1, 2)})
    assert error_rate([{(0, 0), (1, 1), (2, 2)}], [gold]) == pytest.approx(1 - 4 / 5)
    assert error_rate([gold.sure | {(1, 2)}], [gold]) == 0
    assert error_rate([set(), set()], [gold, Gold()]) == 1


def test_links_in_both_forms(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "a.wa"
    first.write_text("0-0 1?2\n\n2p1 3-3\n")
    second.write_text("1 1 1 S\n0001 2 3 P\n3 3 2 P\n3 4 4\n")
    gold = [Gold({(0, 0)}, {(0, 0), (1, 2)}), Gold(), Gold({(3, 3)}, {(2, 1), (3, 3)})]
    assert read_links(str(first), 3) == read_links(str(second), 3) == gold
    assert read_links(str(first), 3, flip=True)[0].possible == {(0, 0), (2, 1)}
    for text, what in (("0-0\n", "1 lines of links for 3 rows"), ("0-0\nx\n\n", "2.*D105.*'x' is no link")):
        first.write_text(text)
        with pytest.raises(DataError, match=what):
            read_links(str(first), 3)


def test_an_alignment_beside_its_links(here: None) -> None:
    Path("m.vispec").write_text(ALIGNED)
    data = rows("d.jsonl", [{"y": y, "x": x} for y, x in PAIRS] * 10)
    done("fit", "m.vispec", data, "--no-verify", "--epochs", "60", "--lr", "0.1", "--seed", "1", "--out", "run")
    few = rows("e.jsonl", [{"y": y, "x": x} for y, x in PAIRS])
    assert done("posterior", "run", few, "--pharaoh").splitlines() == ["0-0 1-1"] * 4
    Path("gold.txt").write_text("0-0 1-1\n" * 3 + "0-0 0?1\n")
    told = json.loads(done("posterior", "run", few, "--aer", "gold.txt", "--jsonl"))
    assert told["aer"] == pytest.approx(1 - 14 / 15)
    short = rows("f.jsonl", [{"y": "das Haus", "x": "house"}])
    assert done("posterior", "run", short, "--pharaoh") == "1-0\n"
    assert done("posterior", "run", short, "--pharaoh", "--flip") == "0-1\n"
    Path("other.txt").write_text("0-0 1-1\n1-1\n\n0-1\n")
    assert done("posterior", "run", few, "--pharaoh", "--intersect", "other.txt").splitlines() == ["0-0 1-1", "1-1", "", ""]
    told = json.loads(done("posterior", "run", few, "--intersect", "other.txt", "--aer", "gold.txt", "--jsonl"))
    assert told["aer"] == pytest.approx(1 - 6 / 10)
    assert done("posterior", "run", few, "--pharaoh", "--flip", "--intersect", "other.txt").splitlines()[3] == ""
    assert vispec("posterior", "run", few, "--aer", "gold.txt", "--query", "entropy").exit_code == 2
    assert vispec("posterior", "run", few, "--intersect", "other.txt").exit_code == 2
