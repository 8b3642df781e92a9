"""The same data in other units: columns times 1000 or 0.001, by turns, or from another zero, and what that adds to the
log-likelihood.

A density of a number in a unit a thousand times smaller is a thousand times smaller; inputs and counts change nothing, nor does
another zero, where a model has a constant for it.
"""

import csv
import json
from decimal import Decimal
from math import log
from pathlib import Path
from typing import Any

from benchmarks.classical.cases import Case

FACTORS = (Decimal(1000), Decimal("0.001"))


SHIFTED = 2  # the turn in which columns have another zero


def turns(case: Case) -> tuple[int, ...]:
    """The changes of units that a model is the same under."""
    return ((0, 1) if case.units else ()) + ((SHIFTED,) if any("shift" in group for group in case.units) else ())


def rescaled(case: Case, turn: int, folder: Path) -> tuple[Path, float]:
    """A file in `folder`, and the maximum there: with the i-th group of columns times the factor number (i + turn) mod 2, or in
    the turn SHIFTED with `shift` more in each group that has one."""
    factors, more, maximum = {}, {}, float(case.truth["log_lik"])
    for place, group in enumerate(case.units):
        factor = Decimal(1) if turn == SHIFTED else FACTORS[(place + turn) % 2]
        shift = Decimal(group.get("shift", 0)) if turn == SHIFTED else Decimal(0)
        factors |= dict.fromkeys(group["columns"], factor)
        more |= dict.fromkeys(group["columns"], shift)
        maximum -= group["densities"] * log(factor)
    out = folder / case.data.name
    (_rescale_csv if case.data.suffix == ".csv" else _rescale_json)(case.data, out, factors, more)
    return out, maximum


def _rescale_csv(data: Path, out: Path, factors: dict[str, Decimal], more: dict[str, Decimal]) -> None:
    with data.open(newline="") as source, out.open("w", newline="") as target:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(target, rows.fieldnames or ())
        writer.writeheader()
        for row in rows:
            there = {name: _times(cell, factors[name], more[name]) if name in factors else cell for name, cell in row.items()}
            writer.writerow(there)


def _rescale_json(data: Path, out: Path, factors: dict[str, Decimal], more: dict[str, Decimal]) -> None:
    def times(value: Any, name: str) -> Any:
        return [times(each, name) for each in value] if isinstance(value, list) else there(value, name)

    def there(value: Any, name: str) -> float:
        return float(_times(str(value), factors[name], more[name]))

    rows = [json.loads(line) for line in data.read_text().splitlines()]
    scaled = [{key: times(value, key) if key in factors else value for key, value in row.items()} for row in rows]
    out.write_text("".join(json.dumps(row) + "\n" for row in scaled))


def _times(cell: str, factor: Decimal, more: Decimal) -> str:
    return str(Decimal(cell) * factor + more)
