"""vispec check-fit: data beside what a fitted model would have given in their place."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vispec.catalog import Command
from vispec.cli.failures import failures, say
from vispec.cli.options import (
    batch_option,
    data_argument,
    device_option,
    json_option,
    load_data,
    open_run,
    params_option,
    reading_options,
    run_argument,
    seed_option,
    threads_option,
)
from vispec.diagnostics import dump, plain
from vispec.train.reading import Reading

if TYPE_CHECKING:
    from vispec.answers.check_fit import Checked, CheckedFit


@click.command("check-fit")
@run_argument
@data_argument
@reading_options
@params_option
@click.option("--replicates", type=click.IntRange(20), default=200, show_default=True, help="Data sets that are drawn.")
@batch_option
@seed_option
@threads_option
@device_option
@json_option
def check_fit(
    run: Path,
    data: tuple[str, ...],
    reading: Reading,
    params: Path | None,
    replicates: int,
    batch: int | None,
    seed: int | None,
    threads: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Whether DATA look like what RUN would give in their place, given what is given.

    Of each scored variable: mean, deviation, ends and share of zeros, or the shares of labels, beside those of data sets that
    are drawn; and calibration, by the rank of each number among its replicates. Pictures are in check-fit.html of RUN.
    """
    with failures(as_json):
        from vispec.answers.check_fit import check_fit as checked
        from vispec.answers.fit_page import FILE, write_page
        from vispec.answers.how import How

        opened, place = open_run(run, device, threads, data, reading, params)
        found = checked(opened, load_data(opened, data, reading), How(place, batch, seed or 0), say, replicates)
        if run.is_dir() and os.access(run, os.W_OK):
            write_page(opened, found)
    click.echo(dump(found.as_json()) if as_json else "\n".join(lines(found)))
    if not as_json and run.is_dir() and os.access(run, os.W_OK):
        click.echo(f"\npictures: {plain(str(run / FILE))}")


def lines(found: "CheckedFit") -> list[str]:
    """A table for each variable; a star marks what is outside of what the model gives."""
    odd = any(told.odd for variable in found.variables for told in variable.statistics)
    parts = [line for variable in found.variables for line in (*table(variable), "")]
    notes = [f"model: mean of {found.replicates} data sets drawn from the fitted model, and the middle 90 % of them"]
    return [*parts, *notes, *(["*: the data are outside"] if odd else [])]


def table(variable: "Checked") -> list[str]:
    heads = (plain(variable.name), "data", "model", "5 %", "95 %", "")
    rows = [
        (plain(told.name), *(f"{number:.4g}" for number in (told.data, told.mean, told.low, told.high)), "*" * told.odd)
        for told in variable.statistics
    ]
    wide = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    told = [
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, wide, strict=True)))
        for row in (heads, *rows)
    ]
    if variable.calibration is not None:
        calibration = variable.calibration
        shares = " ".join(f"{100 * share:.0f}" for share in calibration.shares)
        verdict = "more than chance" if calibration.odd else "as by chance"
        told.append(
            f"calibration: {shares} % of {variable.cells} cells in each tenth; distance {calibration.distance:.3f}, {verdict}"
        )
    return [line.rstrip() for line in told]


ENTRY = Command("check-fit", check_fit)
