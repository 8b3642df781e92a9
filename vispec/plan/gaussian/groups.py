"""Which of coupled latents are integrated together, for which elements at a time, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vispec.plan.gaussian.squares import Square
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers


@dataclass(frozen=True)
class Placed:
    """A square with the axes along which it has elements, plates and events alike."""

    square: Square
    axes: frozenset[Axis]


@dataclass
class Group:
    """Latents that have elements of their own along the same axes. parent: what is integrated next of all that it couples;
    ancestors: that, and what that couples, and so on. row, column: along its numbers, its ancestors' numbers, and 1."""

    own: frozenset[Axis]
    names: tuple[str, ...]
    parent: Group | None = None
    ancestors: tuple[Group, ...] = ()
    row: Axis = field(default_factory=lambda: Axis("e", "event"))
    column: Axis = field(default_factory=lambda: Axis("e'", "event"))


def coupled(squares: Sequence[Placed], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Latents that squares read together."""
    groups = [frozenset({name}) for name in names]
    for each in squares:
        touched = [group for group in groups if group & each.square.form.names]
        groups = [group for group in groups if group not in touched] + ([frozenset[str]().union(*touched)] if touched else [])
    order = {name: at for at, name in enumerate(names)}
    return sorted((tuple(sorted(group, key=order.__getitem__)) for group in groups), key=lambda group: order[group[0]])


def all_own(squares: Sequence[Placed], name: str, axis: Axis) -> bool:
    """Whether each square reads a latent at its own element along an axis."""
    terms = [(term, each) for each in squares for term in each.square.form.terms if term.name == name]
    return all(dict(term.at)[axis] is build.position(axis) and axis in each.axes for term, each in terms)


def ordered_groups(
    axes: Mapping[str, tuple[Axis, ...]], dense: dict[str, set[Axis]], squares: Sequence[Placed], numbers: Numbers
) -> list[Group]:
    """The deepest first. Where two that are coupled have each elements of their own that the other has not, one of them is
    integrated for all of these at once, the one with fewer: `dense` gets these axes of it."""
    while True:
        own = {name: frozenset(of) - dense[name] for name, of in axes.items()}
        kinds = sorted({*own.values()}, key=lambda each: (-len(each), sorted(a.serial for a in each)))
        groups = [Group(each, tuple(name for name in own if own[name] == each)) for each in kinds]
        clash = linked(groups, squares)
        if clash is None:
            return groups
        one, other = clash
        sides = [(one, one.own - other.own), (other, other.own - one.own)]
        less, extra = min(sides, key=lambda side: (numbers.elements(side[1]), -len(side[0].own)))
        for name in less.names:
            dense[name] |= extra


def linked(groups: list[Group], squares: Sequence[Placed]) -> tuple[Group, Group] | None:
    """Set each group's parent and ancestors, by what integrating it couples; two that clash, if any do."""
    sets = [{at for at, group in enumerate(groups) if {*group.names} & each.square.form.names} for each in squares]
    for at, group in enumerate(groups):
        later = set[int]().union(*(each for each in sets if at in each)) - {at}
        for other in sorted(later):
            if not groups[other].own <= group.own:
                return group, groups[other]
        sets = [each for each in sets if at not in each] + [later]
        group.parent = groups[min(later)] if later else None
    for group in reversed(groups):
        group.ancestors = () if group.parent is None else (group.parent, *group.parent.ancestors)
    return None
