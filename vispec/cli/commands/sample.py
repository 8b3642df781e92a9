"""vispec sample: new data from a fitted model."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vispec.catalog import Command
from vispec.cli.failures import failures
from vispec.cli.options import (
    device_option,
    jsonl_option,
    load_given,
    open_run,
    pairs,
    params_option,
    reading_options,
    run_argument,
    say_flat,
    seed_option,
    threads_option,
)
from vispec.cli.show import Aligned, describe
from vispec.diagnostics import dump
from vispec.train.reading import Reading

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vispec.train.data import Dataset
    from vispec.train.store.run import Run

CHUNK = 1000  # rows drawn at once


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

    The size of a plate that neither DATA nor an end symbol decides is drawn as in the training data, unless --length says it.
    """
    with failures():
        opened, place = open_run(run, device, threads, data, reading, params)
        say_flat(opened)
        lengths = read_lengths(opened, sizes)
        needed = [variable.name for variable in opened.model.variables if variable.role == "given"]
        if needed and not data:
            raise click.UsageError(f"the model is given `{'`, `'.join(needed)}`; name the DATA that has it")
        given = load_given(opened, data, reading) if needed else None
        for number, row in enumerate(draws(opened, given, count, lengths, place, seed or 0), 1):
            click.echo(dump(row) if jsonl else describe(number, row, Aligned(opened.model, row)))


def read_lengths(run: "Run", texts: tuple[str, ...]) -> dict[str, int]:
    """`--length i=10` as {"i": 10}; a usage error for anything but a ragged plate and a whole number."""
    ragged = [plate.name for plate in run.model.plates if plate.ragged]
    found: dict[str, int] = {}
    for name, text in pairs(texts, "--length").items():
        if name not in ragged:
            known = ", ".join(ragged) or "no plate of that kind"
            raise click.UsageError(f"--length {name}={text}: the model has {known}")
        if not text.isdecimal() or int(text) < 1:
            raise click.UsageError(f"--length {name}={text}: a length is a whole number of at least 1")
        found[name] = int(text)
    return found


def draws(
    run: "Run", data: "Dataset | None", count: int, lengths: dict[str, int], place: "torch.device", seed: int
) -> "Iterator[dict[str, Any]]":
    """`count` rows, all variables decoded, sequences cut at their ends."""
    import numpy as np
    import torch

    from vispec.train.scores.ends import cut, ending
    from vispec.train.scores.rows import Rows
    from vispec.train.store.module import evaluating, to_device

    module, ends = run.load(place), ending(run.model, run.encoders)
    for start in range(0, count, CHUNK):
        n = min(CHUNK, count - start)
        with evaluating(module, seed + start, place):
            rows = np.arange(start, start + n)
            batch = None if data is None else given_only(run, to_device(data.batch(rows % data.num_rows), place))
            sizes = to_device(plate_sizes(run, n, lengths, batch or {}, torch.Generator().manual_seed(seed + start)), place)
            found = module.sample(n, batch, sizes)  # pyright: ignore[reportCallIssue]
            ended = {plate: v for plate, v in ends.items() if plate in sizes and plate not in lengths}
            found |= cut(run.model, run.encoders, found, ended)
        yield from Rows(run.model, run.encoders, {**(batch or {}), **found}).values(found, cut=True)


def given_only(run: "Run", batch: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """The given variables of a batch and the lengths of the plates that they stand in."""
    given = [variable for variable in run.model.variables if variable.role == "given"]
    keys = {run.model.plate[plate].length_key for variable in given for plate in variable.plates}
    return {name: value for name, value in batch.items() if name in keys or name in {variable.name for variable in given}}


def plate_sizes(
    run: "Run", n: int, fixed: dict[str, int], batch: "dict[str, Tensor]", generator: "torch.Generator"
) -> "dict[str, Tensor]":
    """Sizes of the ragged plates that the batch does not size, (n, *sizes of the plates around): fixed, or as in training."""
    import torch

    from vispec.train.scores.ends import ending, longest

    found: dict[str, Tensor] = {}
    ends = ending(run.model, run.encoders)
    for plate in run.model.plates:
        if not plate.ragged or plate.length_key in batch:
            continue
        around = [run.model.plate[name] for name in plate.inside if not run.model.plate[name].data]
        shape = [n, *(_width(run, outer.name, {**batch, **found}) for outer in around)]
        seen = {fixed[plate.name]: 1} if plate.name in fixed else run.config.lengths.get(plate.name) or {1: 1}
        if plate.name in ends and plate.name not in fixed:
            seen = {longest(seen): 1}
        counts = torch.tensor(list(seen.values()), dtype=torch.float64)
        drawn = torch.multinomial(counts, int(torch.tensor(shape).prod()), replacement=True, generator=generator)
        found[plate.name] = torch.tensor(list(seen))[drawn].view(shape)
    return found


def _width(run: "Run", name: str, sizes: "dict[str, Tensor]") -> int:
    """The padded size of a plate: known, or the largest of its lengths."""
    plate = run.model.plate[name]
    if isinstance(plate.size, int):
        return plate.size
    if isinstance(plate.size, str):
        return run.config.sizes[plate.size]
    return int(sizes[name if name in sizes else plate.length_key].max())


ENTRY = Command("sample", sample)
