"""Every mistake in a data file is a diagnostic with its code, file, row and column; each code has a case here."""

import gzip
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_models import (
    HERE,
    REAL,
    bit,
    category,
    data,
    fixed,
    given,
    index,
    latent,
    model,
    observed,
    partial,
    ragged,
    real,
    size,
    token,
    vocab,
)

import vispec.train.data
from vispec.model.model import Apply, Conditional, Const, FitEntry, Length, Let, Model, Select
from vispec.model.types import Type
from vispec.train.data import DataError, load, to_json
from vispec.train.data.encoding.codes import CODES

ONE = model(data(), observed("x", REAL, "n"))
TWO = model(data(), given("x", real(2), "n"), observed("y", REAL, "n"))
WORDS = model(vocab("V"), data(), ragged("i", "w_len", "n"), observed("w", token(), "n", "i"))
PAIR = model(data(), ragged("i", "x_len", "n"), observed("x", REAL, "n", "i"), observed("y", REAL, "n", "i"))
LABEL = model(data(), observed("y", category(2), "n"))
BITS = (data(), observed("x", bit(4), "n"))
THIRD = replace(  # y ~ Normal(x[2], 1)
    model(data(), ragged("i", "x_len", "n"), given("x", REAL, "n", "i"), observed("y", REAL, "n")),
    lets=(Let("a", REAL, ("n",), Select(HERE, REAL, "x", (("i", Const(HERE, Type("count"), 2)),)), HERE),),
)
SINGLE = model(replace(data("row"), implicit=True), ragged("t", "x_len", "row"), observed("x", REAL, "row", "t"))
TREE = model(data(), ragged("i", "x_len", "n"), observed("x", REAL, "n", "i"), observed("h", Type("tree", plate="i"), "n"))


def of(domain: str, *shape: int) -> Model:
    return model(data(), observed("x", Type(domain, shape), "n"))  # type: ignore[arg-type]


def ordered(*labels: str) -> pa.Array:
    """A column of an ordered category."""
    return pa.DictionaryArray.from_arrays(pa.array(range(len(labels))), pa.array(labels), ordered=True)


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def parquet(**columns: pa.Array) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def same_names() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]), buffer)
    return buffer.getvalue()


def rows(*values: object) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


@dataclass
class Case:
    """A file that is wrong at one place. words: what the message must say."""

    code: str
    model: Model
    name: str
    content: bytes
    row: int | None = None
    column: str | None = None
    words: str = ""
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    line: int | None = None
    arguments: Callable[[str], list[str]] = lambda path: [path]


