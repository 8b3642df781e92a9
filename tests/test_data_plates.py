"""Plates: ragged, nested, fixed, crossed; missing cells; against loops over Python lists."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from data_models import (
    REAL,
    bit,
    category,
    data,
    fixed,
    given,
    index,
    model,
    observed,
    partial,
    ragged,
    real,
    size,
    token,
    vocab,
)
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from vispec.train.data import load

NESTED = model(
    data("doc"), ragged("s", "x_len", "doc"), ragged("w", "x2_len", "doc", "s"), observed("x", REAL, "doc", "s", "w"),
    partial("y", real(2), "doc", "s", "w"), observed("z", REAL, "doc", "s"), observed("u", REAL, "doc"),
)  # fmt: skip


def write(folder: Path, rows: list[Any]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


WORD = st.tuples(st.integers(-9, 9), st.none() | st.lists(st.integers(-9, 9), min_size=2, max_size=2))
DOCUMENTS = st.lists(st.lists(st.lists(WORD, max_size=4), max_size=3), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@drawn(DOCUMENTS, st.randoms())
def test_nested_plates_equal_loops(tmp_path: Path, documents: list, random: Any) -> None:
    rows = [
        {
            "x": [[w[0] for w in s] for s in d],
            "y": [[w[1] for w in s] for s in d],
            "z": [len(s) for s in d],
            "u": len(d),
        }
        for d in documents
    ]
    loaded = load(NESTED, [write(tmp_path, rows)])
    chosen = [random.randrange(len(rows)) for _ in range(4)]
    batch = loaded.batch(chosen)
    width = max(1, *(len(documents[r]) for r in chosen))
    depth = max([1, *(len(s) for r in chosen for s in documents[r])])
    assert batch["x"].shape == batch["y_observed"].shape == (4, width, depth)
    assert batch["y"].shape == (4, width, depth, 2)
    assert batch["z"].shape == batch["x2_len"].shape == (4, width)
    expected = torch.zeros(4, width, depth)
    vectors, seen = torch.zeros(4, width, depth, 2), torch.zeros(4, width, depth, dtype=torch.bool)
    for b, r in enumerate(chosen):
        assert batch["x_len"][b] == batch["u"][b] == len(documents[r])
        for i, sentence in enumerate(documents[r]):
            assert batch["x2_len"][b, i] == batch["z"][b, i] == len(sentence)
            for j, (x, y) in enumerate(sentence):
                expected[b, i, j] = x
                seen[b, i, j] = y is not None
                vectors[b, i, j] = torch.tensor(y if y is not None else [0, 0])
    assert torch.equal(batch["x"], expected)
    assert torch.equal(batch["y_observed"], seen)
    assert torch.equal(batch["y"], vectors)
    words = sum(len(s) for r in chosen for s in documents[r])
    assert loaded.tokens(chosen) == words + sum(len(documents[r]) for r in chosen) + 4
    assert sorted(loaded.lengths["w"].tolist()) == sorted(len(s) for d in documents for s in d)
    assert loaded.select([0]).lengths["w"].tolist() == [len(s) for s in documents[0]]


def test_lists_of_one_plate_may_be_missing_where_another_variable_tells_their_length(tmp_path: Path) -> None:
    rows = [{"x": [[1, 2], [3]], "y": None, "z": [0, 0], "u": 0}, {"x": [[4]], "y": [None], "z": [0], "u": 0}]
    batch = load(NESTED, [write(tmp_path, rows)]).batch([0, 1])
    assert not batch["y_observed"].any()
    assert batch["y"].shape == (2, 2, 2, 2)
    assert batch["x2_len"].tolist() == [[2, 1], [1, 0]]


@pytest.mark.parametrize("inner", [3, "A"])
def test_crossed_with_a_fixed_plate(tmp_path: Path, inner: int | str) -> None:
    annotators = model(size("A"), size("K", 2), fixed("a", inner), data("item"), partial("label", category("K"), "item", "a"))
    loaded = load(annotators, [write(tmp_path, [{"label": [0, None, 1]}, {"label": None}, {"label": [1, 1, None]}])])
    batch = loaded.batch([0, 1, 2])
    assert batch["label"].tolist() == [[0, 0, 1], [0, 0, 0], [1, 1, 0]]
    assert batch["label_observed"].tolist() == [[True, False, True], [False] * 3, [True, True, False]]
    assert loaded.tokens() == 4
    assert loaded.sizes == ({"A": 3, "K": 2} if inner == "A" else {"K": 2})
    csv = tmp_path / "d.csv"
    csv.write_text("label1,label2,label3\n0,NA,1\n?,,null\n1,1,nan\n")
    assert load(annotators, [str(csv)]).batch([0, 1, 2])["label_observed"].tolist() == batch["label_observed"].tolist()


def test_crossed_ragged_plates_share_their_width(tmp_path: Path) -> None:
    grid = model(
        data(), ragged("i", "x_len", "n"), ragged("j", "y_len", "n"), observed("x", REAL, "n", "i"),
        observed("y", REAL, "n", "j"), observed("link", bit(), "n", "i", "j"),
    )  # fmt: skip
    rows = [{"x": [1], "y": [1, 2], "link": [[0, 1]]}, {"x": [], "y": [1, 2, 3], "link": []}]
    batch = load(grid, [write(tmp_path, rows)]).batch([0, 1])
    assert batch["link"].shape == (2, 1, 3)
    assert batch["link"][0].tolist() == [[0, 1, 0]]
    alone = model(data(), ragged("i", "link_len", "n"), ragged("j", "j_len", "n"), observed("link", bit(), "n", "i", "j"))
    batch = load(alone, [write(tmp_path, [{"link": [[0, 1]]}, {"link": [[1], [1]]}])]).batch([0, 1])
    assert batch["j_len"].tolist() == [2, 1]
    assert batch["link"].tolist() == [[[0, 1], [0, 0]], [[1, 0], [1, 0]]]


def test_fixed_plate_around_a_ragged_one(tmp_path: Path) -> None:
    channels = model(
        vocab("V"), size("C"), data(), fixed("c", "C", "n"), ragged("i", "w_len", "n", "c"),
        observed("w", token(), "n", "c", "i"),
    )  # fmt: skip
    loaded = load(channels, [write(tmp_path, [{"w": [["a"], ["b", "a"]]}, {"w": [[], []]}])])
    assert loaded.sizes == {"C": 2, "V": 3}
    batch = loaded.batch([1, 0])
    assert batch["w_len"].tolist() == [[0, 0], [1, 2]]
    assert batch["w"].tolist() == [[[0, 0], [0, 0]], [[1, 0], [2, 1]]]


def test_a_partial_variable_may_have_no_column(tmp_path: Path) -> None:
    half = model(
        data(), ragged("i", "x_len", "n"), observed("x", REAL, "n", "i"), partial("y", category(3), "n"),
        partial("z", category(3), "n", "i"),
    )  # fmt: skip
    loaded = load(half, [write(tmp_path, [{"x": [1, 2]}, {"x": [3]}])], absent=("y", "z"))
    batch = loaded.batch([0, 1])
    assert batch["y_observed"].tolist() == [False, False]
    assert batch["z_observed"].tolist() == [[False, False], [False, False]]
    assert batch["z"].shape == (2, 2)
    assert loaded.tokens() == 3


def test_an_absent_column_takes_its_size_from_another(tmp_path: Path) -> None:
    half = model(size("D"), data(), partial("y", real("D"), "n"), given("x", real("D"), "n"))
    batch = load(half, [write(tmp_path, [{"x": [1, 2]}])], absent=("y",)).batch([0])
    assert batch["y"].tolist() == [[0, 0]]
    assert batch["y_observed"].tolist() == [False]


def test_lengths_of_a_plate_without_data(tmp_path: Path) -> None:
    hidden = model(data(), ragged("i", "i_len", "n"), observed("y", REAL, "n"))
    loaded = load(hidden, [write(tmp_path, [{"y": 1, "i_len": 3}, {"y": 2, "i_len": 0}])])
    assert loaded.batch([0, 1])["i_len"].tolist() == [3, 0]


def test_given_outside_the_data_plate(tmp_path: Path) -> None:
    outside = model(size("K"), fixed("k", "K"), data(), given("x", real(2), "k"), observed("y", REAL, "n"))
    (tmp_path / "y.txt").write_text("1\n2\n3\n")
    (tmp_path / "x.txt").write_text("1 2\n3 4\n")
    loaded = load(outside, [str(tmp_path / "y.txt"), f"x={tmp_path / 'x.txt'}"])
    assert (loaded.num_rows, loaded.sizes) == (3, {"K": 2})
    assert loaded.batch([2])["x"].tolist() == [[1, 2], [3, 4]]


def test_indices_of_plates(tmp_path: Path) -> None:
    pointing = model(
        size("A"), fixed("who", "A"), data(), ragged("j", "y_len", "n"), ragged("i", "a_len", "n"),
        observed("y", REAL, "n", "j"), observed("a", index("j"), "n", "i"), given("w", index("who", "A"), "n"),
    )  # fmt: skip
    rows = [{"y": [1, 2], "a": [0, 1, 1], "w": "ann"}, {"y": [5], "a": [0], "w": "bob"}]
    loaded = load(pointing, [write(tmp_path, rows)])
    batch = loaded.batch([0, 1])
    assert batch["a"].tolist() == [[0, 1, 1], [0, 0, 0]]
    assert batch["w"].tolist() == [0, 1]
    assert loaded.sizes == {"A": 2}


def test_the_end_symbol_lengthens_sequences(tmp_path: Path) -> None:
    ended = model(
        vocab("V", begin=True, end="STOP"), data(), ragged("i", "x_len", "n"), partial("x", token(), "n", "i"),
        partial("y", REAL, "n", "i"),
    )  # fmt: skip
    rows = [{"x": ["a", None], "y": None}, {"x": None, "y": [1, None, 3]}, {"x": [], "y": [7, 7]}]
    loaded = load(ended, [write(tmp_path, rows)])
    assert loaded.encoders.vocabularies["V"].tokens == ("<unk>", "<s>", "STOP", "a")
    batch = loaded.batch([0, 1, 2])
    assert batch["x_len"].tolist() == [4, 3, 2]
    assert batch["x"].tolist() == [[1, 3, 0, 2], [0, 0, 0, 0], [1, 2, 0, 0]]
    observed_cells = [[True, True, False, True], [False] * 4, [True, True, False, False]]
    assert batch["x_observed"].tolist() == observed_cells
    assert batch["y"].tolist() == [[0, 0, 0, 0], [1, 0, 3, 0], [7, 7, 0, 0]]


def test_latent_columns_are_left_with_a_warning(tmp_path: Path) -> None:
    from data_models import latent

    mixture = model(data(), latent("c", category(2), "n"), observed("x", REAL, "n"))
    loaded = load(mixture, [write(tmp_path, [{"x": 1, "c": "whatever"}])])
    assert loaded.variables == ("x",)
    assert [w.code for w in loaded.warnings] == ["D190"]


def test_heads_of_a_tree(tmp_path: Path) -> None:
    from vispec.model.types import Type

    parser = model(data(), ragged("i", "head_len", "n"), observed("head", Type("tree", plate="i"), "n", "i"))
    loaded = load(parser, [write(tmp_path, [{"head": [2, 0, 2]}, {"head": [0]}])])
    assert loaded.batch([0, 1])["head"].tolist() == [[2, 0, 2], [0, 0, 0]]
