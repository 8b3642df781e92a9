"""vispec sample: new data from a fitted model."""

from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import failures, say
from vispec.cli.options import (
    device_option,
    jsonl_option,
    open_run,
    pairs,
    params_option,
    reading_options,
    run_argument,
    seed_option,
    show_rows,
    threads_option,
)
from vispec.lazy import ahead
from vispec.train.reading import Reading


@click.command("sample")
@run_argument
@click.argument("data", nargs=-1)
@click.option("-n", "count", type=click.IntRange(1), default=10, show_default=True, help="How many rows to draw.")
@click.option(
    "--length", "sizes", multiple=True, metavar="PLATE=N", help="The size of a ragged plate (default: as in training)."
)
@reading_options
@params_option
@seed_option
@threads_option
@device_option
@jsonl_option
def sample(
    run: Path,
    data: tuple[str, ...],
    count: int,
    sizes: tuple[str, ...],
    reading: Reading,
    params: Path | None,
    seed: int | None,
    threads: int | None,
    device: str | None,
    jsonl: bool,
) -> None:
    """Draw rows of every variable, latent ones included. DATA holds the `given` variables, if there are any; its rows repeat.

    Sequences over a vocabulary with an end are drawn up to it. The size of a plate that neither DATA nor an end symbol decides
    is drawn as in the training data, unless --length says it.
    """
    with failures():
        ahead("vispec.answers.sample")
        from vispec.answers import sample as asked
        from vispec.answers.how import How
        from vispec.answers.show import Aligned

        opened, place = open_run(run, device, threads, data, reading, params)
        rows = asked.sample(opened, data, reading, How(place, seed=seed or 0), say, count, read_lengths(sizes))
        show_rows(((row, Aligned(opened.model, row)) for row in rows), jsonl)


def read_lengths(texts: tuple[str, ...]) -> dict[str, int]:
    """`--length i=10` as {"i": 10}; a usage error for anything but a whole number."""
    found: dict[str, int] = {}
    for name, text in pairs(texts, "--length").items():
        if not text.isdecimal() or int(text) < 1:
            raise click.UsageError(f"--length {name}={text}: a length is a whole number of at least 1")
        found[name] = int(text)
    return found


ENTRY = Command("sample", sample)
