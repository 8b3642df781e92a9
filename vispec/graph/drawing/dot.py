"""ModelGraph's figure → DOT text, for people who lay it out with Graphviz themselves. Clusters are the plates.

Graphviz' clusters cannot cross: of two crossing plates the one with fewer members keeps its cluster, the other is named
beside each of its members.
"""

from collections.abc import Iterable, Mapping

from graphviz import Digraph

from vispec.graph.build import crosses
from vispec.graph.layout.figure import Figure, Frame, Mark

STYLES: Mapping[str, Mapping[str, str]] = {
    "latent": {"shape": "circle"},
    "observed": {"shape": "circle", "style": "filled", "fillcolor": "gray80"},
    "partial": {"shape": "circle", "style": "wedged", "fillcolor": "white:gray80"},
    "given": {"shape": "circle", "style": "filled", "fillcolor": "black", "fontcolor": "white", "fixedsize": "false"},
    "deterministic": {"shape": "doublecircle"},
    "param": {"shape": "plaintext"},
    "net": {"shape": "square"},
    "factor": {"shape": "square", "style": "filled", "fillcolor": "black", "width": "0.12", "fixedsize": "true", "label": ""},
}


def draw_dot(figure: Figure) -> str:
    """The DOT source; no program is run."""
    dot = Digraph(name=figure.name, node_attr={"fontname": "Times-Italic", "width": "0.5", "margin": "0.02"})
    dot.attr(rankdir="TB", fontname="Times-Roman", compound="true")
    framed = _clustered(figure.frames)
    named = [frame for frame in figure.frames if frame not in framed]
    outside = {mark.key: [frame.label.plain for frame in named if mark.key in frame.members] for mark in figure.marks}
    _fill(dot, figure, framed, {mark.key for mark in figure.marks}, outside)
    for arrow in figure.arrows:
        style = {"style": "dashed", "constraint": "false"} if arrow.dashed else {}
        dot.edge(_id(arrow.tail), _id(arrow.head), **style, **({} if arrow.pointed else {"arrowhead": "none"}))
    return dot.source


def _id(key: str) -> str:
    """A node's id; a colon would be read as a port."""
    return key.replace(":", "_")


def _clustered(frames: Iterable[Frame]) -> list[Frame]:
    """The frames that become clusters, outermost first."""
    kept: list[Frame] = []
    for frame in sorted(frames, key=lambda frame: len(frame.members)):
        if not any(crosses(set(frame.members), set(other.members)) for other in kept):
            kept.append(frame)
    order = list(frames)
    return sorted(kept, key=lambda frame: (-len(frame.members), order.index(frame)))


def _fill(dot: Digraph, figure: Figure, frames: list[Frame], keys: set[str], outside: Mapping[str, list[str]]) -> None:
    """Add the marks of `keys`, those of each outermost frame inside its cluster."""
    rest = list(frames)
    while rest:
        frame, inner = rest[0], [other for other in rest[1:] if set(other.members) <= set(rest[0].members)]
        rest = [other for other in rest[1:] if other not in inner]
        cluster = Digraph(name=f"cluster_{frame.name}")
        cluster.attr(label=frame.label.plain, labelloc="b", labeljust="r", style="rounded")
        _fill(cluster, figure, inner, set(frame.members) & keys, outside)
        dot.subgraph(cluster)
        keys = keys - set(frame.members)
    for mark in figure.marks:
        if mark.key in keys:
            _add(dot, mark, outside[mark.key])


def _add(dot: Digraph, mark: Mark, outside: list[str]) -> None:
    style = dict(STYLES[mark.look])
    if mark.tentative:
        style["style"] = "dashed"
    words = {"xlabel": "\n".join(outside)} if outside else {}
    if mark.look == "factor":
        words["xlabel"] = "\n".join((mark.label.plain, *outside))
    dot.node(_id(mark.key), **({"label": mark.label.plain} | style | words))
    dashed = {"style": "dashed,filled", "fillcolor": style.get("fillcolor", "white")}
    for key, label in mark.past:
        dot.node(_id(key), **(style | dashed | {"label": label.plain}))
