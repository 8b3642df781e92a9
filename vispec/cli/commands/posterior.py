"""vispec posterior: what the data say about each latent variable, row by row."""

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vispec.catalog import Command
from vispec.cli.elements import by_element
from vispec.cli.failures import failures, say
from vispec.cli.options import (
    batch_option,
    data_argument,
    device_option,
    jsonl_option,
    load_data,
    memory_option,
    open_run,
    params_option,
    reading_options,
    run_argument,
    seed_option,
    threads_option,
)
from vispec.cli.show import Aligned, describe
from vispec.diagnostics import dump
from vispec.model.problems import listed
from vispec.model.types import FINITE_DOMAINS
from vispec.train.reading import Reading

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vispec.train.data import Dataset
    from vispec.train.scores.rows import Rows
    from vispec.train.store.run import Run

    Found = Mapping[str, torch.Tensor | Mapping[str, torch.Tensor]]  # by latent: an answer, or a guide's parameters

QUERIES = ("marginals", "mode", "kbest(5)", "sample", "entropy", "pairs", "kl(RUN)", "moments(10000)")


class Query(click.ParamType):
    """One of the queries; `kl` with a run folder, `kbest` and `moments` with any number from 1, `moments` also without one."""

    name = "query"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "|".join(QUERIES)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in (*QUERIES, "moments") or re.fullmatch(r"kbest\([1-9]\d{0,3}\)|kl\(.+\)|moments\([1-9]\d{0,7}\)", value):
            return value
        self.fail(f"there is no query {value!r}; there are {', '.join(QUERIES)}", param, ctx)


@click.command("posterior")
@run_argument
@data_argument
@reading_options
@params_option
@click.option(
    "--query",
    type=Query(),
    help="What to ask (default: marginals with --jsonl, else mode; moments where guides need draws).",
)
@click.option("--of", "of", metavar="NAME", help="A derived quantity to tell of instead: a `let` that no law reads.")
@click.option("--samples", type=click.IntRange(min=1), help="Draws for it where it is not exact (default 1000).")
@batch_option
@seed_option
@threads_option
@device_option
@memory_option
@jsonl_option
def posterior(
    run: Path,
    data: tuple[str, ...],
    reading: Reading,
    params: Path | None,
    query: str | None,
    of: str | None,
    samples: int | None,
    batch: int | None,
    seed: int | None,
    threads: int | None,
    device: str | None,
    memory: int | None,
    jsonl: bool,
) -> None:
    """The posterior of each latent (and each missing partial) variable, for every row of DATA, in their order.

    Discrete variables: probabilities of all values (marginals), the most probable values jointly (mode), the five best
    assignments (kbest(5)), a sample, or entropies in nats, of each value and of all together; of neighbours in a chain, the
    probabilities of all pairs of values (pairs); the divergence from the posterior of another RUN with the same variables,
    KL(p || q) in nats (kl(RUN)). Continuous variables: the parameters of their guide; or, where rows share latents or a
    guide is a flow, means and standard deviations over so many draws of the guides (moments(10000)), those of what all rows
    share first, under `(shared)`, and those of deterministic nodes too.

    With --of a `let` that no law reads: its posterior mean, or of a finite one the probabilities of its values; exact where
    latents are summed, over draws where they are drawn.
    """
    if of is not None and query is not None:
        raise click.UsageError("--of tells a mean: it takes no --query")
    with failures():
        opened, place = open_run(run, device, threads, data, reading, params)
        dataset = load_data(opened, data, reading)
        opened, module = summed(opened, opened.load(place, memory), place, memory)
        size = batch or opened.config.settings.batch or 1
        plain = "marginals" if jsonl else "mode"
        chosen = query or ("moments" if hasattr(module, "draws") and not hasattr(module, "tilted") else plain)
        other = None
        if chosen.startswith("kl("):
            from vispec.train.scores.comparison import load_other

            other = load_other(opened, module, Path(chosen[3:-1]), place, memory)
        if of is not None:
            told = quantity(opened, module, dataset, of, samples, size, place, seed or 0)
        else:
            told = answers(opened, module, dataset, chosen, size, place, seed or 0, other)
        found = by_element(opened.model, dataset.tables, told, dataset.keys)
        number = 0
        for row, aligned in found:
            number += "(shared)" not in row
            click.echo(dump(row) if jsonl else describe(number, row, aligned))


