"""report.html: one self-contained page about a run: what came out, in words; diagram, estimates, curves; how it was fitted."""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from vispec.graph.build import build_graph
from vispec.graph.drawing.draw import TEXTS
from vispec.graph.layout.figure import make_figure
from vispec.train.errors import RunError
from vispec.train.estimates.show import footnotes, header, heading
from vispec.train.estimates.show import table as show_table
from vispec.train.estimates.values import Estimates
from vispec.train.scores.diagnostics import described
from vispec.train.scores.final import scored
from vispec.train.store.curves import curves, series
from vispec.train.store.files import write_atomic
from vispec.train.store.metrics import read_metrics
from vispec.train.store.run import VERIFY, Run

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2rem; } .of { color: #666; margin-top: 0; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
td { font-variant-numeric: tabular-nums; } th { font-weight: 600; } tr + tr { border-top: 1px solid #eee; }
pre { background: #f6f6f4; padding: .8rem; overflow-x: auto; } summary { cursor: pointer; color: #3b6ea8; }
.numbers td:not(:first-child):not(:last-child), .numbers th { text-align: right; }
figure { margin: 1.5rem 0; } svg { max-width: 100%; height: auto; }
"""
SETTINGS = {"lr": "learning rate", "clip": "gradients clipped at", "warmup": "steps of warmup", "decay_to": "decay to"}
SETTINGS |= {"valid": "share held out", "save_every": "seconds between checkpoints", "cycles": "cycles of annealing"}


def write_report(run: Run, estimates: Estimates | None = None) -> None:
    """Write the page of a run into its folder."""
    write_atomic(run.folder / "report.html", render_report(run, estimates))


def render_report(run: Run, estimates: Estimates | None = None) -> str:
    """The page as text. Every name that comes from a spec or a data file is escaped."""
    lines, damage = found_metrics(run)
    final = next((line for line in reversed(lines) if line["event"] == "end"), {})
    title = escape(f"{run.config.name}: {run.folder.name}")
    parts = (
        f'<h1>{title}</h1><p class="of">{escape(fitted_to(run))}</p>',
        "".join(f"<p>{escape(line)}</p>" for line in result(final, estimates)),
        diagram(run),
        "" if estimates is None else estimates_table(estimates, told=False),
        latents(final),
        "<h2>Log-probability per row, in nats</h2>" + (damage or curves(series(lines))),
        verification(run),
        folded("Configuration", table(configuration(run))),
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


# ---- in words


def fitted_to(run: Run) -> str:
    """Which spec, and which data."""
    rows = f"{run.config.rows:.15g} row{'s' * (run.config.rows != 1)}"
    data = ", ".join(Path(name).name for name in run.config.data)
    return f"{Path(run.config.spec).name}, fitted to {rows}" + (f" of {data}" if data else "")


def result(final: Mapping[str, Any], estimates: Estimates | None) -> Iterator[str]:
    """Scores, how the fit ended, and what is counted."""
    for name in ("train", "valid"):
        if final.get(name) is not None:
            yield f"{name}: {scored(final[name], name == 'train')}"
    told = [line for line in (final.get("text"), *final.get("notes", ())) if line]
    yield from told if estimates is None else estimates.notes
    yield from header(estimates, scored=bool(final)) if estimates is not None else ()


def latents(final: Mapping[str, Any]) -> str:
    """How latents with guides are used, as `vispec eval` says it."""
    told = {name: (final.get(name) or {}).get("diagnostics") for name in ("train", "valid")}
    items = [f"{name}: {line}" for name, found in told.items() if found for line in described(found)]
    return "<h2>Latents</h2><ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>" if items else ""


def verification(run: Run) -> str:
    """What the verification beside the fit found; nothing where there was none, or it was changed."""
    if not (run.folder / VERIFY).exists():
        return ""
    try:
        found = json.loads(run.file(VERIFY).read_bytes())
    except (RunError, ValueError) as error:
        return f"<h2>Verification</h2><p>{escape(str(error))}</p>"
    checks = [(check["check"], check["verdict"], check["note"] or "") for check in found["report"].get("checks", ())]
    return f"<h2>Verification</h2><p>{escape(found['text'])}</p>" + (folded("Each check", table(checks)) if checks else "")


def configuration(run: Run) -> Iterator[tuple[str, str]]:
    """What was fitted to what, and how; what was left alone is left out."""
    config, settings = run.config.model_dump(), run.config.settings.model_dump()
    named = {"version": "vispec", "validation data": "valid", "starts from": "start", "parameters from": "params"}
    named |= {name: name for name in ("spec", "data", "sizes", "columns", "index", "absent")}
    unused = {"lr"} if settings["optimizer"] == "newton" else set[str]()
    unused |= set() if settings["anneal"] else {"cycles"}
    yield from ((title, worded(config[key])) for title, key in named.items() if config[key])
    for name, value in settings.items():
        if value and value != "none" and name not in unused:
            yield SETTINGS.get(name, name.replace("_", " ")), worded(value)


def worded(value: Any) -> str:
    """A setting for a reader."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name} = {worded(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(worded, value))
    return "yes" if value is True else f"{value:.6g}" if isinstance(value, float) else str(value)


# ---- as pictures and tables


def diagram(run: Run) -> str:
    """The model in plate notation as inline SVG, without the XML prologue that only a file may have."""
    svg = TEXTS["svg"](make_figure(build_graph(run.model)))
    return f"<figure>{svg[svg.index('<svg') :]}</figure>"


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows of text."""
    return (
        "<table>" + "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows) + "</table>"
    )


def folded(title: str, inner: str) -> str:
    """What is read on demand."""
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def estimates_table(estimates: Estimates, told: bool = True) -> str:
    """The table of `vispec params`; told: with what is said of the whole fit."""
    head = heading(estimates)
    rows = [[cell.name, cell.estimate, cell.se, cell.low, cell.high, cell.note] for cell in show_table(estimates)]
    titles = "".join(f"<th>{escape(title)}</th>" for title in ("", head.estimate, head.se, head.low, head.high, ""))
    lines = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    above, below = (
        "".join(f"<p>{escape(line)}</p>" for line in part if line)
        for part in (header(estimates) if told else (), footnotes(estimates))
    )
    return f'<h2>Parameters</h2>{above}<table class="numbers"><tr>{titles}</tr>{lines}</table>{below}'
