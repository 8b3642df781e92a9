"""Layout → TikZ: a standalone document with only TikZ' own libraries; plates are `fit` nodes, so moving a node moves its plate."""

from collections.abc import Iterable, Iterator, Mapping

from vispec.graph.figure import Mark
from vispec.graph.layout import CIRCLES, PAD, RADIUS, SMALL, SQUARE, Layout, fits, font
from vispec.graph.scene import PAST_RADIUS, Curve, Label, Scene, make_scene, route
from vispec.graph.symbols import Text, latex_name

PREAMBLE = rf"""\documentclass[tikz,border=6pt]{{standalone}}
\usepackage{{amsmath}}
\usetikzlibrary{{arrows.meta,fit}}
\tikzset{{
  latent/.style={{circle,draw,inner sep=0pt,minimum size={2 * RADIUS:g}pt}},
  observed/.style={{latent,fill=black!22}},
  partial/.style={{latent,path picture={{\fill[black!22] (path picture bounding box.south west)
    rectangle (path picture bounding box.north);}}}},
  deterministic/.style={{latent,double,double distance=2pt}},
  given/.style={{circle,fill,inner sep=0pt,minimum size=10pt}},
  past/.style={{latent,dashed,minimum size={2 * PAST_RADIUS:g}pt}},
  param/.style={{inner sep=3pt}},
  factor/.style={{rectangle,fill,inner sep=0pt,minimum size={2 * SQUARE["factor"]:g}pt}},
  net/.style={{rectangle,draw,inner sep=0pt,minimum size={2 * SQUARE["net"]:g}pt}},
  plate/.style={{rectangle,draw,rounded corners=6pt,inner sep={PAD:g}pt}},
  caption/.style={{inner sep=1pt,font=\footnotesize}},
  edge/.style={{-{{Latex[length=6pt]}}}},
  line/.style={{}},
}}
"""


def draw_tikz(layout: Layout) -> str:
    """The figure as a document that pdflatex, lualatex or tectonic compile; the picture inside can be pasted into a paper."""
    scene, names = make_scene(layout), _names(layout)
    lines = [r"\begin{document}", r"\begin{tikzpicture}[x=1pt,y=-1pt]"]
    lines += [line for mark in layout.figure.marks for line in _mark(layout, mark, names)]
    lines += [_edge(curve, arrow.tail, arrow.head, names) for arrow, curve in _routed(layout)]
    lines += _plates(layout, scene, names)
    lines += [_words(label, scene, layout) for label in scene.things if isinstance(label, Label) and _outside(label, layout)]
    lines += [r"\end{tikzpicture}", r"\end{document}"]
    return PREAMBLE + "\n".join(lines) + "\n"


def _names(layout: Layout) -> dict[str, str]:
    """A TikZ name for each mark, companion and plate: letters, digits and dashes only, all different."""
    names: dict[str, str] = {}
    for key in (*layout.centres, *(f"plate {name}" for name in layout.frames)):
        safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in key.replace("@<", " before").replace("~", " law")) or "node"
        while safe in names.values():
            safe += "-"
        names[key] = safe
    return names


def _at(point: tuple[float, float]) -> str:
    return f"({point[0]:.6g},{point[1]:.6g})"


def _mark(layout: Layout, mark: Mark, names: Mapping[str, str]) -> Iterator[str]:
    shade = {"observed": ",fill=black!22", "partial": ",partial", "given": ",fill=black!22"}.get(mark.look, "")
    for key, label in mark.past:
        yield rf"\node[past{shade}] ({names[key]}) at {_at(layout.centres[key])} {{${_tex(label)}$}};"
    centre = layout.centres[mark.key]
    style = mark.look + (",dashed" if mark.tentative else "")
    if fits(mark):
        size = r"\small " if mark.look in CIRCLES and font(mark) < 13 else ""
        yield rf"\node[{style}] ({names[mark.key]}) at {_at(centre)} {{{size}${_tex(mark.label)}$}};"
        return
    beside = rf",label={{[caption]right:${_tex(mark.label)}$}}" if mark.label.base else ""
    if mark.look == "given":
        beside = rf",label={{{_side(layout, mark)}:${_tex(mark.label)}$}}"
    yield rf"\node[{style}{beside}] ({names[mark.key]}) at {_at(centre)} {{}};"


def _side(layout: Layout, mark: Mark) -> str:
    """Where the other drawings put the label of a given."""
    from vispec.graph.scene import beside

    label = next(beside(layout, mark))
    x, y = layout.centres[mark.key]
    if label.anchor != "middle":
        return "right" if label.at[0] > x else "left"
    return "above" if label.at[1] < y else "below"


def _routed(layout: Layout):
    arrows = sorted(layout.figure.arrows, key=lambda arrow: arrow.dashed)
    return zip(arrows, route(layout), strict=True)


def _edge(curve: Curve, tail: str, head: str, names: Mapping[str, str]) -> str:
    style = ("edge" if curve.head else "line") + (",dashed" if curve.dashed else "")
    middle = tuple((curve.start[k] + curve.stop[k]) / 2 for k in (0, 1))
    straight = max(abs(curve.control[k] - middle[k]) for k in (0, 1)) < 1.0
    way = "--" if straight else f".. controls {_at(curve.control)} .."
    return rf"\draw[{style}] ({names[tail]}) {way} ({names[head]});"


def _plates(layout: Layout, scene: Scene, names: Mapping[str, str]) -> Iterator[str]:
    """Innermost first, each fitted around its members, the plates inside it, and its caption."""
    captions = {frame.label: frame for frame in layout.figure.frames}
    places = {captions[label.text].name: label for label in scene.things if isinstance(label, Label) and label.text in captions}
    shift = _shift(scene, layout)
    for name in reversed(list(layout.frames)):
        frame = next(frame for frame in layout.figure.frames if frame.name == name)
        label = places[name]
        corner = (label.at[0] - shift[0], label.at[1] - shift[1])
        caption = f"{names[f'plate {name}']}-caption"
        yield rf"\node[caption,anchor=base east] ({caption}) at {_at(corner)} {{${_tex(frame.label)}$}};"
        box = layout.frames[name]
        corners = f"{_at((box.left + PAD, box.top + PAD))} {_at((box.right - PAD, box.bottom - PAD))}"
        members = " ".join(f"({names[key]})" for key in _drawn(layout, frame.members))
        yield rf"\node[plate,fit={members} {corners}] ({names[f'plate {name}']}) {{}};"


def _drawn(layout: Layout, members: Iterable[str]) -> list[str]:
    return [key for member in members for key in (member, *(past for past, _ in layout.mark[member].past))]


def _shift(scene: Scene, layout: Layout) -> tuple[float, float]:
    """How the scene was moved against the layout."""
    return scene.shift


def _outside(label: Label, layout: Layout) -> bool:
    """Whether a label belongs to no mark and no plate: the laws and the footnotes."""
    return label.loose


def _words(label: Label, scene: Scene, layout: Layout) -> str:
    anchor = {"start": "base west", "middle": "base", "end": "base east"}[label.anchor]
    at = (label.at[0] - scene.shift[0], label.at[1] - scene.shift[1])
    return rf"\node[anchor={anchor},inner sep=0pt] at {_at(at)} {{${_tex(label.text)}$}};"


def _tex(text: Text) -> str:
    return text.latex


__all__ = ["SMALL", "draw_tikz", "latex_name"]
