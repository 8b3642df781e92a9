"""Scene → SVG text. Needs no program and no library."""

from xml.sax.saxutils import escape, quoteattr

from vispec.graph.drawing.scene import Scene
from vispec.graph.drawing.things import Box, Circle, Curve, Label, Thing, head
from vispec.graph.symbols import Text, runs

FACE = "'STIX Two Text','STIX Two Math','Latin Modern Roman','Times New Roman',Times,'DejaVu Serif',serif"
FILLS = {"none": "#ffffff", "shade": "#c8c8c8", "ink": "#000000"}


def draw_svg(scene: Scene) -> str:
    """The picture as one SVG document; one point is one user unit."""
    view = scene.view
    left, top, width, height = map(_n, (view.left, view.top, view.right - view.left, view.bottom - view.top))
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt"',
        f'     viewBox="{left} {top} {width} {height}"',
        f'     font-family="{FACE}" stroke="#000000" stroke-width="1" fill="none" role="img">',
        f"<title>{_text(scene.title)}</title>",
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="#ffffff" stroke="none"/>',
        *(_draw(thing) for thing in scene.things),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _draw(thing: Thing) -> str:
    match thing:
        case Circle():
            return _circle(thing)
        case Box():
            return _box(thing)
        case Curve():
            return _curve(thing)
        case Label():
            return _label(thing)


def _circle(circle: Circle) -> str:
    (x, y), r = map(_n, circle.centre), _n(circle.radius)
    fill = FILLS["none" if circle.half else circle.fill]
    drawn = f'<circle cx="{x}" cy="{y}" r="{r}" fill="{fill}"{_dash(circle.dashed)}/>'
    if not circle.half:
        return drawn
    top, bottom = _n(circle.centre[1] - circle.radius), _n(circle.centre[1] + circle.radius)
    half = f'<path d="M {x} {top} A {r} {r} 0 0 0 {x} {bottom} Z" fill="{FILLS[circle.fill]}" stroke="none"/>'
    return f'{drawn}\n{half}\n<circle cx="{x}" cy="{y}" r="{r}"{_dash(circle.dashed)}/>'


def _box(box: Box) -> str:
    at = box.rectangle
    shape = f'x="{_n(at.left)}" y="{_n(at.top)}" width="{_n(at.right - at.left)}" height="{_n(at.bottom - at.top)}"'
    fill = "none" if box.corner else FILLS[box.fill]
    return f'<rect {shape} rx="{_n(box.corner)}" fill="{fill}"{_dash(box.dashed)}/>'


def _curve(curve: Curve) -> str:
    tip, left, right, end = head(curve)
    stop = end if curve.head else curve.stop
    pieces = [(control, end) for _, control, end in curve.pieces[:-1]] + [(curve.control, stop)]
    way = " ".join(f"Q {_p(control)} {_p(end)}" for control, end in pieces)
    line = f'<path d="M {_p(curve.origin)} {way}"{_dash(curve.dashed)}/>'
    if not curve.head:
        return line
    return f'{line}\n<path d="M {_p(tip)} L {_p(left)} L {_p(right)} Z" fill="#000000" stroke="none"/>'


def _label(label: Label) -> str:
    x, y = map(_n, label.at)
    halo = ' paint-order="stroke" stroke="#ffffff" stroke-width="3" stroke-linejoin="round"' if label.halo else ' stroke="none"'
    where = f'x="{x}" y="{y}" font-size="{_n(label.size)}" text-anchor="{label.anchor}" fill="#000000"{halo}'
    return f'<text xml:space="preserve" {where}>{_spans(label.text, label.size)}</text>'


def _spans(text: Text, size: float) -> str:
    base = "".join(_span(run, slanted) for run, slanted in runs(text.base))
    if not text.sub:
        return base
    sub = "".join(_span(run, slanted) for run, slanted in runs(text.sub))
    return f'{base}<tspan dy="{_n(0.24 * size)}" font-size="{_n(0.72 * size)}">{sub}</tspan>'


def _span(run: str, slanted: bool) -> str:
    return f'<tspan font-style="italic">{_text(run)}</tspan>' if slanted else _text(run)


def _dash(dashed: bool) -> str:
    return f" stroke-dasharray={quoteattr('4 3')}" if dashed else ""


def _text(text: str) -> str:
    """Escaped, without the control characters that XML cannot hold."""
    return escape("".join(c for c in text if c.isprintable()))


def _p(point: tuple[float, float]) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(number: float) -> str:
    """Two decimals at most; never a negative zero."""
    return f"{round(number, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
