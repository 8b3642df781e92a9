"""vispec check-fit: data beside what a fitted model would have given in their place."""

import os
from pathlib import Path

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
from vispec.lazy import ahead
from vispec.train.reading import Reading


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
        ahead("vispec.answers.replicated.check_fit")
        from vispec.answers.how import How
        from vispec.answers.replicated.check_fit import check_fit as checked
        from vispec.answers.replicated.fit_page import FILE, write_page

        opened, place = open_run(run, device, threads, data, reading, params)
        found = checked(opened, load_data(opened, data, reading), How(place, batch, seed or 0), say, replicates)
        if run.is_dir() and os.access(run, os.W_OK):
            write_page(opened, found)
    click.echo(dump(found.as_json()) if as_json else repr(found))
    if not as_json and run.is_dir() and os.access(run, os.W_OK):
        click.echo(f"\npictures: {plain(str(run / FILE))}")


ENTRY = Command("check-fit", check_fit)
