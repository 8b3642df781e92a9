"""Data encoded into a file, block by block, are what they are in memory; and nothing is lost where it cannot be written."""

import errno
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tabled import Files, files, model

from vispec.kernels.native.library import compiler
from vispec.train.data import DataError, Dataset, load
from vispec.train.data.arrange import _words  # pyright: ignore[reportPrivateUsage]
from vispec.train.data.cached import load as cached
from vispec.train.data.cached import store
from vispec.train.data.columns import Request
from vispec.train.data.encoding.split import split_words
from vispec.train.data.files import read_blocks
from vispec.train.data.readers import jsonl, parquet, text

__all__ = ["files"]

WORDS = """
vocab V({options})
net say(prefix: token[V]*) -> simplex[V] = lstm(embed=8, hidden=8)
plate n:
    chain i:
        observed x : token[V] ~ Categorical(say(x[<i]))
"""
PAIR = """
vocab V
vocab W
param p : simplex[W]
plate n:
    plate i:
        given x : token[V]
    plate j:
        observed y : token[W] ~ Categorical(p)
"""
TABLE = """
size K
size D
vocab V(min_count=2)
vocab W(lower=true, begin=true, end=true)
param pi : simplex[K]
param w0 : simplex[V]
plate n:
    given y : real[D]
    given b : bit
    partial c : category[K] ~ Categorical(pi)
    plate s:
        plate i:
            observed x : token[V] ~ Categorical(w0)
    plate j:
        given w : token[W]
"""
LINES = ["the cat sat", "", "a dog", "the the  dog\tsat on", "antidisestablishmentarianism dog", "é ñandú the"] * 7


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Blocks of few rows, and a cache folder of the test's own."""
    monkeypatch.setattr(text, "PART", 40)
    monkeypatch.setattr(jsonl, "BLOCK", 5)
    monkeypatch.setattr(parquet, "PART", 300)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def same(spec: str, arguments: list[str], **options: Any) -> Dataset:
    """What is encoded into a file, after it was compared with what memory has."""
    known = model(spec)
    whole = load(known, arguments, cache="never", **options)
    for found in [load(known, arguments, cache="always", **options) for _ in range(2)]:  # written, then found
        assert found.encoders == whole.encoders
        assert dict(found.sizes) == dict(whole.sizes)
        assert (found.num_rows, found.tokens(), found.observed) == (whole.num_rows, whole.tokens(), whole.observed)
        assert (found.row_tokens() == whole.row_tokens()).all()
        assert {k: v.tolist() for k, v in found.lengths.items()} == {k: v.tolist() for k, v in whole.lengths.items()}
        orders = [each.order(4, torch.Generator().manual_seed(3), bucket=True) for each in (found, whole)]
        for rows, others in zip(*orders, strict=True):
            assert (rows == others).all()
            one, two = found.batch(rows), whole.batch(rows)
            assert one.keys() == two.keys()
            assert all(torch.equal(one[key], two[key]) and one[key].dtype == two[key].dtype for key in one)
    found = load(known, arguments, cache="always", **options)
    part, other = found.split(0.3, 1)[1], whole.split(0.3, 1)[1]
    assert part.tokens() == other.tokens()
    assert {**part.lengths}.keys() == {**other.lengths}.keys()
    return found


@pytest.mark.parametrize(
    "options", ["end=true", "min_count=2, begin=true", "max_size=3, lower=true", "chars=true", "unknown=false"]
)
def test_lines_of_text(files: Files, options: str) -> None:
    found = same(WORDS.format(options=options), [files.path("x.txt", "\n".join(LINES) + "\n")])
    assert found.num_rows == len(LINES)


