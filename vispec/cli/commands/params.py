"""vispec params: the estimates of a run, with standard errors."""

import sys
from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import failures, say
from vispec.cli.options import json_option, open_run, run_argument, threads_option
from vispec.diagnostics import dump, plain
from vispec.lazy import ahead


@click.command("params")
@run_argument
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the intervals.",
)
@click.option("--order", metavar="NAME", help="Number the classes that only latents tell apart by this parameter, ascending.")
@click.option("--all", "whole", is_flag=True, help="Every number of long parameters too.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values, a line for each number.")
@threads_option
@json_option
def params(run: Path, level: float, order: str | None, whole: bool, as_csv: bool, threads: int | None, as_json: bool) -> None:
    """The estimates of RUN: every parameter and every node that parameters decide, with standard errors and intervals.

    Standard errors are those of the observed information, where the objective was the log-probability itself; a number without
    one has a note that says why. Of latents with a guide, mean and deviation.
    """
    with failures(as_json):
        ahead("vispec.train.estimates.stored")
        from vispec.train.estimates import show
        from vispec.train.estimates.order import order_by
        from vispec.train.estimates.stored import find_estimates
        from vispec.train.estimates.uncertainty.intervals import at_level

        opened, _ = open_run(run, None, threads)
        found = at_level(find_estimates(opened, say, whole), level)
        if order is not None:
            found = order_by(found, opened.model, order)
        if as_json:
            click.echo(dump(found.model_dump(mode="json")))
        elif as_csv:
            table = show.as_csv(found)
            click.echo(plain(table, keep="\n\t") if sys.stdout.isatty() else table, nl=False)
        else:
            click.echo("\n".join(show.show(found, whole=whole)))


ENTRY = Command("params", params)
