"""A program: its outputs by name, and what the spec calls and where it says the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from vispec.program.node import Node
from vispec.program.walk import nodes, rebuild


@dataclass(frozen=True)
class Program:
    """outputs: each a root. hints: node → what the spec calls it. spans: node → where the spec says it, (start, stop)."""

    outputs: Mapping[str, Node]
    hints: Mapping[Node, str] = field(default_factory=dict)
    spans: Mapping[Node, tuple[int, int]] = field(default_factory=dict)

    def rewritten(self, rule: Callable[[Node], Node | None]) -> Program:
        """The program with a rule applied to every node, arguments first; names and places go with the nodes."""
        known: dict[Node, Node] = {}
        new = rebuild(self.outputs.values(), rule, known)
        hints = {known.get(node, node): hint for node, hint in self.hints.items()}
        spans = {known.get(node, node): span for node, span in self.spans.items()}
        return Program(dict(zip(self.outputs, new, strict=True)), hints, spans)

    def nodes(self) -> tuple[Node, ...]:
        """Each node that an output needs once, arguments first."""
        return self._nodes

    @cached_property
    def _nodes(self) -> tuple[Node, ...]:
        return tuple(nodes(self.outputs.values()))
