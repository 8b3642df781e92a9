"""vispec compare: runs side by side, on the same rows."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vispec.catalog import Command
from vispec.cli.failures import failures, say
from vispec.cli.options import (
    device_option,
    json_option,
    load_data,
    open_run,
    reading_options,
    seed_option,
    threads_option,
    trust_option,
)
from vispec.diagnostics import dump, plain
from vispec.train.reading import Reading

if TYPE_CHECKING:
    from vispec.answers.compare import Compared, Comparison

KINDS = {
    "exact": "",
    "lower": "a lower bound",
    "estimate": "an estimate",
    "expected": "expected, given what rows share",
    "predictive": "posterior predictive of each row",
}


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN... [DATA]...")
@trust_option
@reading_options
@click.option("--draws", type=click.IntRange(25), default=1000, show_default=True, help="Of parameters, for elpd.")
@seed_option
@threads_option
@device_option
@json_option
def compare(
    runs: tuple[str, ...],
    reading: Reading,
    draws: int,
    seed: int | None,
    threads: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Log-probability, free parameters, AIC, BIC and expected log predictive density (elpd) of each RUN, the best first.

    They are compared on the rows that they were fitted to, which must be the same: elpd is by leaving each row out (PSIS-LOO)
    over draws of what the fit leaves uncertain. With DATA that are new to the runs, elpd is that of these rows under the draws.
    A folder is a RUN, a file is DATA.
    """
    folders = [Path(word) for word in runs if Path(word).is_dir()]
    files = tuple(word for word in runs if not Path(word).is_dir())
    if len(folders) < 2:
        missing = "".join(f"; {word} is no folder" for word in files if not Path(word).exists() and "=" not in word)
        raise click.UsageError(f"it compares two runs or more{missing}")
    with failures(as_json):
        from vispec.answers.compare import compare as compared

        opened = [open_run(folder, device, threads) for folder in folders]
        data = [load_data(run, files, reading) for run, _ in opened] if files else None
        found = compared([run for run, _ in opened], data, opened[0][1], say, draws, seed or 0)
    click.echo(dump(found.as_json()) if as_json else "\n".join(lines(found)))


def lines(found: "Comparison") -> list[str]:
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
    return [*table, *([""] if notes else []), *notes]


def short(folders: list[str]) -> list[str]:
    """The names of folders, or where two have the same, their paths."""
    names = [Path(folder).name for folder in folders]
    return names if len(set(names)) == len(set(folders)) else folders


def cells(told: "Compared") -> tuple[str, ...]:
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


ENTRY = Command("compare", compare)
