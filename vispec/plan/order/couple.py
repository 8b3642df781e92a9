"""Latents that cannot be summed within plates: a plate is unrolled, or its latents are summed by their joint values, whichever
costs least."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from vispec.plan.order.bound import least_terms
from vispec.plan.order.plated import CoupledError, digits, owners
from vispec.plan.order.problem import Axes, Joint, Lag, Latent, Pointer
from vispec.plan.order.refuse import ABSURD, IntractableError, Way, enough, figure
from vispec.plan.order.state import Piece, State, hold
from vispec.plan.order.steps import Element
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers
from vispec.program.node import Node
from vispec.program.size import power

MOST = 4096  # factors that an unrolled plate may leave


@dataclass(frozen=True)
class Option:
    """A plate by which coupled latents may be taken apart. values: how many joint values it makes of one of them; made: the
    state after it, or why there is none."""

    plate: Axis
    values: int
    how: str
    made: Callable[[], State] | str


def resolved(error: CoupledError, finish: Callable[[State], State]) -> State:
    """The cheapest way on, finished. Raises IntractableError."""
    least = least_terms(error.state)
    if least > error.state.work:
        made = [Way(f"{each.how} {each.plate} makes {figure(each.values)} joint values") for each in options(error)]
        raise refusal(error, least, (Way(f"a budget of at least {enough(least)} terms", least), *made))
    found, ways = list[tuple[int, str, State]](), list[Way]()
    for option in options(error):
        text = f"{option.how} {option.plate}"
        if isinstance(option.made, str):
            ways.append(Way(f"{text}: {option.made}"))
        else:
            try:
                state = finish(option.made())
                found.append((state.terms, text, state))
            except IntractableError as refused:
                ways.append(Way(f"{text}: {refused.why}", refused.terms))
    if found:
        found.sort(key=lambda each: each[0])
        terms, _, best = found[0]
        others = [(each, text) for each, text, _ in found[1:] if each > terms]
        others += [(way.terms, way.text) for way in ways if way.terms is not None]
        other = min(others, default=None)
        return best if other is None else replace(best, runner_up=(other[0] - terms, other[1]))
    ways.sort(key=lambda way: (way.terms is None, way.terms or 0))
    raise refusal(error, next((way.terms for way in ways if way.terms is not None), None), tuple(ways))


def refusal(error: CoupledError, least: int | None, ways: tuple[Way, ...]) -> IntractableError:
    """With the latents that are coupled, by which factors, and what it takes at the least."""
    latents = sorted({error.state.latents[v].name for piece in error.pieces for v in owners(error.state, piece)})
    factors = sorted({name for piece in error.pieces for name in piece.sources})
    takes = "" if least is None else f", at least {figure(least)} terms"
    one = "elements of " if len(latents) == 1 else ""
    why = f"{one}{', '.join(latents)} are coupled: {error.why}{takes}"
    return IntractableError(why, least, tuple(latents), tuple(factors), ways, kind=error.kind)


def options(error: CoupledError) -> Iterator[Option]:
    """Each plate of the coupled latents, unrolled or by joint values."""
    state = error.state
    coupled = frozenset[Axis]().union(*(owners(state, piece) for piece in error.pieces))
    plates = frozenset[Axis]().union(*(state.latents[v].plates for v in coupled))
    for plate in ordered(plates):
        inside = [v for v in ordered(coupled) if plate in state.latents[v].plates]
        number, size = state.numbers.of(plate), max(state.numbers.of(v) for v in inside)
        values = joint_values(size, number)
        shaped = any(state.latents[v].shape is not None for v in state.latents if plate in state.latents[v].plates)
        told = plate.size.number if plate.size is not None and plate.lengths is None else None
        if shaped:
            yield Option(plate, values, "unrolling", "its latents are tied to each other")
            continue
        if told is not None:
            many = told * sum(plate in piece.plates or points_into(state, piece, plate) for piece in state.pieces)
            made = f"it leaves {many} factors" if many > MOST else lambda p=plate, n=told: unrolled(state, p, n)
            yield Option(plate, values, "unrolling", made)
        inside = [v for v in inside if v not in state.held]
        if told is None and inside:
            made = lambda p=plate, vs=tuple(inside): jointly(state, p, vs)  # noqa: E731
            why = f"it takes {figure(values)} terms" if values > state.work else None
            why = (
                why
                if known(plate, state.numbers)
                else "how many elements it has only the data can tell; its size may be written"
            )
            yield Option(plate, values, "joint values along", made if why is None else why)


def known(axis: Axis, numbers: Numbers) -> bool:
    """Whether it is said how many elements an axis has."""
    size = axis.origin.size
    return axis.origin in numbers.told or (size is not None and size.names <= {*numbers.sizes})


def joint_values(size: int, number: int) -> int:
    """size ** number, or ABSURD."""
    return size**number if number * size.bit_length() < 4000 and size**number < ABSURD else ABSURD


def points_into(state: State, piece: Piece, plate: Axis) -> bool:
    return any(plate in dict(state.pointers[axis].at) for axis in piece.axes & state.pointers.keys())


def jointly(state: State, plate: Axis, latents: tuple[Axis, ...]) -> State:
    """These latents are summed by their joint values along a plate."""
    for v in latents:
        size = None if v.size is None or plate.size is None else power(v.size, plate.size)
        joint = Axis(f"{v.hint}_along_{plate.hint}", "joint", size, None, None, (v, plate))
        state = hold(state, Joint(joint, v, plate))
    return state


# ---- a plate's elements as factors of their own


@dataclass(frozen=True)
class Copies:
    """For one element of an unrolled plate: the axes of what has elements along it."""

    plate: Axis
    number: int
    names: Mapping[Axis, Axis]


def unrolled(state: State, plate: Axis, number: int) -> State:
    """The state without a plate: a copy of each of its factors and latents for each of its elements."""
    state = without_held(state, plate)
    inner = [v for v, latent in state.latents.items() if plate in latent.plates]
    lags = [past for past, lag in state.lags.items() if lag.values in inner and lag.plate is not plate]
    selected = [axis for axis, pointer in state.pointers.items() if pointer.values in inner or reads_along(pointer, plate)]
    ragged = frozenset(q for piece in state.pieces for q in piece.plates if depends(q, plate))
    copies = [copies_of((*ragged, *inner, *lags, *selected), plate, n) for n in range(number)]
    latents, new_lags, pointers = dict(state.latents), dict(state.lags), dict(state.pointers)
    held = dict(state.held)
    for v in inner:
        latent = latents.pop(v)
        joint = held.pop(v, None)
        for each in copies:
            latents[each.names[v]] = copy_of(latent, each)
            if joint is not None:
                held[each.names[v]] = Joint(each.names[joint.joint], each.names[v], each.names.get(joint.plate, joint.plate))
    for past, lag in state.lags.items():
        if lag.values in inner:
            del new_lags[past]
        for each in copies if past in lags else ():
            new_lags[each.names[past]] = Lag(
                each.names[past], each.names[lag.values], each.names.get(lag.plate, lag.plate), lag.lag
            )
    for axis in selected:
        pointer = pointers.pop(axis)
        for each in copies:
            at = tuple((each.names.get(p, p), picked(index, each)) for p, index in pointer.at if p is not plate)
            if at:
                values = each.names.get(pointer.values, pointer.values)
                pointers[each.names[axis]] = Pointer(each.names[axis], values, at)
    elsewhere = dict(state.elsewhere)
    for axis, there in state.elsewhere.items():
        elsewhere |= {each.names[axis]: each.names[there] for each in copies if axis in each.names}
    left = [piece for piece in state.pieces if plate not in piece.plates and not points_into(state, piece, plate)]
    away = [piece for piece in state.pieces if plate in piece.plates or points_into(state, piece, plate)]
    steps, new, names = list[Element](), list[Piece](), set[str]()
    for piece in away:
        for step, made in elements(state, piece, plate, copies):
            name = state.fresh(step.output, names)
            names.add(name)
            steps.append(replace(step, output=name))
            new.append(replace(made, name=name))
    return replace(
        state,
        pieces=(*left, *new),
        latents=latents,
        lags=new_lags,
        pointers=pointers,
        held=held,
        elsewhere=elsewhere,
        steps=(*state.steps, *steps),
        names=state.names | names,
    )


def without_held(state: State, plate: Axis) -> State:
    """The state in which joint values stand for those of all latents that are held along a plate."""
    held = frozenset(v for v, joint in state.held.items() if joint.plate is plate)
    while reading := [piece for piece in state.pieces if owners(state, piece) & held]:
        state = digits(state, reading[0], held)
    left = {v: joint for v, joint in state.held.items() if v not in held}
    return replace(state, held=left, latents={v: latent for v, latent in state.latents.items() if v not in held})


def reads_along(pointer: Pointer, plate: Axis) -> bool:
    """Whether its indices differ along a plate, or along one whose elements differ in number along it."""
    return any(axis is plate or depends(axis, plate) for _, index in pointer.at for axis in index.axes)


def depends(axis: Axis, plate: Axis) -> bool:
    """Whether how many elements of an axis count differs along a plate."""
    return axis.lengths is not None and plate in axis.lengths.axes


def copies_of(axes: tuple[Axis, ...], plate: Axis, number: int) -> Copies:
    names: dict[Axis, Axis] = {}
    for axis in axes:
        lengths = axis.lengths if axis.lengths is None else build.pick(axis.lengths, {plate: number})
        of = tuple(names.get(each, each) for each in axis.of)
        names[axis] = Axis(f"{axis.hint}_{number}", axis.kind, axis.size, lengths, axis, of)
    return Copies(plate, number, names)


def copy_of(latent: Latent, each: Copies) -> Latent:
    plates = frozenset(each.names.get(p, p) for p in latent.plates - {each.plate})
    name = f"{latent.name}[{each.number}]"
    along = None if latent.along is None else each.names.get(latent.along, latent.along)
    return replace(latent, name=name, values=each.names[latent.values], plates=plates, along=along)


def picked(index: Node, each: Copies) -> Node:
    """An index in the data at the element."""
    found = build.pick(index, {each.plate: each.number})
    return build.pick(found, {old: build.position(new) for old, new in each.names.items()})


def elements(state: State, piece: Piece, plate: Axis, copies: list[Copies]) -> Iterator[tuple[Element, Piece]]:
    """A piece at each element of the plate, and at each choice of those that it points at."""
    pointers = (
        [state.pointers[axis] for axis in ordered(piece.axes & state.pointers.keys()) if axis in copies[0].names]
        if copies
        else []
    )
    indices = list(dict.fromkeys(dict(pointer.at)[plate] for pointer in pointers if plate in dict(pointer.at)))
    for number in range(len(copies)) if plate in piece.plates else [None]:
        for places in product(range(len(copies)), repeat=len(indices)):
            chosen = dict(zip(indices, places, strict=True))
            yield element(state, piece, plate, copies, number, chosen)


def element(
    state: State, piece: Piece, plate: Axis, copies: list[Copies], number: int | None, chosen: Mapping[Node, int]
) -> tuple[Element, Piece]:
    own = copies[number].names if number is not None else {}
    at, names = ([] if number is None else [(plate, number)]), dict[Axis, Axis]()
    for axis in ordered(piece.axes - {plate}):
        lag, pointer = state.lags.get(axis), state.pointers.get(axis)
        if lag is not None and lag.plate is plate and number is not None:
            if number >= lag.lag:
                names[axis] = copies[number - lag.lag].names[lag.values]
            else:
                at.append((axis, 0))
        elif pointer is not None and plate in dict(pointer.at):
            there = copies[chosen[dict(pointer.at)[plate]]].names
            names[axis] = there[pointer.values] if len(pointer.at) == 1 else there[axis]
        elif axis in own:
            names[axis] = own[axis]
    gone = {plate, *(axis for axis, _ in at)}
    axes: Axes = frozenset(names.get(axis, axis) for axis in piece.axes - gone)
    plates = frozenset(own.get(p, p) for p in piece.plates - {plate})
    names |= {p: own[p] for p in piece.plates if p in own}
    name = f"{piece.name}_{'_'.join(map(str, ([] if number is None else [number]) + [*chosen.values()]))}"
    where = tuple(chosen.items())
    step = Element((piece.name,), name, 0, plate, tuple(at), tuple(names.items()), where)
    return step, Piece(name, axes, plates, piece.sources)
