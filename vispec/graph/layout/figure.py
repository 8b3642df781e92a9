"""ModelGraph → Figure: what a drawing shows, before anything has a place.

Conventions, after Bishop and tikz-bayesnet: a latent variable is a hollow circle, an observed one a shaded circle, a partial
one a circle with its left half shaded; a given input is a small solid dot with its name beside it; a deterministic node is a
double circle; a parameter is its bare name. A factor is a small solid square and a net a small hollow one. The past of a chain
is a dashed circle to the left of the present (`c` at t−1, a prefix at <t). The guide's edges and nodes are dashed.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vispec.graph.build import ModelGraph, drawn_plates
from vispec.graph.maths import TEXT
from vispec.graph.reads import walk
from vispec.graph.symbols import Text, glyph
from vispec.model import model as m

Look = Literal["latent", "observed", "partial", "given", "deterministic", "param", "net", "factor"]


@dataclass(frozen=True)
class Mark:
    """One thing drawn at a place of its own. past: its companions to the left, nearest first, each (key, label).

    tentative: drawn dashed, as belonging to the guide."""

    key: str
    look: Look
    label: Text
    plates: tuple[str, ...] = ()
    past: tuple[tuple[str, Text], ...] = ()
    tentative: bool = False


@dataclass(frozen=True)
class Arrow:
    """From one mark, or companion, to another, by their keys. head: whether its end is pointed."""

    tail: str
    head: str
    pointed: bool = True
    dashed: bool = False


@dataclass(frozen=True)
class Frame:
    """A plate: its members are keys of marks, in order; inside frames that hold a subset are drawn within it."""

    name: str
    members: tuple[str, ...]
    label: Text


@dataclass(frozen=True)
class Figure:
    """The content of a drawing. laws: the lines of the generative story, each (left of ∼, right of it)."""

    name: str
    marks: tuple[Mark, ...]
    arrows: tuple[Arrow, ...]
    frames: tuple[Frame, ...]
    laws: tuple[tuple[str, str], ...] = ()


def make_figure(graph: ModelGraph, *, factors: bool = False, guide: bool = False, laws: bool = False) -> Figure:
    """The figure of a graph, with as much in it as asked for."""
    edges = [edge for edge in _edges(graph) if guide or not edge[3]["guide"]]
    shown = _shown(graph, edges, factors)
    edges = [edge for edge in edges if edge[0] in shown and edge[1] in shown]
    chained = {data["plate"] for tail, _, key, data in edges if key != tail}
    marks = [_mark(graph, name, edges, chained) for name in graph.graph if name in shown]
    arrows = [_arrow(*edge) for edge in edges]
    if factors:
        squares, arrows = _with_factors(graph, arrows)
        marks += squares
    frames = _frames(graph, marks)
    return Figure(graph.model.name, tuple(marks), tuple(dict.fromkeys(arrows)), frames, _laws(graph.model) if laws else ())


def _edges(graph: ModelGraph) -> Iterator[tuple[str, str, str, dict]]:
    """(tail, head, key of what the arrow leaves, attributes)."""
    for tail, head, data in graph.graph.edges(data=True):
        yield tail, head, _past_key(tail, head, data), data


def _past_key(tail: str, head: str, data: dict) -> str:
    """The key of the companion that an edge leaves, or of the mark itself."""
    if data["access"] == "past":
        return f"{tail}@{data['lag']}"
    if data["access"] == "prefix":
        return f"{tail}@<"
    return f"{tail}@" if tail == head else tail


def _shown(graph: ModelGraph, edges: Iterable[tuple[str, str, str, dict]], factors: bool) -> set[str]:
    """Nets are drawn with the factors, or when their weights are random, and with them the tables that they read; what only a
    hidden guide uses is hidden."""
    used = {tail for tail, *_ in edges}
    shown = set()
    for name, data in graph.graph.nodes(data=True):
        if data["kind"] == "net":
            visible = (name in used and factors) or graph.model.net[name].random
        elif data["kind"] == "embedding":
            readers = [head for tail, head, *_ in edges if tail == name]
            visible = any((head in used and factors) or graph.model.net[head].random for head in readers)
        else:
            visible = (name in used or graph.graph.out_degree(name) == 0) if data["kind"] == "param" or data["guide"] else True
        if visible:
            shown.add(name)
    return shown


def _mark(graph: ModelGraph, name: str, edges: Iterable[tuple[str, str, str, dict]], chained: set[str]) -> Mark:
    """The mark of a node; names carry the index of a plate in which something reads its past."""
    data = graph.graph.nodes[name]
    look = {"let": "deterministic", "param": "param", "embedding": "param", "net": "net", "variable": data["role"]}[
        data["kind"]
    ]
    look = "latent" if data["kind"] == "net" and data["role"] else look
    leaves = {key: edge for tail, _, key, edge in edges if tail == name and key != name}
    past = tuple((key, _past_label(graph, name, leaves[key])) for key in sorted(leaves, key=lambda key: _reach(leaves[key])))
    own = ", ".join(plate for plate in data["plates"] if plate in chained and _subscript(plate))
    return Mark(name, look, Text(name, own), data["plates"], past, data["guide"])


def _reach(edge: dict) -> float:
    """How far an edge reaches back, a prefix farthest."""
    return math.inf if edge["lag"] is None else edge["lag"]


def _subscript(plate: str) -> str:
    """A plate's name where it is short enough for a subscript."""
    return plate if len(plate) <= 2 else ""


