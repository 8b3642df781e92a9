"""report.html: one self-contained page about a run, with its diagram, its curves, its configuration and its final numbers."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from vispec.graph.build import build_graph
from vispec.graph.drawing.draw import TEXTS
from vispec.graph.layout.figure import make_figure
from vispec.train.errors import RunError
from vispec.train.estimates.show import footnotes, header, heading
from vispec.train.estimates.show import table as show_table
from vispec.train.estimates.values import Estimates
from vispec.train.store.files import write_atomic
from vispec.train.store.metrics import read_metrics
from vispec.train.store.run import VERIFY, Run

WIDTH, HEIGHT, MARGIN = 640, 240, 56
COLOURS = {"train": "#3b6ea8", "valid": "#c0562b"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
td { font-variant-numeric: tabular-nums; } pre { background: #f6f6f4; padding: .8rem; overflow-x: auto; }
.numbers td:not(:first-child):not(:last-child), .numbers th { text-align: right; }
svg { max-width: 100%; height: auto; }
"""


def write_report(run: Run, estimates: Estimates | None = None) -> None:
    """Write the page of a run into its folder."""
    write_atomic(run.folder / "report.html", render_report(run, estimates))


def render_report(run: Run, estimates: Estimates | None = None) -> str:
    """The page as text. Every name that comes from a spec or a data file is escaped."""
    lines, damage = found_metrics(run)
    final = next((line for line in reversed(lines) if line["event"] == "end"), {})
    title = escape(f"{run.config.name}: {run.folder.name}")
    parts = (
        f"<h1>{title}</h1>",
        diagram(run),
        "<h2>Result</h2>" + table(flatten(final, skip=("event",))) if final else "",
        "" if estimates is None else estimates_table(estimates),
        verification(run),
        "<h2>Log-probability per row (nats)</h2>" + (damage or curves(series(lines))),
        "<h2>Configuration</h2>" + table(flatten(run.config.model_dump())),
        f"<h2>Spec</h2><pre>{escape(run.source.text)}</pre>",
    )
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html>\n<html><head>{head}</head>\n<body>\n" + "\n".join(filter(None, parts)) + "\n</body></html>\n"


def found_metrics(run: Run) -> tuple[list[dict[str, Any]], str]:
    """The lines of metrics, or what is said in place of curves: damage there is no reason to fail after a fit."""
    try:
        return read_metrics(run.folder, run.trust), ""
    except RunError as error:
        return [], f"<p>{escape(str(error))}</p>"


def verification(run: Run) -> str:
    """What the verification beside the fit found; nothing where there was none, or it was changed."""
    if not (run.folder / VERIFY).exists():
        return ""
    try:
        found = json.loads(run.file(VERIFY).read_bytes())
    except (RunError, ValueError) as error:
        return f"<h2>Verification</h2><p>{escape(str(error))}</p>"
    checks = [(check["check"], check["verdict"], check["note"] or "") for check in found["report"].get("checks", ())]
    rows = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in checks)
    return f"<h2>Verification</h2><p>{escape(found['text'])}</p>" + (f"<table>{rows}</table>" if rows else "")


def diagram(run: Run) -> str:
    """The model in plate notation as inline SVG, without the XML prologue that only a file may have."""
    svg = TEXTS["svg"](make_figure(build_graph(run.model)))
    return f"<figure>{svg[svg.index('<svg') :]}</figure>"


def series(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """(step, log-probability per row) by epoch: for training data and, where there are any, validation data."""
    found: dict[str, list[tuple[float, float]]] = {"train": [], "valid": []}
    for line in lines:
        for name, points in found.items():
            value = line.get(name, {}).get("log_prob_per_row") if line["event"] == "epoch" else None
            if value is not None:
                points.append((line["step"], value))
    return {name: points for name, points in found.items() if points}


def curves(found: Mapping[str, list[tuple[float, float]]]) -> str:
    """Polylines in common axes, with the ends of both axes written out."""
    points = [point for line in found.values() for point in line]
    if not points:
        return "<p>No epoch was completed.</p>"
    xs, ys = sorted({x for x, _ in points}), sorted(y for _, y in points)
    low = ys[len(ys) // 50]  # the first steps of a fit may lie far below all others
    left, right, bottom, top = xs[0], xs[-1], low, ys[-1]

    def place(x: float, y: float) -> str:
        across = (x - left) / (right - left) if right > left else 0.5
        up = (max(y, bottom) - bottom) / (top - bottom) if top > bottom else 0.5
        return f"{MARGIN + across * (WIDTH - 2 * MARGIN):.1f},{HEIGHT - 32 - up * (HEIGHT - 48):.1f}"

    drawn = [_line(name, " ".join(place(x, y) for x, y in line), i) for i, (name, line) in enumerate(found.items())]
    marks = [
        _text(4, HEIGHT - 28, f"{bottom:.5g}"),
        _text(4, 20, f"{top:.5g}"),
        _text(MARGIN, HEIGHT - 8, f"step {left:g}"),
        _text(WIDTH - MARGIN - 60, HEIGHT - 8, f"step {right:g}"),
    ]
    frame = f'<path d="M{MARGIN} 12V{HEIGHT - 32}H{WIDTH - MARGIN}" fill="none" stroke="#999"/>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">{frame}{"".join(marks)}{"".join(drawn)}</svg>'


def _line(name: str, points: str, number: int) -> str:
    """One curve with its name at the upper right; a single point is drawn as a dot."""
    colour = COLOURS[name]
    shape = f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    if " " not in points:
        x, y = points.split(",")
        shape = f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
    return shape + f'<text x="{WIDTH - MARGIN + 8}" y="{20 + 16 * number}" font-size="12" fill="{colour}">{name}</text>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="11" fill="#555">{escape(text)}</text>'


def flatten(value: Mapping[str, Any], skip: tuple[str, ...] = (), prefix: str = "") -> list[tuple[str, str]]:
    """(dotted name, text) of everything in nested objects; what is unset is left out."""
    found: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if key in skip or item is None or item in ([], (), {}):
            continue
        if isinstance(item, Mapping):
            found += flatten(item, skip, f"{name}.")
        else:
            found.append((name, f"{item:.6g}" if isinstance(item, float) else _listed(item)))
    return found


def _listed(item: Any) -> str:
    return ", ".join(map(str, item)) if isinstance(item, list | tuple) else str(item)


def table(pairs: Iterable[tuple[str, str]]) -> str:
    """Two columns."""
    return "<table>" + "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in pairs) + "</table>"


def estimates_table(estimates: Estimates) -> str:
    """The table of `vispec params`, with what is said of all of it."""
    head = heading(estimates)
    rows = [[cell.name, cell.estimate, cell.se, cell.low, cell.high, cell.note] for cell in show_table(estimates)]
    titles = "".join(f"<th>{escape(title)}</th>" for title in ("", head.estimate, head.se, head.low, head.high, ""))
    lines = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    told = "".join(f"<p>{escape(line)}</p>" for line in (*header(estimates), *footnotes(estimates)) if line)
    return f'<h2>Parameters</h2>{told}<table class="numbers"><tr>{titles}</tr>{lines}</table>'
