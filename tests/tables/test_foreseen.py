"""Cells that are read as numbers at once: the data, and all that is told of them, are those of cells that are read as text."""

import csv
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data import quotes
from vispec.train.data.columns import DataFile
from vispec.train.data.diagnostics import DataError, to_json
from vispec.train.data.load import load
from vispec.train.data.readers import delimited

SPEC = """
size K
param p : simplex[K]
param m : unit[2]
plate n:
    observed a : real ~ Normal(0, 1)
    partial b : count ~ Poisson(1)
    observed c : category[K] ~ Categorical(p)
    given d : bit
    given v : real[3]
    partial w : bit[2] ~ Bernoulli(m)
"""
NUMBERS = ("1", "2.5", "-3e-2", " 4 ", "1e5", "007", "0", '"6"', ".5", "5.", "0.1000")
ODD = (
    "",
    "NA",
    "nan",
    "?",
    "+3",
    "inf",
    "x",
    '"1',
    '"1"x',
    '1"',
    "0x1",
    "é",
    "1 2",
    "1,5",
    '"1,5"',
    "true",
    "-0",
    "NaN ",
    "1_0",
    "\t7",
)
LONG = "plate g:\n    given u : real\n    plate t:\n        observed y : real ~ Normal(u, 1)\n"


def outcome(text: str, path: Path, **options: Any) -> Any:
    """What is read, and what is said of it."""
    model = check_model(parse(Source("read.vispec", text)))
    try:
        found = load(model, [str(path)], **options)
    except DataError as error:
        return [to_json(each) for each in error.diagnostics]
    fields = {name: (field.values, field.observed, field.path) for name, field in found.fields.items()}
    return fields, found.encoders.labels, found.sizes, found.rows, found.dropped, [to_json(each) for each in found.warnings]


def same(one: Any, other: Any) -> bool:
    """Of values in tuples, lists and dictionaries, arrays too."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, tuple | list):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def both(text: str, path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """What is read either way, which is the same."""
    found = outcome(text, path, **options)
    with monkeypatch.context() as patch:
        patch.setattr(delimited, "_read_numbers", lambda file, request: None)
        plain = outcome(text, path, **options)
    assert same(found, plain), (found, plain)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_numbers_are_as_texts_are(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    names = ["a", "b", "c", "d", "v1", "v2", "v3", "w1", "w2", *(["rest"] if seed % 3 else [])]
    odd = (0, 0.01, 0.1)[seed % 3 if seed % 2 else 0]

    def cell(name: str) -> str:
        if chance.random() < odd or (name == "b" and chance.random() < 0.2):
            return chance.choice(ODD if name != "b" else ODD[:4])
        if name in ("d", "w1", "w2"):
            return chance.choice(("0", "1", "true", "FALSE", "1.0"))
        if name == "b":
            return str(chance.randrange(9))
        return chance.choice(NUMBERS)

    lines = [",".join(f'"{name}"' if seed % 2 else name for name in names)]
    lines += [",".join(map(cell, names)) for _ in range(30)] + [""] * (seed % 4)
    path = tmp_path / "table.csv"
    path.write_text(chance.choice(("\n", "\r\n")).join(lines), encoding=chance.choice(("utf-8", "utf-8-sig")))
    for drop in (False, True):
        both(SPEC, path, monkeypatch, drop=drop)


def test_numbers_in_a_file_without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.data.csv"
    path.write_text("1,2,3,4,0,0,1,1,1\n2,,6,7,1,0,0,,\n")
    columns = {"v": ("#2..4",), "a": ("#1",), "b": ("#5",), "c": ("#6",), "d": ("#7",), "w": ("#8..9",)}
    both(SPEC, path, monkeypatch, columns=columns)
    path.write_text("1,2,3,4,0,0,1,1,1\n2,5,6,7,1,0,0,,\n")
    fields, *_ = both(SPEC, path, monkeypatch, columns=columns)
    assert fields["v"][0].tolist() == [[2, 3, 4], [5, 6, 7]]
    assert fields["w"][1].tolist() == [True, False]
    both(SPEC, path, monkeypatch, columns=columns | {"a": ("#5",)})  # one column is two variables


def test_one_table_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which one has a cell that is no plain number, or other columns in a range."""
    text = "plate n:\n    observed a : real ~ Normal(0, 1)\n    given v : real[2]\n"
    for number, rows in enumerate(("a,v1,v2\n1,2,3\n", "v2,a,v1\n+1,2,3\n", "v2,v1,a\n4,5,x\n")):
        (tmp_path / f"{number}.csv").write_text(rows)
    model = check_model(parse(Source("read.vispec", text)))
    found = load(model, [str(tmp_path / "0.csv"), str(tmp_path / "1.csv")])
    assert found.fields["a"].values.tolist() == [1, 2]
    assert found.fields["v"].values.tolist() == [[2, 3], [3, 1]]
    with pytest.raises(DataError, match="'x' is not a number"):
        load(model, [str(tmp_path / "0.csv"), str(tmp_path / "2.csv")])
    both(text, tmp_path, monkeypatch, columns={"v": ("v1..v2",)})


