"""Estimates for a reader: lines of text, the rows of a table, and comma-separated values."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vispec.diagnostics import plain
from vispec.screen import folded, tabled
from vispec.train.estimates.values import ABOVE, Estimate, Estimates

LONG = 200  # numbers of one parameter from which on a table shows some
SOME = 20
DIGITS = 3  # significant digits of a standard error; its estimate is told to the same decimal
NEAR = 5e-5  # what is at its bound is told as that bound


@dataclass(frozen=True)
class Cells:
    """One line of a table as text. rule: it follows a line that parts parameters from what they decide."""

    name: str
    estimate: str = ""
    se: str = ""
    low: str = ""
    high: str = ""
    note: str = ""
    rule: bool = False


def show(estimates: Estimates, whole: bool = False) -> list[str]:
    """Header and table. whole: long parameters too are told number by number."""
    notes = [part for note in estimates.notes for part in folded(plain(note), rest="  ")]
    return [*header(estimates), *notes, "", *body(estimates, whole=whole)]


def header(estimates: Estimates, scored: bool = False) -> list[str]:
    """What is told of the whole fit, in one line if any. scored: its log-probability has been told."""
    rows = f"{estimates.rows:.15g} row{'s' * (estimates.rows != 1)}"
    kind = "log-probability" if estimates.bound == "exact" else "bound"
    told = [] if scored else [rows] if estimates.log_prob is None else [f"{kind} {number(estimates.log_prob, 4)} nats", rows]
    if estimates.free_parameters is not None:
        told.append(f"{estimates.free_parameters} free parameter{'s' * (estimates.free_parameters != 1)}")
    told += [
        f"{name} {number(value, 2)}" for name, value in (("AIC", estimates.aic), ("BIC", estimates.bic)) if value is not None
    ]
    return [", ".join(told)] if told else []


def body(estimates: Estimates, most: int | None = None, whole: bool = False) -> list[str]:
    """The table, at most so many lines of it, and the note that all numbers share."""
    found = table(estimates, whole)
    shown = found if most is None or len(found) <= most else found[: most - 1]
    more = [f"... and {len(found) - len(shown)} more lines: vispec params RUN"] if len(found) > len(shown) else []
    return [*aligned(shown, heading(estimates)), *more, *(part for line in footnotes(estimates) for part in folded(line))]


def heading(estimates: Estimates) -> Cells:
    percent = f"{100 * estimates.level:g} %"
    told = {entry.note for entry in estimates.parameters if entry.se is not None}
    guided = told == {"posterior mean and deviation"}
    return Cells("", "mean" if guided else "estimate", "deviation" if guided else "std. error", f"{percent} from", "to")


def table(estimates: Estimates, whole: bool = False) -> list[Cells]:
    """A line for each number; of long parameters for some, and for all that is folded one."""
    common = common_note(estimates)
    found: list[Cells] = []
    derived = False
    for name, entries in by_name([entry for entry in estimates.parameters if entry.note != ABOVE]):
        shown = entries if whole or len(entries) <= LONG else entries[:SOME]
        for entry in shown:
            found.append(cells(entry, common, entry.derived and not derived))
            derived = derived or entry.derived
        if len(entries) > len(shown):
            found.append(Cells(f"{name}[...]", note=f"{len(entries) - len(shown)} more: --all"))
    found += [Cells(each.name, note=f"{each.note}, {each.numbers:,} numbers") for each in estimates.folded]
    return found


def by_name(entries: Sequence[Estimate]) -> Iterator[tuple[str, list[Estimate]]]:
    """Runs of entries of one name."""
    group: list[Estimate] = []
    for entry in entries:
        if group and group[0].name != entry.name:
            yield group[0].name, group
            group = []
        group.append(entry)
    if group:
        yield group[0].name, group


def common_note(estimates: Estimates) -> str | None:
    """A note that all numbers have, told once below the table."""
    notes = {entry.note for entry in estimates.parameters if entry.note != ABOVE}
    return notes.pop() if len(notes) == 1 and len(estimates.parameters) > 1 else None


def footnotes(estimates: Estimates) -> list[str]:
    """The common note as a sentence."""
    note = common_note(estimates)
    if note is None:
        return []
    sentence = note if any(entry.se is not None for entry in estimates.parameters) else f"no standard errors: {note}"
    return ["", plain(sentence)]


def cells(entry: Estimate, common: str | None = None, rule: bool = False) -> Cells:
    """One number, with as many decimals as its standard error supports."""
    note = "" if entry.note is None or entry.note == common else plain(entry.note)
    if entry.se is None:
        return Cells(plain(entry.title), bare(entry), note=note, rule=rule)
    decimals = decimals_of(entry.estimate, entry.se)
    low, high = ("" if end is None else number(end, decimals) for end in (entry.low, entry.high))
    return Cells(plain(entry.title), number(entry.estimate, decimals), significant(entry.se, DIGITS), low, high, note, rule)


def bare(entry: Estimate) -> str:
    """A number without a standard error; at its bound, that bound."""
    if entry.note == "at its bound" and entry.scale != "real":
        for end in (0.0, 1.0) if entry.scale == "unit" else (0.0,):
            if abs(entry.estimate - end) < NEAR:
                return f"{end:g}"
    return significant(entry.estimate, 5)


def decimals_of(estimate: float, se: float) -> int | None:
    """Decimals that show a standard error to DIGITS digits; None for the form 1.23e+09."""
    if se <= 0 or not math.isfinite(se) or not math.isfinite(estimate):
        return None
    found = max(DIGITS - 1 - math.floor(math.log10(se)), 0)
    return found if found <= 9 and abs(estimate) < 1e9 else None


def number(value: float, decimals: int | None) -> str:
    if decimals is None:
        return f"{value:.4e}"
    text = f"{value:.{decimals}f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def significant(value: float, digits: int) -> str:
    """A number to so many digits, without an exponent where that is readable."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    place = math.floor(math.log10(abs(value)))
    if not -5 <= place < 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - place, 0)}f}"