def summed(run: "Run", module: "nn.Module", place: "torch.device", memory: int | None) -> "tuple[Run, nn.Module]":
    """The run and its module; where latents were only sampled in the fit, those of the same model with sums in their place."""
    from vispec.diagnostics import SpecError
    from vispec.train.errors import RunError
    from vispec.train.store.changed import Summed

    latent = [variable.name for variable in run.model.variables if variable.role == "latent"]
    if hasattr(module, "posterior") or hasattr(module, "draws") or not latent:
        return run, module
    found = Summed(run.folder, run.config, run.trust)
    try:
        module = found.load(place, memory)
    except SpecError as error:
        why = error.diagnostics[0].message
        raise RunError(f"{listed(latent)} were sampled in the fit, and cannot be summed for a posterior: {why}") from error
    say(f"{listed(latent)}: sampled in the fit, summed here")
    return found, module


def answers(
    run: "Run",
    module: "nn.Module",
    data: "Dataset",
    query: str,
    size: int,
    place: "torch.device",
    seed: int,
    other: "nn.Module | None" = None,
) -> "Iterator[tuple[dict[str, Any], Aligned]]":
    """The guides of what rows share, once, if anything; then each row's answers, where it has any, and what its variables stand
    beside, for a reader. other: the model that `kl` compares with."""
    from vispec.train.errors import RunError
    from vispec.train.scores.rows import Rows
    from vispec.train.store.module import evaluating, to_device

    if query.startswith("moments"):
        yield from told_moments(run, module, data, query, size, place, seed)
        return
    if not hasattr(module, "posterior") and hasattr(module, "draws"):
        raise RunError("the guides of this model are told by their draws: ask for `moments`")
    if not hasattr(module, "posterior"):
        raise RunError("this model has no latent variables, so there is no posterior; see `vispec predict`")
    with evaluating(module, seed, place):
        for first, indices in enumerate(data.order(size)):
            batch = to_device(data.batch(indices), place)
            rows = Rows(run.model, run.encoders, batch)
            found = ask(module, batch, query, other)
            common = {} if first else rows.shared(guides_of(found))
            if common:
                yield {"(shared)": common}, Aligned(run.model, {})
            beside = rows.values({name: value for name, value in batch.items() if name in run.model.variable})
            for i, row in enumerate(answer(found, rows, query)):
                yield row, Aligned(run.model, beside[i] if beside else {})


def quantity(
    run: "Run",
    module: "nn.Module",
    data: "Dataset",
    name: str,
    samples: int | None,
    size: int,
    place: "torch.device",
    seed: int,
) -> "Iterator[tuple[dict[str, Any], Aligned]]":
    """The posterior mean of a derived quantity in each row; once, of what all rows share."""
    from vispec.model.constant import derived_lets
    from vispec.train.errors import RunError
    from vispec.train.scores.rows import Rows
    from vispec.train.store.module import evaluating, to_device

    known = {let.name: let for let in derived_lets(run.model)}
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "this model has none"
        raise RunError(f"`{name}` is no derived quantity, a `let` that no law reads; {there}")
    posterior = getattr(module, "posterior", None)
    if posterior is None or "of" not in inspect.signature(posterior).parameters:
        raise RunError("the module of this run tells of no derived quantity: it is of an earlier version; fit it again")
    asked: dict[str, Any] = {"of": name} | ({} if samples is None or not by_draws(posterior) else {"samples": samples})
    finite = known[name].type.domain in FINITE_DOMAINS
    with evaluating(module, seed, place):
        for indices in data.order(size):
            batch = to_device(data.batch(indices), place)
            rows, found = Rows(run.model, run.encoders, batch), posterior(batch, **asked)
            if common := rows.shared({name: {"mean": found[name]}}):
                yield {"(shared)": common}, Aligned(run.model, {})
                return
            beside = rows.values({n: value for n, value in batch.items() if n in run.model.variable})
            for i, row in enumerate(rows.distributions(found) if finite else rows.numbers(found)):
                yield row, Aligned(run.model, beside[i] if beside else {})