def test_labels_of_several_files_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block has numbers of its own for its labels; and cells without a label may say so in several ways."""
    monkeypatch.setattr(delimited, "SMALL", 64)
    chance = random.Random(1)
    text = "size K\nparam p : simplex[K]\nplate n:\n    partial c : category[K] ~ Categorical(p)\n    given a : real\n"
    paths = [tmp_path / "0.csv", tmp_path / "1.csv"]
    for path in paths:
        cells = chance.choices(("1", " 1", "1.0", "+1", "b", "NA", "", "?", "zwölf", '"b"', "True", "true"), k=100)
        path.write_text("\n".join(["c,a", *(f"{cell},{chance.randrange(9)}" for cell in cells)]) + "\n")
    (fields, labels, *_), _ = (both(text, path, monkeypatch) for path in paths)
    assert labels["K"] == ("1", "b", "true", "zwölf")
    assert {*fields["c"][0][fields["c"][1]].tolist()} == {0, 1, 2, 3}
    model = check_model(parse(Source("read.vispec", text)))
    found = load(model, list(map(str, paths)))
    assert found.fields["c"].values.tolist()[:100] == fields["c"][0].tolist()


def test_a_long_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.csv"
    path.write_text("g,t,u,y\n01,1,5,1.5\n01,2,5,2\n2,1,-1,\n2,2,-1,7\n")
    both(LONG, path, monkeypatch)
    path.write_text("g,t,u,y\n01,1,5,1.5\n01,2,5,2\n2,1,-1,4\n2,2,-1,7\n")
    both(LONG, path, monkeypatch)
    both(LONG, path, monkeypatch, index={"g": "t", "t": "g"})


def test_what_is_not_wanted_is_checked_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "plate n:\n    observed a : real ~ Normal(0, 1)\n"
    path = tmp_path / "table.csv"
    for rows, code in (
        (b'a,b\n1,"x\n2,y\n3,z"z\n', "D105"),
        (b"a,b\n1,\xff\n", "D104"),
        (b"a,b\n1,2,3\n", "D107"),
        (b"a\n1\n\xff\n", "D104"),
    ):
        path.write_bytes(rows)
        assert [each["code"] for each in both(text, path, monkeypatch)] == [code]
    path.write_bytes(b"a,b\n1,x\n\n2,y\n")
    fields, *_, told = both(text, path, monkeypatch)
    assert fields["a"][0].tolist() == [1, 2]
    assert [each["code"] for each in told] == ["D194"]


def plain(text: str) -> bool:
    return quotes.are_plain(DataFile("x.csv", lambda: io.BytesIO(text.encode())), ",")


def test_quotes_of_which_none_is_inside_a_cell_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is plain, a strict reader reads; and all that a writer writes is plain."""
    monkeypatch.setattr(quotes, "BLOCK", 3)
    chance = random.Random(0)
    for _ in range(20_000):
        text = "".join(chance.choices('"",\n\ra', k=chance.randrange(12)))
        if plain(text):
            list(csv.reader(io.StringIO(text, newline=""), strict=True))
    for quoting in (csv.QUOTE_ALL, csv.QUOTE_MINIMAL):
        for _ in range(500):
            out = io.StringIO()
            csv.writer(out, quoting=quoting).writerows([["".join(chance.choices('",\nab', k=4)) for _ in range(3)]] * 2)
            assert plain(chance.choice(("", "\ufeff")) + out.getvalue())
    assert not plain('a,b"c\n')
    assert not plain('"a')
