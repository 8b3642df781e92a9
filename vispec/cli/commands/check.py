"""vispec check: everything that is wrong with a spec, or how it will be computed."""

import sys
from dataclasses import replace

import click

from vispec.catalog import Command
from vispec.cli.failures import say
from vispec.cli.options import memory_option, parse_sizes, work_option
from vispec.diagnostics import SpecError, dump, render, to_json
from vispec.plan.budget import budget
from vispec.plan.planner import plan_model
from vispec.plan.show import cost_json, plan_json, show_plan
from vispec.source import Source


@click.command("check")
@click.argument("spec", type=click.Path(exists=True, dir_okay=False))
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Give a size a value.")
@work_option
@memory_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(spec: str, settings: tuple[str, ...], work: int | None, memory: int | None, as_json: bool) -> None:
    """Check SPEC and print its plan: what is summed exactly, what is sampled, and what each costs."""
    from vispec.lower.asked.derived import rows as derived_rows
    from vispec.model.check import check as check_tree
    from vispec.syntax.parse import parse

    source = Source.read(spec)
    plan, found = None, ()
    try:
        sizes = parse_sizes(settings)
        model, found = check_tree(parse(source), sizes)
        if model is not None:
            limits = budget(work, memory, sizes)
            plan = plan_model(model, limits)
            plan = replace(plan, rows=(*plan.rows, *derived_rows(plan, limits)))
    except SpecError as error:
        plan = None
        found = (*found, *error.diagnostics)
    ok = not any(d.severity == "error" for d in found)
    if as_json:
        rows = plan_json(plan) if plan is not None else []
        cost = cost_json(plan) if plan is not None else None
        click.echo(dump({"ok": ok, "diagnostics": [to_json(source, d) for d in found], "plan": rows, "cost": cost}))
    else:
        if found:
            say(render(source, found).rstrip("\n"))
        if plan is not None:
            click.echo(show_plan(plan))
    if not ok:
        sys.exit(1)


ENTRY = Command("check", check)
