"""Labels and ids: numbered by what occurs, the same however they are written, in the order that is given."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest
from tabled import Files, done, files, values, vispec, warned

from vispec.train.data.encoding.labels import in_order, label_of

__all__ = ["files"]

GROUPS = """\
size G
plate g[G]:
    param mu : real
plate n:
    given grp : index[g]
    observed y : real ~ Normal(mu[grp], 1)
"""
OPEN = "size K\nparam p : simplex[K]\nplate n:\n    observed y : category[K] ~ Categorical(p)\n"
FIXED = OPEN.replace("size K", "size K = 3")
ORDINAL = """\
size K = 3
param beta : real
param cuts : ordered[K - 1]
plate n:
    given x : real
    observed y : category[K] ~ Categorical(ordinal(beta * x, cuts))
"""
LITERAL = "param p : simplex[3]\nplate n:\n    partial y : category[3] ~ Categorical(p)\n"


@pytest.mark.parametrize("ids", [["10", "20"], ["2000000001", "2000000002"], ["1999", "2011"], ["-5", "3"], ["a", "b"]])
def test_ids_are_those_that_occur(files: Files, ids: list[str]) -> None:
    data = files.read(GROUPS, "d.csv", f"grp,y\n{ids[1]},1\n{ids[0]},2\n{ids[1]},3\n")
    assert data.sizes == {"G": 2}
    assert values(data, "grp") == [1, 0, 1]
    assert "15" in files.refused(GROUPS, "e.csv", "grp,y\n15,1\n", encoders=data.encoders, sizes=data.sizes)


def test_an_unknown_label_is_told_once(files: Files) -> None:
    data = files.read(GROUPS, "d.csv", "grp,y\n10,1\n20,2\n")
    told = files.refused(GROUPS, "e.csv", "grp,y\n15,1\n", encoders=data.encoders, sizes=data.sizes)
    assert told.count("error[") == 1
    assert "known: 10, 20" in told


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", "y\n1.0\n2.0\n10.0\n"),
        ("d.csv", "y\n1\n2.00\n+10\n"),
        ("d.jsonl", '{"y": "1"}\n{"y": "2"}\n{"y": "10"}\n'),
        ("d.jsonl", '{"y": 1}\n{"y": 2.0}\n{"y": 10}\n'),
        ("d.parquet", {"y": pa.array([1.0, 2.0, 10.0], pa.float32())}),
        ("d.parquet", {"y": pa.array([1, 2, 10], pa.uint8())}),
        ("d.parquet", {"y": ["1", "2", "10"]}),
        ("d.parquet", {"y": pa.array(["1", "2", "10"]).dictionary_encode()}),
    ],
)
def test_a_number_is_one_label_however_it_is_written(files: Files, name: str, content: object) -> None:
    data = files.read(OPEN, name, content)  # type: ignore[arg-type]
    assert data.encoders.labels == {"K": ("1", "2", "10")}
    assert values(data, "y") == [0, 1, 2]
    other = files.read(OPEN, "e.csv", "y\n10\n1\n", encoders=data.encoders, sizes=data.sizes)
    assert values(other, "y") == [2, 0]


def test_forms_of_labels() -> None:
    same = {
        "1": ["1", "1.0", "+1", "1.", 1, 1.0],
        "0": ["0", "-0", "0.0", ".0", 0],
        "0.5": ["0.5", ".50", 0.5],
        "true": ["True", True],
    }
    assert all(label_of(form) == label for label, forms in same.items() for form in forms)  # type: ignore[arg-type]
    assert [label_of(word) for word in ("007", "1e3", "a", "1 000", ".", "-", "+")] == [
        "007",
        "1e3",
        "a",
        "1 000",
        ".",
        "-",
        "+",
    ]
    assert in_order(["b", "10", "a", "2", "-1", "0.5"]) == ("-1", "0.5", "2", "10", "a", "b")


@pytest.mark.parametrize(
    ("content", "expected", "code"),
    [("0\n1\n2\n", [0, 1, 2], None), ("1\n2\n3\n", [0, 1, 2], "D192"), ("1\n2\n", [1, 2], "D192"), ("0\n2\n", [0, 2], None)],
)
def test_a_known_size_counts_from_0_or_1(files: Files, content: str, expected: list[int], code: str | None) -> None:
    data = files.read(FIXED, "d.csv", "y\n" + content)
    assert values(data, "y") == expected
    assert ("D192" in warned(data)) == (code is not None)


@pytest.mark.parametrize("content", ["0\n3\n", "-1\n0\n", "2\n4\n", "10\n20\n"])
def test_other_numbers_are_refused_where_the_size_is_known(files: Files, content: str) -> None:
    assert "is not in 0..2" in files.refused(FIXED, "d.csv", "y\n" + content)


def test_labels_of_a_literal_size_come_back(files: Files) -> None:
    spec, data = files.path("m.vispec", LITERAL), files.path("d.csv", "y\nred\ngreen\n?\nblue\ngreen\n")
    run = str(files.folder / "run")
    done("fit", spec, data, "--epochs", "5", "--out", run, "--no-verify")
    told = [json.loads(line)["y"] for line in done("predict", run, data, "--jsonl").splitlines()]
    assert told == ["red", "green", "green", "blue", "green"]
    drawn = [json.loads(line)["y"] for line in done("sample", run, "-n", "20", "--jsonl").splitlines()]
    assert {*drawn} <= {"red", "green", "blue"}


def test_indices_into_a_plate_of_literal_size_share_labels(files: Files) -> None:
    spec = "plate g[3]:\n    param mu : real\nplate n:\n    given a : index[g]\n    given b : index[g]\n"
    spec += "    observed y : real ~ Normal(mu[a] + mu[b], 1)\n"
    data = files.read(spec, "d.csv", "a,b,y\nx,y,1\ny,z,2\n")
    assert (values(data, "a"), values(data, "b")) == ([0, 1], [1, 2])


def test_labels_that_the_spec_names(files: Files) -> None:
    named = ORDINAL.replace("category[K]", 'category["low", "medium", "high"]')
    data = files.read(named, "d.csv", "x,y\n1,high\n2,low\n")
    assert values(data, "y") == [2, 0]
    assert data.warnings == ()
    assert "'tall' is not among those of category" in files.refused(named, "d.csv", "x,y\n1,tall\n")


def test_an_ordered_category_of_parquet(files: Files) -> None:
    ordered = pa.DictionaryArray.from_arrays(pa.array([2, 0, None, 1]), pa.array(["low", "medium", "high"]), ordered=True)
    spec = ORDINAL.replace("observed", "partial")
    data = files.read(spec, "d.parquet", {"x": [1.0, 2.0, 3.0, 4.0], "y": ordered})
    assert values(data, "y") == [2, 0, 0, 1]
    assert "D198" not in warned(data)
    other = files.read(spec, "e.csv", "x,y\n1,medium\n", encoders=data.encoders, sizes=data.sizes)
    assert values(other, "y") == [1]


def test_alphabetical_labels_are_printed_where_their_order_counts(files: Files) -> None:
    words = "x,y\n1,low\n2,medium\n3,high\n"
    assert "high, low, medium" in warned(files.read(ORDINAL, "d.csv", words))["D198"]
    assert "D198" not in warned(
        files.read(ORDINAL, "d.csv", words.replace("low", "0").replace("medium", "1").replace("high", "2"))
    )
    table = "param s : positive\nplate n:\n    given sex : category[2]\n    let m = [1.5, 2.5]\n"
    table += "    observed x : real ~ Normal(m[sex], s)\n"
    assert "F, M" in warned(files.read(table, "d.csv", "sex,x\nM,1\nF,2\n"))["D198"]
    chances = "plate n:\n    given x : real\n    observed y : category[2] ~ Categorical([0.3, 0.7])\n"
    assert "F, M" in warned(files.read(chances, "d.csv", "x,y\n1,M\n1,F\n"))["D198"]
    asked = (
        "param s : positive\nplate n:\n    given sex : category[2]\n    observed x : real ~ Normal(1 if sex == 1 else 0, s)\n"
    )
    assert "F, M" in warned(files.read(asked, "d.csv", "sex,x\nM,1\nF,2\n"))["D198"]


def test_labels_that_read_like_missing_cells_are_named(files: Files) -> None:
    told = warned(files.read(OPEN, "d.csv", "y\nred\n.\nN/a\nMissing\nblue\n"))["D187"]
    assert "'.', 'Missing', 'N/a': labels of `y : category[K]`, not missing" in told
    assert "D187" not in warned(files.read(OPEN.replace("observed", "partial"), "e.csv", "y\nred\nNA\n?\nblue\n"))


def test_words_and_codes_have_one_maximum_where_the_order_is_said(files: Files) -> None:
    rng = random.Random(0)
    rows = [(x, sum(2 * x + rng.gauss(0, 1) > cut for cut in (-1, 1))) for x in (rng.gauss(0, 1) for _ in range(60))]
    words = ["low", "medium", "high"]
    found = []
    for name, spec, label in (
        ("a", ORDINAL, str),
        ("b", ORDINAL.replace("category[K]", 'category["low", "medium", "high"]'), words.__getitem__),
    ):
        data = files.path(f"{name}.csv", "x,y\n" + "".join(f"{x:.4f},{label(k)}\n" for x, k in rows))
        run = str(files.folder / name)
        done("fit", files.path(f"{name}.vispec", spec), data, "--out", run, "--no-verify", "--restarts", "1")
        found.append(json.loads(done("eval", run, data, "--json"))["log_prob"])
    assert np.isclose(*found, rtol=1e-9)


COMPARED = """\
param w : unit
plate n:
    given x : category["low", "high"]
    observed z : bit ~ Bernoulli(w if x == "high" else 0.5)