CASES = [
    Case("D101", ONE, "d.csv", b"x\n1\n", arguments=lambda path: [path + "missing"], words="No such file"),
    Case("D101", ONE, "d.csv", b"x\n1\n", arguments=lambda path: [path + ".*"], words="no file"),
    Case("D101", ONE, "d.csv", b"x\n1\n", arguments=lambda path: [path + "\0"], words="null character"),
    Case("D101", ONE, "d.csv", b"", arguments=lambda path: [], words="no data file"),
    Case("D102", ONE, "d.csv", b"", words="empty"),
    Case("D102", ONE, "d.csv", b"x\n", words="no data rows"),
    Case("D102", ONE, "d.csv", b"\n\n", words="blank lines"),
    Case("D102", ONE, "d.jsonl", b"\n", words="no data rows"),
    Case("D102", ONE, "d.txt.gz", gzip.compress(b""), words="empty"),
    Case("D102", ONE, "d.npz", npz(), words="no array"),
    Case("D102", ONE, "d.npz", npz(x=np.zeros(0)), words="no data rows"),
    Case("D103", ONE, "d.csv.gz", b"x\n1\n", words="gzip"),
    Case("D103", ONE, "d.csv.gz", gzip.compress(b"x\n1\n" * 9)[:-12], words="gzip"),
    Case("D104", WORDS, "d.txt", b"a\nb \xff c\n", line=2, words="byte 3 of line 2"),
    Case("D104", ONE, "d.csv", b"x\n1\n\xe9\n", line=3, words="0xe9"),
    Case("D104", ONE, "d.csv", b"x\xe9\n1\n", line=1),
    Case("D104", ONE, "d.jsonl", b'{"x": 1}\n{"x": "\xff"}\n', line=2),
    Case("D105", ONE, "d.jsonl", b'{"x": 1}\n\n{"x": 1\n', line=3, words="not JSON"),
    Case("D105", ONE, "d.jsonl", b"[" * 100_000 + b"\n", line=1, words="too deeply"),
    Case("D105", ONE, "d.jsonl", b'{"x": 1}\n{"x": 99999999999999999999}\n', 2, "x", "64 bits", line=2),
    Case("D105", WORDS, "d.jsonl", b'{"w": ["a", "\\ud800"]}\n', 1, "w", "surrogate", line=1),
    Case("D105", ONE, "d.parquet", b"PAR1 not really", words="Parquet"),
    Case("D105", ONE, "d.npz", b"PK\x03\x04 not really", words=".npz"),
    Case("D105", ONE, "d.npz", np.lib.format.magic(1, 0), words=".npz"),
    Case("D106", ONE, "d.npz", npz(x=np.array([{}, 1], object)), words="refused"),
    Case("D107", TWO, "d.csv", b"x1,x2,y\n1,2,3\n1,2\n", 2, words="2 cells", line=3),
    Case("D107", TWO, "d.csv", b'x1,x2,y\n\n"1",2,"\n3"\n\n1,2,3,4\n', 2, words="4 cells", line=6),
    Case("D107", TWO, "d.txt", b"1 2 3\n\n1 2\n", 2, line=3, columns={"x": ("#1..2",), "y": ("#3",)}),
    Case("D108", ONE, "d.csv", b"x,x\n1,2\n", None, "x", "2 columns", line=1),
    Case("D108", ONE, "d.parquet", same_names(), None, "x"),
    Case("D109", ONE, "d.jsonl", b'{"x": 1}\n3\n', 2, line=2),
    Case("D109", ONE, "d.jsonl", b'1\n{"x": 1}\n', 2, line=2),
    Case("D110", TWO, "d.csv", b"a,b\n1,2\n", columns={"x": ("a", "c"), "y": ("b",)}, words="`c`"),
    Case("D110", TWO, "d.csv", b"a,b\n1,2\n", columns={"x": ("#1..3",), "y": ("b",)}, words="columns 1 to 2"),
    Case("D110", TWO, "d.csv", b"a,b,c\n1,2,3\n", columns={"x": ("b..a",), "y": ("c",)}, words="`b..a`"),
    Case("D110", TWO, "d.csv", b"a,b,c\n1,2,3\n", columns={"x": ("a", "b", "y=c")}, words="`y=c`"),
    Case("D110", ONE, "d.txt", b"1\n", columns={"x": ("a",)}, words="`a`"),
    Case("D111", TWO, "d.csv", b"x1,x2,z\n1,2,3\n", words="no column for `y`"),
    Case("D111", ONE, "d.csv", b"0.5,1\n1,2\n", words="no column for `x`"),
    Case("D111", TWO, "d.txt", b"1\n", words="no column for `x`"),
    Case("D111", TWO, "d.txt", b"1 2\n", arguments=lambda path: [f"x={path}"], words="no data for `y`"),
    Case("D111", ONE, "d.csv", b"a,b\n1,2\n", arguments=lambda path: [f"x={path}"], words="among `a`, `b`"),
    Case("D112", ONE, "d.csv", b"x\n1\n", arguments=lambda path: [path, f"q={path}"], words="`q` is not"),
    Case("D112", ONE, "d.csv", b"x\n1\n", columns={"q": ("x",)}, words="`q`"),
    Case(
        "D112", model(data(), latent("z", REAL, "n"), observed("x", REAL, "n")), "d.csv", b"x\n1\n",
        arguments=lambda path: [path, f"z={path}"], words="latent",
    ),
    Case("D113", TWO, "d.npz", npz(x=np.zeros((3, 2)), y=np.zeros(2)), None, "y", "2 rows, `x` has 3"),
    Case(
        "D113", model(size("K", 2), fixed("k", "K"), data(), given("x", REAL, "k"), observed("y", REAL, "n")), "d.csv",
        b"x,y\n1,2\n1,2\n1,2\n", None, "x", "3 rows",
    ),
    Case("D114", ONE, "d.jsonl", rows({"x": 1}, {"x": "a"}), 2, "x", "text stands here", line=2),
    Case("D114", ONE, "d.jsonl", rows({"x": 1}, {"x": [1]}), 2, "x", "a list stands here", line=2),
    Case("D114", ONE, "d.jsonl", rows({"x": {"y": 1}}), 1, "x", "an object", line=1),
    Case("D114", ONE, "d.jsonl", rows({"x": [1]}, {"x": [2, 3]}), None, "x", "lists"),
    Case("D114", PAIR, "d.jsonl", rows({"x": 1, "y": [1]}), None, "x", "single values"),
    Case("D114", TWO, "d.parquet", parquet(x1=pa.array([1]), x2=pa.array(["a"]), y=pa.array([1])), None, "x"),
    Case("D115", PAIR, "d.jsonl", rows({"x": [1], "y": [2]}, {"x": [1], "y": []}), 2, "y", "0 elements", line=2),
    Case("D116", TWO, "d.jsonl", rows({"x": [1, 2], "y": 1}, {"x": [1], "y": 1}), 2, "x", "1 values, not 2", line=2),
    Case("D116", TWO, "d.csv", b"x1,x2,x3,y\n1,2,3,4\n", None, "x", "3 values, not 2"),
    Case("D116", TWO, "d.npz", npz(x=np.zeros((2, 3, 1)), y=np.zeros(2)), None, "x", "3 values"),
    Case(
        "D116", model(size("D"), data(), given("x", real("D"), "n"), given("y", real("D"), "n")), "d.csv",
        b"x1,x2,y1,y2,y3\n1,2,3,4,5\n", None, "y", "D = 2, from column `x`",
    ),
    Case(
        "D116", model(size("Z"), data(), given("x", real("2 * Z"), "n"), given("y", real("Z"), "n")), "d.csv",
        b"x1,x2,x3,y1\n1,2,3,4\n", words="2 * Z is 2, and the data has 3",
    ),
    Case("D116", model(size("D"), data(), observed("x", real("D"), "n")), "d.txt", b"\n\n", None, None, "no values"),
    Case("D105", ONE, "d.npz", npz(x=np.array(["\ud800"])), None, "x", "not Unicode"),
    Case("D117", model(*BITS), "d.jsonl", rows([1, 3], None, [2]), 2, None, "missing", line=2),
    Case("D116", model(*BITS), "d.jsonl", rows([[[0, 1]], [[1]]], [[[1]], []]), 2, "x", "element 2: the vector has 0", line=2),
    Case("D117", ONE, "d.csv", b"x\n1\nNA\n", 2, "x", "missing", line=3),
    Case("D117", TWO, "d.csv", b"x1,x2,y\n1,?,3\n", 1, "x2", "missing", line=2),
    Case("D117", WORDS, "d.jsonl", rows({"w": ["a", None]}), 1, "w", "element 2", line=1),
    Case("D117", WORDS, "d.jsonl", rows({"w": ["a"]}, {"v": 1}), 2, "w", "list is missing", line=2),
    Case("D117", ONE, "d.npz", npz(x=np.array([0, np.nan])), 2, "x", "missing"),
    Case(
        "D117", model(data(), partial("x", real(2), "n")), "d.jsonl", rows({"x": [1, None]}), 1, "x", "this entry", line=1
    ),
    Case("D118", ONE, "d.csv", b"x\n1\n2,5\n".replace(b",", b";"), 2, "x", "'2;5' is not a number", line=3),
    Case("D118", ONE, "d.jsonl", rows({"x": True}), 1, "x", "true is not a number", line=1),
    Case("D119", ONE, "d.csv", b"x\n1\n-inf\n", 2, "x", "not a finite", line=3),
    Case("D119", ONE, "d.jsonl", b'{"x": 1e999}\n', 1, "x", "not a finite", line=1),
    Case("D120", of("positive"), "d.csv", b"x\n1\n0\n", 2, "x", "0.0 is not positive", line=3),
    Case("D120", of("unit"), "d.csv", b"x\n1\n0\n255\n", 3, "x", "between 0 and 1", line=4),
    Case("D120", of("count"), "d.csv", b"x\n1\n1.5\n", 2, "x", "not a count", line=3),
    Case("D120", of("count"), "d.csv", b"x\n-1\n", 1, "x", "not a count", line=2),
    Case("D120", of("simplex", 2), "d.csv", b"x1,x2\n.5,.5\n.5,.6\n", 2, "x1", "sum to 1.1", line=3),
    Case("D120", of("simplex", 2), "d.csv", b"x1,x2\n1.5,-.5\n", 1, "x1", "negative", line=2),
    Case("D120", of("ordered", 2), "d.csv", b"x1,x2\n1,1\n", 1, "x1", "do not increase", line=2),
    Case("D120", of("cholesky", 2, 2), "d.jsonl", rows({"x": [[1, 1], [0, 1]]}), 1, "x", "triangular", line=1),
    Case("D120", TREE, "d.jsonl", rows({"x": [1, 2], "h": [0, 0.5]}), 1, "h", "0.5 is not a whole", line=1),
    Case("D121", of("bit"), "d.csv", b"x\n1\nyes\n", 2, "x", "'yes' is not a bit", line=3),
    Case("D121", of("bit"), "d.npz", npz(x=np.array([0, 255], np.uint8)), 2, "x", "255 is not a bit"),
    Case("D122", model(*BITS), "d.jsonl", rows([1], [4]), 2, None, "4 is not in 0..3", line=2),
    Case("D122", model(*BITS), "d.jsonl", rows([1], [2, 2]), 2, "x", "twice", line=2),
    Case(
        "D122", model(*BITS, FitEntry("offset", "x", (("by", 21),), HERE)), "d.jsonl", rows({"x": [20, 21]}), 1, "x",
        "20 is not in 21..24", line=1,
    ),
    Case("D123", LABEL, "d.csv", b"y\n1\n3\n", 2, "y", "3 is not in 0..1", line=3),
    Case("D123", LABEL, "d.csv", b"y\n-1\n", 1, "y", "-1 is not in 0..1", line=2),
    Case(
        "D124", model(fixed("k", 2), data(), given("w", index("k", 2), "n")), "d.csv", b"w\n0\n2\n", 2, "w", "2 is not in 0..1",
        line=3,
    ),
    Case(
        "D124", model(data(), ragged("i", "x_len", "n"), observed("x", REAL, "n", "i"), given("w", index("i"), "n")), "d.jsonl",
        rows({"x": [1, 2], "w": 1}, {"x": [1], "w": 1}), 2, "w", "1 is not in 0..0", line=2,
    ),
    Case("D124", TREE, "d.jsonl", rows({"x": [1, 2], "h": [0, 3]}), 1, "h", "element 2: 3 is not in 0..2", line=1),
    Case("D125", LABEL, "d.csv", b"y\na\na\nb\nb\nc\n", 5, "y", "3 labels", line=6),
    Case(
        "D127", model(size("D"), data(), observed("x", bit("D"), "n")), "d.jsonl", rows({"x": [5]}, {"x": []}), None, "x",
        "the size D",
    ),
    Case("D127", WORDS, "d.jsonl", rows({"w": []}), None, "w", "vocabulary V"),
    Case("D128", WORDS, "d.jsonl", rows({"w": [1.5]}), None, "w", "double"),
    Case("D129", TREE, "d.jsonl", rows({"x": [1, 2, 3], "h": [0, 3, 2]}), 1, "h", "circle", line=1),
    Case(
        "D130", model(data(), ragged("i", "x_len", "n"), partial("x", REAL, "n", "i")), "d.jsonl",
        rows({"x": [1]}, {"x": None}), 2, "x", "length is unknown", line=2,
    ),
    Case("D131", ONE, "d.parquet", parquet(x=pa.array([{"a": 1}])), None, "x", "struct"),
    Case("D131", ONE, "d.npz", npz(x=np.zeros(2, complex)), None, "x", "complex"),
    Case("D131", model(*BITS), "d.npz", npz(packed=np.zeros((2, 1), np.int32)), None, "packed", "uint8"),
    Case("D131", WORDS, "d.npz", npz(indptr=np.array([0, 1]), indices=np.array([0.5])), None, "indices", "integers"),
    Case(
        "D133", THIRD, "d.jsonl", rows({"x": [1, 2, 3], "y": 1}, {"x": [1, 2], "y": 1}), 2, "x",
        "there is no `x[2]`: elements count from 0, and plate `i` has 2 here", line=2,
    ),
    Case(
        "D135", model(size("K"), data(), given("x", category("K"), "n"), observed("y", category("K"), "n")), "d.parquet",
        parquet(x=ordered("a", "b"), y=ordered("b", "a")), None, "y", "two orders: a, b, and b, a",
    ),
    Case(
        "D137", model(data(), ragged("i", "x_len", "n"), observed("x", REAL, "n", "i")), "d.csv", b"n,i,x\n1,1,2\n1,1,3\n", 2,
        "x", "a second row for `n` = 1, `i` = 1", line=3,
    ),
    Case(
        "D138", model(data(), ragged("i", "x_len", "n"), observed("x", REAL, "n", "i")), "d.csv", b"id,x\n1,2\n1,3\n", None,
        "x", "one element of plate `i`",
    ),
    Case("D134", SINGLE, "d.jsonl", rows({"x": [1]}, {"x": [1, 2]}), None, "x", "one data set"),
    Case("D132", WORDS, "d.npz", npz(indptr=np.array([0, 2]), indices=np.array([0])), None, "indptr", "number of indices"),
    Case("D132", WORDS, "d.npz", npz(indptr=np.array([0, 2, 1]), indices=np.array([0])), 2, "indptr", "falls"),
    Case("D132", WORDS, "d.npz", npz(indptr=np.array([0, 1]), indices=np.array([-1])), 1, "indices", "negative"),
    Case(
        "D132", WORDS, "d.npz", npz(indptr=np.array([0, 1]), indices=np.array([3]), vocab=np.array(["a"])), None,
        "indices", "past",
    ),
    Case(
        "D142", model(replace(vocab("V"), options=(("subword", 9),)), data(), observed("w", token(), "n")), "d.txt",
        b"cat\n", None, None, "one token",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.name}")
def test_a_mistake_is_named(tmp_path: Path, case: Case) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.content)
    with pytest.raises(DataError) as caught:
        load(case.model, case.arguments(str(path)), case.columns)
    first = caught.value.diagnostics[0]
    assert first.code == case.code, str(caught.value)
    assert case.words in first.message
    assert (first.row, first.line) == (case.row, case.line)
    if case.column is not None:
        assert first.column == case.column
    assert path.name in first.file or not case.arguments(str(path)) or first.file == str(tmp_path)
    assert f"error[{case.code}]" in str(caught.value)
    json.dumps(to_json(first), allow_nan=False)


