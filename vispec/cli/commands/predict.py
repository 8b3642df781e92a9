"""vispec predict: missing cells of partial variables from what is seen, or else observed variables from the given ones."""

from pathlib import Path

import click

from vispec.answers.questions import DECISIONS, RULES, is_rule, unknown_rule
from vispec.catalog import Command
from vispec.cli.failures import failures, say
from vispec.cli.options import (
    batch_option,
    data_argument,
    device_option,
    jsonl_option,
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

RULE = f"The decision rule (default: mode for discrete data, else mean): {', '.join((*RULES, *DECISIONS))}."


class Rule(click.ParamType):
    """A rule by its name, some with numbers."""

    name = "rule"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if is_rule(value) else self.fail(unknown_rule(value), param, ctx)


@click.command("predict")
@run_argument
@data_argument
@reading_options
@params_option
@new_option
@click.option("--rule", type=Rule(), help=RULE)
@click.option("--target", "targets", multiple=True, help="An observed variable to predict from all else; again for more.")
@click.option("--max-length", "limit", help="Of sequences that end by themselves the most elements: '2*|y| + 10'.")
@click.option("--score", is_flag=True, help="Of such sequences their log-probabilities too, in nats.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME,...",
    help="In place of predictions how near they are to the data: accuracy, f1(span=bio), uas, las, bleu, chrf.",
)
@click.option("--conllu", is_flag=True, help="Print DATA, CoNLL-U or text, as CoNLL-U with the predictions in their columns.")
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
    new: str | None,
    rule: str | None,
    targets: tuple[str, ...],
    limit: str | None,
    score: bool,
    metrics: tuple[str, ...],
    conllu: bool,
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

    Sequences over a vocabulary with an end are as long as they decide: greedy (the default); beam(5), the best found by going
    on with the five likeliest beginnings, by log p / length ^ length_penalty; sample(n=5, temperature=0.8, top_k=20,
    top_p=0.9); or mbr(20), of 20 draws the one that is nearest to all. beam(5, n=3) and sample(3) give three for each row.

    With --metric, DATA have what is predicted, too, which no prediction sees. accuracy: the share of equal labels. f1: of spans
    of tags, B-X I-X. uas, las: of words with the right head, or head and label. bleu (of words as they are, or tokenize=13a)
    and chrf: of sequences of tokens.
    """
    if conllu and (metrics or jsonl):
        raise click.UsageError("--conllu is a form of predictions: no --metric or --jsonl")
    with failures():
        ahead("vispec.answers.predict")
        from vispec.answers import predict as asked
        from vispec.answers.how import How
        from vispec.answers.measured.asked import read_metrics

        named = read_metrics(metrics)

        opened, place = open_run(run, device, threads, data, reading, params)
        how = How(place, batch, seed or 0, samples)
        rule = rule or ("mode" if named or conllu else None)
        found = asked.predict(opened, data, reading, how, say, rule, targets, new is not None, limit, score)
        if conllu:
            from vispec.answers.treebank import treebank

            for line in treebank(opened, data, reading, (row for row, _ in found)):
                click.echo(line)
            return
        if not named:
            show_rows(found, jsonl)
            return
        from vispec.answers.measured.measure import measure

        told = measure(opened, data, reading, how, say, named, targets, found)
        lines = [f"{name:12} {metric:10} {number:.6g}" for name, each in told.items() for metric, number in each.items()]
        click.echo(dump(told) if jsonl else "\n".join(lines))


ENTRY = Command("predict", predict)
