"""A chain of order two: one forward pass over pairs of states.

    Z = Σ_{z_1..z_T} init[z_1] second[z_1, z_2] Π_{t > 2} step_t[z_{t-2}, z_{t-1}, z_t] Π_t seen_t[z_t]

The node: Structure("second_order_chain", given=(log_init, log_second, log_step, log_seen), binds=(plate t, *pasts two back,
*pasts one back, *states)). As the chain's, with log_second along the pasts one back and the states, and log_step along all
three and, where it differs along t, t, whose first two elements are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.node import Node, Structure
from vispec.structures.calls import ONCE, kernel, state_of
from vispec.structures.elements import at_element, from_element
from vispec.structures.entry import Group, StructureKind, laid_over, where_counted, with_lengths

if TYPE_CHECKING:
    from vispec.program.cost import Numbers


def recognises(group: Group) -> bool:
    return group.shape is None and len(group.pasts) == 2


def terms(group: Group, numbers: Numbers) -> int:
    """K³ a step."""
    return numbers.of(group.plate) * numbers.elements((*group.pasts[0], *group.pasts[1], *group.states))


def form(group: Group, factors: Sequence[Node], algebra: str) -> Node:
    """What reads a past is a law of the first element, of the second and of each step; the rest is seen."""
    plate, (one, two) = group.plate, group.pasts
    moves = [factor for factor in factors if factor.axes & {*one, *two}]
    rest = [factor for factor in factors if not factor.axes & {*one, *two}] or [build.node(0.0)]
    first = [build.pick(at_element(move, plate, 0), dict.fromkeys((*one, *two), 0)) for move in moves]
    after = [build.pick(at_element(move, plate, 1), dict.fromkeys(two, 0)) for move in moves]
    init = laid_over(build.add(*first), group.states)
    second = laid_over(build.add(*after), (*one, *group.states))
    step = laid_over(build.add(*(from_element(move, plate, 2) for move in moves)), (*two, *one, *group.states))
    seen = where_counted(build.add(*rest), group.states)
    seen = with_lengths(laid_over(seen, (plate, *group.states)), plate)
    binds = (plate, *two, *one, *group.states)
    return Structure("second_order_chain", (init, second, step, seen), binds, (), algebra)


def log_sum(node: Structure, given: Sequence[Any], world: Any, values: Any) -> Any:
    """The forward pass over pairs in log space, in float64."""
    from vispec.program.interpreter.interpret import Array
    from vispec.program.interpreter.interpret_ops import log_sum_exp

    plate, *rest = node.binds
    n = len(rest) // 3
    two, one, states = rest[:n], rest[n : 2 * n], rest[2 * n :]
    kept = ordered(node.axes)
    shape, each = [world.extent(axis) for axis in kept], [world.extent(axis) for axis in states]
    K, T = prod(each), world.extent(plate)
    init = given[0].laid((*kept, *states)).expand(*shape, *each).reshape(*shape, K)
    second = given[1].laid((*kept, *one, *states)).expand(*shape, *each, *each).reshape(*shape, K, K)
    step = given[2].laid((*kept, plate, *one, *states, *two)).expand(*shape, T, *each, *each, *each)
    step = step.reshape(*shape, T, K, K, K)
    seen = given[3].laid((*kept, plate, *states)).expand(*shape, T, *each).reshape(*shape, T, K)
    length = torch.tensor(T) if plate.lengths is None else values[plate.lengths].laid(kept)
    if T == 0:
        return Array(torch.zeros(shape, dtype=torch.float64), kept)
    single = init + seen[..., 0, :]
    total = log_sum_exp(single)
    if T > 1:
        pairs = single.unsqueeze(-1) + second + seen[..., 1, None, :]
        for t in range(2, T):
            before = pairs.transpose(-1, -2).unsqueeze(-2)  # (..., one, 1, two)
            after = log_sum_exp(before + step[..., t, :, :, :]) + seen[..., t, None, :]
            pairs = torch.where((t < length)[..., None, None], after, pairs)
        total = torch.where(length > 1, log_sum_exp(pairs.flatten(-2)), total)
    return Array(torch.where(length == 0, 0.0, total), kept)


def call(node: Structure) -> Node:
    """As second_order_log_prob takes it."""
    plate, *rest = node.binds
    n = len(rest) // 3
    two, one, states = tuple(rest[:n]), tuple(rest[n : 2 * n]), tuple(rest[2 * n :])
    oldest, before, state = state_of(two), state_of(one), state_of(states)
    init, second, step, seen = node.given
    step = build.merge(build.merge(build.merge(step, two, oldest), one, before), states, state)
    later = Axis(plate.hint, "plate")
    own: tuple[Axis, ...] = (oldest, before, state)
    if plate in step.axes:
        step, own = build.tail(step, plate, 2, later), (later, *own)
    elif step.axes - {*own}:
        step, own = build.spread(step, (ONCE,)), (ONCE, *own)
    given = [
        (build.merge(init, states, state), (state,)),
        (build.merge(build.merge(second, one, before), states, state), (before, state)),
        (step, own),
        (build.merge(seen, states, state), (plate, state)),
    ]
    file = "vispec.kernels.sums.pairs"
    return kernel(node, f"{file}:second_order_log_prob", f"{file}:second_order_total", given, plate)


ENTRY = StructureKind(
    "second_order_chain",
    recognises,
    terms,
    form,
    log_sum,
    "one forward pass over pairs",
    call,
    ranks=True,
    called="a second-order chain",
    summed="chain",
)
