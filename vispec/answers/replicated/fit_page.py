"""check-fit.html: data beside what the fitted model would have given, in pictures."""

import math
from html import escape

from vispec.answers.replicated.checked import Beside, Calibration, Checked, CheckedFit
from vispec.train.store.files import write_atomic
from vispec.train.store.report import STYLE
from vispec.train.store.run import Run

FILE = "check-fit.html"
WIDTH, HEIGHT = 220, 18
BAR, TALL = 24, 90
MODEL, DATA, ODD = "#3b6ea8", "#222", "#c0562b"


def write_page(run: Run, found: CheckedFit) -> None:
    """Into the folder of the run."""
    write_atomic(run.folder / FILE, page(run, found))


def page(run: Run, found: CheckedFit) -> str:
    """The page as text. Every name that comes from a spec or a data file is escaped."""
    title = escape(f"{run.config.name}: {run.folder.name}, fit and data")
    told = (
        f"<p>Each line: a statistic of the data (dot) beside the middle 90 % of {found.replicates} data sets that the fitted "
        "model draws (bar). Each histogram: the share of cells whose rank among their replicates is in that tenth; where the "
        "model is right, all are as high as the line.</p>"
    )
    left = f"<p>{escape(', '.join(found.left_out))}: Flat() is no law to draw from.</p>" if found.left_out else ""
    body = "\n".join(section(variable) for variable in found.variables)
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html>\n<html><head>{head}</head>\n<body>\n<h1>{title}</h1>{told}{left}\n{body}\n</body></html>\n"


def section(variable: Checked) -> str:
    rows = "".join(line(told) for told in variable.statistics)
    titles = "".join(f"<th>{text}</th>" for text in ("", "data", "model", "5 %", "95 %", ""))
    picture = "" if variable.calibration is None else histogram(variable.calibration)
    head = f"<h2>{escape(variable.name)}</h2><p>{variable.cells} cells</p>"
    return f'{head}<table class="numbers"><tr>{titles}</tr>{rows}</table>{picture}'


def line(told: Beside) -> str:
    cells = (told.name, *(f"{number:.4g}" for number in (told.data, told.mean, told.low, told.high)))
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + f"<td>{strip(told)}</td></tr>"


def strip(told: Beside) -> str:
    """The interval as a bar, and the data as a dot."""
    numbers = (told.low, told.high, told.data)
    if not all(map(math.isfinite, numbers)):
        return ""
    left, right = min(numbers), max(numbers)
    unit = (WIDTH - 20) / (right - left) if right > left else 0.0
    low, high, data = (10 + unit * (number - left) if unit else WIDTH / 2 for number in numbers)
    colour = ODD if told.odd else DATA
    bar = f'<rect x="{low:.1f}" y="6" width="{max(high - low, 1.0):.1f}" height="6" fill="{MODEL}" opacity=".45"/>'
    dot = f'<circle cx="{data:.1f}" cy="9" r="4" fill="{colour}"/>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">{bar}{dot}</svg>'


def histogram(told: Calibration) -> str:
    """Bars of the shares, and a line where all would be."""
    top = max(*told.shares, 2 / len(told.shares))
    scale, wide = TALL / top, BAR * len(told.shares)
    colour = ODD if told.odd else MODEL
    bars = "".join(
        f'<rect x="{BAR * i + 1}" y="{TALL - scale * share:.1f}" width="{BAR - 2}" height="{scale * share:.1f}" '
        f'fill="{colour}" opacity=".6"/>'
        for i, share in enumerate(told.shares)
    )
    level = TALL - scale / len(told.shares)
    even = f'<path d="M0 {level:.1f}H{wide}" stroke="{DATA}" stroke-dasharray="4 3"/>'
    words = f"<p>calibration: distance {told.distance:.3f}, by chance up to {told.limit:.3f}</p>"
    return f'{words}<svg viewBox="0 0 {wide} {TALL + 1}" width="{wide}" height="{TALL + 1}" role="img">{bars}{even}</svg>'
