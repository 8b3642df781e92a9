"""States that a loop carries beside what it draws: those that read what is drawn in it, along the same chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vispec.factors.laws import Law, StateLaw, ThenLaw
from vispec.factors.states import State
from vispec.plan.held.along import changed, parts
from vispec.plan.held.sink import below
from vispec.program.axis import Axis
from vispec.program.node import Loop, Node, Part, Site
from vispec.program.walk import nodes


@dataclass(frozen=True)
class Opened:
    """laws: of the variables by name, which read states by their sites. states: by name. closed: what stood for each before."""

    laws: Mapping[str, Law]
    states: Mapping[str, tuple[Site, Law]]
    closed: Mapping[Node, Site]


def opened(laws: Mapping[str, Law], states: Mapping[Node, State]) -> Opened:
    """Laws of variables that are drawn together, with the states that read them, and are read by them, as members beside."""
    closed, found = dict[Node, Site](), dict[str, tuple[Site, Law]]()
    while True:
        roots = [node for law in (*laws.values(), *(law for _, law in found.values())) for node in parts(law)]
        names = {*laws, *found}
        new = [node for node in nodes(roots) if node in states and node not in closed and below([node], names)[node]]
        if not new:
            return Opened(laws, found, closed)
        for node in new:
            assert isinstance(node, Part)
            for each, state in states.items():
                if isinstance(each, Part) and each.source is node.source:
                    closed[each] = state.site
                    found[state.site.name] = state.site, ThenLaw(axis_of(node), tuple(map(StateLaw, state.values)))
        laws = {name: changed(law, closed) for name, law in laws.items()}
        found = {name: (site, changed(law, closed)) for name, (site, law) in found.items()}


def axis_of(node: Part) -> Axis:
    assert isinstance(node.source, Loop)
    return node.source.axis
