"""What is surely so of a node's value, from the nodes alone: whether gradients go through it, between which numbers it lies."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod
from typing import Any
from weakref import WeakKeyDictionary

from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import (
    Concat,
    Const,
    Contract,
    Density,
    Draw,
    Extent,
    Input,
    Link,
    Map,
    Node,
    Noise,
    Number,
    Part,
    Pick,
    Position,
    Reduce,
    Rename,
    Shift,
    Site,
    Source,
    Spread,
    Stop,
)
from vispec.program.walk import nodes

_moving: WeakKeyDictionary[Node, bool] = WeakKeyDictionary()
_least: WeakKeyDictionary[Node, float] = WeakKeyDictionary()


def _known(node: Node, known: WeakKeyDictionary[Node, Any], find: Callable[[Node], Any]) -> Any:
    """find(node), of each node below once."""
    if node not in known:
        for each in nodes([node]):
            if each not in known:
                known[each] = find(each)
    return known[node]


def moving(node: Node) -> bool:
    """Whether a gradient may go through the node to what is fitted."""
    return _known(node, _moving, _moves)


def _moves(node: Node) -> bool:
    match node:
        case Source():
            return getattr(node, "kind", "") == "net" or any(_moving.get(arg, False) for arg in node.args)
        case Stop() | Noise():
            return False
        case Draw():
            return node.pathwise and any(_moving[arg] for arg in node.args)
        case _ if node.dtype != "real":
            return False
        case Input():
            return node.source not in ("batch", "buffer", "setting")
        case Site():
            return True
    return any(_moving.get(arg, False) for arg in node.args)


def least(node: Node) -> float:
    """A number that the value is surely not below, -inf where nothing is known; sums of rounded numbers count as exact."""
    return _known(node, _least, _bound)


def _bound(node: Node) -> float:
    below = _least.get
    match node:
        case Const(value):
            return float(value) if value == value else -inf
        case Position() | Extent() | Number():
            return 0.0
        case Source():
            return -inf
        case Map(op, operands):
            return _of_map(op, [below(each, -inf) for each in operands])
        case Link("softmax"):
            return 0.0
        case Rename(arg) | Spread(arg) | Stop(arg) | Pick(arg):
            return below(arg, -inf)
        case Reduce("max" | "min", arg):
            return below(arg, -inf)
        case Contract(factors):
            return 0.0 if all(below(each, -inf) >= 0 for each in factors) else -inf
        case Reduce("sum", arg):
            return 0.0 if below(arg, -inf) >= 0 else -inf
        case Shift(arg, _, _, fill):
            return min(below(arg, -inf), below(fill, -inf))
        case Concat(parts):
            return min(below(part, -inf) for part, _ in parts)
        case Part():
            return 0.0 if node.dtype == "bool" else -inf
    return 0.0 if node.dtype == "bool" else -inf


def _of_map(op: str, low: list[float]) -> float:
    match op:
        case "add":
            return sum(low)
        case "mul":
            return prod(low) if all(0 <= each < inf for each in low) else -inf
        case "div":
            return 0.0 if all(each >= 0 for each in low) else -inf
        case "exp" | "sigmoid" | "softplus" | "square" | "abs" | "sqrt" | "ndtr":
            return 0.0
        case "max":
            return max(low)
        case "min":
            return min(low)
        case "where":
            return min(low[1:])
        case "real" | "wide" | "narrow" | "int":
            return low[0]
        case "floor_div" | "mod" | "int_pow":
            return 0.0 if all(each >= 0 for each in low) else -inf
        case "bool" | "eq" | "lt" | "le" | "and" | "or" | "not":
            return 0.0
    return -inf


def most(node: Node) -> float:
    """A number that the value is surely not above, ∞ where nothing is known."""
    match node:
        case Const(value):
            return float(value) if value == value else inf
        case Map("min", operands):
            return min(map(most, operands))
        case Map("max", operands):
            return max(map(most, operands))
        case Map("neg", (arg,)):
            return -least(arg)
        case Map("wide" | "narrow", (arg,)):
            return most(arg)
        case Map("sigmoid" | "tanh" | "sin" | "cos" | "erf" | "ndtr") | Link("softmax"):
            return 1.0
        case Map("log_sigmoid") | Link("log_softmax"):
            return 0.0
        case Rename(arg) | Spread(arg) | Stop(arg) | Pick(arg):
            return most(arg)
    return 1.0 if node.dtype == "bool" else inf


def positive(node: Node) -> bool:
    """Whether the value is surely above some number above 0, so that it cannot have been rounded to 0."""
    return least(node) > 0


def below_infinity(node: Node) -> bool:
    """Whether the value is surely a number or -inf, if inputs are numbers: log-probabilities, and what is added up of them."""
    match node:
        case Const(value):
            return value < inf
        case Link("log_softmax") | Map("log_sigmoid") | Density():
            return True
        case Map("add", operands):
            return all(map(below_infinity, operands))
        case Map("where", (_, then, otherwise)):
            return below_infinity(then) and below_infinity(otherwise)
        case Reduce("sum" | "max" | "log_sum_exp", arg) | Rename(arg) | Spread(arg) | Stop(arg) | Pick(arg):
            return below_infinity(arg)
        case Map("log", (arg,)):
            return isinstance(arg, Input | Link)
    return False


def count_or_one(axis: Axis) -> Node:
    """How many elements count along an axis; one where that may be none: past the ends of a plate around it, where what is
    computed is to be a number though nothing reads it."""
    reads = [] if axis.lengths is None else [node for node in nodes([axis.lengths]) if isinstance(node, Input)]
    if not any(around.lengths is not None for node in reads for around in node.order):
        return build.count(axis)
    return build.apply("max", build.count(axis), 1)


def is_tilted(node: Node) -> bool:
    """Whether a query's tilt is part of it."""
    return any(isinstance(each, Input) and each.source == "tilt" for each in nodes([node]))
