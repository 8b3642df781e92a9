"""Epochs, splits, counts; vocabularies and their files."""

import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from data_models import REAL, category, data, fixed, given, model, observed, ragged, real, size, token, vocab
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from vispec.model.model import Model
from vispec.train.data import Dataset, Encoders, dataset, load
from vispec.train.data.scatter import ROUNDS, Scattered

PAIR = model(
    vocab("X", min_count=2), vocab("Y"), data(), ragged("j", "y_len", "n"), ragged("i", "x_len", "n"),
    given("y", token("Y"), "n", "j"), observed("x", token("X"), "n", "i"),
)  # fmt: skip


def words(**options: int | bool | str) -> Model:
    return model(vocab("V", **options), data(), ragged("i", "w_len", "n"), observed("w", token(), "n", "i"))


def text(folder: Path, content: str, name: str = "d.txt") -> str:
    (folder / name).write_text(content)
    return str(folder / name)


@pytest.fixture
def pairs(tmp_path: Path) -> Dataset:
    source = np.random.default_rng(1)
    lines = ["\n".join(" ".join(map(str, source.integers(0, 20, n))) for n in source.integers(1, 9, 50)) for _ in range(2)]
    return load(PAIR, [f"x={text(tmp_path, lines[0], 'x.txt')}", f"y={text(tmp_path, lines[1], 'y.txt')}"])