def test_a_missing_list_is_named_once(tmp_path: Path) -> None:
    """Not again as one whose length nothing tells."""
    (tmp_path / "d.jsonl").write_bytes(rows({"w": ["a"]}, {"w": None}))
    with pytest.raises(DataError) as caught:
        load(WORDS, [str(tmp_path / "d.jsonl")], {})
    assert [each.code for each in caught.value.diagnostics] == ["D117"]


def test_every_code_is_listed_and_has_a_case() -> None:
    folder = Path(vispec.train.data.__file__).parent
    sources = [path.read_text() for path in folder.rglob("*.py") if path.name != "codes.py"]
    used = {code for text in sources for code in re.findall(r'"(D\d{3})"', text)}
    assert used == set(CODES)
    assert {case.code for case in CASES} == {code for code in CODES if code < "D187"} - {
        "D136",
        "D139",
        "D140",
        "D141",
        "D143",
        "D185",
        "D186",
    }  # of two files, or not of a file: tests/tables


def test_the_keys_of_json() -> None:
    from vispec import diagnostics
    from vispec.source import Source, Span
    from vispec.train.data import DataDiagnostic

    spec = diagnostics.Diagnostic("V1", "m", diagnostics.Label(Span(0, 0, 1, 1, 1, 1)))
    assert set(to_json(DataDiagnostic("D1", "m", "f"))) == set(diagnostics.to_json(Source("f", ""), spec)) | {"row"}