def _past_label(graph: ModelGraph, name: str, edge: dict) -> Text:
    plate = _subscript(edge["plate"] or "")
    if edge["access"] == "past":
        return Text(name, f"{plate}−{edge['lag']}")
    if edge["access"] == "prefix":
        return Text(name, f"<{plate}")
    law = graph.model.variable[name].law if name in graph.model.variable else graph.model.let[name].value
    found = [part for part in (walk(law) if law else ()) if isinstance(part, m.Select) and part.name == name]
    return Text(name, ", ".join(TEXT.expression(by) for _, by in found[0].by) if found else "")


def _arrow(tail: str, head: str, key: str, data: dict) -> Arrow:
    return Arrow(key, head, dashed=data["guide"])


def _with_factors(graph: ModelGraph, arrows: Iterable[Arrow]) -> tuple[list[Mark], list[Arrow]]:
    """A square between each variable and what its law reads; the guide's arrows stay as they are."""
    variables = [v for v in graph.model.variables if v.law is not None]
    squares = {v.name: Mark(f"{v.name}~", "factor", Text(_law_name(v.law)), drawn_plates(v, graph.model)) for v in variables}
    routed = []
    for arrow in arrows:
        square = None if arrow.dashed else squares.get(arrow.head)
        routed.append(Arrow(arrow.tail, square.key, pointed=False) if square else arrow)
    routed += [Arrow(square.key, name) for name, square in squares.items()]
    return list(squares.values()), routed


def _law_name(law: m.Law | None) -> str:
    """The distributions that a law may be, once each."""
    names = dict.fromkeys(part.distribution for part in walk(law) if isinstance(part, m.Draw)) if law else {}  # pyright: ignore
    return " / ".join(names)


def _frames(graph: ModelGraph, marks: Iterable[Mark]) -> tuple[Frame, ...]:
    """The plates that hold something."""
    found = []
    for plate in graph.model.plates:
        members = tuple(mark.key for mark in marks if plate.name in mark.plates)
        if members:
            found.append(Frame(plate.name, members, Text(plate_label(plate, graph.model))))
    return tuple(found)


def plate_label(plate: m.Plate, model: m.Model) -> str:
    """`k = 1..K`; a chain's elements come in order, so `t = 1 → |x|`."""
    dots = " → " if plate.kind == "chain" else ".."
    return f"{glyph(plate.name)} = 1{dots}{plate_limit(plate, model)}"


def plate_limit(plate: m.Plate, model: m.Model) -> str:
    """The number of elements: the size, |x| of a ragged plate, and N for the rows unless the spec uses that name."""
    if plate.size is not None:
        return str(plate.size)
    if plate.ragged or not plate.data:
        return f"|{glyph(plate.length_key.removesuffix('_len'))}|"
    taken = {item.name for item in (*model.sizes, *model.vocabs, *model.variables, *model.params)}
    return next(letter for letter in ("N", "M", "rows") if letter not in taken)


def _laws(model: m.Model) -> tuple[tuple[str, str], ...]:
    with_law = [model.variable[name] for name in model.order if name in model.variable and model.variable[name].law]
    return tuple((Text(variable.name).plain, TEXT.law(variable.law)) for variable in with_law)
