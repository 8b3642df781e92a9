"""What cannot be summed within the budget, with figures and what would help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["budget", "coupled", "shared", "selected", "structured"]

ABSURD = 10**1000
"""Stands for all numbers of terms that are no smaller."""


@dataclass(frozen=True)
class Way:
    """Something that would make it possible. terms: what it would take in all, None where it cannot be told."""

    text: str
    terms: int | None = None


class IntractableError(Exception):
    """terms: how many for one element of all kept axes, at the least; step: of those, how many in the largest sum; bytes: of
    its value. latents, factors: those that make it large. why: in a sentence. ways: what would help, the cheapest first.
    kind: whether a sum exceeds its budget; or latents are coupled, by what is selected of them, by a structure that
    nothing sums, or by plates; or shared by what is apart."""

    def __init__(
        self,
        why: str,
        terms: int | None,
        latents: tuple[str, ...],
        factors: tuple[str, ...],
        ways: tuple[Way, ...] = (),
        step: int | None = None,
        bytes: int | None = None,
        kind: Kind = "coupled",
    ):
        self.kind: Kind = kind
        self.why, self.terms, self.latents, self.factors = why, terms, latents, factors
        self.ways, self.step, self.bytes = ways, step if step is not None else terms, bytes
        super().__init__(f"{why}{''.join(f'; {way.text}' for way in ways)}")


def figure(number: int) -> str:
    """A number to be read: in full where it is short, else as a power of ten: 7,550; 10^12; 1.3 · 10^14."""
    if number >= ABSURD:
        return "more than 10^1000"
    if number < 10**7:
        return f"{number:,}"
    power = len(str(number)) - 1
    lead = number // 10 ** (power - 1) / 10
    return f"10^{power}" if lead == 1 else f"{lead:g} · 10^{power}"


def enough(number: int) -> str:
    """A number that is no smaller, to be read like a figure."""
    if number >= ABSURD:
        return figure(number)
    unit = 10 ** max(len(str(number)) - 2, 0) if number >= 10**7 else 1
    return figure(-(-number // unit) * unit)
