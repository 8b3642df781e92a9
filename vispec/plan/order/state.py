"""Where elimination stands: the factors that are left, as axes alone, and how they read latents."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from vispec.plan.order.problem import Axes, Joint, Lag, Latent, Pointer, Problem
from vispec.plan.order.steps import Counted, Step
from vispec.program.axis import Axis
from vispec.program.cost import Numbers


@dataclass(frozen=True)
class Piece:
    """A factor that is left. axes: of latents' values and of plates along which it differs; plates: where it stands. Both are
    without kept axes. sources: the names of the factors that it is made of."""

    name: str
    axes: Axes
    plates: Axes
    sources: frozenset[str]


@dataclass(frozen=True)
class State:
    """latents, lags, pointers: by the axis along which a factor differs that reads so. held: latents that are summed by their
    joint values along a plate, by their values axis. elsewhere: axes of a held latent's values that are elsewhere along other
    plates → those of its joint values there. runner_up: how many terms more the next cheapest order has, and what it was.
    names: of all factors so far."""

    pieces: tuple[Piece, ...]
    latents: Mapping[Axis, Latent]
    lags: Mapping[Axis, Lag]
    pointers: Mapping[Axis, Pointer]
    held: Mapping[Axis, Joint]
    numbers: Numbers
    work: int
    steps: tuple[Step, ...] = ()
    terms: int = 0
    runner_up: tuple[int, str] | None = None
    elsewhere: Mapping[Axis, Axis] = field(default_factory=dict)
    tilts: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def owner(self, axis: Axis) -> Latent | None:
        """The latent whose value, here or elsewhere, is along an axis; None of a plate."""
        reading = self.lags.get(axis) or self.pointers.get(axis)
        return self.latents.get(axis if reading is None else reading.values)

    def values(self, piece: Piece) -> Axes:
        """The axes of values along which a factor differs."""
        return frozenset(axis for axis in piece.axes if self.owner(axis) is not None)

    def fresh(self, name: str, also: Container[str] = ()) -> str:
        """A name for a step's result that nothing has, nor one of these."""
        found, again = name, 2
        while found in self.names or found in also:
            found, again = f"{name}_{again}", again + 1
        return found

    def after(self, step: Step, gone: Iterable[Piece], new: Iterable[Piece]) -> State:
        """The state after a step, which takes pieces and gives others."""
        away = {piece.name for piece in gone}
        left = [piece for piece in self.pieces if piece.name not in away]
        names = self.names | {step.output}
        return replace(self, pieces=(*left, *new), steps=(*self.steps, step), terms=self.terms + step.terms, names=names)


def merged(name: str, pieces: Iterable[Piece], without: Iterable[Axis], plates: Axes) -> Piece:
    """A piece made of others, without some axes."""
    pieces = list(pieces)
    axes = frozenset[Axis]().union(*(piece.axes for piece in pieces)) - {*without}
    return Piece(name, axes, plates, frozenset[str]().union(*(piece.sources for piece in pieces)))


def first_state(problem: Problem) -> State:
    """Nothing is done yet."""
    kept = problem.kept
    latents = {each.values: replace(each, plates=each.plates - kept) for each in problem.latents}
    lags = {each.past: each for each in problem.lags}
    pointers = {each.selected: each for each in problem.pointers}
    assert len({(each.values, each.plate, each.lag) for each in problem.lags}) == len(lags), "a past has one axis"
    laws = {law: each.values for each in problem.latents for law in (each.law, each.guide)}
    pieces = list[Piece]()
    for factor in problem.factors:
        own = frozenset({laws[factor.name]}) if factor.name in laws else frozenset[Axis]()
        plates = factor.plates - kept
        known = {*latents, *lags, *pointers, *(joint.joint for joint in problem.joints)}
        axes = frozenset(axis for axis in factor.node.axes | own if axis in known or axis in plates)
        stray = factor.node.axes - axes - kept
        assert not stray, f"{factor.name} differs along {stray}, which is no plate of it and no latent's"
        pieces.append(Piece(factor.name, axes, plates, frozenset({factor.name})))
    names = frozenset(piece.name for piece in pieces)
    state = State(tuple(pieces), latents, lags, pointers, {}, problem.numbers, problem.work, names=names)
    state = replace(state, tilts=frozenset(factor.name for factor in problem.factors if factor.asks))
    for joint in problem.joints:
        state = hold(state, joint)
    return state


def hold(state: State, joint: Joint) -> State:
    """The state in which a latent is to be summed by its joint values along a plate."""
    of = state.latents[joint.values]
    latents = {**state.latents, joint.joint: Latent(f"{of.name}[*]", joint.joint, of.plates - {joint.plate})}
    state = replace(state, latents=latents, held={**state.held, joint.values: joint})
    if joint.plate.lengths is None or joint.joint.lengths is not None:
        return state
    step = Counted((), state.fresh(f"counted_{joint.joint.hint}"), 0, joint.values, joint.joint, joint.plate)
    return state.after(step, (), [Piece(step.output, frozenset({joint.joint}), latents[joint.joint].plates, frozenset())])
