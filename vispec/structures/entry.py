"""What an entry of structures says: which latents it sums, what that costs, and how the sum is built and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vispec.catalog import Option
from vispec.program import build
from vispec.program.axis import Axis

if TYPE_CHECKING:
    from vispec.program.cost import Numbers
    from vispec.program.node import Node, Structure


@dataclass(frozen=True)
class Shape:
    """Which structure a type names, by its domain ("tree"), and what a law says of its values beyond that."""

    domain: str
    options: tuple[tuple[str, Any], ...] = ()

    def says(self, option: str, value: Any) -> bool:
        return (option, value) in self.options


@dataclass(frozen=True)
class Group:
    """Latents that are summed together along a plate of theirs.

    states: their values axes. pasts: for each lag from 1 on, the axes of their values so many elements back, in the order of
    `states`; none where nothing reads a past. shape: the structure that their type and law name, if they name one."""

    plate: Axis
    states: tuple[Axis, ...]
    pasts: tuple[tuple[Axis, ...], ...] = ()
    shape: Shape | None = None

    @property
    def own(self) -> tuple[Axis, ...]:
        """The states that have a latent's name: of a structure that a type names, the first, and others are of its parts."""
        return self.states if self.shape is None else self.states[:1]

    @property
    def axes(self) -> frozenset[Axis]:
        """All axes that are summed over."""
        return frozenset({self.plate, *self.states}).union(*self.pasts)


@dataclass(frozen=True)
class StructureKind:
    """A structure.

    recognises: whether it sums such a group. terms: how many terms it adds, for one element of all other axes.
    build: the log-sum of the factors' sum (nodes in nats that read the group, of which the first lists all factors that read a
    past, if any does) as a node, under an algebra ("sum", "total"). log_sum: the value of a node of its kind in float64, plain
    and differentiable, as the interpreter's World asks for it. words: what it does, for the printed plan.
    call: the node as a call of the kernel that computes it.
    ranks: whether its kernel under an algebra tells the best values one after the other by itself (told/ranked.py).
    whole: whether the values of its elements are all that there is to one, so that the k best differ in them.
    called, summed: what the plan calls one, and its treatment of a latent; by its name where none is given.

    best: a kernel that tells the k best values with their parts, where nothing else is summed, and its settings.
    told: queries of its own, beside those that all latents answer: by name the kernel that tells it, and a line of what it is.

    Of a structure that is a type: domain: that type's. options: what a law on it may say of its values; an entry recognises
    those that it knows. number: the logarithm of how many values there are over a plate. valid: whether a value in the data
    is one. score: of parts by name, the score of one that data tell as its kernels have it. fewest: elements without which
    there is no value. decide: the kernel that finds a value by a rule. settings: what kernels are told. holds: whether a value,
    as plain numbers, is one by the definition of options that are the entry's own, for brute force."""

    name: str
    recognises: Callable[[Group], bool]
    terms: Callable[[Group, Numbers], int]
    build: Callable[[Group, Sequence[Node], str], Node]
    log_sum: Callable[..., Any]
    words: str
    call: Callable[[Structure], Node] | None = None
    ranks: bool = False
    whole: bool = True
    called: str = ""
    summed: str = ""
    best: tuple[str, str] | None = None
    told: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    domain: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    number: Callable[[Axis, Shape], Node] | None = None
    valid: Callable[[Node, Axis, Shape], Node] | None = None
    score: Callable[[Group, Mapping[str, Node], Node], Node] | None = None
    fewest: int = 0
    decide: str = ""
    holds: Callable[[tuple[int, ...], Shape], bool] | None = None
    settings: Callable[[Shape | None], tuple[tuple[str, Any], ...]] = lambda shape: ()


def laid_over(value: Node, axes: Sequence[Axis]) -> Node:
    """The node with all of these axes, as real numbers: nothing that is seen adds 0."""
    return build.spread(build.apply("real", value), axes)


def with_lengths(value: Node, plate: Axis) -> Node:
    """The node with the axes along which the plate's lengths differ."""
    return value if plate.lengths is None else build.spread(value, plate.lengths.axes)


def where_counted(value: Node, states: Sequence[Axis]) -> Node:
    """The node, -inf at values past the number that counts, which are none of a ragged state's."""
    inside = [build.inside(axis) for axis in states if axis.lengths is not None]
    return build.where(build.both(*inside), value, -float("inf")) if inside else value
