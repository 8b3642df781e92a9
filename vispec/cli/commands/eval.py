"""vispec eval: the log-probability of data under a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vispec.catalog import Command
from vispec.cli.failures import failures, say
from vispec.cli.options import (
    batch_option,
    data_argument,
    device_option,
    json_option,
    memory_option,
    open_run,
    params_option,
    reading_options,
    run_argument,
    seed_option,
    threads_option,
)
from vispec.diagnostics import dump
from vispec.lazy import ahead
from vispec.screen import folded
from vispec.train.reading import Reading

if TYPE_CHECKING:
    from vispec.model.model import Model


@click.command("eval")
@run_argument
@data_argument
@reading_options
@params_option
@batch_option
@seed_option
@threads_option
@device_option
@memory_option
@click.option("--estimator", metavar="NAME(SAMPLES)", help="iwae(5000) or elbo(100) in place of the model's own bound.")
@click.option(
    "--pointwise",
    is_flag=True,
    help="Of each row, a line each, in the order of the data; of one long chain, of each step given those before it.",
)
@json_option
def evaluate(
    run: Path,
    data: tuple[str, ...],
    reading: Reading,
    params: Path | None,
    batch: int | None,
    seed: int | None,
    threads: int | None,
    device: str | None,
    memory: int | None,
    estimator: str | None,
    pointwise: bool,
    as_json: bool,
) -> None:
    """The log-probability (or its bound) of DATA under the parameters of RUN, in nats."""
    if pointwise and estimator is not None:
        raise click.UsageError("--pointwise takes the model's own numbers, and no --estimator")
    with failures(as_json):
        ahead("vispec.answers.score")
        from vispec.answers import score as scores
        from vispec.answers.how import How

        opened, place = open_run(run, device, threads, data, reading, params)
        how = How(place, batch, seed or 0, memory=memory)
        if pointwise:
            units, found = scores.pointwise(opened, data, reading, how, say)
            told = {"of": units.kind, "log_prob": found.tolist()}
            click.echo(dump(told) if as_json else "\n".join(f"{number:.6f}" for number in found.tolist()))
            return
        score = scores.score(opened, data, reading, how, say, estimator).as_json()
    scored = [variable for variable in opened.model.variables if variable.role in ("observed", "partial")]
    discrete = all(variable.type.discrete for variable in scored)
    click.echo(dump(score) if as_json else "\n".join(lines(score, discrete, opened.model)))


def lines(score: dict[str, Any], discrete: bool, model: "Model") -> list[str]:
    """The numbers for a reader. discrete: whether all that is scored is, so that it has a perplexity."""
    from vispec.train.scores.diagnostics import described
    from vispec.train.scores.final import kind_of, subtracted

    kind = "exact" if score["exact"] else f"{kind_of(score)}, {score['estimator']}"
    found = [f"{score['rows']} rows, {score['tokens']} tokens; {kind}"]
    labels = {
        "log_prob": "log-probability",
        "standard_error": "its standard error",
        "log_prob_per_row": "per row",
        "log_prob_per_token": "per token",
        "perplexity": "perplexity per token",
    }
    if not discrete:  # the exponential of a density has a unit, and says nothing
        del labels["perplexity"]
    unit = {key: "" if key == "perplexity" else " nats" for key in labels}
    found += [f"{label:20} {score[key]:.6g}{unit[key]}" for key, label in labels.items() if score[key] is not None]
    if score["evidence_bound"] is not None:
        error = score["evidence_bound_error"]
        chance = "" if error is None else f" (standard error {error:.2g})"
        numbers = f"{score['evidence_bound']:.6g} nats{chance}, {score['evidence_bound_per_row']:.6g} per row"
        found.append(f"a lower bound on the log-evidence of these rows, with {subtracted(score)}: {numbers}")
    options = {vocab.name: dict(vocab.options) for vocab in model.vocabs}
    for name, told in (score["unknown"] or {}).items():
        entries = "characters" if options[name].get("chars") else "pieces" if "subword" in options[name] else "words"
        found.append(f"{f'unknown in {name}':20} {told['unknown']} of {told['words']} {entries}, {told['rate']:.2%}")
    found += described(score["diagnostics"]) if score["diagnostics"] else []
    return [part for line in found for part in folded(line, rest="  ")]


ENTRY = Command("eval", evaluate)
