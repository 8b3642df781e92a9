"""Reading takes little more memory than the file has bytes: cells and words are numbers before they are objects of Python."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

SPECS = {
    "reals.csv": "plate n:\n" + "".join(f"    observed {name} : real ~ Normal(0, 1)\n" for name in "abcd"),
    "labels.csv": "size K\nparam p : simplex[K]\nplate n:\n"
    + "".join(f"    observed {name} : category[K] ~ Categorical(p)\n" for name in "abcd"),
    "text.txt": "vocab V\nparam w : simplex[V]\nplate n:\n    plate i:\n        observed x : token[V] ~ Categorical(w)\n",
}
MOST = {"reals.csv": 2.0, "labels.csv": 2.5, "text.txt": 3.0}  # times the size of the file
PROGRAM = """
import json, sys
from pathlib import Path
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data.load import load

def told(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

text, small, large = sys.argv[1:]
model = check_model(parse(Source("read.vispec", text)))
load(model, [small])
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = told("VmRSS:")
load(model, [large])
print((told("VmHWM:") - before) / Path(large).stat().st_size)
"""


def lines(name: str, count: int) -> list[str]:
    chance = random.Random(0)
    if name == "reals.csv":
        return [",".join(f"{chance.gauss(0, 1):.15f}" for _ in range(4)) for _ in range(count)]
    if name == "labels.csv":
        return [",".join(chance.choices(("red", "green", "blue", "violet"), k=4)) for _ in range(count)]
    return [" ".join(f"w{int(10_000 * chance.random() ** 3)}" for _ in range(11)) for _ in range(count)]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is told by Linux")
@pytest.mark.parametrize("name", SPECS)
def test_memory_is_a_few_times_the_file(name: str, tmp_path: Path) -> None:
    head = "a,b,c,d\n" if name.endswith(".csv") else ""
    rows = lines(name, 20_000)
    (tmp_path / f"small.{name}").write_text(head + "\n".join(rows[:100]) + "\n")
    times = 100_000_000 // (len("\n".join(rows)) + 1)
    (tmp_path / f"large.{name}").write_text(head + ("\n".join(rows) + "\n") * times)
    arguments = [SPECS[name], str(tmp_path / f"small.{name}"), str(tmp_path / f"large.{name}")]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout) < MOST[name]
