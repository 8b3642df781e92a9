"""One byte changed in any file of a run folder: the same numbers or an error, never a bug and never another number.

`VISPEC_BYTES=50 pytest tests/store/test_one_byte.py` changes more of them than the suite does.
"""

import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.train.store.manifest import put, read_manifest

COUNT = int(os.environ.get("VISPEC_BYTES", "3"))  # changes of each file
SPEC = """\
vocab V
size K = 2
param pi : simplex[K]
param noise : positive = 0.5
plate k[K]:
    param emit : simplex[V]
plate n:
    latent   z : index[k] ~ Categorical(pi)
    observed y : real ~ Normal(0, noise)
    plate i:
        observed x : token[V] ~ Categorical(emit[z])
"""
UNREAD = {"report.html", ".lock"}  # nothing is read from them again


def vispec(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run in `run`, with every file that a run may have."""
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "m.vispec").write_text(SPEC)
    rows = [{"x": [("a", "b", "c", "d")[(i * j) % 4] for j in range(3)], "y": 0.1 * i - 1} for i in range(20)]
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = fit(folder, "run", "--epochs", 3)
    assert told.exit_code == 0, told.output
    verdict = {"state": "agrees", "text": "verified", "report": {"checks": []}}
    put(folder / "run", {"verify.json": json.dumps(verdict)})
    return folder


def fit(place: Path, run: str, *options: object):
    settings = ("--set", "optimizer=adam", "--batch", 10, "--threads", 1, "--out", place / run)
    return vispec("fit", place / "m.vispec", place / "d.jsonl", *settings, *options)


def answers(place: Path, run: str) -> list[tuple[int, str]]:
    """(exit code, numbers) of commands that together read all of a run, and go on with it."""
    folder, data = place / run, place / "d.jsonl"
    asked = (("eval", folder, data, "--json"), ("params", folder, "--json"), ("posterior", folder, data, "--jsonl"))
    found = [*(vispec(*words) for words in asked), fit(place, run, "--resume", "--epochs", 5, "--json")]
    return [(result.exit_code, re.sub(r'"(run|seconds)": [^,]*,', "", result.stdout)) for result in found]


def files_of(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and "events." not in path.name)


def test_the_manifest_has_every_file_that_is_read(place):
    manifest = read_manifest(place / "run")
    assert manifest is not None
    assert set(files_of(place / "run")) - UNREAD - {"manifest.json"} == set(manifest.files)
    assert {"start.safetensors", "vocab/V.txt", "verify.json"} < set(manifest.files)


def test_one_byte(place):
    chance, broken = random.Random(0), place / "broken"

    def copied() -> None:
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(place / "run", broken)

    copied()
    right = answers(place, "broken")
    assert [code for code, _ in right] == [0, 0, 0, 0], right
    refused = 0
    for name in files_of(place / "run"):
        for _ in range(COUNT):
            copied()
            content = bytearray((broken / name).read_bytes())
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            (broken / name).write_bytes(content)
            found = answers(place, "broken")
            for (code, numbers), (_, expected) in zip(found, right, strict=True):
                assert code == 1 or (code == 0 and numbers == expected), (name, code, numbers)
            refused += any(code == 1 for code, _ in found)
    assert refused >= COUNT * 5
