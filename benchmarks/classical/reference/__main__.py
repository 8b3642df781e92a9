"""Computes truth.json of each model: `python -m benchmarks.classical.reference [name ...]`. Some take a minute.

With `--others DIRECTORY`, site-packages with scipy, statsmodels, scikit-learn, hmmlearn and lifelines, it also compares with
these where they have the model, and writes down what they say."""

import argparse
import json
import sys
import time
from math import isnan
from typing import Any

import torch

from benchmarks.classical.reference import curves, mixtures, regressions, series
from benchmarks.classical.reference.corners import CORNERS
from benchmarks.classical.reference.forms import forms
from benchmarks.classical.reference.maximise import at_bound, errors, maximise
from benchmarks.classical.reference.model import MODELS, REFERENCES, Values, constrain, read
from benchmarks.classical.reference.sources import NOTES, SOURCES

FAMILIES = (regressions, curves, mixtures, series)  # imported for what they register


def nested(values: Values, digits: int) -> dict[str, Any]:
    """Lists of numbers with so many significant digits; nan is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(each) for each in value]
        return None if isnan(value) else float(f"{value:.{digits}g}")

    return {name: plain(value.tolist()) for name, value in values.items()}


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("names", nargs="*")
    ask.add_argument("--others", help="site-packages with the other software")
    options = ask.parse_args()
    torch.set_num_threads(1)
    if options.others:
        sys.path.append(options.others)
    for name in options.names or [*REFERENCES, *CORNERS]:
        began = time.perf_counter()
        truth = CORNERS[name]() if name in CORNERS else compute(name)
        if options.others:
            truth["checked"] = checked(name, truth)
        head = {"source": SOURCES[name]} | ({"note": NOTES[name]} if name in NOTES else {})
        (MODELS / name / "truth.json").write_text(json.dumps(head | truth | forms(name), indent=1) + "\n")
        took = time.perf_counter() - began
        print(
            f"{name:24s} {truth['log_lik']:15.6f} {took:6.1f} s", truth.get("maxima", ""), truth.get("checked", ""), flush=True
        )


def compute(name: str) -> dict[str, Any]:
    model, data = REFERENCES[name], read(name)
    best, maxima = maximise(model, data)
    values = constrain(model.domains, best.free)
    se, rank = errors(model, data, best.free)
    return {
        "args": model.args,
        "log_lik": round(best.value, 9),
        "free_parameters": rank,
        "gap": best.gap,
        "regular": not any(bool(x.isnan().any()) for x in se.values()),
        "params": nested(values, 15),
        "se": nested(se, 8),
        "at_bound": [key for key, bound in at_bound(model, values).items() if bool(bound.any())],
        "maxima": maxima,
    }


def checked(name: str, truth: dict[str, Any]) -> dict[str, float]:
    """The maximum by other software."""
    from benchmarks.classical.reference.others import OTHERS

    values = {key: torch.tensor(value, dtype=torch.float64) for key, value in truth.get("params", {}).items()}
    found = OTHERS[name](read(name), values) if name in OTHERS else {}
    return {who: round(float(value), 9) for who, value in found.items()}


if __name__ == "__main__":
    main()
