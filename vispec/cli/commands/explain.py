"""`vispec explain SPEC`: the derivation of the model's objective, step by step."""

from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import failures
from vispec.cli.options import json_option, memory_option, read_source, set_option, split_sets, work_option
from vispec.diagnostics import SpecError, dump


@click.command("explain")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--latex", is_flag=True, help="Formulas in LaTeX, for a document that loads amsmath and amssymb.")
@click.option("--only", "sections", metavar="A,B", help="Print these sections, such as marginal,gradient.")
@set_option
@memory_option
@work_option
@json_option
def explain_command(
    spec: Path,
    latex: bool,
    sections: str | None,
    sets: tuple[str, ...],
    memory: int | None,
    work: int | None,
    as_json: bool,
) -> None:
    """Derive the objective of SPEC: the joint, the marginal, the order of the sums, the bound, its gradient, the costs."""
    from vispec.explain.explain import UnknownSectionError, explain, only
    from vispec.explain.show import show_explanation
    from vispec.lower.asked.derived import rows as derived_rows
    from vispec.model.check import check_model
    from vispec.plan.budget import budget
    from vispec.plan.planner import plan_model
    from vispec.syntax.parse import parse

    source = read_source(spec, as_json)
    with failures(as_json):
        sizes = split_sets(source, sets)[0]
        model = check_model(parse(source), sizes)
        try:
            limits = budget(work, memory, sizes)
            plan = plan_model(model, limits)
            explanation = explain(model, plan, latex, derived_rows(plan, limits))
        except SpecError:
            if not as_json:
                click.echo(show_explanation(explain(model, None, latex)), nl=False)
            raise
        if sections is not None:
            try:
                explanation = only(explanation, [name.strip() for name in sections.split(",")])
            except UnknownSectionError as error:
                raise click.UsageError(f"--only {sections}: {error}") from error
        if not as_json:
            click.echo(show_explanation(explanation, titled=sections is None), nl=False)
            return
        shown = [{"heading": s.heading, "text": s.prose, "formulas": s.formulas} for s in explanation.sections]
        click.echo(dump({"ok": True, "title": explanation.title, "latex": latex, "sections": shown}))


ENTRY = Command("explain", explain_command)
