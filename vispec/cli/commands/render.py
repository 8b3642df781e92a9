"""`vispec render SPEC -o FILE`: the model's diagram, as SVG, PNG, PDF, DOT or TikZ."""

from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import FAILED, fail, failures
from vispec.cli.options import json_option, read_source, set_option, split_sets
from vispec.diagnostics import dump


@click.command("render")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="svg, png, pdf, dot, tex or tikz by its name."
)
@click.option("--factors", is_flag=True, help="Draw factors and nets as small squares.")
@click.option("--guide", is_flag=True, help="Draw the guide's arrows, dashed.")
@click.option("--laws", is_flag=True, help="Write the generative story beside the diagram.")
@set_option
@json_option
def render_command(
    spec: Path, output: Path, factors: bool, guide: bool, laws: bool, sets: tuple[str, ...], as_json: bool
) -> None:
    """Draw SPEC in plate notation. PNG and PDF need `pip install 'vispec[render]'`; no format needs Graphviz."""
    from vispec.graph.build import build_graph
    from vispec.graph.drawing.draw import FORMATS, RendererMissingError, draw, format_of
    from vispec.model.check import check_model
    from vispec.syntax.parse import parse

    kind = format_of(output)
    if kind is None:
        raise click.UsageError(f"-o {output}: the name must end in one of {', '.join('.' + name for name in FORMATS)}")
    source = read_source(spec, as_json)
    with failures(as_json):
        graph = build_graph(check_model(parse(source), split_sets(source, sets)[0]))
        try:
            figure = draw(graph, output, factors=factors, guide=guide, laws=laws)
        except RendererMissingError as error:
            fail(f"error: {error}", FAILED, as_json, diagnostics=[], file=str(error.path))
        except OSError as error:
            fail(f"error: cannot write {output}: {error.strerror}", FAILED, as_json, diagnostics=[])
    if as_json:
        shown = {"nodes": [mark.key for mark in figure.marks], "plates": [frame.name for frame in figure.frames]}
        click.echo(dump({"ok": True, "file": str(output), "format": kind, **shown, "crossed": graph.crossed}))


ENTRY = Command("render", render_command)
