"""Standard errors of constrained numbers by the delta method, or the reason why a number has none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vispec.train.estimates.bounds import Held, hold, lost
from vispec.train.estimates.information import KNOWN, Information, Spectrum, inform, polish, probe, second_derivatives
from vispec.train.estimates.nodes import Node, jacobian
from vispec.train.estimates.numbers import Whole, coordinates, numbered, places
from vispec.train.estimates.values import Term
from vispec.train.newton.objective import Slot

BOUND = "at its bound"
ENDLESS = "grows without bound"
UNMET = "met no row"
NO_MAXIMUM = "no maximum here"
KEPT = "kept"

MISSES = 1e-2  # nats below the maximum from which on a fit has not arrived: an estimate may be 0.14 standard errors off
HIDDEN = 1e-4  # the share of a number's derivatives along unknown directions that still is rounding
SHOWN = 4  # terms of a direction that are named


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
    rises."""

    log_prob: float
    rank: int | None
    misses: float
    told: Mapping[Place, Told]


def standard_errors(nodes: Sequence[Node], module: nn.Module, f: Whole) -> Standard:
    """Of all numbers of these nodes, where the module's parameters are as fitted; they are so again afterwards."""
    x = f.vector()
    value, gradient = f(x)
    of = coordinates(nodes, module, f.slots, len(x))
    probed = probe(f, x, value, gradient, of.ends, MISSES)
    misses = probed.misses
    second = second_derivatives(f, x, probed.width) if misses <= MISSES else None
    if second is None or not bool(second.isfinite().all()):
        f.put(x)
        return Standard(-value, None, misses, _nowhere(nodes, module))
    held = hold(f, x, value, gradient, second, of)
    gradient, spectrum = f(held.at)[1], Spectrum.of(second, held.free)
    misses = spectrum.decrement(gradient, spectrum.w > KNOWN)
    top = polish(f, held.at, gradient, spectrum)
    if bool((top != x).any()):
        before, second = second, second_derivatives(f, top, probed.width)
        held = lost(before, second, held)
    information = inform(f, top, Spectrum.of(second, held.free), held.free)
    arrived = misses <= MISSES and not information.bent.shape[1]
    f.put(top)
    told = _tell(nodes, module, f.slots, held, information) if misses <= MISSES else _nowhere(nodes, module)
    f.put(x)
    return Standard(-value, information.rank if arrived else None, float("inf") if information.bent.shape[1] else misses, told)


def _nowhere(nodes: Sequence[Node], module: nn.Module) -> dict[Place, Told]:
    """Every number of a fit that has not arrived."""
    values = {node.name: node.value(module) for node in nodes}
    return {
        (node.name, index): Told(note=NO_MAXIMUM if values[node.name].requires_grad else KEPT)
        for node in nodes
        for index in node.indices(tuple(values[node.name].shape))
    }


def _tell(
    nodes: Sequence[Node], module: nn.Module, slots: Sequence[Slot], held: Held, information: Information
) -> dict[Place, Told]:
    """What there is to say of each number."""
    parameters = dict(module.named_parameters())
    leaves = [parameters[slot.name] for slot in slots]
    values = {node.name: node.value(module) for node in nodes}
    rows = {name: jacobian(value, leaves) for name, value in values.items() if value.requires_grad}
    told: dict[Place, Told] = {}
    for node in nodes:
        shape = tuple(values[node.name].shape)
        if node.name not in rows:
            told |= {(node.name, index): Told(note=KEPT) for index in node.indices(shape)}
            continue
        slot = places(node, slots)
        own = {} if slot is None else dict(numbered(node, slot))
        by = rows[node.name].view(*shape, -1)
        for index in node.indices(shape):
            reason = _reason(node, index, by[index], own, held)
            told[node.name, index] = Told(note=reason) if reason else _error(by[index], information, nodes, rows, values)
    return told


def _reason(node: Node, index: tuple[int, ...], row: Tensor, own: dict[tuple[int, ...], int], held: Held) -> str | None:
    """Why a number has no standard error for what its own unconstrained numbers are; None where they are free."""
    if own and node.type.domain == "simplex":
        others = [i for other, i in own.items() if other[:-1] == index[:-1] and other != index]
        if others and bool(held.bound[others].all()):
            return BOUND
    reads = [own[index]] if own else [int(i) for i in row.nonzero()[:, 0]]
    for which, note in ((held.unmet, UNMET), (held.bound, BOUND), (held.endless, ENDLESS)):
        if reads and bool(which[reads].any()) and (own or not bool((row[held.free] != 0).any())):
            return note
    return None


def _error(
    row: Tensor, information: Information, nodes: Sequence[Node], rows: dict[str, Tensor], values: dict[str, Tensor]
) -> Told:
    """The standard error of a number with these derivatives (d,), where the data decide it."""
    if information.share(information.bent, row) > HIDDEN:
        return Told(note=NO_MAXIMUM)
    if information.share(information.unknown, row) > HIDDEN:
        return Told(note="not identified", along=_direction(row, information, nodes, rows, values))
    return Told(se=float((row @ information.covariance @ row).clamp(min=0).sqrt()))


def _direction(
    row: Tensor, information: Information, nodes: Sequence[Node], rows: dict[str, Tensor], values: dict[str, Tensor]
) -> tuple[tuple[str, tuple[int, ...], float], ...]:
    """Of the directions that the data say nothing of, the one that moves this number most: what the parameters do along it,
    the largest first, in units of the largest."""
    scaled = information.unknown @ (information.unknown.T @ information.scaled(row))
    moved = torch.where(information.free, scaled / information.scale, 0.0)
    terms: list[tuple[float, float, str, tuple[int, ...]]] = []
    for node in nodes:
        if node.derived or node.name not in rows:
            continue
        shape = tuple(values[node.name].shape)
        by = rows[node.name].view(*shape, -1)
        for index in node.indices(shape):
            relative = float(information.scaled(by[index]).norm())
            change = float(by[index] @ moved)
            if relative > 0:
                terms.append((abs(change) / relative, change, node.name, index))
    most = max(size for size, *_ in terms)
    chosen = sorted((term for term in terms if term[0] > 1e-3 * most), key=lambda term: -term[0])
    unit = abs(chosen[0][1])
    sign = 1.0 if chosen[0][1] > 0 else -1.0
    return tuple((name, index, sign * change / unit) for _, change, name, index in chosen)


def along(terms: Sequence[Term], titles: Sequence[str]) -> str:
    """A direction in words: a − b, or mu[0] + 0.5 mu[1]."""
    shown = [_term(i, term.weight, name) for i, (term, name) in enumerate(zip(terms[:SHOWN], titles, strict=False))]
    more = f" and {len(terms) - SHOWN} more" if len(terms) > SHOWN else ""
    return "not identified (along " + " ".join(shown) + more + ")"


def _term(i: int, weight: float, name: str) -> str:
    size = f"{abs(weight):.3g}"
    sign = "-" if weight < 0 else "+" if i else ""
    return (sign + " " if i else sign) + (name if size == "1" else f"{size} {name}")
