"""Does a step's time grow as the plan says?  `python benchmarks/growth.py [--plot FILE]`

One thing at a time grows sixteenfold: the steps of a chain, its states, the rows of a batch, the cells of an alignment. For
each size the emitted step (forward and backward) is timed, and the plan's multiply-adds are worked out from its formula. What
is compared are the slopes of their logarithms against that of the size: the exponents of growth.

The sizes begin where arithmetic, not the starting of operations, takes the time. All sizes of a series are timed in turn, in
several rounds, so that they share what else the machine does; a size's time is its shortest.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log, prod
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from vispec.compile import class_of, compile_spec
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

TOLERANCE = 0.15  # between a measured exponent and the plan's


@dataclass(frozen=True)
class Series:
    """spec: a file of benchmarks/specs; values: what grows; sizes: of the module; lengths: of plates, for the plan."""

    name: str
    spec: str
    values: tuple[int, ...]
    sizes: Callable[[int], dict[str, int]]
    lengths: Callable[[int], dict[str, int]]
    batch: Callable[[int], dict[str, Tensor]]


def chain_batch(rows: int, steps: int) -> dict[str, Tensor]:
    return {"x": torch.randint(50, (rows, steps)), "x_len": torch.full((rows,), steps)}


def pair_batch(rows: int, words: int) -> dict[str, Tensor]:
    length = torch.full((rows,), words)
    return {
        "y": torch.randint(50, (rows, words)),
        "x": torch.randint(50, (rows, words)),
        "y_len": length,
        "x_len": length,
    }


def chains(states: int) -> dict[str, int]:
    return {"K": states, "V": 50}


SERIES = (
    Series(
        "steps of a chain, T",
        "hmm.vispec",
        (32, 64, 128, 256, 512),
        lambda _: chains(128),
        lambda T: {"|sentence|": 64, "|t|": T},
        lambda T: chain_batch(64, T),
    ),
    Series(
        "states of a chain, K",
        "hmm.vispec",
        (160, 320, 640, 1280, 2560),
        chains,
        lambda _: {"|sentence|": 64, "|t|": 16},
        lambda _: chain_batch(64, 16),
    ),
    Series(
        "rows of a batch",
        "hmm.vispec",
        (64, 128, 256, 512, 1024),
        lambda _: chains(128),
        lambda rows: {"|sentence|": rows, "|t|": 32},
        lambda rows: chain_batch(rows, 32),
    ),
    Series(
        "cells of an alignment, |x|·|y|",
        "ibm1.vispec",
        (64, 91, 128, 181, 256),
        lambda _: {"EN": 50, "FR": 50},
        lambda words: {"|pair|": 64, "|i|": words, "|j|": words},
        lambda words: pair_batch(64, words),
    ),
)


def growing(series: Series, value: int) -> int:
    """The size that the exponents are of: the product of what grows."""
    return value * value if "·" in series.name else value


def multiply_adds(formula: str, known: Mapping[str, int]) -> int:
    """A product such as `64 · |n| · K^2 · 2^|i|`, worked out."""
    parts = (part.strip("()").split("^") for part in formula.split(" · "))
    of = lambda word: int(word) if word.isdigit() else known[word]  # noqa: E731
    return prod(of(base) ** of(*power or "1") for base, *power in parts)


def predicted(series: Series, value: int) -> int:
    """The plan's multiply-adds, of all its sums."""
    source = Source.read(Path(__file__).with_name("specs") / series.spec)
    sizes = series.sizes(value)
    rows = plan_model(check_model(parse(source), sizes)).rows
    return sum(multiply_adds(row.cost["madds"], sizes | series.lengths(value)) for row in rows if row.cost)


def stepper(series: Series, value: int) -> Callable[[], None]:
    """One forward and backward pass of the emitted module."""
    source, sizes = Source.read(Path(__file__).with_name("specs") / series.spec), series.sizes(value)
    space: Any = ModuleType("emitted")
    text = compile_spec(source, sizes)
    exec(compile(text, series.spec, "exec"), vars(space))
    module, batch = getattr(space, class_of(text))(**sizes), series.batch(value)

    def step() -> None:
        module.zero_grad()
        module.loss(batch, len(batch["x"])).backward()

    return step


def timed(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The exponent: least squares of log value on log size."""
    x, y = [log(size) for size in sizes], [log(value) for value in values]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    across = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return across / sum((a - x_mean) ** 2 for a in x)


def measure(series: Series, rounds: int) -> tuple[list[float], list[int]]:
    """Seconds and multiply-adds at each value."""
    steps = [stepper(series, value) for value in series.values]
    for step in steps:
        step()
    times = [[timed(step) for step in steps] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)], [predicted(series, value) for value in series.values]


def plot(found: Mapping[str, tuple[list[float], list[int]]], path: Path) -> None:
    """Time against predicted multiply-adds, both logarithmic, with a line of slope 1 for each series."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for name, (seconds, work) in found.items():
        (line,) = axes.loglog(work, [1e3 * each for each in seconds], "o", label=name)
        last = 1e3 * seconds[-1]
        axes.loglog(work, [last * each / work[-1] for each in work], "--", linewidth=1, color=line.get_color())
    axes.set(xlabel="multiply-adds that the plan predicts", ylabel="milliseconds a step; dashed: proportional")
    axes.legend()
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often each size is timed (default 9)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="an SVG, PNG or PDF file to draw (needs matplotlib)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found, off = {}, 0
    for series in SERIES:
        seconds, work = found[series.name] = measure(series, options.rounds)
        sizes = [growing(series, value) for value in series.values]
        exponents = slope(sizes, seconds), slope(sizes, work)
        off += abs(exponents[0] - exponents[1]) > TOLERANCE
        print(f"\n{series.name}: exponent {exponents[0]:.2f} measured, {exponents[1]:.2f} predicted")
        for size, each, madds in zip(sizes, seconds, work, strict=True):
            print(f"  {size:7}  {1e3 * each:9.2f} ms  {madds:15,} multiply-adds  {madds / each / 1e9:6.2f} G/s", flush=True)
    if options.plot:
        plot(found, options.plot)
    return int(off > 0)


if __name__ == "__main__":
    sys.exit(main())
