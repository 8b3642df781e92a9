"""Standard errors of constrained numbers by the delta method, or the reason why a number has none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vispec.train.estimates.nodes import Node, jacobian
from vispec.train.estimates.uncertainty.bounds import Held, hold, lost
from vispec.train.estimates.uncertainty.information import (
    KNOWN,
    Information,
    Spectrum,
    inform,
    polish,
    probe,
    second_derivatives,
)
from vispec.train.estimates.uncertainty.numbers import Whole, coordinates, places
from vispec.train.estimates.values import Term
from vispec.train.newton.objective import Slot

BOUND = "at its bound"
ENDLESS = "grows without bound"
UNMET = "met no row"
NO_MAXIMUM = "no maximum here"
KEPT = "fixed"
UNKNOWN = "not identified"

MISSES = 1e-2  # nats below the maximum from which on a fit has not arrived: an estimate may be 0.14 standard errors off
HIDDEN = 1e-4  # the share of a number's derivatives along unknown directions that still is rounding
TERMS, SHOWN = 20, 4  # terms of a direction that are kept, and that a note names


Place = tuple[str, tuple[int, ...]]
"""A number: the name of its node, and its index."""


@dataclass(frozen=True)
class Told:
    """What there is to say about one number beside its value."""

    se: float | None = None
    note: str | None = None
    along: tuple[tuple[str, tuple[int, ...], float], ...] = ()


@dataclass(frozen=True)
class Standard:
    """Of each number of each node, by name and index. log_prob: in nats, in float64. rank: None where the fit is not at a
    maximum. misses: how many nats it is below one, or at least; infinite where it is none to which the log-probability
    rises, nan at an edge of it."""

    log_prob: float
    rank: int | None
    misses: float
    told: Mapping[Place, Told]


@dataclass(frozen=True)
class Observed:
    """The observed information at the maximum `top` (d,) next to where a fit ended, or which it reached; held numbers are moved
    to their ends there."""

    top: Tensor
    held: Held
    information: Information


@dataclass(frozen=True)
class Seen:
    """log_prob, misses: as in Standard. observed: None where the fit has not arrived, or not near any maximum."""

    log_prob: float
    misses: float
    observed: Observed | None

    @property
    def arrived(self) -> bool:
        """Whether the fit ended at a maximum."""
        return self.observed is not None and not self.observed.information.bent.shape[1]


def observe(nodes: Sequence[Node], module: nn.Module, f: Whole, begun: Callable[[], None] = lambda: None) -> Seen:
    """The information that the data have of the module's parameters, which are as fitted, and are so again afterwards. begun:
    called before the long part of the work, which a fit that has not arrived is spared."""
    x = f.vector()
    value, gradient = f(x)
    of = coordinates(nodes, module, f.slots, len(x))
    probed = probe(f, x, value, gradient, of.ends, MISSES)
    misses = probed.misses
    if misses <= MISSES:
        begun()
    second = second_derivatives(f, x, probed.width) if misses <= MISSES else None
    if second is None or not bool(second.isfinite().all()):
        f.put(x)
        return Seen(-value, misses, None)
    held = hold(f, x, value, gradient, second, of)
    gradient, spectrum = f(held.at)[1], Spectrum.of(second, held.free)
    misses = spectrum.decrement(gradient, spectrum.w > KNOWN)
    top = polish(f, held.at, gradient, spectrum)
    if bool((top != x).any()):
        before, second = second, second_derivatives(f, top, probed.width)
        held = lost(before, second, held)
    information = inform(f, top, Spectrum.of(second, held.free), held.free)
    f.put(x)
    bent = bool(information.bent.shape[1])
    return Seen(-value, float("inf") if bent else misses, Observed(top, held, information) if misses <= MISSES else None)


def standard_errors(nodes: Sequence[Node], module: nn.Module, f: Whole, begun: Callable[[], None] = lambda: None) -> Standard:
    """Of all numbers of these nodes, where the module's parameters are as fitted; they are so again afterwards."""
    x, seen = f.vector(), observe(nodes, module, f, begun)
    if seen.observed is None:
        return Standard(seen.log_prob, None, seen.misses, _nowhere(nodes, module))
    f.put(seen.observed.top)
    told = _tell(nodes, module, f.slots, seen.observed.held, seen.observed.information)
    f.put(x)
    return Standard(seen.log_prob, seen.observed.information.rank if seen.arrived else None, seen.misses, told)


def _nowhere(nodes: Sequence[Node], module: nn.Module) -> dict[Place, Told]:
    """Every number of a fit that has not arrived."""
    values = {node.name: node.value(module) for node in nodes}
    return {
        (node.name, index): Told(note=NO_MAXIMUM if values[node.name].requires_grad else KEPT)
        for node in nodes
        for index in np.ndindex(*values[node.name].shape)
    }