def test_twenty_problems_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("x\n" + "a\n" * 100)
    with pytest.raises(DataError) as caught:
        load(ONE, [str(path)])
    assert [d.row for d in caught.value.diagnostics] == list(range(1, 21))
    assert caught.value.more == 80
    assert str(caught.value).endswith("and 80 more problems")


def test_aligned_files_of_different_lengths_name_both_counts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1\n2\n")
    (tmp_path / "b.txt").write_text("1 2\n")
    with pytest.raises(DataError, match=r"b\.txt: error\[D113\]: column `x`: there are 1 rows for `x`, but .*a\.txt has 2"):
        load(TWO, [f"y={tmp_path / 'a.txt'}", f"x={tmp_path / 'b.txt'}"])


def test_rows_are_named_inside_their_own_shard(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    (tmp_path / "b.csv").write_text("x\n3\nfour\n")
    with pytest.raises(DataError) as caught:
        load(ONE, [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")])
    first = caught.value.diagnostics[0]
    assert (Path(first.file).name, first.row, first.line) == ("b.csv", 2, 3)


def test_an_unknown_label_in_validation_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("y\nred\nblue\n")
    (tmp_path / "b.csv").write_text("y\nblue\ngreen\n")
    trained = load(LABEL, [str(tmp_path / "a.csv")])
    with pytest.raises(DataError, match="row 2, column `y`: the label 'green' is not among") as caught:
        load(LABEL, [str(tmp_path / "b.csv")], encoders=trained.encoders, sizes=trained.sizes)
    assert caught.value.diagnostics[0].code == "D123"


def test_help_shows_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("eruptions,waiting\n3.6,79\n")
    with pytest.raises(DataError, match="made of, as x=eruptions,waiting"):
        load(model(data(), observed("x", real(2), "n")), [str(path)])
    path.write_text("0,1,1\n1,0,1\n")
    with pytest.raises(DataError, match=r"--columns 'x=\*'"):
        load(model(data(), ragged("t", "x_len", "n"), observed("x", bit(), "n", "t")), [str(path)])


def test_names_and_quotes_of_a_tab_separated_file(tmp_path: Path) -> None:
    path = tmp_path / "d.tsv"
    path.write_text('id\tw\n1\t" a\n2\tb "\n')
    assert load(WORDS, [str(path)]).batch([0, 1])["w"].tolist() == [[1, 2], [3, 1]]
    path.write_text('"id"\t"w"\n1\t"a\tb"\n')
    assert load(WORDS, [str(path)]).batch([0])["w_len"].tolist() == [2]


def test_a_column_of_numbers_without_a_name_keeps_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("1.5\n2\n")
    with pytest.raises(DataError, match="the first line is taken for names"):
        load(ONE, [f"x={path}"])
    assert load(ONE, [f"x={path}"], {"x": ("#1",)}).num_rows == 2


def test_lists_that_are_empty_in_one_shard(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": [], "y": []}\n')
    (tmp_path / "b.jsonl").write_text('{"x": [1], "y": [2.5]}\n')
    batch = load(PAIR, [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]).batch([0, 1])
    assert batch["y"].tolist() == [[0], [2.5]]


def test_an_element_that_is_read_where_it_is_there_is_no_fault(tmp_path: Path) -> None:
    (let,) = THIRD.lets
    enough = Apply(HERE, Type("bit", card=2), ">", (Length(HERE, Type("count"), "i"), Const(HERE, Type("count"), 2)))
    asked = replace(let, value=Conditional(HERE, REAL, enough, let.value, Const(HERE, REAL, 0)))
    file = tmp_path / "d.jsonl"
    file.write_bytes(rows({"x": [1, 2], "y": 1}))
    assert load(replace(THIRD, lets=(asked,)), [str(file)]).num_rows == 1
