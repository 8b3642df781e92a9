"""Plated variable elimination (Obermeyer et al. 2019, algorithm 1) by cost: the deepest plates first, sums before products.

Within plates, the latents that live there and that nothing else reads are summed out of the factors that they connect. What is
left is multiplied over the plates that no latent of it still needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vispec.plan.order.problem import Axes, Lag, Pointer
from vispec.plan.order.refuse import IntractableError, Kind
from vispec.plan.order.search import cheapest
from vispec.plan.order.state import Piece, State, merged
from vispec.plan.order.steps import Digits, Expected, Product, Scatter, Structured, Sum, names_of
from vispec.program.axis import Axis, copy, ordered
from vispec.program.node import Node
from vispec.structures import recognising
from vispec.structures.entry import Group


class CoupledError(Exception):
    """Latents that some pieces couple although each element of a plate has its own: summed only by joint values."""

    def __init__(self, state: State, pieces: Iterable[Piece], why: str, kind: Kind = "coupled"):
        self.state, self.pieces, self.why = state, tuple(pieces), why
        self.kind: Kind = kind
        super().__init__(why)


def advance(state: State) -> State | None:
    """The state after what can be done next, in the deepest plates where something can; None where nothing is left.

    Raises CoupledError."""
    leaves = {piece.plates for piece in state.pieces}
    if leaves <= {frozenset()} and not any(state.values(piece) for piece in state.pieces):
        return None
    waiting = list[Piece]()
    for leaf in sorted(leaves, key=lambda plates: (-len(plates), sorted(axis.serial for axis in plates))):
        found = in_plates(state, leaf)
        if found is not None:
            return found
        waiting += [piece for piece in state.pieces if piece.plates == leaf]
    for piece in waiting:
        if owners(state, piece) & state.held.keys():
            return digits(state, piece)
    raise CoupledError(state, waiting, "they wait for each other")


def in_plates(state: State, leaf: Axes) -> State | None:
    """The state after one thing that can be done with the factors in these plates; None where all must wait."""
    here = [piece for piece in state.pieces if piece.plates == leaf]
    local = ready(state, here, leaf)
    groups = components(state, here, local)
    for pieces, latents in groups:
        if latents:
            return summed(state, pieces, latents, leaf)
    for pieces, _ in groups:
        found = left_over(state, pieces[0], leaf)
        if found is not None:
            return found
    return None


def ready(state: State, here: Sequence[Piece], leaf: Axes) -> Axes:
    """The values axes of the latents in these plates that are read here alone, each at its own element or back from it."""
    elsewhere = set[Axis]()
    names = {piece.name for piece in here}
    for piece in state.pieces:
        for axis in state.values(piece):
            owner = state.owner(axis)
            if owner is not None and (piece.name not in names or axis in state.pointers):
                elsewhere.add(owner.values)
            if owner is not None and owner.values in state.held:
                elsewhere.add(state.held[owner.values].joint)
    read = {owner.values for piece in here for axis in state.values(piece) if (owner := state.owner(axis)) is not None}
    return frozenset(v for v in read if state.latents[v].plates == leaf and v not in state.held and v not in elsewhere)


def components(state: State, pieces: Iterable[Piece], latents: Axes) -> list[tuple[list[Piece], Axes]]:
    """Pieces grouped by the latents, out of these, that connect them."""
    groups, alone = list[tuple[list[Piece], Axes]](), list[tuple[list[Piece], Axes]]()
    for piece in pieces:
        touched = owners(state, piece) & latents
        if not touched:
            alone.append(([piece], touched))
            continue
        first, *others = [at for at, group in enumerate(groups) if group[1] & touched] or [len(groups)]
        if first == len(groups):
            groups.append(([], touched))
        together, read = groups[first]
        together += [each for at in others for each in groups[at][0]] + [piece]
        groups[first] = together, read.union(touched, *(groups[at][1] for at in others))
        groups = [group for at, group in enumerate(groups) if at not in others]
    return groups + alone


def owners(state: State, piece: Piece) -> Axes:
    """The values axes of all latents that a piece reads."""
    found = (state.owner(axis) for axis in piece.axes)
    return frozenset(owner.values for owner in found if owner is not None)


# ---- sums


def summed(state: State, pieces: Sequence[Piece], latents: Axes, leaf: Axes) -> State:
    """All these latents summed out of the pieces that they connect: plain ones first, then those of structures."""
    shaped = frozenset(v for v in latents if state.latents[v].shape is not None)
    lagged = frozenset(lag.values for piece in pieces for axis in piece.axes if (lag := state.lags.get(axis)) is not None)
    structured = shaped | lagged & latents
    for group, plain in components(state, pieces, latents - structured):
        if plain:
            state = plainly(state, group, plain, leaf)
    if structured:
        left = [piece for piece in state.pieces if piece.plates == leaf]
        for group, together in components(state, left, structured):
            if together:
                state = as_structure(state, group, together, leaf)
    return state


def plainly(state: State, pieces: Sequence[Piece], latents: Axes, leaf: Axes) -> State:
    """Log-sum-exp over one latent after the other, in the cheapest order; means under guides after the sums inside them, but
    before those of what a guide reads."""
    left = {*latents}
    while guided := [v for v in ordered(left) if state.latents[v].guide is not None]:
        reads = {v: guide_reads(state, v) for v in guided}
        before = frozenset(v for v in left - {*guided} if not any(v in each for each in reads.values()))
        if before:
            state = summed_in_order(state, touching(state, before, leaf), before, leaf)
        first = next((v for v in guided if not any(v in reads[other] for other in guided if other is not v)), guided[0])
        state = averaged(state, first, leaf)
        left -= {*before, first}
    return summed_in_order(state, touching(state, frozenset(left), leaf), frozenset(left), leaf) if left else state


def touching(state: State, latents: Axes, leaf: Axes) -> list[Piece]:
    """The pieces in these plates that read any of these latents."""
    return [piece for piece in state.pieces if piece.plates == leaf and owners(state, piece) & latents]


def guide_reads(state: State, latent: Axis) -> Axes:
    """The other latents that its guide reads."""
    guide = next(piece for piece in state.pieces if state.latents[latent].guide in piece.sources)
    return owners(state, guide) - {latent}


def averaged(state: State, axis: Axis, leaf: Axes) -> State:
    """The mean over a latent under its guide."""
    latent = state.latents[axis]
    read = [piece for piece in state.pieces if axis in piece.axes]
    guide = next((piece for piece in read if piece.sources == {latent.guide}), None)
    others = {o for piece in read for o in owners(state, piece) if o is not axis and state.latents[o].guide is None}
    if guide is None or any(axis_ in state.lags or axis_ in state.pointers for p in read for axis_ in p.axes):
        names = (latent.name, *(state.latents[o].name for o in ordered(others)))
        raise IntractableError(f"the guide of {latent.name} is coupled with what is summed out", None, names, ())
    read.sort(key=lambda piece: piece is not guide)
    touched = frozenset[Axis]().union(*(piece.axes for piece in read))
    roles = {piece.name: role(state, piece.name) for piece in read[1:]}
    asked, silent = (tuple(name for name, found in roles.items() if found == each) for each in ("asked", "silent"))
    inputs, terms = tuple(piece.name for piece in read), state.numbers.elements(touched)
    step = Expected(inputs, state.fresh(f"mean_{axis.hint}"), terms, axis, touched, asked, silent)
    return state.after(step, read, [merged(step.output, read, (axis,), leaf)])


def role(state: State, name: str) -> str:
    """What a piece is to a query: "asked" where it is made of tilts and guides alone, "silent" where something is summed out in
    it, "" else."""
    step = next((step for step in state.steps if step.output == name), None)
    if step is None:
        return "asked" if name in state.tilts else ""
    if isinstance(step, Expected):
        return "asked"
    if isinstance(step, Sum | Structured):
        return "silent"
    found = {role(state, each) for each in step.inputs}
    return next((each for each in ("silent", "asked") if each in found), "")


def summed_in_order(state: State, pieces: Sequence[Piece], latents: Axes, leaf: Axes) -> State:
    """Log-sum-exp over one latent after the other, in the cheapest order."""
    pool, numbers = list(pieces), state.numbers
    found = cheapest(ordered(latents), [piece.axes for piece in pieces], numbers.of)
    before = state.terms
    for axis in found.order:
        read = [piece for piece in pool if axis in piece.axes]
        touched = frozenset[Axis]().union(*(piece.axes for piece in read))
        inputs = tuple(piece.name for piece in read)
        step = Sum(inputs, state.fresh(f"sum_{axis.hint}"), numbers.elements(touched), axis, touched)
        new = merged(step.output, read, (axis,), leaf)
        state = state.after(step, read, [new])
        pool = [piece for piece in pool if axis not in piece.axes] + [new]
    assert state.terms - before == found.terms, "the search counts as the steps do"
    return with_runner_up(state, found.terms, found.runner_up)


def with_runner_up(state: State, terms: int, other: tuple[int, str] | None) -> State:
    """The state, whose next cheapest alternative differs where it costs most."""
    if other is None:
        return state
    more = other[0] - terms
    known = state.runner_up
    return state if known is not None and known[0] <= more else replace(state, runner_up=(more, other[1]))


def as_structure(state: State, pieces: Sequence[Piece], latents: Axes, leaf: Axes) -> State:
    """The sum over a structure, by the entry that does it for least."""
    for piece in pieces:
        if owners(state, piece) & state.held.keys():
            return digits(state, piece)
    group = group_of(state, pieces, latents)
    if group is None:
        raise CoupledError(state, pieces, "they are structured along several plates")
    uneven = [plate for plate in leaf if plate.lengths is not None and group.plate in plate.lengths.axes]
    if uneven:
        names = tuple(state.latents[v].name for v in group.own)
        why = f"elements of {uneven[0]} differ in number along {group.plate}, so that an element may have no past"
        raise IntractableError(why, None, names, tuple(sorted({name for piece in pieces for name in piece.sources})))
    others = frozenset(axis for piece in pieces for axis in state.values(piece)) - group.axes
    for axis in others:
        owner = state.owner(axis)
        if axis in state.pointers or (owner is not None and group.plate in owner.plates):
            raise CoupledError(state, pieces, f"a structure along {group.plate} is coupled with what has elements there too")
    fits = recognising(group)
    if not fits:
        raise CoupledError(state, pieces, f"nothing sums such a structure along {group.plate}", "structured")
    best = min(fits, key=lambda entry: entry.terms(group, state.numbers))
    around = frozenset[Axis]().union(*(piece.axes for piece in pieces)) - group.axes
    terms = best.terms(group, state.numbers) * state.numbers.elements(around)
    inputs = tuple(piece.name for piece in pieces)
    step = Structured(inputs, state.fresh(f"{best.name}_{names_of(group.own)}"), terms, best.name, group, around)
    new = merged(step.output, pieces, group.axes, leaf - {group.plate})
    return state.after(step, pieces, [new])


def group_of(state: State, pieces: Sequence[Piece], latents: Axes) -> Group | None:
    """The latents of a structure with the axes of their pasts; None where they run along several plates."""
    read = {axis for piece in pieces for axis in piece.axes}
    lags = {(lag.values, lag.lag): lag for axis in read if (lag := state.lags.get(axis)) and lag.values in latents}
    plates = {lag.plate for lag in lags.values()} | {state.latents[v].along for v in latents if state.latents[v].shape}
    shapes = {state.latents[v].shape for v in latents}
    (plate, *more), states = [*plates], ordered(latents)
    if more or plate is None or len(shapes) > 1:
        return None
    deepest = max((lag.lag for lag in lags.values()), default=0)
    past = lambda v, n: lags[v, n].past if (v, n) in lags else copy(v, f"{v.hint}_back_{n}")  # noqa: E731
    pasts = tuple(tuple(past(v, n) for v in states) for n in range(1, deepest + 1))
    return Group(plate, states, pasts, *shapes)


# ---- products, pointers, joint values


def left_over(state: State, piece: Piece, leaf: Axes) -> State | None:
    """What can be done with a piece out of which no latent can be summed here; None where it waits.

    Raises CoupledError where it would wait for ever."""
    read = [owner for axis in piece.axes if axis not in state.pointers and (owner := state.owner(axis)) is not None]
    if any(owner.plates == leaf and owner.values not in state.held for owner in read):
        return None
    if owners(state, piece) & state.held.keys():
        return digits(state, piece)
    pointers = [state.pointers[axis] for axis in ordered(piece.axes) if axis in state.pointers]
    if pointers:
        return scattered(state, piece, pointers)
    needed = frozenset[Axis]().union(*(owner.plates for owner in read))
    if not leaf - needed:
        if not leaf:
            return None
        raise CoupledError(state, [piece], "each element of one plate is coupled with each of another")
    over = ordered(leaf - needed)
    step = Product((piece.name,), state.fresh(f"{piece.name}_over_{names_of(over)}"), 0, over)
    return state.after(step, [piece], [merged(step.output, [piece], over, leaf - {*over})])


def digits(state: State, piece: Piece, among: Axes | None = None) -> State:
    """A piece with the joint values of one of its held latents, out of these, in place of the latent's own.

    A past or a selected element along other plates is one of the joint value there, along an axis of its own."""
    held = ordered(owners(state, piece) & (state.held.keys() if among is None else among))[0]
    joint = state.held[held]
    reads, lags, pointers = list[tuple[Axis, Axis, Node | int]](), dict(state.lags), dict(state.pointers)
    for axis in ordered(piece.axes):
        if axis_owner(state, axis) is not held:
            continue
        lag, pointer = state.lags.get(axis), state.pointers.get(axis)
        if lag is not None and lag.plate is not joint.plate:
            there = state.elsewhere.get(axis) or copy(joint.joint, f"{joint.joint.hint}_back_{lag.lag}")
            lags[there] = Lag(there, joint.joint, lag.plate, lag.lag)
            reads.append((axis, there, 0))
        elif lag is not None:
            reads.append((axis, joint.joint, lag.lag))
        elif pointer is not None:
            at = dict(pointer.at)
            place = at.pop(joint.plate, 0)
            there = state.elsewhere.get(axis) or copy(joint.joint, f"{joint.joint.hint}_selected") if at else joint.joint
            if at:
                pointers[there] = Pointer(there, joint.joint, tuple(at.items()))
            reads.append((axis, there, place))
        else:
            reads.append((axis, joint.joint, 0))
    new = {there for _, there, _ in reads}
    along = {joint.plate} if any(isinstance(place, int) for _, _, place in reads) else set[Axis]()
    axes = (piece.axes - {axis for axis, _, _ in reads}) | new | along
    after = Piece(state.fresh(f"{piece.name}_of_{joint.joint.hint}"), axes, piece.plates, piece.sources)
    terms = state.numbers.elements(axes)
    step = Digits((piece.name,), after.name, terms, held, joint.plate, tuple(reads), held in piece.axes, axes)
    elsewhere = {**state.elsewhere, **{axis: there for axis, there, _ in reads if there is not joint.joint}}
    return replace(state, lags=lags, pointers=pointers, elsewhere=elsewhere).after(step, [piece], [after])


def axis_owner(state: State, axis: Axis) -> Axis | None:
    owner = state.owner(axis)
    return None if owner is None else owner.values


def scattered(state: State, piece: Piece, pointers: Sequence[Pointer]) -> State:
    """What elements say of a latent that they point at, multiplied where they point."""
    at = pointers[0].at
    plates = state.latents[pointers[0].values].plates
    if any(pointer.at != at or state.latents[pointer.values].plates != plates for pointer in pointers):
        raise CoupledError(state, [piece], "a factor reads several elements", "selected")
    if len({pointer.values for pointer in pointers}) < len(pointers):
        raise CoupledError(state, [piece], "a factor reads an element twice", "selected")
    stays = (plates - {plate for plate, _ in at}) & piece.plates
    if stays != plates - {plate for plate, _ in at}:
        raise CoupledError(state, [piece], "an element is pointed at in some of its plates alone", "selected")
    gone = piece.plates - stays
    for axis in state.values(piece) - {pointer.selected for pointer in pointers}:
        owner = state.owner(axis)
        if owner is not None and owner.plates & gone:
            raise CoupledError(state, [piece], "a latent's elements are coupled with those that the data point at", "selected")
    fresh = tuple((plate, copy(plate)) for plate in ordered(gone & plates))
    away = dict(fresh)
    over = ordered(away.get(plate, plate) for plate in gone)
    names = tuple((pointer.selected, pointer.values) for pointer in pointers)
    step = Scatter((piece.name,), state.fresh(f"{piece.name}_by_{names_of([p for p, _ in at])}"), 0, at, names, over, fresh)
    axes = (piece.axes - gone - {old for old, _ in names}) | {new for _, new in names} | {plate for plate, _ in at}
    return state.after(step, [piece], [Piece(step.output, axes, plates, piece.sources)])
