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
    from vispec.program.interpreter.interpret import Array, evaluate

    size = world.extent(node.axis)
    shared = ordered(node.shared - {node.axis})
    bodies = [list(walk.nodes(body)) for body in node.bodies]
    varying = {each for body in bodies for each in body if _varies(each, node)}
    states: list[Any] = []
    told: list[list[Any]] = [[] for _ in node.outputs]
    for now in range(size):
        body = bodies[min(now, len(bodies) - 1)]
        known: dict[Node, Any] = {each: values[each] for each in body if each not in varying}
        for each in body:
            if isinstance(each, Carried) and each.loop == node.loop:
                known[each] = _carried(each, now, states, told, world)
            elif each not in known:
                known[each] = evaluate(each, known, world)
        states = [known[step] for step in node.bodies[min(now, len(bodies) - 1)]]
        for record, state, output in zip(told, states, node.outputs, strict=True):
            axes = (*shared, *output.own)
            record.append(state.laid(axes).expand([world.extent(axis) for axis in axes]))
    found = []
    for record, output in zip(told, node.outputs, strict=True):
        axes = (*shared, node.axis, *output.own)
        shape = [world.extent(axis) for axis in axes]
        found.append(Array(torch.stack(record, len(shared)) if record else torch.zeros(shape), axes))
    return found


def _varies(node: Node, loop: Loop) -> bool:
    """Whether it is computed anew for each element: from what the loop carries, or by a draw."""
    return any(
        walk.is_drawn_in(each, loop) or (isinstance(each, Carried) and each.loop == loop.loop) for each in walk.nodes([node])
    )


def _carried(node: Carried, now: int, states: list[Any], told: list[list[Any]], world: Any) -> Any:
    from vispec.program.interpreter.interpret import Array

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
