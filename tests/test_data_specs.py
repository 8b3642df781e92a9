"""The example specs take the data that their comments name."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data import load

SPECS = Path(__file__).parent.parent / "specs"


def spec(name: str) -> Model:
    return check_model(parse(Source.read(SPECS / f"{name}.vispec")))


def write(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def test_gaussian_mixture(tmp_path: Path) -> None:
    path = write(tmp_path, "faithful.csv", "eruptions,waiting\n3.6,79\n1.8,54\n")
    loaded = load(spec("gaussian_mixture"), [path], {"x": ("eruptions", "waiting")})
    assert loaded.sizes == {"K": 2, "D": 2}
    torch.testing.assert_close(loaded.batch([1])["x"], torch.tensor([[1.8, 54.0]]))


def test_ibm1(tmp_path: Path) -> None:
    x, y = write(tmp_path, "t.en", "the house\nthe the\n"), write(tmp_path, "t.fr", "la la maison\nla\n")
    batch = load(spec("ibm1"), [f"x={x}", f"y={y}"]).batch([0, 1])
    assert batch["y"].tolist() == [[1, 2, 2, 0], [1, 2, 0, 0]]  # <null> is put before each sentence, maison is rare
    assert batch["y_len"].tolist() == [4, 2]
    assert batch["x"].tolist() == [[1, 0], [1, 1]]


def test_hmm_music(tmp_path: Path) -> None:
    batch = load(spec("hmm_music"), [write(tmp_path, "m.jsonl", "[[21, 108], []]\n[[60]]\n")]).batch([0, 1])
    assert batch["x"].shape == (2, 2, 88)
    assert batch["x"].nonzero().tolist() == [[0, 0, 0], [0, 0, 87], [1, 0, 39]]
    assert batch["x_len"].tolist() == [2, 1]


def test_annotators(tmp_path: Path) -> None:
    loaded = load(spec("annotators"), [write(tmp_path, "r.csv", "label1,label2,label3\n0,,1\n?,3,2\n")])
    assert loaded.sizes == {"K": 4, "A": 3}
    assert loaded.batch([0, 1])["label_observed"].tolist() == [[True, False, True], [False, True, True]]
    long = [{"who": ["ann", "bob"], "label": [0, 1]}, {"who": ["bob"], "label": [3]}]
    loaded = load(spec("annotators_long"), [write(tmp_path, "r.jsonl", "\n".join(map(json.dumps, long)))])
    assert loaded.sizes == {"K": 4, "A": 2}
    assert loaded.batch([1])["who"].tolist() == [[1]]


def test_captioning(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", pixels=np.zeros((2, 3, 4, 5), np.float32))
    captions = write(tmp_path, "c.txt", "a dog\na a\n")
    loaded = load(spec("captioning"), [f"y={tmp_path / 'p.npz'}", f"x={captions}"])
    assert loaded.sizes == {"C": 3, "H": 4, "W": 5, "V": 3}
    assert loaded.batch([0])["y"].shape == (1, 3, 4, 5)
    assert loaded.batch([0])["x"].tolist() == [[2, 0, 1]]


@pytest.mark.parametrize("missing", ["", "NA"])
def test_semi_supervised(tmp_path: Path, missing: str) -> None:
    header = ",".join(f"x{i}" for i in range(784))
    rows = [",".join([label, *"01" * 392]) for label in ("7", missing)]
    batch = load(spec("ss_vae"), [write(tmp_path, "d.csv", "\n".join([f"y,{header}", *rows]))]).batch([0, 1])
    assert batch["y_observed"].tolist() == [True, False]
    assert batch["y"][0] == 7
    assert batch["x"].sum(1).tolist() == [392, 392]
