"""The course of a fit as a picture: a line for each restart, in axes with ticks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 84, 64, 14, 44
COLOURS = {"train": "#3b6ea8", "valid": "#c0562b"}
POINTS = 400  # of one line; a picture shows no more
TICKS = 5

Line = list[tuple[float, float]]


def series(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[Line]]:
    """(epoch, log-probability per row) of training data and, where there are any, of validation data: a line a restart."""
    found: dict[str, dict[int, Line]] = {name: {} for name in COLOURS}
    for line in lines:
        for name, restarts in found.items():
            value = line.get(name, {}).get("log_prob_per_row") if line["event"] == "epoch" else None
            if value is not None:
                restarts.setdefault(line.get("restart", 0), []).append((line.get("epoch", line["step"]), value))
    return {name: list(restarts.values()) for name, restarts in found.items() if restarts}


def curves(found: Mapping[str, Sequence[Line]]) -> str:
    """All lines in common axes; what lies far below all others, as the first steps may, is cut off."""
    points = [point for lines in found.values() for line in lines for point in line]
    if not points:
        return "<p>No epoch was completed.</p>"
    ys = sorted(y for _, y in points)
    across = Axis.of(0.0, max(1.0, *(x for x, _ in points)), LEFT, WIDTH - RIGHT, least=1.0)
    up = Axis.of(ys[len(ys) // 50], ys[-1], HEIGHT - BOTTOM, TOP)
    parts = [*grid(across, up)]
    for i, (name, lines) in enumerate(found.items()):
        parts += [drawn([(across.at(x), up.at(y)) for x, y in thinned(line)], COLOURS[name], len(lines)) for line in lines]
        parts.append(text(WIDTH - RIGHT + 8, TOP + 8 + 16 * i, name, COLOURS[name], "start"))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" font-size="12">{"".join(parts)}</svg>'


class Axis:
    """From numbers to places on the page; `ticks` are round numbers."""

    def __init__(self, low: float, high: float, start: float, stop: float, ticks: Sequence[float]):
        self.low, self.high, self.start, self.stop, self.ticks = low, high, start, stop, ticks

    @classmethod
    def of(cls, low: float, high: float, start: float, stop: float, least: float = 0.0) -> "Axis":
        """least: between two ticks."""
        if high - low <= 1e-12 * max(abs(low), abs(high), 1e-12):  # all in one place: a little room around it
            room = abs(high) / 10 or 1.0
            low, high = low - room, high + room
        least = max(least, (high - low) / TICKS)
        power = 10.0 ** math.floor(math.log10(least))
        step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= least * (1 - 1e-9))
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return cls(low, high, start, stop, [step * i for i in range(first, last + 1)])

    def at(self, number: float) -> float:
        share = (min(max(number, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def words(self) -> list[str]:
        """The ticks, with as many decimals as tell them apart."""
        gap = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else abs(self.ticks[0]) or 1.0
        decimals = max(0, -math.floor(math.log10(gap) + 1e-9))
        return [f"{tick:z.{decimals}f}" if abs(tick) < 1e7 and decimals < 9 else f"{tick:g}" for tick in self.ticks]


def grid(across: Axis, up: Axis) -> Iterable[str]:
    """Lines at the ticks with their numbers, and what the axes are."""
    for tick, word in zip(up.ticks, up.words(), strict=True):
        yield f'<path d="M{LEFT} {up.at(tick):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield text(LEFT - 6, up.at(tick) + 4, word)
    for tick, word in zip(across.ticks, across.words(), strict=True):
        yield f'<path d="M{across.at(tick):.1f} {HEIGHT - BOTTOM}v4" stroke="#999"/>'
        yield text(across.at(tick), HEIGHT - BOTTOM + 17, word, anchor="middle")
    yield f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#999"/>'
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "epoch", anchor="middle")


def drawn(places: Sequence[tuple[float, float]], colour: str, beside: int) -> str:
    """One line, paler where others are beside it; a single point as a dot."""
    if len(places) == 1:
        return f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3" fill="{colour}"/>'
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    pale = ' opacity=".55"' if beside > 1 else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"{pale}/>'


def thinned(line: Line) -> Line:
    """At most about POINTS of its points, with the last."""
    stride = -(-len(line) // POINTS)
    return [*line[:-1:stride], line[-1]]


def text(x: float, y: float, words: str, colour: str = "#555", anchor: str = "end") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'