def aligned(found: Sequence[Cells], head: Cells) -> list[str]:
    """Columns, numbers by their decimal points. A line of dashes parts deterministic nodes from parameters."""
    if not found:
        return []
    columns = [on_points([getattr(cell, name) for cell in found]) for name in ("estimate", "se", "low", "high")]
    heads = [head.estimate, head.se, head.low, head.high]
    widths = [max([len(title), *map(len, column)]) if any(column) else 0 for title, column in zip(heads, columns, strict=True)]
    wide = max(len(cell.name) for cell in found)

    def line(name: str, numbers: Sequence[str], note: str) -> list[str]:
        return tabled(
            [[name.ljust(wide), *(text.rjust(width) for text, width in zip(numbers, widths, strict=True) if width), note]]
        )

    lines = line("", heads, "") if any(widths) else []
    for i, cell in enumerate(found):
        if cell.rule and i:
            lines.append("-" * max(map(len, lines)))
        lines += line(cell.name, [column[i] for column in columns], cell.note)
    return lines


def on_points(texts: Sequence[str]) -> list[str]:
    """Padded on the right so that decimal points stand in one column."""
    tails = [len(text) - text.index(".") if "." in text else 0 for text in texts]
    most = max(tails, default=0)
    return [text + " " * (most - tail) if text else "" for text, tail in zip(texts, tails, strict=True)]


def as_csv(estimates: Estimates) -> str:
    """A line for each number, in full precision; labels parted by spaces."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["parameter", "name", "labels", "estimate", "se", "low", "high", "note"])
    for entry in estimates.parameters:
        labels = " ".join(map(str, entry.labels))
        ends = ["" if value is None else repr(value) for value in (entry.se, entry.low, entry.high)]
        writer.writerow([entry.title, entry.name, labels, repr(entry.estimate), *ends, entry.note or ""])
    return out.getvalue()
