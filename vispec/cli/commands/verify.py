"""`vispec verify SPEC`: the emitted module against brute force at tiny sizes; exit code 1 on any difference."""

import click

from vispec.catalog import Command
from vispec.diagnostics import dump
from vispec.source import Source


@click.command("verify")
@click.argument("spec", type=click.Path())
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Use this size instead of a tiny one; may be repeated.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random parameters and data.")
@click.option("--rows", default=5, show_default=True, type=click.IntRange(min=1), help="Rows in the random batch.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def verify_command(context: click.Context, spec: str, settings: tuple[str, ...], seed: int, rows: int, as_json: bool) -> None:
    """Compare the module emitted for SPEC with enumeration in float64: values, gradients, posteriors, padding."""
    from vispec.verify.verify import verify  # torch

    report = verify(Source.read(spec), dict(map(_setting, settings)), seed, rows)
    click.echo(dump(report.to_dict()) if as_json else str(report))
    context.exit(1 if report.differs else 0)


def _setting(text: str) -> tuple[str, int]:
    """`K=20` as a pair."""
    name, _, value = text.partition("=")
    if not name or not value.strip().isdecimal():
        raise click.BadParameter(f"`{text}` is not of the form NAME=NUMBER", param_hint="--set")
    return name.strip(), int(value)


ENTRY = Command("verify", verify_command)
