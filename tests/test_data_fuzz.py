"""Mutated files end in a Dataset or a DataError, soon, never in anything else."""

import random
import time
from pathlib import Path

import pytest
import torch
from data_models import bit, category, data, fixed, given, index, model, observed, partial, ragged, real, size, token, vocab
from test_data_formats import TABLES, TEXTS, jsonl, npz, parquet

from vispec.model.model import Model
from vispec.train.data import DataDiagnostic, DataError, load

MUTATIONS = 40
PIECES = [b",", b"\n", b'"', b"[", b"]", b"null", b"\x00", b"\xff", b"{", b"1e400", b"-1"]
MODELS = {
    "table": model(size("D"), size("K"), data(), given("x", real("D"), "n"), observed("y", category("K"), "n")),
    "half": model(data(), partial("x", real(2), "n"), partial("y", category(2), "n")),
    "words": model(vocab("V", end=True), data(), ragged("i", "w_len", "n"), observed("w", token(), "n", "i")),
    "letters": model(vocab("V", chars=True), data(), ragged("i", "w_len", "n"), partial("w", token(), "n", "i")),
    "panel": model(
        size("A"),
        data("s"),
        fixed("who", "A", "s"),
        ragged("t", "w_len", "s"),
        given("z", real(), "s"),
        partial("r", real(), "s", "who"),
        given("w", index("who", "A"), "s", "t"),
        observed("x", real(), "s", "t"),
    ),
    "bits": model(data(), ragged("t", "w_len", "n"), observed("w", bit(8), "n", "t")),
}
PANEL = b"s,t,who,z,r,w,x\nA,1,u,0.5,1,u,2\nA,2,v,0.5,,v,3\nB,1,u,1,2,u,4\n"
SETS = jsonl([[[1, 2], [], [7]], [], [[0]]])


def mutate(content: bytes, source: random.Random) -> bytes:
    """A few bytes changed, inserted, dropped, or doubled."""
    changed = bytearray(content)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(changed) + 1)
        match source.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                changed[at:at] = source.choice(
                    [b",", b"\n", b'"', b"[", b"]", b"null", b"\x00", b"\xff", b"{", b"1e400", b"-1"]
                )
            case 2:
                del changed[at : at + source.randint(1, 8)]
            case 3:
                changed[at:at] = changed[at : at + source.randint(1, 40)]
            case _:
                del changed[at:]
    return bytes(changed)


def seeds() -> list[tuple[str, str, bytes]]:
    import gzip

    import numpy as np

    found = [(kind, name, text) for name, text in TABLES.items() for kind in ("table", "half")]
    found += [(kind, name, text) for name, text in TEXTS.items() for kind in ("words", "letters")]
    found += [("bits", "d.jsonl", SETS), ("bits", "d.parquet", parquet({"w": [[[1], []], [[2, 7]]]}))]
    found += [("words", "d.npz", npz(indptr=np.array([0, 2]), indices=np.array([0, 1]), counts=np.array([1, 2])))]
    found += [("panel", "d.csv", PANEL), ("panel", "d.csv", PANEL.replace(b",", b";"))]
    found += [("words", "d.txt.gz", gzip.compress(TEXTS["d.txt"]))]
    return found


def problems_of(model: Model, path: Path) -> tuple[DataDiagnostic, ...]:
    """What loading and batching the file ends in; empty where it could be read."""
    try:
        loaded = load(model, [str(path)])
    except DataError as error:
        return error.diagnostics
    loaded.batch(range(loaded.num_rows))
    loaded.tokens()
    return ()


@pytest.mark.parametrize(("kind", "name", "content"), seeds(), ids=lambda value: value if isinstance(value, str) else "")
def test_mutated_files(tmp_path: Path, kind: str, name: str, content: bytes) -> None:
    torch.set_num_threads(1)
    source = random.Random(f"{kind}{name}")
    path = tmp_path / name
    refused = 0
    for _ in range(MUTATIONS):
        path.write_bytes(mutate(content, source))
        start = time.perf_counter()
        problems = problems_of(MODELS[kind], path)
        assert time.perf_counter() - start < 5
        assert all(problem.file == str(path) and problem.message for problem in problems)
        refused += bool(problems)
    assert refused


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl", "d.npz", "d.parquet", "d.txt", "d.txt.gz"])
def test_noise(tmp_path: Path, name: str) -> None:
    source = random.Random(name)
    path = tmp_path / name
    for _ in range(MUTATIONS):
        path.write_bytes(source.randbytes(source.randrange(200)))
        for kind in MODELS.values():
            assert all(problem.file == str(path) for problem in problems_of(kind, path))
