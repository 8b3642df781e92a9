"""How often each word occurs is counted once for a net of a bag of words and for the mixture of which they are outcomes."""

from __future__ import annotations

from collections.abc import Collection

from vispec.program.axis import Axis
from vispec.program.node import Call, Input, Node, Part
from vispec.program.program import Program
from vispec.torch.implementations.mixed_total import COUNTS, match


def with_shared_counts(program: Program, nets: Collection[str]) -> Program:
    """The program with counts for those of some nets whose words a mixture counts too."""
    outcomes = dict(filter(None, map(counted, program.nodes())))
    hints = dict(program.hints)

    def rule(node: Node) -> Node | None:
        match node:
            case Part(Call("net", name, ((words, (along,), ""), (mask, (_,), keyword)) as given, results, settings), index):
                axis = outcomes.get((words, mask)) if name in nets else None
                if axis is None:
                    return None
                counts = counts_of(words, mask, along, axis)
                if isinstance(words, Input):
                    hints[counts] = f"{words.name}_counts"
                more = (*given, (counts, (axis,), f"{keyword.removesuffix('_mask')}_counts"))
                return Part(Call("net", name, more, results, settings), index)
        return None

    found = program.rewritten(rule) if outcomes else program
    return Program(found.outputs, {**hints, **found.hints}, found.spans)


def counted(node: Node) -> tuple[tuple[Node, Node], Axis] | None:
    """Outcomes under a mask that a mixture counts, each count for weights of its own; and the axis of the counts."""
    found = match(node)
    if found is None or not found.told.masked:
        return None
    _, value, mask, *weights = found.takes
    own = frozenset[Axis]().union(*(each.axes for each in weights)) - {found.told.component, found.told.weight[1]}
    return ((value, mask), found.told.outcomes) if own == value.axes - {*found.told.many} else None


def counts_of(words: Node, mask: Node, along: Axis, outcomes: Axis) -> Node:
    """None in place of counts where each reader does better without."""
    given = ((words, (along,), ""), (mask, (along,), "mask"))
    settings = (("size", outcomes), ("like", Input("one", (), "real", "buffer")))
    return Part(Call("kernel", COUNTS, given, (((outcomes,), "real"),), settings), 0)
