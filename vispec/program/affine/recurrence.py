"""Loops of one linear recurrence, solved for all steps at once.

    s_t = Σ_k a_k[t] s_{t-k} + c[t],    s = R c with R the reach of the steps

Other states hand on what that one was, or are affine in it; where several move by themselves, steps follow one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vispec.program import build
from vispec.program.affine.forms import Form, Term, added, dense_along, densified
from vispec.program.axis import Axis
from vispec.program.node import Call, Carried, Const, Loop, Node, Part, Pick, Source
from vispec.program.walk import nodes, reads, rebuild

KERNEL = "vispec.kernels.sums.recurrence:reach_of_steps"


class NoRecurrenceError(Exception):
    """A loop whose steps are to be taken one after the other."""


def solved(loop: Loop, steps: Sequence[Sequence[Form]]) -> tuple[Form, ...]:
    """The form of each state in what is drawn, from those in the states before (" 0", ...), of each body each state's. Raises
    NoRecurrenceError."""
    moving, lags = moving_state(steps)
    forms = [[along(form, loop, number, lags) for form in step] for number, step in enumerate(steps)]
    every = [by_step(loop.axis, [step[index] for step in forms]) for index in range(len(steps[0]))]
    state = reached(every[moving], loop)
    return tuple(state if at == moving else in_state(form, state, loop) for at, form in enumerate(every))


def moving_state(steps: Sequence[Sequence[Form]]) -> tuple[int, dict[str, int]]:
    """The one state that moves, and how many steps back the states of which forms read something hold it."""
    read = {int(t.name) for step in steps for form in step for t in form.terms if t.name[0] == " "}
    handed = {at: before for at in read if (before := handed_on([step[at] for step in steps[1:]])) is not None}
    if len(read - {*handed}) != 1:
        raise NoRecurrenceError
    (moving,) = read - {*handed}
    lags = {f" {moving}": 1}
    for at in handed:
        lag, place = 1, at
        while place != moving:
            if lag > len(handed):
                raise NoRecurrenceError  # it hands on itself
            lag, place = lag + 1, handed[place]
        lags[f" {at}"] = lag
    if any(lags[t.name] > number for number, step in enumerate(steps) for form in step for t in form.terms if t.name in lags):
        raise NoRecurrenceError  # what a state was at first is none of the moving one's
    return moving, lags


def handed_on(forms: Sequence[Form]) -> int | None:
    """The state of which these are the element before."""
    found = set[int | None]()
    for form in forms:
        match form:
            case Form(Const(0), (Term(name, _, Const(1)),)) if name[0] == " ":
                found.add(int(name))
            case _:
                found.add(None)
    return found.pop() if len(found) == 1 else None


def along(form: Form, loop: Loop, number: int, lags: Mapping[str, int]) -> Form:
    """One body's form for all steps, states by how many steps back they are."""
    terms = list[Term]()
    for term in form.terms:
        here = term.name in loop.draws
        places = {axis: place if isinstance(place, Axis) else whole(place, loop) for axis, place in term.at}
        if here and (places[loop.axis] is build.position(loop.axis) or is_first(places[loop.axis], number)):
            places[loop.axis] = build.position(loop.axis)
        elif here or (term.name in lags and any(place is not build.position(axis) for axis, place in places.items())):
            raise NoRecurrenceError
        name = f" {lags[term.name]}" if term.name in lags else term.name
        terms.append(Term(name, tuple(places.items()), whole(term.coefficient, loop)))
    return Form(whole(form.offset, loop), tuple(terms))


def is_first(place: Node | Axis, number: int) -> bool:
    return number == 0 and isinstance(place, Const) and place.value == 0


def whole(node: Node, loop: Loop) -> Node:
    """What a step computes, for all steps."""
    now = build.position(loop.axis)

    def rule(each: Node) -> Node | None:
        match each:
            case Carried(name, "now") if name == loop.loop:
                return now
            case Pick(table, at) if dict(at).get(loop.axis) is now:
                return build.pick(table, dict(at))
        return None

    for each in nodes([node]):
        if isinstance(each, Carried) and each.loop == loop.loop and each.what != "now":
            raise NoRecurrenceError
        if isinstance(each, Source) and any(c.loop == loop.loop for arg in each.args for c in reads(arg, Carried)):
            raise NoRecurrenceError
    found = rebuild([node], rule)[0]
    for each in nodes([found]):
        if isinstance(each, Pick) and loop.axis in dict(each.at) and now in nodes([dict(each.at)[loop.axis]]):
            raise NoRecurrenceError  # elements before the first are not there
    return found


def by_step(axis: Axis, forms: Sequence[Form]) -> Form:
    """The form that is the first at the first element, and so on, the last at all that follow."""
    parts = list[Form]()
    for number, form in enumerate(forms):

        def only(node: Node, number: int = number) -> Node:
            found = build.apply("real", node) if number == len(forms) - 1 else build.node(0.0)
            for at in reversed(range(len(forms) - 1)):
                here = build.apply("real", node) if at == number else build.node(0.0)
                found = build.where(build.eq(build.position(axis), at), here, found)
            return found

        parts.append(Form(build.node(0.0), form.mapped(only).terms))
    offset = build.apply("real", forms[-1].offset)
    for at in reversed(range(len(forms) - 1)):
        offset = build.where(build.eq(build.position(axis), at), build.apply("real", forms[at].offset), offset)
    return Form(offset, added(parts).terms)


def reached(form: Form, loop: Loop) -> Form:
    """The moving state, by all that enters at any step."""
    axis, lags = loop.axis, {int(t.name): t.coefficient for t in form.terms if t.name[0] == " "}
    enters = Axis(f"{axis.hint}'", "event", like=axis)
    pulls = [build.spread(build.apply("real", lags.get(lag, build.node(0.0))), (axis,)) for lag in range(1, max(lags) + 1)]
    call = Call("kernel", KERNEL, tuple((pull, (axis,), "") for pull in pulls), (((axis, enters), "real"),), ())
    reach, terms = Part(call, 0), list[Term]()

    def summed(node: Node) -> Node:
        node = build.rename(build.spread(node, (axis,)), {axis: enters})
        return build.contract((reach, node), (enters,))

    for term in form.terms:
        moves = any(isinstance(place, Node) and axis in place.axes for own, place in term.at if own is not axis)
        if term.name[0] == " ":
            continue
        if moves:
            raise NoRecurrenceError
        if term.name in loop.draws:
            seed = dense_along(axis)
            node = build.rename(build.spread(term.coefficient, (axis,)), {axis: seed})
            at = tuple((own, seed if own is axis else place) for own, place in term.at)
            terms.append(Term(term.name, at, build.mul(build.rename(reach, {enters: seed}), node)))
        else:
            terms.append(replace(term, coefficient=summed(term.coefficient)))
    return Form(summed(form.offset), tuple(terms))


def in_state(form: Form, state: Form, loop: Loop) -> Form:
    """Of a state that is affine in what the moving one was."""
    parts = [Form(form.offset)]
    for term in form.terms:
        if term.name[0] == " ":
            before = state.mapped(lambda each, lag=int(term.name): build.shift(each, loop.axis, lag, build.node(0.0)))
            parts.append(before.times(term.coefficient))
        else:
            dense = densified(term, {loop.axis}) if term.name in loop.draws else term
            parts.append(Form(build.node(0.0), (dense,)))
    return added(parts)