def _tell(
    nodes: Sequence[Node], module: nn.Module, slots: Sequence[Slot], held: Held, information: Information
) -> dict[Place, Told]:
    """What there is to say of each number."""
    parameters = dict(module.named_parameters())
    leaves = [parameters[slot.name] for slot in slots]
    values = {node.name: node.value(module) for node in nodes}
    rows = {name: jacobian(value, leaves) for name, value in values.items() if value.requires_grad}
    moving = Moving.of([node.name for node in nodes if node.name in rows and not node.derived], values, rows, information)
    told: dict[Place, Told] = {}
    for node in nodes:
        shape = tuple(values[node.name].shape)
        indices = list(np.ndindex(*shape))
        if node.name not in rows:
            told |= {(node.name, index): Told(note=KEPT) for index in indices}
            continue
        slot = places(node, slots)
        reasons = _by_derivatives(rows[node.name], held) if slot is None else _by_place(node, slot, held)
        for index, row, reason in zip(indices, rows[node.name], reasons, strict=True):
            told[node.name, index] = Told(note=reason) if reason else _error(row, information, moving)
    return told


def _by_place(node: Node, slot: Slot, held: Held) -> list[str | None]:
    """Why a parameter's numbers, in their order, have no standard errors for what their own unconstrained numbers are: held.
    The only number of a simplex that is not at 0 is at 1."""
    own = slice(slot.start, slot.stop)
    bound = held.bound[own]
    if node.type.domain == "simplex":
        each = bound.view(slot.shape)
        rest = each.sum(-1, keepdim=True) - each.long()
        bound = bound | ((rest == slot.shape[-1] - 1) & (rest > 0)).view(-1)
    facts = zip(bound.tolist(), held.unmet[own].tolist(), held.endless[own].tolist(), strict=True)
    return [BOUND if at_end else UNMET if unmet else ENDLESS if endless else None for at_end, unmet, endless in facts]


def _by_derivatives(rows: Tensor, held: Held) -> list[str | None]:
    """The same of numbers with derivatives (n, d) that others decide: where all of those are held."""
    found: list[str | None] = []
    for read in (rows != 0).unbind():
        facts = ((held.unmet, UNMET), (held.bound, BOUND), (held.endless, ENDLESS))
        notes = [note for which, note in facts if bool((which & read).any())]
        found.append(notes[0] if notes and not bool((read & held.free).any()) else None)
    return found


@dataclass(frozen=True)
class Moving:
    """The numbers (n) of all parameters: their places, their derivatives (n, d), and the length of these by scaled numbers."""

    places: Sequence[Place]
    rows: Tensor
    length: Tensor

    @classmethod
    def of(
        cls, names: Sequence[str], values: Mapping[str, Tensor], rows: Mapping[str, Tensor], information: Information
    ) -> "Moving":
        """Those of the nodes of these names."""
        found = [(name, index) for name in names for index in np.ndindex(*values[name].shape)]
        whole = torch.cat([rows[name] for name in names]) if names else information.scale.new_zeros(0, len(information.scale))
        return cls(found, whole, information.scaled(whole).norm(dim=1))

    def along(self, direction: Tensor) -> tuple[tuple[str, tuple[int, ...], float], ...]:
        """What changes along a direction (d,), the most first by its own measure, and by how much in units of the first."""
        change = self.rows @ direction
        size = torch.where(self.length > 0, change.abs() / self.length, 0.0)
        order = size.argsort(descending=True, stable=True)[:TERMS].tolist()
        first = float(change[order[0]])
        chosen = [i for i in order if size[i] > 1e-3 * size[order[0]]]
        return tuple((*self.places[i], float(change[i]) / first) for i in chosen)


def _error(row: Tensor, information: Information, moving: Moving) -> Told:
    """The standard error of a number with these derivatives (d,), where the data decide it; else the direction that they say
    nothing of and that moves it most."""
    if information.share(information.bent, row) > HIDDEN:
        return Told(note=NO_MAXIMUM)
    if information.share(information.unknown, row) > HIDDEN:
        scaled = information.unknown @ (information.unknown.T @ information.scaled(row))
        return Told(note=UNKNOWN, along=moving.along(torch.where(information.free, scaled / information.scale, 0.0)))
    return Told(se=float((row @ information.covariance @ row).clamp(min=0).sqrt()))


def along(terms: Sequence[Term], titles: Sequence[str]) -> str:
    """A direction in words: a − b, or mu[0] + 0.5 mu[1]."""
    shown = [_term(i, term.weight, name) for i, (term, name) in enumerate(zip(terms[:SHOWN], titles, strict=False))]
    more = " and others" if len(terms) > SHOWN else ""
    return f"{UNKNOWN} (along {' '.join(shown)}{more})"


def _term(i: int, weight: float, name: str) -> str:
    size = f"{abs(weight):.3g}"
    sign = "-" if weight < 0 else "+" if i else ""
    return (sign + " " if i else sign) + (name if size == "1" else f"{size} {name}")
