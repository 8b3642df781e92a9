"""Layout → TikZ: a standalone document with TikZ' own libraries; plates are `fit` nodes: moving a node moves its plate."""

from collections.abc import Iterator, Mapping

from vispec.graph.build import crosses
from vispec.graph.drawing.scene import picture, words_around
from vispec.graph.drawing.things import Curve, Label, Point
from vispec.graph.layout.figure import Arrow, Frame, Mark
from vispec.graph.layout.labels import beside, captions
from vispec.graph.layout.layout import PAD, Layout
from vispec.graph.layout.measure import CIRCLES, DOT, PAST_RADIUS, RADIUS, SQUARE, fits, font
from vispec.graph.layout.route import route

PREAMBLE = rf"""\documentclass[tikz,border=6pt]{{standalone}}
\usetikzlibrary{{arrows.meta,fit}}
\tikzset{{
  latent/.style={{circle,draw,inner sep=0pt,minimum size={2 * RADIUS:g}pt}},
  observed/.style={{latent,fill=black!22}},
  partial/.style={{latent,path picture={{\fill[black!22]
    (path picture bounding box.south west) rectangle (path picture bounding box.north);}}}},
  deterministic/.style={{latent,double,double distance=2.5pt}},
  given/.style={{circle,fill,inner sep=0pt,minimum size={2 * DOT:g}pt}},
  past/.style={{dashed,minimum size={2 * PAST_RADIUS:g}pt}},
  param/.style={{inner sep=3pt}},
  factor/.style={{rectangle,fill,inner sep=0pt,minimum size={2 * SQUARE["factor"]:g}pt}},
  net/.style={{rectangle,draw,inner sep=0pt,minimum size={2 * SQUARE["net"]:g}pt}},
  plate/.style={{rectangle,draw,rounded corners=8pt,inner sep={PAD:g}pt}},
  caption/.style={{inner sep=0pt,font=\footnotesize}},
  arrow/.style={{-{{Latex[length=6pt]}}}},
}}
"""


def draw_tikz(layout: Layout) -> str:
    """The figure as a document for pdflatex, lualatex or tectonic; the picture in it can be pasted into a paper."""
    names, curves = _names(layout), route(layout)
    around = words_around(layout, picture(layout))
    lines = [r"\begin{document}", r"\begin{tikzpicture}[x=1pt,y=-1pt]"]
    lines += [line for mark in layout.figure.marks for line in _mark(layout, mark, names)]
    lines += [_arrow(arrow, curve, names) for arrow, curve in curves.items()]
    lines += _plates(layout, captions(layout, curves.values()), names)
    lines += [_words(label) for label in around]
    lines += [r"\end{tikzpicture}", r"\end{document}"]
    return PREAMBLE + "\n".join(lines) + "\n"


def _names(layout: Layout) -> dict[str, str]:
    """A TikZ name for each mark, companion and plate: letters, digits and dashes only, all different."""
    names: dict[str, str] = {}
    for key in (*layout.centres, *(f"plate {name}" for name in layout.frames)):
        words = key.replace("@<", " before").replace("@", " past ").replace("~", " law").strip()
        safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in words)
        while safe in names.values():
            safe += "-"
        names[key] = safe
    return names


def _at(point: Point) -> str:
    return f"({round(point[0], 2) + 0.0:g},{round(point[1], 2) + 0.0:g})"


def _mark(layout: Layout, mark: Mark, names: Mapping[str, str]) -> Iterator[str]:
    base = mark.look if mark.look in CIRCLES else "observed"
    for key, label in mark.past:
        yield rf"\node[{base},past] ({names[key]}) at {_at(layout.centres[key])} {{${label.latex}$}};"
    style = mark.look + (",dashed" if mark.tentative else "")
    place = f"({names[mark.key]}) at {_at(layout.centres[mark.key])}"
    label = beside(layout, mark)
    if label is not None:
        yield rf"\node[{style},label={{[caption]{_side(layout, mark, label)}:${mark.label.latex}$}}] {place} {{}};"
    elif fits(mark):
        size = r"\footnotesize" if mark.look in CIRCLES and font(mark) < 13 else ""
        yield rf"\node[{style}] {place} {{{size}${mark.label.latex}$}};"
    else:
        yield rf"\node[{style}] {place} {{}};"


def _side(layout: Layout, mark: Mark, label: Label) -> str:
    """The side of its mark on which a label stands."""
    x, y = layout.centres[mark.key]
    if label.anchor != "middle":
        return "right" if label.at[0] > x else "left"
    return "above" if label.at[1] < y else "below"


def _arrow(arrow: Arrow, curve: Curve, names: Mapping[str, str]) -> str:
    style = ",".join(word for word, given in (("arrow", curve.head), ("dashed", curve.dashed)) if given)
    way = " ".join(f"{_piece(*piece)} {_at(piece[2])}" for piece in curve.pieces[:-1])
    last = "--" if curve.straight else _piece(curve.start, curve.control, curve.stop)
    return rf"\draw[{style}] ({names[arrow.tail]}) {f'{way} {last}' if way else last} ({names[arrow.head]});"


def _piece(start: Point, control: Point, stop: Point) -> str:
    return f".. controls {_at(_toward(control, start))} and {_at(_toward(control, stop))} .."


def _toward(control: Point, end: Point) -> Point:
    """The control point of the same curve as a cubic Bézier, at one of its ends."""
    return (end[0] + 2 * (control[0] - end[0]) / 3, end[1] + 2 * (control[1] - end[1]) / 3)


def _plates(layout: Layout, words: Mapping[str, Label], names: Mapping[str, str]) -> Iterator[str]:
    """Innermost first, each fitted around its members, the plates inside it, and its caption."""
    frames = {frame.name: frame for frame in layout.figure.frames}
    inner: list[str] = []
    for name in reversed(list(layout.frames)):
        frame, node = frames[name], names[f"plate {name}"]
        corner = (words[name].at[0], layout.frames[name].bottom - PAD)
        yield rf"\node[caption,anchor=south east] ({node}-caption) at {_at(corner)} {{${frame.label.latex}$}};"
        parts = [f"({names[key]})" for key in _drawn(layout, frame)]
        parts += [f"({names[f'plate {other}']})" for other in inner if set(frames[other].members) <= set(frame.members)]
        parts += [f"({node}-caption)", *_corners(layout, frame)]
        yield rf"\node[plate,fit={{{' '.join(parts)}}}] ({node}) {{}};"
        inner.append(name)


def _drawn(layout: Layout, frame: Frame) -> list[str]:
    """The members with their companions."""
    return [key for member in frame.members for key in (member, *(past for past, _ in layout.mark[member].past))]


def _corners(layout: Layout, frame: Frame) -> list[str]:
    """Fixed corners for a plate that crosses another, whose margins are wider so that no two sides coincide."""
    others = (other.members for other in layout.figure.frames if other.name in layout.frames)
    if not any(crosses(set(frame.members), set(members)) for members in others):
        return []
    box = layout.frames[frame.name]
    return [_at((box.left + PAD, box.top + PAD)), _at((box.right - PAD, box.bottom - PAD))]


def _words(label: Label) -> str:
    anchor = {"start": "base west", "middle": "base", "end": "base east"}[label.anchor]
    return rf"\node[anchor={anchor},inner sep=0pt] at {_at(label.at)} {{${label.text.latex}$}};"
