"""Loops in the interpreter: the body once for each element, in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vispec.lazy import torch
from vispec.program import walk
from vispec.program.axis import ordered
from vispec.program.node import Carried, Loop, Node


def looped(node: Loop, values: Mapping[Node, Any], world: Any) -> list[Any]:
    """Each state along the loop's axis, which comes last of the shared ones."""
    from vispec.program.interpret import Array, evaluate

    size = world.extent(node.axis)
    shared = ordered(node.shared - {node.axis})
    body = list(walk.nodes(node.steps))
    outer = {each: values[each] for each in body if each in values and not _varies(each)}
    carried = [each for each in body if isinstance(each, Carried) and each.loop == node.loop]
    states = [values[start] for start in node.starts]
    told: list[list[Any]] = [[] for _ in node.steps]
    for now in range(size):
        known = dict(outer)
        for each in carried:
            known[each] = _carried(each, now, states, told, world)
        for each in body:
            if each not in known:
                known[each] = evaluate(each, known, world)
        states = [known[step] for step in node.steps]
        for record, state, output in zip(told, states, node.outputs, strict=True):
            axes = (*shared, *output.own)
            shape = [world.extent(axis) for axis in axes]
            record.append(state.laid(axes).expand(shape))
    axes = [(*shared, node.axis, *output.own) for output in node.outputs]
    return [Array(torch.stack(record, len(shared)), own) for record, own in zip(told, axes, strict=True)]


def _varies(node: Node) -> bool:
    return any(isinstance(each, Carried) for each in walk.nodes([node]))


def _carried(node: Carried, now: int, states: list[Any], told: list[list[Any]], world: Any) -> Any:
    from vispec.program.interpret import Array

    if node.what == "now":
        return Array(torch.tensor(now), ())
    if node.what == "state":
        return states[node.index]
    record = told[node.index]
    if not record:
        kind = {"real": torch.float64, "int": torch.int64, "bool": torch.bool}[node.kind]
        return Array(torch.zeros([world.extent(axis) for axis in node.order], dtype=kind), node.order)
    padded = [*record, *[torch.zeros_like(record[0])] * (world.extent(node.order[-1]) - now)]
    return Array(torch.stack(padded, len(node.order) - 1), node.order)
