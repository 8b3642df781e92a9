"""`vispec verify SPEC`: the emitted module against brute force at tiny sizes; exit code 1 on any difference."""

from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import FAILED, failures
from vispec.cli.options import json_option, memory_option, read_source, set_option, split_sets, work_option
from vispec.diagnostics import dump
from vispec.lazy import ahead


@click.command("verify")
@click.argument("spec", type=click.Path(path_type=Path))
@set_option
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the random parameters and data.")
@click.option("--rows", default=5, show_default=True, type=click.IntRange(1), help="Rows in the random batch.")
@memory_option
@work_option
@json_option
@click.pass_context
def verify_command(
    context: click.Context,
    spec: Path,
    sets: tuple[str, ...],
    seed: int,
    rows: int,
    memory: int | None,
    work: int | None,
    as_json: bool,
) -> None:
    """Compare the module emitted for SPEC with enumeration in float64: values, gradients, posteriors, padding.

    Sizes become 2 or 3 and vocabularies 4 or 5, except those that --set gives."""
    source = read_source(spec, as_json)
    with failures(as_json):
        ahead("vispec.verify.verify")
        sizes = split_sets(source, sets)[0]
        from vispec.verify.verify import verify  # imports torch

        report = verify(source, sizes, seed, rows, memory=memory, work=work)
    click.echo(dump(report.to_dict()) if as_json else str(report))
    context.exit(FAILED if report.differs else 0)


ENTRY = Command("verify", verify_command)
