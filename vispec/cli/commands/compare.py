"""vispec compare: runs side by side, on the same rows."""

from pathlib import Path

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
from vispec.diagnostics import dump
from vispec.lazy import ahead
from vispec.train.reading import Reading


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
        ahead("vispec.answers.compared.compare")
        from vispec.answers.compared.compare import compare as compared

        opened = [open_run(folder, device, threads) for folder in folders]
        data = [load_data(run, files, reading) for run, _ in opened] if files else None
        found = compared([run for run, _ in opened], data, opened[0][1], say, draws, seed or 0)
    click.echo(dump(found.as_json()) if as_json else repr(found))


ENTRY = Command("compare", compare)
