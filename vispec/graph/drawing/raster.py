"""Scene → PNG or PDF, through matplotlib, which brings its own fonts and needs no system package."""

from pathlib import Path
from typing import Any

from vispec.graph.drawing.scene import Scene
from vispec.graph.drawing.svg import FILLS
from vispec.graph.drawing.things import Box, Circle, Curve, Label, Thing, head

DPI = 200


def draw_raster(scene: Scene, path: Path) -> None:
    """Write the picture in the format of the path's extension; raises ImportError where matplotlib is missing."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    kind = path.suffix.lower().removeprefix(".")
    undated = {"pdf": {"CreationDate": None, "ModDate": None}, "png": {"Software": None}}[kind]
    view = scene.view
    settings: Any = {"mathtext.fontset": "stix", "font.family": "STIXGeneral", "pdf.fonttype": 42}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=((view.right - view.left) / 72, (view.bottom - view.top) / 72), dpi=DPI)
        canvas = FigureCanvasPdf(figure) if kind == "pdf" else FigureCanvasAgg(figure)
        axes: Any = figure.add_axes((0, 0, 1, 1), xlim=(view.left, view.right), ylim=(view.bottom, view.top))
        axes.axis("off")
        for order, thing in enumerate(scene.things):
            _draw(axes, thing, order + 1)
        canvas.print_figure(path, dpi=DPI, metadata=undated, facecolor="white")


def _draw(axes: Any, thing: Thing, order: int) -> None:
    from matplotlib import patches
    from matplotlib.path import Path as Outline

    match thing:
        case Circle(centre=centre, radius=radius):
            fill = FILLS["none" if thing.half else thing.fill]
            axes.add_patch(patches.Circle(centre, radius, facecolor=fill, **_pen(thing.dashed, order)))
            if thing.half:
                shade = FILLS[thing.fill]
                axes.add_patch(patches.Wedge(centre, radius, 90, 270, facecolor=shade, edgecolor="none", zorder=order + 0.1))
                axes.add_patch(patches.Circle(centre, radius, fill=False, **_pen(thing.dashed, order + 0.2)))
        case Box(rectangle=box, corner=corner):
            style = f"round,pad=0,rounding_size={corner}" if corner else "square,pad=0"
            fill = "none" if corner else FILLS[thing.fill]
            size, pen = (box.right - box.left, box.bottom - box.top), _pen(thing.dashed, order)
            axes.add_patch(patches.FancyBboxPatch((box.left, box.top), *size, boxstyle=style, facecolor=fill, **pen))
        case Curve():
            tip, left, right, end = head(thing)
            way = [thing.origin, *(point for _, *rest in thing.pieces for point in rest)]
            way[-1] = end if thing.head else thing.stop
            codes = [Outline.MOVETO, *[Outline.CURVE3] * (len(way) - 1)]
            axes.add_patch(patches.PathPatch(Outline(way, codes), facecolor="none", **_pen(thing.dashed, order)))
            if thing.head:
                axes.add_patch(patches.Polygon([tip, left, right], facecolor="black", edgecolor="none", zorder=order))
        case Label():
            _write(axes, thing, order)


def _pen(dashed: bool, order: float) -> dict[str, Any]:
    style = (0, (4, 3)) if dashed else "solid"
    return {"edgecolor": "black", "linewidth": 1.0, "linestyle": style, "zorder": order, "capstyle": "butt"}


def _write(axes: Any, label: Label, order: int) -> None:
    from matplotlib import patheffects

    side: Any = {"start": "left", "middle": "center", "end": "right"}[label.anchor]
    halo = [patheffects.withStroke(linewidth=3, foreground="white")] if label.halo else []
    axes.text(*label.at, f"${label.text.latex}$", size=label.size, ha=side, va="baseline", zorder=order, path_effects=halo)
