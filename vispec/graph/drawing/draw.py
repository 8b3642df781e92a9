"""A model's graph drawn in the format that a file's name asks for."""

from collections.abc import Callable, Mapping
from pathlib import Path

from vispec.graph.build import ModelGraph
from vispec.graph.drawing.scene import make_scene
from vispec.graph.drawing.svg import draw_svg
from vispec.graph.layout.figure import Figure, make_figure
from vispec.graph.layout.layout import lay_out

INSTALL = "pip install 'vispec[render]'"


class RendererMissingError(Exception):
    """PNG and PDF need a library that is not installed; `path` is the SVG written in their place."""

    def __init__(self, wanted: Path, path: Path):
        self.path = path
        super().__init__(f"{wanted.suffix} needs matplotlib: run {INSTALL}; the same picture is in {path}")


def _svg(figure: Figure) -> str:
    return draw_svg(make_scene(lay_out(figure)))


def _tikz(figure: Figure) -> str:
    from vispec.graph.drawing.tikz import draw_tikz

    return draw_tikz(lay_out(figure))


def _dot(figure: Figure) -> str:
    from vispec.graph.drawing.dot import draw_dot

    return draw_dot(figure)


TEXTS: Mapping[str, Callable[[Figure], str]] = {"svg": _svg, "dot": _dot, "tex": _tikz, "tikz": _tikz}
FORMATS = ("svg", "png", "pdf", "dot", "tex", "tikz")


def format_of(path: Path) -> str | None:
    """The format that a file's name asks for; None where it asks for none of FORMATS."""
    kind = path.suffix.lower().removeprefix(".")
    return kind if kind in FORMATS else None


def draw(graph: ModelGraph, path: Path, *, factors: bool = False, guide: bool = False, laws: bool = False) -> Figure:
    """Write the drawing and return what it shows; raises OSError, or RendererMissingError after writing an SVG instead."""
    figure = make_figure(graph, factors=factors, guide=guide, laws=laws)
    kind = path.suffix.lower().removeprefix(".")
    if kind in TEXTS:
        path.write_text(TEXTS[kind](figure), encoding="utf-8")
        return figure
    from vispec.graph.drawing.raster import draw_raster

    scene = make_scene(lay_out(figure))
    try:
        draw_raster(scene, path)
    except ImportError as missing:
        instead = path.with_suffix(".svg")
        instead.write_text(draw_svg(scene), encoding="utf-8")
        raise RendererMissingError(path, instead) from missing
    return figure
