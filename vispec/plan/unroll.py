"""Latents of two plates that cross, coupled by a factor in both: the smaller plate is unrolled if it is small.

All joint values of its latents are enumerated; given them, the elements of the other plate are independent again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod

from vispec.diagnostics import Diagnostic, Label
from vispec.model.model import Model
from vispec.plan.axes import present, unrolled_plate
from vispec.plan.costs import axis_size
from vispec.plan.eliminate import IntractableError

MOST = 4096  # joint values of an unrolled plate


@dataclass(frozen=True)
class Option:
    """A plate that might be unrolled, and its latents. count: their joint values; formula: as a text; why: what forbids it."""

    plate: str
    latents: tuple[str, ...]
    count: int
    formula: str
    why: str | None


def options(error: IntractableError, model: Model, home: Mapping[str, frozenset[str]], fixed: Collection[str]) -> list[Option]:
    """Plates of some, but not all, of the coupled latents, that with the fewest joint values first. fixed: latents whose
    elements are already tied to each other, or that stand for more than themselves."""
    names = sorted({present(axis) for axis in error.latents if unrolled_plate(axis) is None})
    found = []
    for plate in sorted(error.plates):
        latents = tuple(name for name in names if plate in home[name])
        if latents and len(latents) < len({present(axis) for axis in error.latents}):
            found.append(option(plate, latents, model, fixed))
    return sorted(found, key=lambda each: (each.why is not None, each.count))


def option(plate: str, latents: tuple[str, ...], model: Model, fixed: Collection[str]) -> Option:
    size, values = axis_size(plate, model), [axis_size(name, model) for name in latents]
    formula = " · ".join(f"{value}^{size}" for value in values)
    tied = [name for name in latents if name in fixed]
    if tied:
        return Option(plate, latents, 0, formula, f"`{tied[0]}` is a chain, a tree, guided or read at an index")
    if not all(text.isdigit() for text in (size, *values)):
        return Option(plate, latents, 0, formula, f"{formula} joint values, a number that only data tell")
    count = prod(int(value) for value in values) ** int(size)
    return Option(plate, latents, count, formula, f"{formula} joint values, more than {MOST}" if count > MOST else None)


def coupled(error: IntractableError, model: Model, found: list[Option]) -> Diagnostic:
    """V701: no plate can be unrolled."""
    names = sorted({present(axis) for axis in error.latents})
    listed = ", ".join(f"`{name}`" for name in names)
    reasons = "; ".join(f"unrolling {each.plate}: {each.why}" for each in found)
    return Diagnostic(
        "V701",
        f"latents {listed} are coupled by every element of plates {', '.join(sorted(error.plates))}"
        + (f" ({reasons})" if reasons else ""),
        Label(model.variable[names[0]].span, "summing it out would enumerate every joint assignment of a plate"),
        tuple(Label(model.variable[name].span, "coupled with") for name in names[1:]),
        "write the size of the smaller plate, give a latent a guide, or write the coupling inside one plate",
    )
