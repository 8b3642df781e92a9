"""Bayesian neural nets on UCI regression tables: `python benchmarks/uci.py FOLDER [--sets energy ...] [--splits 0 1 ...]`

FOLDER has a folder for each set, with `data.txt` (or `data.txt.gz`), columns between white space, and `splits.json`:
`feature_columns`, `target_column` and `test`, the rows held out by each split (Hernandez-Lobato and Adams 2015). All columns
are standardised by the training rows of a split. specs/bnn.vispec is fitted to these, with as many steps whatever the number
of rows, and scored by `iwae(1000)`, which averages the likelihood of a test row over draws of the weights and the noise: its
posterior predictive.

Beside it stands least squares with the residuals' variance, by closed form. Both are told in nats per row on the scale of the
data, so the logarithm of the target's standard deviation is taken off: means over the splits, and their standard errors.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data import load
from vispec.train.loop.fit import fit
from vispec.train.loop.progress import Quiet
from vispec.train.scores.evaluate import evaluate
from vispec.train.scores.weights import Estimator
from vispec.train.setup.distributed import Group
from vispec.train.setup.prepare import Request, prepare
from vispec.train.setup.settings import read_settings

Array = np.ndarray[Any, Any]

SPEC = Path(__file__).parents[1] / "specs" / "bnn.vispec"
SETS = ("bostonHousing", "concrete", "energy", "wine-quality-red")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Split:
    """Rows for fitting and for the test, standardised by the former. scale: the target's standard deviation."""

    train: Mapping[str, Array]  # y (n, D), x (n,)
    test: Mapping[str, Array]
    scale: float


@dataclass(frozen=True)
class Found:
    """Test log-likelihoods in nats per row, on the scale of the data, and the seconds of the fit."""

    net: float
    least_squares: float
    seconds: float


def splits(folder: Path, wanted: list[int] | None) -> Iterator[tuple[int, Split]]:
    """The splits of one set, by number."""
    told = json.loads((folder / "splits.json").read_text())
    table = np.loadtxt(next(folder.glob("data.txt*")))
    columns = [*told["feature_columns"], told["target_column"]]
    for number in range(len(told["test"])) if wanted is None else wanted:
        held_out = np.isin(np.arange(len(table)), told["test"][number])
        train, test = table[~held_out][:, columns], table[held_out][:, columns]
        mean, scale = train.mean(0), train.std(0)
        scale[scale == 0] = 1.0
        named = ({"y": rows[:, :-1], "x": rows[:, -1]} for rows in ((train - mean) / scale, (test - mean) / scale))
        yield number, Split(next(named), next(named), float(scale[-1]))


def least_squares(split: Split) -> float:
    """Mean log-likelihood of the test rows under an affine mean and the variance of the training residuals."""
    design = {name: np.column_stack([part["y"], np.ones(len(part["y"]))]) for name, part in parts(split)}
    weights = np.linalg.lstsq(design["train"], split.train["x"], rcond=None)[0]
    variance = np.square(split.train["x"] - design["train"] @ weights).mean()
    errors = np.square(split.test["x"] - design["test"] @ weights)
    return float((-0.5 * (errors / variance + np.log(2 * np.pi * variance))).mean()) - math.log(split.scale)


def posterior_predictive(split: Split, steps: int, samples: int) -> float:
    """Mean log-likelihood of the test rows under a fit of specs/bnn.vispec to the training rows."""
    source = Source.read(SPEC)
    batch = read_settings(check_model(parse(source), {"D": split.train["y"].shape[1]}), {}).batch or 1
    settings = {"epochs": math.ceil(steps / math.ceil(len(split.train["x"]) / batch))}
    with tempfile.TemporaryDirectory() as name:
        paths = {part: Path(name, f"{part}.npz") for part in ("train", "test")}
        for part, rows in parts(split):
            np.savez(paths[part], **rows)  # pyright: ignore[reportArgumentType]
        request = Request(source, (str(paths["train"]),), settings=settings, out=Path(name, "run"))
        run, job = prepare(request, Group(), Quiet())
        fit(job)
        test = load(run.model, [str(paths["test"])], encoders=run.encoders, sizes=run.config.sizes)
        score = evaluate(run.load(CPU), test, test.num_rows, CPU, estimator=Estimator("iwae", samples))
    return score.per_row - math.log(split.scale)


def parts(split: Split) -> tuple[tuple[str, Mapping[str, Array]], ...]:
    return ("train", split.train), ("test", split.test)


def measure(split: Split, steps: int, samples: int) -> Found:
    start = time.monotonic()
    net = posterior_predictive(split, steps, samples)
    return Found(net, least_squares(split), time.monotonic() - start)


def told(values: list[float]) -> str:
    """The mean, and its standard error where there are several."""
    error = f" +- {statistics.stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--splits", nargs="+", type=int, help="their numbers from 0 (default: all)")
    parser.add_argument("--samples", type=int, default=1000, help="draws of the weights for a prediction")
    parser.add_argument("--steps", type=int, default=2000, help="of a fit, at least")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'set':18} {'splits':>6} {'bayesian net':>18} {'least squares':>18} {'seconds':>8}")
    for name in chosen.sets:
        found = []
        for number, split in splits(chosen.folder / name, chosen.splits):
            found.append(measure(split, chosen.steps, chosen.samples))
            print(f"{name} split {number}: {found[-1].net:.3f}, {found[-1].least_squares:.3f}", file=sys.stderr)
        net, plain = told([each.net for each in found]), told([each.least_squares for each in found])
        print(f"{name:18} {len(found):6} {net:>18} {plain:>18} {sum(each.seconds for each in found):8.0f}", flush=True)


if __name__ == "__main__":
    main()
