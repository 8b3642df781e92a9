"""Axes of one factor of a product that are made one: they are made one before the product.

merge(x · y, over) → x · merge(y, over), and so of a sum of such: the printer writes a product of matrices."""

from __future__ import annotations

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Contract, Map, Merge, Node, Reduce
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


def rule(node: Node) -> Node | None:
    match node:
        case Merge(Map("add", terms), over, axis) if any(isinstance(term, Contract) for term in terms):
            found = [merged(term, over, axis) for term in terms]
            return build.add(*(each for each in found if each is not None)) if None not in found else None
        case Merge(Contract() as product, over, axis):
            return merged(product, over, axis)
    return None


def merged(node: Node, over: tuple[Axis, ...], axis: Axis) -> Node | None:
    """The node with the axes as one, from arguments that have all of them as one; None where some have a part of them."""
    have = {*over} & node.axes
    if not have:
        return node
    if len(have) < len(over):
        return None
    match node:
        case Contract(factors, summed):
            found = [merged(factor, over, axis) for factor in factors]
            whole = sum(bool({*over} & factor.axes) for factor in factors) == 1
            return build.contract([each for each in found if each is not None], summed) if whole and None not in found else None
        case Reduce("sum", arg, summed):
            found = merged(arg, over, axis)
            return None if found is None else build.reduce("sum", found, summed)
        case Map(op, operands) if all(not {*over} & each.axes or {*over} <= each.axes for each in operands):
            found = [merged(each, over, axis) for each in operands]
            return build.apply(op, *(each for each in found if each is not None)) if None not in found else None
    return build.merge(node, over, axis)


def rewrite(program: Program, numbers: Numbers) -> Program:
    return program.rewritten(rule)


ENTRY = Rule(
    name="merged_products", what="axes are made one before a product", rewrite=rewrite, after=("products", "structures")
)
