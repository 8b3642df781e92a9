"""How a pattern of nodes is computed on a device: one file an implementation, in vispec/torch/implementations.

Each node has a plain way to be written (writer.py). An implementation takes its place, and that of some nodes below it which
nothing else reads, where it costs less. A file adds one by its ENTRY; nothing else knows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from vispec.catalog import discover
from vispec.program import cost
from vispec.program.node import Node
from vispec.program.program import Program

if TYPE_CHECKING:
    from vispec.torch.nodes.writer import Writer
    from vispec.torch.text.layout import Value

Device = Literal["any", "cpu", "cuda"]


@dataclass(frozen=True)
class Match:
    """takes: the nodes that it reads. covers: those between, whose values it does not make. told: what else it knows."""

    takes: tuple[Node, ...]
    covers: tuple[Node, ...] = ()
    told: Any = None


@dataclass(frozen=True)
class Implementation:
    """match: what it takes below a node, None where it is not for it. write: the value. cost: elements touched, of a node, a
    match and numbers; without it as many as the node has and reads."""

    name: str
    match: Callable[[Node], Match | None]
    write: Callable[[Writer, Node, Match], Value]
    device: Device = "any"
    cost: Callable[[Node, Match, cost.Numbers], float] | None = None


@dataclass(frozen=True)
class Target:
    """What is written for: a device, sizes where they are known, and the implementations that are not wanted."""

    device: Device = "any"
    numbers: cost.Numbers = field(default_factory=cost.Numbers)
    without: frozenset[str] = frozenset()


@cache
def implementations() -> Mapping[str, Implementation]:
    """All, by name."""
    import vispec.torch.implementations

    return discover(vispec.torch.implementations)


def choose(program: Program, target: Target) -> tuple[list[Node], dict[Node, tuple[Implementation, Match]]]:
    """The nodes that are written, arguments first, and those of them that are not written plainly."""
    order = program.nodes()
    readers: dict[Node, set[Node]] = {node: set() for node in order}
    for node in order:
        for arg in node.args:
            readers[arg].add(node)
    roots = {*program.outputs.values()}
    candidates = [
        each for each in implementations().values() if each.device in ("any", target.device) and each.name not in target.without
    ]
    needed, chosen = {*roots}, dict[Node, tuple[Implementation, Match]]()
    for node in reversed(order):
        if node not in needed:
            continue
        best = _best(node, candidates, readers, roots, target.numbers)
        if best is not None:
            chosen[node] = best
        needed |= {*(best[1].takes if best else node.args)}
    return [node for node in order if node in needed], chosen


def _best(
    node: Node,
    candidates: list[Implementation],
    readers: Mapping[Node, set[Node]],
    roots: set[Node],
    numbers: cost.Numbers,
) -> tuple[Implementation, Match] | None:
    found = None
    least = float("inf")
    for each in candidates:
        match = each.match(node)
        if match is None or any(inner in roots or not readers[inner] <= {node, *match.covers} for inner in match.covers):
            continue
        plain = sum(cost.touched(inner, numbers) for inner in (node, *match.covers))
        own = each.cost(node, match, numbers) if each.cost else cost.touched(node, numbers)
        if own <= plain and own < least:
            found, least = (each, match), own
    return found
