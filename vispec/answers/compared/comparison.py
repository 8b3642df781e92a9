"""Runs side by side, as values and as a table for a reader."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from vispec.diagnostics import plain

WIDE = 100  # columns of a screen
KINDS = {
    "exact": "",
    "lower": "a lower bound",
    "estimate": "an estimate",
    "expected": "expected, given what rows share",
    "predictive": "posterior predictive of each row",
}


@dataclass(frozen=True)
class Compared:
    """One run. log_prob: of the rows, in nats, or the bound on it that `bound` names (as in `eval`). free_parameters, aic,
    bic: as in Estimates, null of rows that were not fitted. elpd: by PSIS-LOO over draws, or of new rows under them; null where
    there are no draws, and then `note` says why. elpd_se: its standard error. elpd_diff: less that of the best run, and its
    standard error. p_loo: effective parameters. bad_k: the rows, from 0, whose Pareto k is above `k_max`, so that elpd cannot
    be trusted."""

    run: str
    rows: int | float
    log_prob: float | None
    bound: str
    free_parameters: int | None = None
    aic: float | None = None
    bic: float | None = None
    elpd: float | None = None
    elpd_se: float | None = None
    elpd_diff: float | None = None
    elpd_diff_se: float | None = None
    p_loo: float | None = None
    bad_k: tuple[int, ...] = ()
    k_max: float | None = None
    note: str | None = None


@dataclass(frozen=True, repr=False)
class Comparison:
    """The best run first: by elpd, else by AIC, else by log-probability. fitted: whether the rows are those of the fits."""

    fitted: bool
    draws: int
    runs: tuple[Compared, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __repr__(self) -> str:
        return "\n".join(lines(self))


def lines(found: Comparison) -> list[str]:
    """A table for a reader, and below it what is to be said of single runs."""
    heads = ("", "log-prob.", "free", "AIC", "BIC", "elpd", "s.e.", "difference", "s.e.")
    names = [plain(name) for name in short([told.run for told in found.runs])]
    rows = [heads, *((name, *cells(told)) for name, told in zip(names, found.runs, strict=True))]
    used = [i for i in range(len(heads)) if not i or any(row[i] for row in rows[1:])]
    wide = [max(len(row[i]) for row in rows) for i in used]
    table = [
        "  ".join(row[i].rjust(w) if i else row[i].ljust(w) for i, w in zip(used, wide, strict=True)).rstrip() for row in rows
    ]
    notes: list[str] = []
    if any(told.elpd is not None for told in found.runs):
        how = "leaving each row out (PSIS-LOO)" if found.fitted else "of DATA, no row left out,"
        notes.append(f"elpd: {how} over {found.draws} draws")
    for name, told in zip(names, found.runs, strict=True):
        kind = KINDS[told.bound] and f"the log-probability is {KINDS[told.bound]}"
        notes += [f"{name}: {plain(text)}" for text in (kind, told.note) if text]
    return [*table, *([""] if notes else []), *(line for note in notes for line in wrap(note, WIDE, subsequent_indent="  "))]


def short(folders: list[str]) -> list[str]:
    """The names of folders, or where two have the same, their paths."""
    names = [Path(folder).name for folder in folders]
    return names if len(set(names)) == len(set(folders)) else folders


def cells(told: Compared) -> tuple[str, ...]:
    """The numbers of one run's line."""
    numbers = (
        told.log_prob,
        told.free_parameters,
        told.aic,
        told.bic,
        told.elpd,
        told.elpd_se,
        told.elpd_diff,
        told.elpd_diff_se,
    )
    return tuple("" if number is None else shown(number) for number in numbers)


def shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.2f}" if math.isfinite(number) else f"{number:g}"
