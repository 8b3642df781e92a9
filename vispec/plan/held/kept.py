"""The laws that a loop along a chain drew from, kept: their parameters at each element are put out beside the draws.

What scores the draws reads these. To call a guide's net again would double its work, and where it has dropout the law that is
scored would not be the one that drew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vispec.catalog import distributions
from vispec.factors.laws import ChoiceLaw, DrawLaw, Law, ThenLaw
from vispec.plan.held.along import parts
from vispec.plan.held.sink import below
from vispec.program.node import Const, Node

Family = tuple[object, ...]
"""The distributions of a law and the names of their parameters."""


class Kept:
    """What a loop keeps of a law, which may differ from element to element: the nodes of each family, one after the other, but
    for those that are the same for all elements and read none of the variables that the loop draws."""

    def __init__(self, law: Law, names: Collection[str]):
        self.whole = law
        self.laws = law.laws if isinstance(law, ThenLaw) else (law,)
        self.families = dict[Family, list[Law]]()
        for each in self.laws:
            self.families.setdefault(family(each), []).append(each)
        self.own = {each: own_parts(laws, names) for each, laws in self.families.items()}
        self.carried = all(isinstance(each, DrawLaw) and carries(each) for each in self.laws)

    @property
    def count(self) -> int:
        return sum(map(sum, self.own.values()))

    def told(self, law: Law) -> tuple[Node, ...]:
        """The nodes of the law of one element; of the other families, whose law nothing reads there, anything valid."""
        found = list[Node]()
        for each, laws in self.families.items():
            now = parts(law) if each == family(law) else fillers(laws[-1])
            found += [node for node, own in zip(now, self.own[each], strict=True) if own]
        return tuple(found)

    def law(self, told: Sequence[Node]) -> Law:
        """The law of all elements, of what the loop has put out."""
        known, left = dict[Family, Law](), iter(told)
        for each, (*_, last) in self.families.items():
            nodes = [next(left) if own else node for node, own in zip(parts(last), self.own[each], strict=True)]
            known[each] = with_parts(last, nodes)
        if not isinstance(self.whole, ThenLaw) or len(known) == 1:
            return known[family(self.laws[0])]
        return ThenLaw(self.whole.axis, tuple(known[family(each)] for each in self.laws))


def own_parts(laws: Sequence[Law], names: Collection[str]) -> list[bool]:
    """Of each node of laws of one family, whether it differs among them or reads what the loop draws."""
    *_, last = [parts(law) for law in laws]
    read = below(last, names)
    return [bool(read[node]) or any(parts(law)[at] is not node for law in laws) for at, node in enumerate(last)]


def carries(law: DrawLaw) -> bool:
    return distributions()[law.distribution].carry is not None


def family(law: Law) -> Family:
    match law:
        case DrawLaw(name, params):
            return (name, *((parameter, own) for parameter, _, own in params))
        case ChoiceLaw(_, then, otherwise):
            return ("choice", family(then), family(otherwise))
    raise TypeError(f"{type(law).__name__} inside the law of one element")


def fillers(law: Law) -> list[Node]:
    """A valid value of each of a law's nodes."""
    match law:
        case DrawLaw(_, params):
            return [Const({"real": 1.0, "int": 1, "bool": True}[node.dtype]) for _, node, _ in params]
        case ChoiceLaw(_, then, otherwise):
            return [Const(False), *fillers(then), *fillers(otherwise)]
    raise TypeError(f"{type(law).__name__} inside the law of one element")


def with_parts(law: Law, nodes: Sequence[Node]) -> Law:
    """A law made of other nodes, in the order of `parts`."""
    match law:
        case DrawLaw(name, params):
            return DrawLaw(name, tuple((n, node, own) for (n, _, own), node in zip(params, nodes, strict=True)))
        case ChoiceLaw(_, then, otherwise):
            first = 1 + len(parts(then))
            return ChoiceLaw(nodes[0], with_parts(then, nodes[1:first]), with_parts(otherwise, nodes[first:]))
    raise TypeError(f"{type(law).__name__} inside the law of one element")
