"""Which of coupled latents are integrated together, for which elements at a time, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vispec.plan.gaussian.chains import Chain, NoChainError
from vispec.plan.gaussian.squares import Square
from vispec.program import build
from vispec.program.affine.forms import Form, Term
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers


@dataclass(frozen=True)
class Placed:
    """A square with the axes along which it has elements, plates and events alike."""

    square: Square
    axes: frozenset[Axis]


@dataclass
class Group:
    """Latents that have elements of their own along the same axes, or the states of a chain. parent: what is integrated next of
    all that it couples; ancestors: that, and what that couples, and so on. apart: one of its axes, of which squares read
    elements by index; given the ancestors these are independent. few: the same where each has so few numbers with its
    ancestors' that it gets a matrix over all of them. row, column: along its numbers, its ancestors', and 1."""

    own: frozenset[Axis]
    names: tuple[str, ...]
    chain: Chain | None = None
    parent: Group | None = None
    ancestors: tuple[Group, ...] = ()
    apart: Axis | None = None
    few: Axis | None = None
    row: Axis = field(default_factory=lambda: Axis("e", "event"))
    column: Axis = field(default_factory=lambda: Axis("e'", "event"))

    @property
    def every(self) -> tuple[Group, ...]:
        """It, and all that is integrated later."""
        return (self, *self.ancestors)

    @property
    def batch(self) -> frozenset[Axis]:
        """The axes of what a kernel leaves of it."""
        return self.own - {self.apart if self.chain is None else self.chain.axis}

    @property
    def left(self) -> frozenset[Axis]:
        """The axes that are left when it is integrated."""
        return self.batch - {self.few}


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


def pointed(squares: Sequence[Placed], axes: Mapping[str, tuple[Axis, ...]], dense: Mapping[str, set[Axis]]) -> dict[str, Axis]:
    """Of latents an axis along which no square reads two elements, though some read one by index; taken out of `dense`. Where a
    square has elements along the axis itself, and reads others there than its own, several of it may read the same."""
    found = dict[str, Axis]()
    for axis in ordered({axis for of in dense.values() for axis in of}):
        names = [name for name, own in axes.items() if axis in own]
        if not {*names} & {*found} and all(reads_one(each, names, axis) for each in squares):
            found |= dict.fromkeys(names, axis)
    return found


def reads_one(each: Placed, names: Sequence[str], axis: Axis) -> bool:
    """Whether a square reads latents at one element along an axis at most: its own, or one by index if it has none there."""
    places = {dict(term.at)[axis] for term in each.square.form.terms if term.name in names}
    if len(places) > 1 or any(isinstance(place, Axis) for place in places):
        return False
    return axis not in each.axes or places <= {build.position(axis)}


def ordered_groups(
    axes: Mapping[str, tuple[Axis, ...]],
    dense: dict[str, set[Axis]],
    squares: Sequence[Placed],
    numbers: Numbers,
    chains: Mapping[str, Chain],
    apart: Mapping[str, Axis],
) -> list[Group]:
    """The deepest first, and states of chains after what their elements have. Raises NoChainError. Where two that are coupled
    have each elements of their own that the other has not, one of them is integrated for all of these at once, the one with
    fewer: `dense` gets these axes of it."""
    while True:
        own = {name: frozenset(of) - dense[name] for name, of in axes.items()}
        kinds = dict.fromkeys((own[name], chains.get(name)) for name in own)
        order = sorted(kinds, key=lambda kind: (-len(kind[0]), kind[1] is not None, sorted(a.serial for a in kind[0])))
        groups = list[Group]()
        for each, chain in order:
            names = tuple(n for n in own if own[n] == each and chains.get(n) is chain)
            groups.append(Group(each, names, chain, apart=next((apart[n] for n in names if apart.get(n) in each), None)))
        clash = linked(groups, squares)
        if clash is None:
            for group in groups:
                if any(other.parent is group for other in groups):
                    group.apart = None  # what is left of others has all of its numbers at once
            return groups
        one, other = clash
        if one.chain or other.chain:
            raise NoChainError
        if one.apart in other.own:  # both are needed for each element, and the elements of one are all gone
            for name, own in axes.items():
                dense[name] |= {one.apart} & {*own}
            continue
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
            if not groups[other].own <= group.left:
                return group, groups[other]
        sets = [each for each in sets if at not in each] + [later]
        group.parent = groups[min(later)] if later else None
    for group in reversed(groups):
        group.ancestors = () if group.parent is None else (group.parent, *group.parent.ancestors)
    return None


def step(chain: Chain, name: str) -> Placed:
    """What a step reads of states and of others, as what couples them."""
    form = chain.forms[name]
    here = Term(name, tuple((axis, build.position(axis)) for axis in chain.states[name]), build.node(1.0))
    terms = tuple(term for term in form.terms if term.name not in chain.noise)
    return Placed(Square(Form(form.offset, (*terms, here))), form.axes | {*chain.states[name]})
