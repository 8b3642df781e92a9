"""The same data in other units: columns times 1000 or 0.001, by turns, and what that adds to the log-likelihood.

A density of a number in a unit a thousand times smaller is a thousand times smaller; inputs and counts change nothing.
"""

import csv
import json
from decimal import Decimal
from math import log
from pathlib import Path
from typing import Any

from benchmarks.classical.cases import Case

FACTORS = (Decimal(1000), Decimal("0.001"))


def rescaled(case: Case, turn: int, folder: Path) -> tuple[Path, float]:
    """A file in `folder` with the i-th group of columns times the factor number (i + turn) mod 2, and the maximum there."""
    factors, maximum = {}, float(case.truth["log_lik"])
    for place, group in enumerate(case.units):
        factor = FACTORS[(place + turn) % 2]
        factors |= dict.fromkeys(group["columns"], factor)
        maximum -= group["densities"] * log(factor)
    out = folder / case.data.name
    (_rescale_csv if case.data.suffix == ".csv" else _rescale_json)(case.data, out, factors)
    return out, maximum


def _rescale_csv(data: Path, out: Path, factors: dict[str, Decimal]) -> None:
    with data.open(newline="") as source, out.open("w", newline="") as target:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(target, rows.fieldnames or ())
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _times(cell, factors[name]) if name in factors else cell for name, cell in row.items()})


def _rescale_json(data: Path, out: Path, factors: dict[str, Decimal]) -> None:
    def times(value: Any, factor: Decimal) -> Any:
        return [times(each, factor) for each in value] if isinstance(value, list) else float(_times(str(value), factor))

    rows = [json.loads(line) for line in data.read_text().splitlines()]
    scaled = [{key: times(value, factors[key]) if key in factors else value for key, value in row.items()} for row in rows]
    out.write_text("".join(json.dumps(row) + "\n" for row in scaled))


def _times(cell: str, factor: Decimal) -> str:
    return str(Decimal(cell) * factor)
