"""Labelled stretches of a sequence, of at most L elements each: a semi-Markov chain whose tables of labels and lengths factor.

    Z = Σ_stretches init[k_1] Π_{s > 1} move[k_{s-1}, k_s] Π_s duration[k_s, d_s] whole[i_s, k_s, d_s] Π_i seen[i, label of i]

The node: Structure("segments", given=(init, move, duration, seen, whole), binds=(plate i, state, before, after, length)). init
is over after, move over before and after, duration over after and length, whose first value is one element, whole over plate i
at the first element of a stretch, after and length, and not there where nothing says what a stretch is as a whole; state is the
axis of the labels of elements. With the setting cut, the last stretch has any length from that on which the elements have.
A sequence of
no elements has Z = 1; along a ragged plate what is past the length is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vispec.catalog import Option
from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import ordered
from vispec.program.node import Node, Structure
from vispec.structures.calls import kernel
from vispec.structures.entry import Group, Shape, StructureKind, laid_over, with_lengths

if TYPE_CHECKING:
    from torch import Tensor

    from vispec.program.cost import Numbers

FILE = "vispec.kernels.sums.segments"


def recognises(group: Group) -> bool:
    return group.shape is not None and group.shape.domain == "segments" and not group.pasts and len(group.states) in (1, 4)


def terms(group: Group, numbers: Numbers) -> int:
    """At each element, each label after each other, and each length that ends there."""
    _, before, after, length = group.states
    return numbers.of(group.plate) * (numbers.elements((before, after)) + numbers.elements((after, length)))


def form(group: Group, factors: Sequence[Node], algebra: str) -> Node:
    """What reads a length is of durations, or, at elements, of whole stretches; what reads a label before of moves, what reads
    one after of the first stretch."""
    state, before, after, length = group.states
    tables: tuple[list[Node], ...] = ([], [], [], [])
    wholes = [each for each in factors if {group.plate, length} <= each.axes]
    for each in factors:
        if each not in wholes:
            tables[next((at for at, axis in enumerate((length, before, after)) if axis in each.axes), 3)].append(each)
    durations, moves, inits, rest = tables
    duration, move, init = (build.pick(build.add(*each), {state: 0}) for each in (durations, moves, inits))
    seen = with_lengths(laid_over(build.add(*rest) if rest else build.node(0.0), (group.plate, state)), group.plate)
    given = (laid_over(init, (after,)), laid_over(move, (before, after)), laid_over(duration, (after, length)), seen)
    if wholes:
        labelled = build.rename(build.spread(build.add(*wholes), (state,)), {state: after})
        given += (with_lengths(laid_over(labelled, (group.plate, after, length)), group.plate),)
    return Structure("segments", given, (group.plate, *group.states), settings(group.shape), algebra)


def settings(shape: Shape | None) -> tuple[tuple[str, Any], ...]:
    return (("cut", True),) if shape is not None and shape.says("cut", True) else ()


def log_sum(node: Structure, given: Sequence[Any], world: Any, values: Any) -> Any:
    """Element by element in float64."""
    from vispec.program.interpreter.interpret import Array

    plate, state, before, after, length = node.binds
    kept = ordered(node.axes)
    shape, n = [world.extent(axis) for axis in kept], world.extent(plate)
    own = ((after,), (before, after), (after, length), (plate, state), (plate, after, length))
    laid = [
        each.laid((*kept, *axes)).expand(*shape, *map(world.extent, axes)).reshape(-1, *map(world.extent, axes))
        for each, axes in zip(given, own, strict=False)
    ]
    if len(given) < len(own):
        laid.append(laid[3].new_zeros(*laid[3].shape, world.extent(length)))
    lengths = torch.tensor(n) if plate.lengths is None else values[plate.lengths].laid(kept)
    sizes = lengths.expand(shape).reshape(-1).tolist()
    cut = ("cut", True) in node.settings
    each_row = zip(*laid, sizes, strict=True)
    rows = [of_row(init, move, duration, seen[:size], whole, cut) for init, move, duration, seen, whole, size in each_row]
    found = torch.stack(rows) if rows else torch.zeros(0, dtype=torch.float64)
    return Array(found.reshape(shape), kept)


def of_row(init: Tensor, move: Tensor, duration: Tensor, seen: Tensor, whole: Tensor, cut: bool) -> Tensor:
    """log Z of one row: init (K,), move (K, K), duration (K, L), seen (n, K), whole (n, K, L)."""
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    n, L = len(seen), duration.shape[1]
    closed = list[Tensor]()  # of all before an element, by the label of the last stretch
    for end in range(1, n + 1):
        ways = []
        for start in range(max(0, end - L), end):
            opened = init if start == 0 else log_sum_exp(closed[start - 1] + move.mT)
            lasting = duration[:, end - start - 1]
            if cut and end == n:
                lasting = log_sum_exp(duration[:, end - start - 1 :])
            ways.append(opened + lasting + whole[start, :, end - start - 1] + seen[start:end].sum(0))
        closed.append(log_sum_exp(torch.stack(ways, -1)))
    return log_sum_exp(closed[-1]) if n else torch.zeros((), dtype=torch.float64)


def call(node: Structure) -> Node:
    """As segments_log_prob takes it."""
    plate, state, before, after, length = node.binds
    own = ((after,), (before, after), (after, length), (plate, state))
    given = list(zip(node.given, own, strict=False))
    more = tuple((each, (plate, after, length), "whole") for each in node.given[len(own) :])
    return kernel(node, f"{FILE}:segments_log_prob", f"{FILE}:segments_total", given, plate, more)


ENTRY = StructureKind(
    "segments",
    recognises,
    terms,
    form,
    log_sum,
    "one pass over labels and lengths",
    call,
    whole=False,
    called="a semi-Markov chain",
    summed="stretches",
    told={
        "stretches": (
            "vispec.kernels.told.stretches:best_stretches",
            "the best way to cut and label, each stretch by first element, last element and label.",
        ),
        "boundaries": (
            "vispec.kernels.told.stretches:boundaries",
            "the probability that a stretch begins at each element.",
        ),
    },
    domain="segments",
    options={"cut": Option("flag", default=False)},
    settings=settings,
    decide=f"{FILE}:segments_sample",
)
