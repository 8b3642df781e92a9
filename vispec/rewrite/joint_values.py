"""A product over a plate for each joint value of latents along it: one element after the other, by those so far.

Σ_i x[i, digit i of s] → over_joint_values(x): about K^I additions in place of I K^I."""

from __future__ import annotations

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Call, Map, Node, Part, Pick, Position, Reduce
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    match node:
        case Reduce("sum", Pick(table, at), over) if table.dtype == "real":
            digits = {axis: digit_of(index, axis) for axis, index in at}
            places = {found[1] for found in digits.values() if found is not None}
            if None in digits.values() or len(places) != 1 or not places <= {*over}:
                return None
            (plate,) = places
            joint = [found[0] for found in digits.values() if found is not None]
            others = {axis for axis in over if axis is not plate}
            if len({*joint}) < len(joint) or others & {*digits} or table.axes & {*joint} or reaches(plate, others):
                return None
            return over_joint_values(build.reduce("sum", table, others), plate, tuple(digits), tuple(joint))
    return None


def digit_of(index: Node, axis: Axis) -> tuple[Axis, Axis] | None:
    """(s, p) where an index is the value of each element of p, as an axis's, in the joint value s: digit p of s."""
    match index:
        case Map("mod", (Map("floor_div", (Position(joint), Map("int_pow", (base, Position(plate))))), again)):
            return (joint, plate) if base is again and base is build.extent(axis) else None
    return None


def reaches(plate: Axis, others: set[Axis]) -> bool:
    """Whether how many elements of one count differs along another."""
    lengths = [axis.lengths for axis in others if axis.lengths is not None]
    own = plate.lengths.axes if plate.lengths is not None else frozenset[Axis]()
    return bool(own & others) or any(plate in each.axes for each in lengths)


def over_joint_values(x: Node, plate: Axis, values: tuple[Axis, ...], joint: tuple[Axis, ...]) -> Node:
    """The kernel's call; what does not count along a ragged plate adds 0."""
    if plate.lengths is not None:
        x = build.where(build.inside(plate), x, 0.0)
    x = build.spread(x, (plate, *values))
    settings = (("latents", len(values)),) if len(values) > 1 else ()
    return Part(Call("kernel", KERNEL, ((x, (plate, *values), ""),), ((joint, "real"),), settings), 0)


KERNEL = "vispec.kernels.sums.unrolled:over_joint_values"


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule(name="joint_values", what="products for each joint value grow by one element after the other", rewrite=rewrite)