@pytest.mark.parametrize("bucket", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_an_epoch_holds_each_row_once(pairs: Dataset, bucket: bool, shuffled: bool) -> None:
    generator = torch.Generator().manual_seed(3) if shuffled else None
    order = pairs.order(8, generator, bucket)
    assert sorted(np.concatenate(order).tolist()) == list(range(50))
    assert sorted(map(len, order)) == [2, *[8] * 6]
    again = pairs.order(8, torch.Generator().manual_seed(3) if shuffled else None, bucket)
    assert all(np.array_equal(a, b) for a, b in zip(order, again, strict=True))
    batches = list(pairs.batches(8, torch.Generator().manual_seed(3) if shuffled else None, bucket))
    assert torch.equal(batches[1]["x"], pairs.batch(order[1])["x"])
    if not shuffled and not bucket:
        assert np.concatenate(order).tolist() == list(range(50))


def test_bucketing_saves_padding(tmp_path: Path) -> None:
    path = text(tmp_path, "\n".join("a " * (i * 7 % 31) for i in range(80)))
    pairs = load(PAIR, [f"x={path}", f"y={path}"])

    def cells(bucket: bool) -> int:
        batches = pairs.batches(4, torch.Generator().manual_seed(0), bucket)
        return sum(batch["x"].numel() + batch["y"].numel() for batch in batches)

    assert cells(True) < 0.7 * cells(False)


def test_split_and_select(pairs: Dataset) -> None:
    train, valid = pairs.split(0.2, seed=5)
    assert (train.num_rows, valid.num_rows) == (40, 10)
    assert train.tokens() + valid.tokens() == pairs.tokens()
    assert valid.tokens([0, 3]) == int(valid.batch([0, 3])["x_len"].sum())
    assert torch.equal(pairs.split(0.2, seed=5)[1].batch([4])["x"], valid.batch([4])["x"])
    part = valid.select([7, 1])
    assert torch.equal(part.batch([0, 1])["x_len"], valid.batch([7, 1])["x_len"])
    assert part.lengths["i"].tolist() == valid.lengths["i"][[7, 1]].tolist()
    assert pairs.split(0.0001, seed=0)[1].num_rows == pairs.split(0.9999, seed=0)[0].num_rows == 1


def test_rows_outside_are_refused(pairs: Dataset) -> None:
    with pytest.raises(IndexError):
        pairs.batch([50])
    assert torch.equal(pairs.batch([-1])["x"], pairs.batch([49])["x"])
    assert torch.equal(pairs.batch(torch.tensor([3, 1]))["x"], pairs.batch(np.array([3, 1]))["x"])


def test_batches_own_their_memory(pairs: Dataset) -> None:
    pairs.batch([0])["x"].fill_(-1)
    assert pairs.batch([0])["x"].min() >= 0


def test_batches_follow_the_default_dtype(tmp_path: Path) -> None:
    loaded = load(model(data(), observed("x", REAL, "n")), [text(tmp_path, "0.1\n")])
    torch.set_default_dtype(torch.float64)
    try:
        assert loaded.batch([0])["x"].tolist() == [0.1]
    finally:
        torch.set_default_dtype(torch.float32)
    assert loaded.batch([0])["x"].dtype == torch.float32


def test_scored_elements_in_one_place_count_once(tmp_path: Path) -> None:
    tagged = model(
        vocab("V"), data(), ragged("i", "w_len", "n"), observed("w", token(), "n", "i"), observed("t", category(3), "n", "i"),
        observed("label", category(2), "n"), fixed("k", 2, "n"), observed("v", real(3), "n", "k"), given("g", REAL, "n", "i"),
    )  # fmt: skip
    rows = [{"w": ["a"] * n, "t": [0] * n, "label": 0, "v": [[1, 2, 3], [4, 5, 6]], "g": [1] * n} for n in (3, 4)]
    path = text(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "d.jsonl")
    assert load(tagged, [path]).tokens() == 7 + 2 + 4


def test_columns_of_what_is_to_be_predicted_may_be_absent(tmp_path: Path) -> None:
    regression = model(size("D"), data(), given("y", real("D"), "n"), observed("x", REAL, "n"))
    loaded = load(regression, [text(tmp_path, "y1,y2\n1,2\n", "d.csv")], optional=["x"])
    assert loaded.variables == ("y",)
    assert loaded.tokens() == 0


# ---- vocabularies


def tokens(dataset: Dataset) -> tuple[str, ...]:
    return dataset.encoders.vocabularies["V"].tokens


def test_vocabulary_options(tmp_path: Path) -> None:
    path = text(tmp_path, "b B a\nc <unk> b\n")
    assert tokens(load(words(), [path])) == ("<unk>", "b", "B", "a", "c")
    assert tokens(load(words(lower=True), [path])) == ("<unk>", "b", "a", "c")
    assert tokens(load(words(min_count=2), [path])) == ("<unk>", "b")
    assert tokens(load(words(max_size=3), [path])) == ("<unk>", "b", "B")
    assert tokens(load(words(begin=True, end=True), [path]))[:3] == ("<unk>", "<s>", "</s>")
    assert load(words(min_count=2, lower=True), [path]).batch([0, 1])["w"].tolist() == [[1, 1, 0], [0, 0, 1]]
    assert tokens(load(words(chars=True), [text(tmp_path, "ab a\r\n", "c.txt")])) == ("<unk>", "a", " ", "b")


def test_two_variables_share_a_vocabulary(tmp_path: Path) -> None:
    shared = model(
        vocab("V", min_count=2), data(), ragged("i", "x_len", "n"), ragged("j", "y_len", "n"),
        observed("x", token(), "n", "i"), observed("y", token(), "n", "j"),
    )  # fmt: skip
    loaded = load(shared, [text(tmp_path, "x,y\na b,c a\n", "d.csv")])
    assert tokens(loaded) == ("<unk>", "a")


def test_validation_text_is_encoded_as_training_text(tmp_path: Path) -> None:
    trained = load(words(end=True), [text(tmp_path, "a b\n")])
    valid = load(words(end=True), [text(tmp_path, "b z\n", "v.txt")], encoders=trained.encoders, sizes=trained.sizes)
    assert valid.batch([0])["w"].tolist() == [[3, 0, 1]]
    assert valid.sizes == trained.sizes


TOKEN = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@drawn(st.lists(st.lists(TOKEN, min_size=1, max_size=5), min_size=1, max_size=5))
def test_encoders_come_back_from_their_folder(tmp_path: Path, sentences: list[list[str]]) -> None:
    path = text(tmp_path, "".join(json.dumps(s) + "\n" for s in sentences), "d.jsonl")
    loaded = load(words(begin="\\n"), [path])
    loaded.encoders.save(tmp_path / "vocab")
    assert Encoders.load(tmp_path / "vocab") == loaded.encoders
    counts = Counter(word for s in sentences for word in s if word not in ("<unk>", "\\n"))
    assert tokens(loaded)[2:] == tuple(sorted(counts, key=lambda word: (-counts[word], word)))
    vocabulary = loaded.encoders.vocabularies["V"]
    for row, sentence in enumerate(sentences):
        assert vocabulary.decode(loaded.batch([row])["w"][0].tolist()) == ["\\n", *sentence]


def test_labels_come_back(tmp_path: Path) -> None:
    labelled = model(size("K"), data(), observed("y", category("K"), "n"))
    loaded = load(labelled, [text(tmp_path, "y\nb\na\n", "d.csv")])
    loaded.encoders.save(tmp_path / "vocab")
    assert Encoders.load(tmp_path / "vocab").labels == {"K": ("a", "b")}
    assert json.loads(json.dumps(loaded.encoders.to_json())) == loaded.encoders.to_json()


def test_a_hundred_thousand_sentences_load_in_seconds(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    lines = [" ".join(f"w{i}" for i in source.zipf(1.3, 10) % 20_000) for _ in range(10_000)] * 10
    path = text(tmp_path, "\n".join(lines))
    start = time.process_time()
    loaded = load(words(min_count=2), [path])
    assert time.process_time() - start < 4
    assert loaded.tokens() == 1_000_000
    rows = source.integers(0, 100_000, (100, 64))
    loaded.batch(rows[0])
    start = time.process_time()
    for row in rows:
        loaded.batch(row)
    assert time.process_time() - start < 0.1  # a millisecond each


@pytest.mark.parametrize("count", [1, 2, 5, 1000, 4096, 4097])
def test_an_order_that_is_computed_has_every_row_once(count: int) -> None:
    draw = np.random.default_rng(count)
    one, two = (Scattered(count, draw.integers(1 << 62, size=ROUNDS).astype(np.uint64)) for _ in range(2))
    assert sorted(one[:].tolist()) == [*range(count)]
    assert one[1:3].tolist() == one[:][1:3].tolist()
    if count >= 1000:
        assert abs(np.corrcoef(one[:], np.arange(count))[0, 1]) < 0.1
        assert (one[:] == two[:]).mean() < 0.01


def test_many_rows_are_shuffled_alike_whatever_is_asked_first(pairs: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = pairs.order(4, torch.Generator().manual_seed(2), bucket=True)
    monkeypatch.setattr(dataset, "MANY", 10)
    one, two = (pairs.order(4, torch.Generator().manual_seed(2), bucket=True) for _ in range(2))
    assert (one[len(one) - 1] == [*two][-1]).all()
    assert all((mine == other).all() for mine, other in zip(one, two, strict=True))
    assert sorted(np.concatenate([*one]).tolist()) == sorted(np.concatenate([*drawn]).tolist()) == [*range(50)]
