"""vispec predict: missing cells of partial variables from what is seen, or else observed variables from the given ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vispec.catalog import Command
from vispec.cli.elements import by_element
from vispec.cli.failures import failures
from vispec.cli.options import (
    batch_option,
    data_argument,
    device_option,
    jsonl_option,
    load_data,
    load_given,
    open_run,
    reading_options,
    run_argument,
    seed_option,
    threads_option,
)
from vispec.cli.show import Aligned, describe
from vispec.diagnostics import dump
from vispec.model.types import FINITE_DOMAINS
from vispec.train.reading import Reading

if TYPE_CHECKING:
    import torch

    from vispec.train.data import Dataset
    from vispec.train.store.run import Run

RULES = ("mean", "mode", "sample", "greedy", "beam")


@click.command("predict")
@run_argument
@data_argument
@reading_options
@click.option("--rule", type=click.Choice(RULES), help="The decision rule (default: mode for discrete data, else mean).")
@click.option("--samples", type=click.IntRange(min=1), default=100, help="Draws of the latents to average over (default 100).")
@batch_option
@seed_option
@threads_option
@device_option
@jsonl_option
def predict(
    run: Path,
    data: tuple[str, ...],
    reading: Reading,
    rule: str | None,
    samples: int,
    batch: int | None,
    seed: int | None,
    threads: int | None,
    device: str | None,
    jsonl: bool,
) -> None:
    """Predict each observed variable for every row of DATA, in their order, by a decision rule that is no part of the model.

    Where the model has partial variables, these are predicted, from all that the row shows; otherwise what is observed, from
    what is given, averaged over draws of the latents.

    mean: expectations, and probabilities of categories. mode: the most probable value. sample: a draw. greedy: the mode of
    each element after those before it.
    """
    with failures():
        opened, place = open_run(run, device, threads)
        dataset = load_data(opened, data, reading) if fills(opened) else load_given(opened, data, reading)
        told = predictions(opened, dataset, rule or default_rule(opened), samples, batch, place, seed or 0)
        number = 0
        for row, aligned in by_element(opened.model, dataset.tables, told, dataset.keys):
            number += "(shared)" not in row
            click.echo(dump(row) if jsonl else describe(number, row, aligned))


def default_rule(run: "Run") -> str:
    """mode where all that is predicted is discrete, else mean."""
    roles = ("partial",) if fills(run) else ("observed", "partial")
    observed = [variable for variable in run.model.variables if variable.role in roles]
    return "mode" if all(variable.type.discrete for variable in observed) else "mean"


def fills(run: "Run") -> bool:
    """Whether missing cells are what is predicted, from the cells that are seen."""
    return any(variable.role == "partial" and variable.type.domain in FINITE_DOMAINS for variable in run.model.variables)


def predictions(
    run: "Run", data: "Dataset", rule: str, samples: int, size: int | None, place: "torch.device", seed: int
) -> "Iterator[tuple[dict[str, Any], Aligned]]":
    """Each row's predictions, and the data that they stand beside."""
    from vispec.train.errors import RunError
    from vispec.train.scores.rows import Rows
    from vispec.train.store.module import evaluating, to_device

    if rule == "beam":
        raise RunError(
            "beam search is not available for this model; --rule greedy takes the most probable element at each step"
        )
    module = run.load(place)
    if not hasattr(module, "predict"):
        raise RunError("this model has nothing to predict")
    with evaluating(module, seed, place):
        for indices in data.order(size or run.config.settings.batch or 1):
            batch = to_device(data.batch(indices), place)
            try:
                found = module.predict(batch, rule="mode" if rule == "greedy" else rule, samples=samples)  # pyright: ignore[reportCallIssue]
            except (ValueError, NotImplementedError) as error:
                raise RunError(str(error)) from error
            except KeyError as error:
                missing = str(error.args[0])
                if missing in batch or not missing.endswith("_len"):
                    raise
                name = missing.removesuffix("_len")
                raise RunError(f"the data do not say how long each row is; give a column `{name}`") from error
            rows = Rows(run.model, run.encoders, {**batch, **found})
            told = rows.predicted(found, rule)
            given = {k: v for k, v in batch.items() if k in run.model.variable and run.model.variable[k].role == "given"}
            beside = Rows(run.model, run.encoders, batch).values(given) if given else [{} for _ in told]
            yield from ((row, Aligned(run.model, values)) for row, values in zip(told, beside, strict=True))


ENTRY = Command("predict", predict)
