"""What is to be summed: factors on axes, latents by the axes of their values, and how factors read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Node
from vispec.structures.entry import Shape

Axes = frozenset[Axis]


@dataclass(frozen=True)
class Factor:
    """A log-density in nats. plates: where it stands, whether or not it differs along them. asks: whether it is a
    query's tilt."""

    name: str
    node: Node
    plates: Axes
    asks: bool = False


@dataclass(frozen=True)
class Latent:
    """A variable that is summed over `values`. plates: those in which it has one value per element.

    law: the factor that is its normalised law, if one is. along, shape: the plate that its type structures, and as what.
    guide: the factor that is the log of a law under which the latent is averaged over, instead of summed out."""

    name: str
    values: Axis
    plates: Axes
    law: str | None = None
    along: Axis | None = None
    shape: Shape | None = None
    guide: str | None = None


@dataclass(frozen=True)
class Lag:
    """`past` is the axis of a latent's value `lag` elements back along a plate; at the first elements nothing differs there."""

    past: Axis
    values: Axis
    plate: Axis
    lag: int


@dataclass(frozen=True)
class Pointer:
    """`selected` is the axis of a latent's value at the elements that indices point at: (plate of the latent, index node)."""

    selected: Axis
    values: Axis
    at: tuple[tuple[Axis, Node], ...]


@dataclass(frozen=True)
class Joint:
    """`joint` is the axis of all joint values of a latent along a plate of its own: value s has the digits of s in base K, the
    first element's digit lowest. Of a ragged plate's elements that do not count the digits are 0."""

    joint: Axis
    values: Axis
    plate: Axis


@dataclass(frozen=True)
class Problem:
    """kept: axes that are never reduced. asked: latents that take part even where nothing observed depends on them.

    work: the most terms for one element of all kept axes. memory: the most bytes of one value, for one of kept plates."""

    factors: tuple[Factor, ...]
    latents: tuple[Latent, ...]
    kept: Axes = frozenset()
    lags: tuple[Lag, ...] = ()
    pointers: tuple[Pointer, ...] = ()
    joints: tuple[Joint, ...] = ()
    asked: frozenset[str] = frozenset()
    numbers: Numbers = field(default_factory=Numbers)
    work: int = 10**9
    memory: int | None = None

    def read_by(self, factor: Factor) -> frozenset[str]:
        """The latents that a factor reads, in whatever way; a law reads its latent even where it is the same for all values."""
        owner = {each.values: each.name for each in self.latents}
        for reading in (*self.lags, *self.pointers, *self.joints):
            owner[axis_of(reading)] = owner[reading.values]
        own = {each.name for each in self.latents if each.law == factor.name}
        return frozenset(owner[axis] for axis in factor.node.axes if axis in owner) | own


def axis_of(reading: Lag | Pointer | Joint) -> Axis:
    """The axis along which a factor differs that reads so."""
    match reading:
        case Lag(past):
            return past
        case Pointer(selected):
            return selected
        case Joint(joint):
            return joint


def needed(problem: Problem) -> tuple[Problem, tuple[str, ...]]:
    """The problem without latents whose sums are one: those that no factor but their own normalised law reads, again and again;
    and their names."""
    gone = list[str]()
    while True:
        readers: dict[str, set[str]] = {each.name: set() for each in problem.latents}
        for factor in problem.factors:
            for name in problem.read_by(factor):
                readers[name].add(factor.name)
        idle = [each for each in problem.latents if each.name not in problem.asked and readers[each.name] == {each.law}]
        if not idle:
            return problem, tuple(gone)
        gone += [each.name for each in idle]
        laws = {each.law for each in idle}
        left = _without(problem.latents, idle)
        problem = replace(problem, factors=tuple(f for f in problem.factors if f.name not in laws), latents=left)
        values = {each.values for each in left}
        problem = replace(
            problem,
            lags=tuple(each for each in problem.lags if each.values in values),
            pointers=tuple(each for each in problem.pointers if each.values in values),
            joints=tuple(each for each in problem.joints if each.values in values),
        )


def _without(latents: Iterable[Latent], gone: list[Latent]) -> tuple[Latent, ...]:
    return tuple(each for each in latents if each not in gone)
