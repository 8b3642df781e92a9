"""vispec posterior: what the data say about each latent variable, row by row."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

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
from vispec.diagnostics import dump
from vispec.lazy import ahead
from vispec.train.reading import Reading

if TYPE_CHECKING:
    from vispec.answers.elements import Told
    from vispec.train.store.run import Run


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
@click.option("--pharaoh", is_flag=True, help="Print the links of an alignment, from 0: 0-0 2-1, source before target.")
@click.option("--aer", "gold", metavar="FILE", help="Print the error rate of an alignment against links in a file: 0-0 2?1.")
@click.option("--intersect", "other", metavar="FILE", help="Keep the links that a file has too, as of the other direction.")
@click.option("--flip", is_flag=True, help="The target stands before the source in links.")
@click.option("--samples", type=click.IntRange(min=1), help="Draws where it is not exact (default 1000).")
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
    pharaoh: bool,
    gold: str | None,
    other: str | None,
    flip: bool,
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
    probabilities of all pairs of values (pairs); of a grammar, the best parse in brackets (tree); of stretches, the best way to
    cut and label (stretches), or the probability that one begins at each element (boundaries); the divergence from the
    posterior of another RUN with the same variables, KL(p || q) in nats (kl(RUN)). Continuous variables: the parameters of
    their guide; or, where rows share latents or a guide is a flow, means and standard deviations over so many draws of the
    guides (moments(10000)), those of what all rows share first, under `(shared)`, and those of deterministic nodes too.

    What the fit drew and did not sum, as under score, is summed in rows where that is within the budget of a spec, and told by
    weighted draws in others, each with its effective samples: how many draws of the posterior they are worth.

    An alignment, which points from each word at one of another sequence, is printed as links with --pharaoh, and measured with
    --aer FILE, which has a line of links a row, `0-0 2?1` (`?` is possible, and not sure), or lines `row source target S|P`.
    Both take those links alone that stand in a file too, with --intersect FILE: what --pharaoh printed of the other direction.

    With --of a `let` that no law reads: its posterior mean, or of a finite one the probabilities of its values; exact where
    latents are summed, over draws where they are drawn.
    """
    if of is not None and query is not None:
        raise click.UsageError("--of tells a mean: it takes no --query")
    aligned = pharaoh or gold is not None
    if aligned and (of is not None or (query or "mode") not in ("mode", "sample")):
        raise click.UsageError("links are of one alignment a row: --query mode or sample")
    if (flip or other is not None) and not aligned:
        raise click.UsageError(f"{'--flip' if flip else '--intersect'} is of links: --pharaoh or --aer FILE")
    with failures():
        ahead("vispec.answers.posterior")
        from vispec.answers import posterior as asked
        from vispec.answers.how import How

        opened, place = open_run(run, device, threads, data, reading, params)
        how = How(place, batch, seed or 0, samples, memory)
        usual = "marginals" if jsonl and not aligned else "mode"
        found = asked.posterior(opened, data, reading, how, say, query, of, usual, new is not None)
        if aligned:
            show_links(opened, found, gold, other, flip, pharaoh, jsonl)
        else:
            show_rows(found, jsonl)


def show_links(
    opened: "Run", found: "Iterable[Told]", gold: str | None, other: str | None, flip: bool, pharaoh: bool, jsonl: bool
) -> None:
    """Links as lines, the error rate behind them, as asked, of those that the other file has too."""
    from vispec.answers.measured import links

    told = links.links_of(opened.model, found)
    if other is not None:
        told = [a & b.possible for a, b in zip(told, links.read_links(other, len(told), flip), strict=True)]
    if pharaoh:
        turned = [{(b, a) for a, b in row} for row in told] if flip else told
        click.echo("\n".join(map(links.pharaoh, turned)))
    if gold is not None:
        rate = links.error_rate(told, links.read_links(gold, len(told), flip))
        click.echo(dump({"aer": rate}) if jsonl else f"alignment error rate {rate:.4f}")


ENTRY = Command("posterior", posterior)
