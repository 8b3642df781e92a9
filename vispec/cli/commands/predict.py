"""vispec predict: missing cells of partial variables from what is seen, or else observed variables from the given ones."""

import re
from collections.abc import Iterator
from dataclasses import replace
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

    from vispec.train.data import Dataset
    from vispec.train.store.run import Run

RULES = "mean, mode, joint, median, quantiles(.05, .95), probs, sample, sample(5), greedy"


class Rule(click.ParamType):
    """A rule by its name, some with numbers."""

    name = "rule"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        number = r"\s*\d*\.?\d+\s*"
        known = rf"mean|mode|joint|median|probs|greedy|sample(\([1-9]\d*\))?|quantiles\({number}(,{number})*\)"
        if re.fullmatch(known, value) is None:
            self.fail(f"{value!r} is no decision rule; there are {RULES}", param, ctx)
        return value


@click.command("predict")
@run_argument
@data_argument
@reading_options
@params_option
@click.option("--rule", type=Rule(), help=f"The decision rule (default: mode for discrete data, else mean): {RULES}.")
@click.option("--target", "targets", multiple=True, help="An observed variable to predict from all else; again for more.")
@click.option("--samples", type=click.IntRange(min=1), help="Draws of what is not summed (default 1000).")
@batch_option
@seed_option
@threads_option
@device_option
@jsonl_option
def predict(
    run: Path,
    data: tuple[str, ...],
    reading: Reading,
    params: Path | None,
    rule: str | None,
    targets: tuple[str, ...],
    samples: int | None,
    batch: int | None,
    seed: int | None,
    threads: int | None,
    device: str | None,
    jsonl: bool,
) -> None:
    """Predict for every row of DATA, in their order, by a decision rule that is no part of the model.

    What is predicted are the missing cells of partial variables, from all that the row shows; in a model without such
    variables what is observed, from what is given; and what --target names, from all that the row shows but it.

    mean: expectations, and the probabilities of labels. mode: the likeliest value of each cell. joint: the labels that are
    likeliest together. median, quantiles(.05, .95): of numbers. probs: of labels, and of counts from 0 on. sample, sample(5):
    draws of all together. greedy: the likeliest of each element after those before it.
    """
    with failures():
        opened, place = open_run(run, device, threads, data, reading, params)
        opened = asked(opened, targets, rule)
        if not fills(opened):
            say_flat(opened)
        dataset = read(opened, data, reading)
        told = predictions(opened, dataset, rule or default_rule(opened), samples, batch, place, seed or 0)
        number = 0
        for row, aligned in by_element(opened.model, dataset.tables, told, dataset.keys):
            number += "(shared)" not in row
            click.echo(dump(row) if jsonl else describe(number, row, aligned))


def asked(run: "Run", targets: tuple[str, ...], rule: str | None) -> "Run":
    """The run with what is to be predicted hidden, where that is not what is missing."""
    from vispec.model.problems import did_you_mean, listed
    from vispec.train.errors import RunError
    from vispec.train.store.changed import Hidden, predictable

    known = [v.name for v in run.model.variables if v.role in ("observed", "partial")]
    for name in targets:
        if name not in known:
            help_ = did_you_mean(name, known, f"there are: {listed(known)}")
            raise RunError(f"--target names `{name}`, which is no observed or partial variable; {help_}")
    if targets:
        return Hidden(run.folder, run.config, run.trust, targets=frozenset(targets))
    return run if fills(run) or rule == "greedy" else predictable(run)


def read(run: "Run", data: tuple[str, ...], reading: Reading) -> "Dataset":
    """The data; what is hidden may be there, to say how long rows are, or not."""
    from vispec.train.data import DataError
    from vispec.train.store.changed import Hidden

    if not isinstance(run, Hidden):
        return load_data(run, data, reading) if fills(run) else load_given(run, data, reading)
    try:
        return load_data(run, data, reading)
    except DataError:
        if run.measures:  # nothing else would say how long rows are
            raise
        return load_data(run, data, replace(reading, absent=(*reading.absent, *sorted(run.targets))))


def default_rule(run: "Run") -> str:
    """mode where all that is predicted is discrete, else mean."""
    roles = ("partial",) if fills(run) else ("observed", "partial")
    observed = [variable for variable in run.model.variables if variable.role in roles]
    return "mode" if all(variable.type.discrete for variable in observed) else "mean"


def fills(run: "Run") -> bool:
    """Whether missing cells are what is predicted, from the cells that are seen."""
    return any(variable.role == "partial" for variable in run.model.variables)


def predictions(
    run: "Run", data: "Dataset", rule: str, samples: int | None, size: int | None, place: "torch.device", seed: int
) -> "Iterator[tuple[dict[str, Any], Aligned]]":
    """Each row's predictions, and the data that they stand beside."""
    from vispec.train.errors import RunError
    from vispec.train.scores.rows import Rows
    from vispec.train.store.changed import Hidden
    from vispec.train.store.module import evaluating, to_device

    module = run.load(place)
    if not hasattr(module, "predict"):
        raise RunError("this model has nothing to predict")
    many = {} if samples is None else {"samples": samples}
    with evaluating(module, seed, place):
        for indices in data.order(size or run.config.settings.batch or 1):
            batch = to_device(data.batch(indices), place)
            batch = run.hide(batch) if isinstance(run, Hidden) else batch
            try:
                found = module.predict(batch, rule="mode" if rule == "greedy" else rule, **many)  # pyright: ignore[reportCallIssue]
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
            beside = Rows(run.model, run.encoders, batch).values(given) or [{} for _ in told]
            yield from ((row, Aligned(run.model, values)) for row, values in zip(told, beside, strict=True))


ENTRY = Command("predict", predict)
