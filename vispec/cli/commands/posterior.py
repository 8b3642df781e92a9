"""vispec posterior: what the data say about each latent variable, row by row."""

from pathlib import Path

import click

from vispec.answers.questions import QUERIES, is_query, unknown_query
from vispec.catalog import Command
from vispec.cli.failures import failures, say
from vispec.cli.options import (
    batch_option,
    data_argument,
    device_option,
    jsonl_option,
    memory_option,
    new_option,
    open_run,
    params_option,
    reading_options,
    run_argument,
    seed_option,
    show_rows,
    threads_option,
)
from vispec.train.reading import Reading


class Query(click.ParamType):
    """One of the queries."""

    name = "query"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "|".join(QUERIES)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if is_query(value) else self.fail(unknown_query(value), param, ctx)


@click.command("posterior")
@run_argument
@data_argument
@reading_options
@params_option
@new_option
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
    new: str | None,
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
        from vispec.answers import posterior as asked
        from vispec.answers.how import How

        opened, place = open_run(run, device, threads, data, reading, params)
        how = How(place, batch, seed or 0, samples, memory)
        usual = "marginals" if jsonl else "mode"
        show_rows(asked.posterior(opened, data, reading, how, say, query, of, usual, new is not None), jsonl)


ENTRY = Command("posterior", posterior)
