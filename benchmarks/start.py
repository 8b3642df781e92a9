"""What a user waits for before the first step: commands from their start beside `import torch`, and files read beside pyarrow.

    python -m benchmarks.start [ROUNDS]

prints seconds, the least of the rounds, which take turns, and the ratio to the first line of each table.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from pyarrow import csv

from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data.load import load

ROWS, LINES, WORDS, SOME = 400_000, 200_000, 11, 3_200
TABLE = "plate n:\n" + "".join(f"    observed {name} : real ~ Normal(0, 1)\n" for name in "abcd")
TEXT = "vocab V\nparam w : simplex[V]\nplate n:\n    plate i:\n        observed x : token[V] ~ Categorical(w)\n"
SMALL = "param m : real\nplate n:\n    observed a : real ~ Normal(m, 1)\nfit:\n    optimizer : adam(lr=1e-3)\n    batch : 32\n"
Timed = Callable[[], float]


def command(*words: str) -> float:
    """Seconds of a command, to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - start


def first_steps(folder: Path) -> float:
    """Seconds of `vispec fit` to the line of metrics that its first fifty steps write, a matter of 20 ms."""
    run = folder / f"run-{time.monotonic_ns()}"
    words = ["fit", str(folder / "small.vispec"), str(folder / "small.csv"), "--out", str(run), "--no-verify"]
    told = run / "metrics.jsonl"
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "vispec", *words], stdout=subprocess.DEVNULL) as process:
        while not (told.exists() and '"step"' in told.read_text()):
            assert process.poll() is None, "the fit ended without a step"
            time.sleep(0.002)
        found = time.perf_counter() - start
        process.kill()
    return found


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def reading(text: str, path: Path) -> Timed:
    model = check_model(parse(Source("read.vispec", text)))
    return lambda: seconds(lambda: load(model, [str(path)]))


def write(folder: Path) -> None:
    """The files that are read."""
    rng = np.random.default_rng(0)
    for name, rows in (("table", ROWS), ("small", SOME)):
        csv.write_csv(pa.table({each: rng.normal(size=rows) for each in "abcd"}), folder / f"{name}.csv")
    words = np.array([f"w{i}" for i in range(10_000)], dtype=object)[(10_000 * rng.random((LINES, WORDS)) ** 3).astype(int)]
    (folder / "text.txt").write_text("".join(" ".join(line) + "\n" for line in words))
    (folder / "small.vispec").write_text(SMALL)


def show(title: str, rounds: int, timed: Mapping[str, Timed], of: Mapping[str, int] = MappingProxyType({})) -> None:
    """A table of the least seconds of rounds that take turns."""
    found = np.array([[each() for each in timed.values()] for _ in range(rounds)]).min(0)
    print(title)
    for name, least in zip(timed, found, strict=True):
        rate = f"{of[name] / least:12,.0f} a second" if name in of else ""
        print(f"  {name:24} {least:8.3f} s {least / found[0]:8.2f} {rate}")


def main(rounds: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        spec = str(folder / "small.vispec")
        commands = {
            "import torch": lambda: command("-c", "import torch"),
            "vispec check": lambda: command("-m", "vispec", "check", spec),
            "vispec compile": lambda: command("-m", "vispec", "compile", spec),
            "vispec fit, first steps": lambda: first_steps(folder),
        }
        show("start", rounds, commands)
        table, text = folder / "table.csv", folder / "text.txt"
        files = {
            "pyarrow, CSV": lambda: seconds(lambda: csv.read_csv(table)),
            "vispec, CSV": reading(TABLE, table),
            "vispec, text": reading(TEXT, text),
        }
        show("reading", rounds, files, {"pyarrow, CSV": ROWS, "vispec, CSV": ROWS, "vispec, text": LINES})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
