"""`exact up to B else E`: rows of more joint values than B are estimated, as the plan's alternative says."""

from __future__ import annotations

from dataclasses import dataclass

from vispec.lower.bound import combined, summed
from vispec.plan.planned import Plan
from vispec.program import build
from vispec.program.axis import ordered
from vispec.program.node import Call, Node, Part
from vispec.program.program import Program

KERNEL = "vispec.kernels.rows:has_few_values"


@dataclass(frozen=True)
class Otherwise:
    """few: which rows are summed exactly. log_prob: the estimate for others."""

    few: Program
    log_prob: Program


def otherwise(plan: Plan) -> Otherwise | None:
    """None where all rows are treated alike."""
    other = plan.alternative
    if other is None:
        return None
    log_prob = combined(other.row, summed(other.row, other.order))
    own, others = plan.f.frame, other.f.frame
    return Otherwise(
        Program({"few": few(plan)}, own.hints, own.spans), Program({"log_prob": log_prob}, others.hints, others.spans)
    )


def few(plan: Plan) -> Node:
    """The rows that have at most so many joint values of the latent."""
    held, rows = plan.row.joint.held, plan.row.draws.rows
    assert plan.exactly is not None
    name, most = plan.exactly
    along = held.along[name]
    (axis, *more) = along
    ragged = axis.lengths is not None and not more
    elements = axis.lengths if ragged else build.mul(*map(build.extent, along))
    assert elements is not None
    elements = build.reduce("max", elements, ordered(elements.axes - {*rows}))
    given = ((build.spread(elements, rows), rows, ""),)
    settings = (("values", build.extent(held.values[name])), ("most", most))
    return Part(Call("kernel", KERNEL, given, ((rows, "bool"),), settings), 0)