"""


def test_a_label_is_compared_by_its_number() -> None:
    from tabled import model

    numbered = COMPARED.replace('"high" else', "1 else")
    from vispec.model.walk import key

    assert key(model(COMPARED).variables[1].law) == key(model(numbered).variables[1].law)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('== "high"', '== "hig"', "did you mean `high`?"),
        ('== "high"', '< "high"', "labels can be equal, and nothing else"),
        ('["low", "high"]', "[2]", "whose labels only the data know"),
        ('["low", "high"]', '["low", "low"]', "stands there twice"),
        ('["low", "high"]', '["low", 2]', "a category has labels, or one size"),
        ("x == ", "z == ", "only a category has labels"),
    ],
)
def test_labels_that_cannot_be(files: Files, old: str, new: str, says: str) -> None:
    spec = files.path("m.vispec", COMPARED.replace(old, new))
    result = vispec("check", spec)
    assert result.exit_code == 1
    assert says in result.output


def test_labels_of_two_types_are_not_compared(files: Files) -> None:
    spec = 'param w : unit\nplate n:\n    given x : category["a", "b"]\n    given y : category["b", "a"]\n'
    result = vispec("check", files.path("m.vispec", spec + "    observed z : bit ~ Bernoulli(w if x == y else 0.5)\n"))
    assert "give both the same labels" in result.output


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("1\n2\n3\n55\n2\n", ["row 4", "the label '55' is not among 1 to 3"]),  # 1..K as they occur; the slip is what is told
        ("1\n-1\n3\n6\n3\n", ["row 2", "'-1' is not among 1 to 3", "row 4", "'6' is not among 1 to 3"]),
        ("3\n1\n3\n0\n", ["row 1", "3 is not in 0..2 (2 times)", "0 occurs too, first in row 4"]),
        ("a\nb\na\nb\nc\nc\nbb\n", ["row 7", "4 labels (a, b, bb, c)", "'bb' is the rarest here"]),
        ("\n2\n1\nx\n3\n2\n1\n\n", ["row 4", "4 labels (1, 2, 3, x)", "'x' is the rarest here"]),
    ],
)
def test_a_slip_among_labels_is_told_once_and_where(files: Files, content: str, says: list[str]) -> None:
    told = files.refused(FIXED.replace("observed", "partial"), "d.csv", "y\n" + content)
    assert [each for each in says if each not in told] == []
    assert told.count("error[") == sum(each.startswith("row") for each in says)
