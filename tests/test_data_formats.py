"""Every format, plain and gzipped, gives the same minibatch."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from data_models import bit, category, data, fixed, given, model, observed, ragged, real, size, token, vocab

from vispec.train.data import load

X = [[0.5, -1.0], [2.0, 3.5], [1e3, 0.0]]
LABELS = ["cat", "dog", "cat"]
WORDS = [["a", "b", "a"], [], ["c"]]
VECTORS = model(size("D"), size("K"), data(), given("x", real("D"), "n"), observed("y", category("K"), "n"))
SENTENCES = model(vocab("V"), data(), ragged("i", "w_len", "n"), observed("w", token(), "n", "i"))


def parquet(columns: dict) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def jsonl(rows: list) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(delimiter: str) -> bytes:
    lines = [["x1", "x2", "y"], *([*map(repr, x), y] for x, y in zip(X, LABELS, strict=True))]
    return "\r\n".join(delimiter.join(line) for line in lines).encode()


TABLES = {
    "d.csv": table(","),
    "d.tsv": table("\t"),
    "d.jsonl": jsonl([{"x": x, "y": y} for x, y in zip(X, LABELS, strict=True)]),
    "d.parquet": parquet({"x": X, "y": LABELS}),
    "d.npz": npz(x=np.array(X), y=np.array(LABELS)),
}
TEXTS = {
    "d.txt": b"a b  a\n\nc",
    "d.en": "\ufeffa b a \r\n\r\n\tc\r\n".encode(),
    "d.csv": b"id,w\n1,a b a\n2,\n3,c\n",
    "d.jsonl": jsonl(WORDS),
    "d.ndjson": jsonl([{"w": words} for words in WORDS]),
    "d.parquet": parquet({"w": WORDS}),
    "d.npz": npz(w=np.array([" ".join(words) for words in WORDS])),
}


def write(folder: Path, name: str, content: bytes, gz: bool = False) -> str:
    path = folder / (name + ".gz" * gz)
    path.write_bytes(gzip.compress(content) if gz else content)
    return str(path)


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path: Path, name: str, gz: bool) -> None:
    loaded = load(VECTORS, [write(tmp_path, name, TABLES[name], gz)])
    batch = loaded.batch([2, 0, 1])
    assert loaded.num_rows == 3
    assert loaded.sizes == {"D": 2, "K": 2}
    assert loaded.encoders.labels == {"K": ("cat", "dog")}
    assert batch.keys() == {"x", "y"}
    torch.testing.assert_close(batch["x"], torch.tensor([X[2], X[0], X[1]]))
    assert batch["y"].tolist() == [0, 0, 1]
    assert batch["y"].dtype == torch.int64


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_texts(tmp_path: Path, name: str, gz: bool) -> None:
    path = write(tmp_path, name, TEXTS[name], gz)
    for argument in (path, f"w={path}"):
        loaded = load(SENTENCES, [argument])
        batch = loaded.batch([0, 1, 2])
        assert loaded.sizes == {"V": 4}
        assert loaded.encoders.vocabularies["V"].tokens == ("<unk>", "a", "b", "c")
        assert batch["w_len"].tolist() == [3, 0, 1]
        assert batch["w"].tolist() == [[1, 2, 1], [0, 0, 0], [3, 0, 0]]


def test_aligned_files_and_shards(tmp_path: Path) -> None:
    pair = model(
        vocab("A"), vocab("B"), data(), ragged("i", "x_len", "n"), ragged("j", "y_len", "n"),
        observed("x", token("A"), "n", "i"), given("y", token("B"), "n", "j"),
    )  # fmt: skip
    first, second = write(tmp_path, "1.en", b"a b\nc\n"), write(tmp_path, "2.en", b"a a a\n")
    third, other = write(tmp_path, "12.fr", b"u\nv\nw w\n", gz=True), write(tmp_path, "s.csv", b"x,y\na b,u\n")
    loaded = load(pair, [f"x={first}", f"y={third}", f"x={second}"])
    assert loaded.batch([0, 1, 2])["x_len"].tolist() == [2, 1, 3]
    assert loaded.batch([2])["y"].shape == (1, 2)
    both = load(pair, [other, other])
    assert both.num_rows == 2
    assert both.batch([1])["x"].tolist() == [[1, 2]]


def test_columns_renamed_and_gathered(tmp_path: Path) -> None:
    path = write(tmp_path, "d.csv", b'"first, of two",second,kind\n1,2,0\n3,4,1\n')
    loaded = load(VECTORS, [path], {"x": ("first, of two", "second"), "y": ("kind",)})
    assert loaded.batch([0, 1])["x"].tolist() == [[1, 2], [3, 4]]
    assert loaded.encoders.labels == {"K": ("0", "1")}
    turned = load(VECTORS, [path], {"x": ("#2", "#1"), "y": ("#3",)})
    assert turned.batch([0])["x"].tolist() == [[2, 1]]
    span = load(VECTORS, [path], {"x": ("first, of two..second",), "y": ("kind",)})
    assert span.batch([1])["x"].tolist() == [[3, 4]]


@pytest.mark.parametrize("header", [b"x1,x2", b"x_1,x_2", b"x[0],x[1]", b"x_01,x_02"])
def test_numbered_columns(tmp_path: Path, header: bytes) -> None:
    path = write(tmp_path, "d.csv", header + b",y\n1,2,0\n")
    assert load(VECTORS, [path]).batch([0])["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize("place", [ragged("t", "x_len", "n"), fixed("t", "T", "n"), fixed("t", 3, "n")])
def test_headerless_table(tmp_path: Path, place: object) -> None:
    histories = model(size("T"), data(), place, observed("x", bit(), "n", "t"))  # type: ignore[arg-type]
    path = write(tmp_path, "d.csv", b"0,1,1\n1,0,0\n")
    batch = load(histories, [path], {"x": ("*",)}).batch([0, 1])
    assert batch["x"].tolist() == [[0, 1, 1], [1, 0, 0]]


def test_table_in_plain_text(tmp_path: Path) -> None:
    path = write(tmp_path, "d.txt", b" 1.5 2  0\n\n3 4\t1\n")
    loaded = load(VECTORS, [path], {"x": ("#1..2",), "y": ("#3",)})
    assert loaded.batch([0, 1])["x"].tolist() == [[1.5, 2], [3, 4]]


def test_vectors_in_plain_text(tmp_path: Path) -> None:
    vectors = model(size("D"), data(), observed("x", real("D"), "n"))
    assert load(vectors, [write(tmp_path, "d.txt", b"1 2 3\n4 5 6\n")]).batch([1])["x"].tolist() == [[4, 5, 6]]


def test_packed_bits(tmp_path: Path) -> None:
    images = model(data(), observed("x", bit(4, 4), "n"))
    pixels = np.random.default_rng(0).integers(0, 2, (5, 16), dtype=np.uint8)
    loaded = load(images, [write(tmp_path, "d.npz", npz(packed=np.packbits(pixels, axis=1)))])
    assert loaded.batch(range(5))["x"].reshape(5, 16).tolist() == pixels.tolist()


@pytest.mark.parametrize("words", [None, np.array(["zero", "one", "two", "three"])])
def test_sparse_counts(tmp_path: Path, words: np.ndarray | None) -> None:
    arrays = {"indptr": np.array([0, 2, 2, 3]), "indices": np.array([3, 1, 3]), "counts": np.array([2, 1, 1], np.int16)}
    content = npz(**arrays) if words is None else npz(**arrays, vocab=words)
    loaded = load(SENTENCES, [write(tmp_path, "d.npz", content)])
    assert loaded.batch([0, 1, 2])["w"].tolist() == [[1, 1, 2], [0, 0, 0], [1, 0, 0]]
    assert loaded.encoders.vocabularies["V"].tokens[1] == ("3" if words is None else "three")


def test_array_is_reshaped_to_the_event(tmp_path: Path) -> None:
    flat = model(data(), observed("x", real(6), "n"))
    images = np.arange(12, dtype=np.float16).reshape(2, 2, 3)
    path = write(tmp_path, "d.npz", npz(x=images, other=np.zeros(7)))
    assert load(flat, [path]).batch([1])["x"].tolist() == [[6, 7, 8, 9, 10, 11]]


def test_sets_of_ones(tmp_path: Path) -> None:
    from data_models import HERE

    from vispec.model.model import FitEntry

    parts = (data(), ragged("t", "x_len", "n"), observed("x", bit(4), "n", "t"))
    path = write(tmp_path, "d.jsonl", b"[[21, 24], []]\n[[22]]\n")
    batch = load(model(*parts, FitEntry("offset", "x", (("by", 21),), HERE)), [path]).batch([0, 1])
    assert batch["x"].tolist() == [[[1, 0, 0, 1], [0, 0, 0, 0]], [[0, 1, 0, 0], [0, 0, 0, 0]]]
    assert batch["x_len"].tolist() == [2, 1]
    plain = write(tmp_path, "p.jsonl", b"[[0, 3], [1, 2]]\n")
    assert load(model(*parts), [plain]).batch([0])["x"].tolist() == [[[1, 0, 0, 1], [0, 1, 1, 0]]]
    dense = write(tmp_path, "b.jsonl", b"[[0, 1, 1, 0], [1, 0, 0, 0]]\n")
    assert load(model(*parts), [dense]).batch([0])["x"].tolist() == [[[0, 1, 1, 0], [1, 0, 0, 0]]]


def test_text_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vispec.train.data.readers import text

    monkeypatch.setattr(text, "BLOCK", 7)
    lines = [f"é{i} word" for i in range(50)]
    loaded = load(SENTENCES, [write(tmp_path, "d.txt", "\n".join(lines).encode(), gz=True)])
    vocabulary = loaded.encoders.vocabularies["V"]
    assert [" ".join(vocabulary.decode(row.tolist())) for row in loaded.batch(range(50))["w"]] == lines


def test_json_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from data_models import REAL, partial

    from vispec.train.data.readers import jsonl as reader

    monkeypatch.setattr(reader, "BLOCK", 2)
    rows = [{}, {}, {"x": None}, {"x": []}, {"x": [1]}, {"x": [2.5, None]}, {"x": None}]
    for row, n in zip(rows, (1, 2, 0, 0, 1, 2, 1), strict=True):
        row["y"] = [0] * n
    sparse = model(data(), ragged("i", "y_len", "n"), observed("y", REAL, "n", "i"), partial("x", REAL, "n", "i"))
    batch = load(sparse, [write(tmp_path, "d.jsonl", jsonl(rows))]).batch(range(7))
    assert batch["x"].tolist() == [[0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [2.5, 0], [0, 0]]
    assert batch["x_observed"].sum(1).tolist() == [0, 0, 0, 0, 1, 1, 0]
