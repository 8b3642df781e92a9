"""vispec words: the most probable words of a fitted model's topics or states."""

from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import failures
from vispec.cli.options import device_option, json_option, open_run, run_argument
from vispec.diagnostics import dump, plain
from vispec.screen import folded

NONE = (
    "this model has no distribution over words for each element of one plate or each class: no parameter, shared latent, "
    "deterministic node or net that is a simplex[V] of a vocabulary V, or of the labels of an observed category[V]"
)


@click.command("words")
@run_argument
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many words of each.")
@device_option
@json_option
def words(run: Path, top: int, device: str | None, as_json: bool) -> None:
    """The most probable words, best first, of every distribution over a vocabulary, or over the labels of what is observed, in
    RUN: a topic's, a state's, a class's."""
    with failures(as_json):
        from vispec.train.errors import RunError
        from vispec.train.scores.words import top_words

        opened, place = open_run(run, device, None)
        found = top_words(opened, opened.load(place), top)
        if not found:
            raise RunError(NONE)
    if as_json:
        click.echo(dump(found))
        return
    for name, rows in found.items():
        click.echo(name)
        for number, row in enumerate(rows):
            click.echo("\n".join(folded(" ".join(map(plain, row)), f"{number:>5}  ")))


ENTRY = Command("words", words)