def rows() -> list[dict[str, Any]]:
    draw = np.random.default_rng(0)
    out: list[dict[str, Any]] = []
    for number in range(33):
        sentences = [[f"w{i}" for i in draw.integers(0, 9, draw.integers(0, 4))] for _ in range(draw.integers(0, 4))]
        label = None if number % 4 == 0 else ["red", "green", "blue"][min(number // 9, 2)]
        y = [float(number), 2] if number % 2 else [number, 0.5]
        out.append({"x": sentences, "y": y, "w": ["A", "b"][: number % 3], "c": label, "b": number % 2, "other": "z"})
    return out


def test_nested_rows_of_json(files: Files) -> None:
    same(TABLE, [files.path("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows()))])


def test_nested_rows_of_parquet(files: Files) -> None:
    found = same(TABLE, [files.path("d.parquet", {key: [row[key] for row in rows()] for key in rows()[0]})])
    assert [warning.code for warning in found.warnings] == ["D194"]


def test_integers_are_tokens(files: Files) -> None:
    lists = [[int(i) for i in np.random.default_rng(n).integers(0, 50, n % 7)] for n in range(200)]
    same(WORDS.format(options="min_count=3"), [files.path("d.parquet", {"x": lists})])


def test_labels_that_only_later_blocks_have(files: Files) -> None:
    """As of half-supervised data whose labelled rows come last."""
    spec = "size K\nparam p : simplex[K]\nplate n:\n    partial c : category[K] ~ Categorical(p)\n"
    spec += "    observed y : real ~ Normal(0, 1)\n"
    lines = [json.dumps({"c": None if n < 12 else "ab"[n % 2], "y": n}) + "\n" for n in range(20)]
    assert same(spec, [files.path("d.jsonl", "".join(lines))]).sizes["K"] == 2
    with pytest.raises(DataError, match=r"error\[D127\].*no row has a value of `c : category\[K\]`"):
        load(model(spec), [files.path("d.jsonl", "".join(lines[:12]))], cache="always")


def test_blocks_of_parquet_are_of_values_not_of_what_stores_them(files: Files) -> None:
    """A run of equal numbers takes next to nothing in the file, whatever its length."""
    path = files.path("d.parquet", {"x": [[1, 1, 1]] * 100})
    tables = [*read_blocks(path, Request(lambda _: True))]
    assert max(3 * 8 * table.origin.rows for table in tables) <= parquet.PART
    assert sum(table.origin.rows for table in tables) == 100


def test_aligned_files_of_blocks_of_other_lengths(files: Files) -> None:
    left = files.path("x.txt", "".join(f"{'long ' * (n % 9)}{n}\n" for n in range(90)))
    right = files.path("y.txt", "".join(f"{n}\n" for n in range(90)))
    same(PAIR, [f"x={left}", f"y={right}"])
    short = files.path("z.txt", "a\nb\n")
    with pytest.raises(DataError, match=r"z\.txt: error\[D113\].*there are 2 rows for `y`, but .*x\.txt has more"):
        load(model(PAIR), [f"x={left}", f"y={short}"], cache="always")


def test_folders_patterns_and_gzip(files: Files) -> None:
    spec = WORDS.format(options="end=true")
    (files.folder / "d").mkdir()
    for number in range(3):
        with gzip.open(files.folder / "d" / f"{number}.txt.gz", "wt") as stream:
            stream.write(f"part {number}\nof three\n" * 9)
    folder = same(spec, [str(files.folder / "d")])
    pattern = same(spec, [str(files.folder / "d" / "*.gz")])
    assert folder.num_rows == pattern.num_rows == 54
    assert [folder.encoders.vocabularies["V"].decode(row) for row in folder.batch([0, 18])["x"].tolist()][1][:2] == [
        "part",
        "1",
    ]
    with pytest.raises(DataError, match="no file in this folder"):
        load(model(spec), [str(files.folder / "d" / "*.csv")])


def test_rows_that_stand_for_several(files: Files) -> None:
    spec = "param m : real\nplate n:\n    given w : count\n    observed y : real ~ Normal(m, 1)\nfit:\n    weight : w\n"
    lines = [json.dumps({"w": int(n > 20) * n, "y": n / 3}) + "\n" for n in range(40)]
    assert same(spec, [files.path("d.jsonl", "".join(lines))]).weights().sum() == sum(range(21, 40))
    with pytest.raises(DataError, match=r"error\[D120\].*the weights are all 0"):
        load(model(spec), [files.path("d.jsonl", "".join(lines[:20]))], cache="always")


# ---- what is wrong is named


def test_a_bad_row_is_named_with_its_line(files: Files) -> None:
    lines = [json.dumps({"x": ["a", "b"]}) for _ in range(40)]
    lines[31] = json.dumps({"x": ["a", None]})
    with pytest.raises(DataError, match=r"d\.jsonl:33: error\[D117\].*row 32.*column `x`: element 2"):
        load(model(WORDS.format(options="min_count=1")), [files.path("d.jsonl", "\n" + "\n".join(lines))], cache="always")
    lines[31] = "{"
    with pytest.raises(DataError, match=r"d\.jsonl:32: error\[D105\]"):
        load(model(WORDS.format(options="min_count=1")), [files.path("d.jsonl", "\n".join(lines))], cache="always")
    assert not [*(files.folder / "cache").rglob("*.arrow")]


def test_an_unseen_symbol_is_named_with_its_line(files: Files) -> None:
    spec = model(WORDS.format(options="unknown=false"))
    train = load(spec, [files.path("x.txt", "a b\n" * 50)], cache="always")
    other = files.path("y.txt", "a b\n" * 37 + "a new\n" + "b\n" * 20)
    with pytest.raises(DataError, match=r"y\.txt:38: error\[D139\].*element 2: 'new' is not in vocabulary V"):
        load(spec, [other], encoders=train.encoders, cache="always")


def test_a_truncated_parquet_file(files: Files) -> None:
    path = files.path("d.parquet", {"x": [[1, 2, 3]] * 500})
    Path(path).write_bytes(Path(path).read_bytes()[:-200])
    with pytest.raises(DataError, match=r"d\.parquet: error\[D105\].*this is not a Parquet file that can be read"):
        load(model(WORDS.format(options="min_count=1")), [path], cache="always")


def test_values_of_another_kind_later_on(files: Files) -> None:
    text = "".join(json.dumps({"x": [1, 2]}) + "\n" for _ in range(20)) + json.dumps({"x": ["a"]}) + "\n"
    with pytest.raises(DataError, match=r"d\.jsonl:21: error\[D114\]"):
        load(model(WORDS.format(options="min_count=1")), [files.path("d.jsonl", text)], cache="always")


def test_a_full_disk(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path, spec = files.path("x.txt", "\n".join(LINES)), model(WORDS.format(options="min_count=1"))
    number = 0

    def full(self: Any, batch: Any) -> None:
        nonlocal number
        number += 1
        if number > 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_batch", full)
        with pytest.raises(DataError, match=r"error\[D140\].*No space left on device.*\n.*--cache DIR"):
            load(spec, [path], cache="always")
    assert not [*(files.folder / "cache").rglob("*.arrow")]
    assert not [*(files.folder / "cache").rglob("*.part")]
    assert load(spec, [path], cache="always").num_rows == len(LINES)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_limit_of_the_system(files: Files) -> None:
    import resource

    path, spec = files.path("x.txt", "\n".join(LINES)), model(WORDS.format(options="min_count=1"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(DataError, match=r"error\[D140\].*File too large"):
            load(spec, [path], cache="always")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_encoded_row_by_row(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.path("d.csv", "n,x\n1,2\n1,3\n2,1\n")
    spec = model("plate n:\n    plate i:\n        observed x : real ~ Normal(0, 1)\n")
    with pytest.raises(DataError, match=r"error\[D141\].*takes rows together"):
        load(spec, [path], cache="always")
    monkeypatch.setattr(cached, "LARGE", 3)
    found = load(spec, [path])
    assert found.num_rows == 2
    assert found.warnings[0].code == "D186"


# ---- what is kept


def folders(files: Files) -> list[Path]:
    return [path.parent for path in (files.folder / "cache").rglob("meta.json")]


def test_small_data_stay_in_memory(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path, spec = files.path("x.txt", "\n".join(LINES)), model(WORDS.format(options="min_count=1"))
    load(spec, [path])
    assert not folders(files)
    monkeypatch.setattr(cached, "LARGE", 100)
    assert load(spec, [path]).warnings[0].code == "D185"
    assert len(folders(files)) == 1


def test_keys(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    path, spec = files.path("x.txt", "\n".join(LINES)), WORDS.format(options="min_count=1")
    first = load(model(spec), [path], cache="always")
    assert first.warnings[0].code == "D185"
    with monkeypatch.context() as patch:  # neither other laws nor another vocabulary of the same words read anything again
        patch.setattr(cached, "_make", None)
        load(model(spec.replace("hidden=8", "hidden=9")), [path], cache="always")
        cut = load(model(WORDS.format(options="min_count=10")), [path], cache="always")
        assert cut.sizes["V"] < first.sizes["V"]
        again = load(model(spec), [path], encoders=first.encoders, sizes=first.sizes, cache="always")  # as a resumed fit does
        assert again.encoders == first.encoders
        assert not again.warnings
    for other in ("end=true", "lower=true"):
        load(model(WORDS.format(options=other)), [path], cache="always")
    files.path("x.txt", "\n".join([*LINES[1:], "other"]))
    changed = load(model(spec), [path], cache="always")
    assert "other" in changed.encoders.vocabularies["V"].ids
    assert len(folders(files)) == 4


def test_what_is_damaged_is_made_anew(files: Files) -> None:
    path, spec = files.path("x.txt", "\n".join(LINES)), model(WORDS.format(options="min_count=1"))
    load(spec, [path], cache="always")
    file = folders(files)[0] / store.ROWS
    file.write_bytes(file.read_bytes()[:-100])
    (file.parent.with_name(file.parent.name + store.PART)).mkdir()  # of a process that was killed
    assert load(spec, [path], cache="always").warnings[0].code == "D185"
    assert not load(spec, [path], cache="always").warnings
    assert not [*(files.folder / "cache").rglob(f"*{store.PART}")]


def test_two_processes_write_one_cache(files: Files) -> None:
    path = files.path("x.txt", "\n".join(LINES * 50))
    program = (
        "import sys\nfrom vispec.source import Source\n"
        "from vispec.train.data import load\nfrom vispec.train.sizes import check\n"
        "found = load(check(Source('m', sys.argv[1]), {}), [sys.argv[2]], cache=sys.argv[3])\n"
        "print(found.num_rows, found.tokens(), len(found.warnings))"
    )
    command = [sys.executable, "-c", program, WORDS.format(options="end=true"), path, str(files.folder / "both")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [each.communicate()[0].split() for each in both]
    assert told[0][:2] == told[1][:2]
    assert sorted(each[2] for each in told) == ["0", "1"]
    assert len([*(files.folder / "both").glob("*/meta.json")]) == 1


@pytest.mark.parametrize("native", ["off", "on"])
def test_words_as_arrow_splits_them(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if native == "on" and compiler() is None:
        pytest.skip("there is no C++ compiler")
    monkeypatch.setenv("VISPEC_NATIVE", native)
    lines = pa.array([None, " a  bb\t", "", "longer_than_seven", "é ñññññ", None, "x\x00 x  y\v\fz "], pa.large_string())
    for part in (lines, lines.slice(1), lines.slice(3, 2), lines.slice(0, 1), lines.slice(0, 0)):
        level, words = split_words(part)
        wanted, values = _words(part)
        assert level.tolist() == wanted.tolist()
        assert words.to_pylist() == values.to_pylist()


@pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")
def test_words_have_the_same_numbers_by_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of up to seven bytes and of more, in any script, and of so many that the table grows."""
    r = random.Random(0)
    pieces = ["a", "é", " ", "  ", "\t", "\u00a0", "\x00", "bcdefg", "hijklmnopq", "日本"]
    texts = [
        [None if r.random() < 0.1 else "".join(r.choices(pieces, k=r.randint(0, 12))) for _ in range(9)] for _ in range(200)
    ]
    texts.append([f"w{i} word-number-{i}" for i in range(5000)])
    for rows in texts:
        found = list[tuple[list[int], pa.DictionaryArray]]()
        for native in ("off", "on"):
            monkeypatch.setenv("VISPEC_NATIVE", native)
            level, words = split_words(pa.array(rows, pa.string())[1:])
            found.append((level.tolist(), words))
        assert found[0] == found[1]
