"""A chain of order one: one forward pass over its elements.

    Z = Σ_{z_1..z_T} init[z_1] Π_{t > 1} step_t[z_{t-1}, z_t] Π_t seen_t[z_t]

The node: Structure("chain", given=(log_init, log_step, log_seen), binds=(plate t, *pasts, *states)). One or more states, each
with its past in the same place; several are one joint state, the first one's digit highest. log_init has the axes of all
states; log_step those of all pasts and all states and, where it differs along t, t, whose first element is not read; log_seen
those of t and of all states. Each may have further axes, which the node has. A chain of no elements has Z = 1; along a ragged t
what is past a chain's length is not read. What a ragged state does not have is -inf in log_seen, or in log_init and each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.node import Link, Map, Node, Rename, Spread, Structure
from vispec.structures.calls import ONCE, kernel, state_of
from vispec.structures.elements import at_element, from_element
from vispec.structures.entry import Group, StructureKind, laid_over, where_counted, with_lengths

if TYPE_CHECKING:
    from vispec.program.cost import Numbers


def recognises(group: Group) -> bool:
    return group.shape is None and len(group.pasts) == 1


def terms(group: Group, numbers: Numbers) -> int:
    """K² a step."""
    return numbers.of(group.plate) * numbers.elements((*group.pasts[0], *group.states))


def form(group: Group, factors: Sequence[Node], algebra: str) -> Node:
    """What reads a past is a law of the first element and of each step; the rest is seen."""
    plate, (past,) = group.plate, group.pasts
    moves = [factor for factor in factors if factor.axes & {*past}]
    rest = [factor for factor in factors if not factor.axes & {*past}] or [build.node(0.0)]
    first = [build.pick(at_element(move, plate, 0), dict.fromkeys(past, 0)) for move in moves]
    step = laid_over(build.add(*(from_element(move, plate, 1) for move in moves)), (*past, *group.states))
    closed = [axis for axis in group.states if never_entered(step, axis, plate)]  # of these the first element is all to ask
    init = laid_over(where_counted(build.add(*first), closed), group.states)
    seen = where_counted(build.add(*rest), [axis for axis in group.states if axis not in closed])
    seen = with_lengths(laid_over(seen, (plate, *group.states)), plate)
    return Structure("chain", (init, step, seen), (plate, *past, *group.states), (), algebra)


def never_entered(step: Node, state: Axis, plate: Axis) -> bool:
    """Whether no step along the plate leads to a value past the number that counts, the same at each: as its law is a softmax
    over those that do."""
    match step:
        case Link("log_softmax", _, (over,)):
            return over is state and over.lengths is not None and plate not in over.lengths.axes
        case Rename(arg, pairs):
            old = {new: old for old, new in pairs}.get(state, state)
            return old.lengths is state.lengths and never_entered(arg, old, plate)
        case Spread(arg):
            return never_entered(arg, state, plate)
        case Map("add", terms):
            return any(never_entered(term, state, plate) for term in terms)
    return False


def log_sum(node: Structure, given: Sequence[Any], world: Any, values: Any) -> Any:
    """The forward pass in log space, in float64."""
    from vispec.program.interpreter.interpret import Array
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    plate, *rest = node.binds
    past, states = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    kept = ordered(node.axes)
    shape = [world.extent(axis) for axis in kept]
    size, T = prod(world.extent(axis) for axis in states), world.extent(plate)
    init = given[0].laid((*kept, *states)).expand(*shape, *(world.extent(s) for s in states)).reshape(*shape, size)
    each = [world.extent(axis) for axis in states]
    step = given[1].laid((*kept, plate, *states, *past)).expand(*shape, T, *each, *each).reshape(*shape, T, size, size)
    seen = given[2].laid((*kept, plate, *states)).expand(*shape, T, *each).reshape(*shape, T, size)
    length = torch.tensor(T) if plate.lengths is None else values[plate.lengths].laid(kept)
    if T == 0:
        return Array(torch.zeros(shape, dtype=torch.float64), kept)
    alpha = init + seen[..., 0, :]
    for t in range(1, T):
        after = log_sum_exp(alpha.unsqueeze(-2) + step[..., t, :, :]) + seen[..., t, :]
        alpha = torch.where((t < length).unsqueeze(-1), after, alpha)
    return Array(torch.where(length == 0, 0.0, log_sum_exp(alpha)), kept)


def call(node: Structure) -> Node:
    """As chain_log_prob takes it: the transitions without those of the first element, joint states as one axis."""
    plate, *rest = node.binds
    past, states = tuple(rest[: len(rest) // 2]), tuple(rest[len(rest) // 2 :])
    before, state = state_of(past), state_of(states)
    init, step, seen = node.given
    step = build.merge(build.merge(step, past, before), states, state)
    later = Axis(plate.hint, "plate")
    own: tuple[Axis, ...] = (before, state)
    if plate in step.axes:
        step, own = build.tail(step, plate, 1, later), (later, *own)
    elif step.axes - {*own}:
        step, own = build.spread(step, (ONCE,)), (ONCE, *own)
    given = [(build.merge(init, states, state), (state,)), (step, own), (build.merge(seen, states, state), (plate, state))]
    return kernel(node, "vispec.kernels.sums.chain:chain_log_prob", "vispec.kernels.sums.algebra:chain_total", given, plate)


ENTRY = StructureKind(
    "chain",
    recognises,
    terms,
    form,
    log_sum,
    "one forward pass",
    call,
    ranks=True,
    called="a first-order chain",
    summed="chain",
)