def by_draws(posterior: Any) -> bool:
    """Whether a number of samples can be asked for."""
    return "samples" in inspect.signature(posterior).parameters


def told_moments(
    run: "Run", module: "nn.Module", data: "Dataset", query: str, size: int, place: "torch.device", seed: int
) -> "Iterator[tuple[dict[str, Any], Aligned]]":
    """What rows share, once, if anything; and then each row's own."""
    from vispec.train.errors import RunError
    from vispec.train.scores.moments import DRAWS, moments
    from vispec.train.scores.rows import Rows
    from vispec.train.store.module import evaluating, to_device

    if not hasattr(module, "draws"):
        raise RunError("no latent with a guide is shared by all rows, and no guide is a flow: ask for `marginals`")
    samples = int(query[8:-1]) if "(" in query else DRAWS
    for first, indices in enumerate(data.order(size)):
        with evaluating(module, seed, place):
            batch = to_device(data.batch(indices), place)
            found = moments(module, batch, len(indices), samples)
        rows = Rows(run.model, run.encoders, batch)
        own = rows.distributions(found)
        common = {} if first else rows.shared(found)
        if common:
            yield {"(shared)": common}, Aligned(run.model, {})
        for row in own:
            yield row, Aligned(run.model, {})


def ask(module: "nn.Module", batch: "dict[str, torch.Tensor]", query: str, other: "nn.Module | None") -> "Found":
    """What the module says of one batch; RunError where the model has no answer."""
    from vispec.train.errors import RunError

    asked = {"query": query} if other is None else {"query": "kl", "other": other}
    try:
        return module.posterior(batch, **asked)  # pyright: ignore[reportCallIssue]
    except ValueError as error:
        raise RunError(str(error)) from error


def guides_of(found: "Found") -> "dict[str, Mapping[str, torch.Tensor]]":
    """The guides' parameters among the answers."""
    return {name: value for name, value in found.items() if isinstance(value, Mapping)}


def answer(found: "Found", rows: "Rows", query: str) -> list[dict[str, Any]]:
    """One batch's answers, row by row: of k best, a list of assignments; beside entropies and divergences, that of all latents
    together. Empty where rows have no latents of their own."""
    summed = {name: value for name, value in found.items() if not isinstance(value, Mapping)}
    if query == "marginals":
        told = rows.distributions(summed)
    elif query == "pairs":
        told = rows.pairs(summed)
    elif query == "entropy" or query.startswith("kl("):
        together = summed.get("(joint)")
        told = rows.numbers(summed)
        if together is not None:
            told = [row | {"(joint)": value} for row, value in zip(told, together.tolist(), strict=True)]
    elif "(log_joint)" in summed:
        told = [{query: best} for best in assignments(summed, rows)]
    else:
        told = rows.values(summed)
    guided = rows.distributions(guides_of(found))
    return [a | b for a, b in zip(told, guided, strict=True)] if told and guided else told or guided


def assignments(found: "Mapping[str, torch.Tensor]", rows: "Rows") -> list[list[dict[str, Any]]]:
    """For each row its assignments, best first, each with its log-joint in nats; those that are impossible are left out."""
    scores = found["(log_joint)"]
    ranks = [rows.values({name: value[:, k] for name, value in found.items()}) for k in range(scores.shape[1])]
    return [
        [{"(log_joint)": s} | rank[row] for s, rank in zip(score, ranks, strict=True) if s > float("-inf")]
        for row, score in enumerate(scores.tolist())
    ]


ENTRY = Command("posterior", posterior)
