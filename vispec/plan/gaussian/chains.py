"""Loops whose states are Gaussian as chains: each state from that before it, from what is integrated later, and from noise.

    s[t] = F[t] s[t-1] + b[t] · (a, 1) + G[t] e[t]

Where something reads a state at another element than its own, or what a step reads changes along the chain by itself, there is no
such form, and the states' coefficients are carried along (`Unrolled`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from vispec.factors.laws import by_position
from vispec.program import build
from vispec.program.affine import Affine, Form, Term, Unrolled, added, state_name
from vispec.program.axis import Axis
from vispec.program.node import Carried, Loop, Node, Pick
from vispec.program.walk import rebuild, reads


class NoChainError(Exception):
    """A loop that is to be unrolled."""

    def __init__(self, loop: Loop):
        self.loop = loop
        super().__init__(loop.loop)


@dataclass(frozen=True, eq=False)
class Chain:
    """states: name → axes, the chain's among them. forms: of each state in the states before (by the same names), in other latents,
    and in noise. noise: site → its axes beside plates and chain. free: numbers without a law, by name with their axes."""

    loop: Loop
    axis: Axis
    states: Mapping[str, tuple[Axis, ...]]
    forms: Mapping[str, Form]
    noise: Mapping[str, tuple[Axis, ...]]
    free: Mapping[str, tuple[Axis, ...]] = field(default_factory=dict)


def chain_of(affine: Affine, loop: Loop, wanted: Collection[str], laws: Mapping[str, Node]) -> Chain:
    """The chain of the states that are wanted, and of those that they need. laws: sites of which some numbers have no law.
    Raises NoChainError."""
    steps = Unrolled(affine, loop)
    names = {index: state_name(loop, index) for index in steps.drawn}
    free, forms, left = dict[str, tuple[Axis, ...]](), dict[str, Form](), [i for i, name in names.items() if name in wanted]
    while left:
        index = left.pop()
        if names[index] in forms:
            continue
        parts = [with_free(affine, step[index], at, len(steps.steps), loop, laws, free) for at, step in enumerate(steps.steps)]
        if any(int(t.name) not in names for form in parts for t in form.terms if t.name[0] == " "):
            raise NoChainError(loop)
        forms[names[index]] = by_position_of(loop.axis, [along(form, loop, names, affine) for form in parts])
        left += [int(term.name) for form in parts for term in form.terms if term.name[0] == " "]
    places = {name: index for index, name in names.items()}
    states = {name: (*loop.around, loop.axis, *loop.outputs[places[name]].own) for name in forms}
    read = {term.name for form in forms.values() for term in form.terms}
    noise = {
        name: tuple(axis for axis in affine.axes[name] if axis not in loop.around and axis is not loop.axis)
        for name in loop.draws
        if name in read
    }
    return Chain(loop, loop.axis, states, forms, noise, free)


def with_free(
    affine: Affine,
    form: Form,
    number: int,
    many: int,
    loop: Loop,
    laws: Mapping[str, Node],
    free: dict[str, tuple[Axis, ...]],
) -> Form:
    """At one of the first steps, numbers without a law as latents of their own, which are integrated after the chain."""
    terms = list[Term]()
    for term in form.terms:
        law = laws.get(term.name)
        if law is None:
            terms.append(term)
            continue
        known = build.pick(law, {loop.axis: build.node(number)}) if loop.axis in law.axes else law
        value = simplified(known, number, loop.axis)
        if value == 1 or (value is None and number == many - 1 and ends_known(law, many)):
            terms.append(term)
            continue
        if value != 0 or number == many - 1:
            raise NoChainError(loop)
        name = f"{term.name} at {number}"
        free[name] = tuple(axis for axis in affine.axes[term.name] if axis is not loop.axis)
        terms.append(Term(name, tuple((axis, place) for axis, place in term.at if axis is not loop.axis), term.coefficient))
    return Form(form.offset, tuple(terms))


def simplified(node: Node, number: int, axis: Axis) -> float | None:
    """A law's presence at one position, where that is plain."""
    from vispec.program.node import Const, Map

    match node:
        case Const(value):
            return float(value)
        case Pick(inner, _):
            return simplified(inner, number, axis)
        case Map("where", (Map("eq", (place, Const(at))), then, otherwise)) if place is build.position(axis):
            return simplified(then if at == number else otherwise, number, axis)
    return None


def ends_known(law: Node, many: int) -> bool:
    """Whether from that step on all have a law."""
    from vispec.program.node import Const, Map

    match law:
        case Const(value):
            return value == 1
        case Map("where", (Map("eq", (_, Const(at))), _, otherwise)):
            return at < many - 1 and ends_known(otherwise, many)
    return False


def along(form: Form, loop: Loop, names: Mapping[int, str], affine: Affine) -> Form:
    """A step's form as one along the whole chain. Raises NoChainError where it reads what is carried beside."""

    def whole(node: Node) -> Node:
        def rule(each: Node) -> Node | None:
            match each:
                case Pick(table, ((axis, Carried(name, "now")),)) if name == loop.loop and axis is loop.axis:
                    return table
                case Carried(name, "now") if name == loop.loop:
                    return build.position(loop.axis)
            return None

        found = rebuild([node], rule)[0]
        if any(each.loop == loop.loop for each in reads(found, Carried)):
            raise NoChainError(loop)
        return found

    terms = list[Term]()
    for term in form.terms:
        name = names[int(term.name)] if term.name[0] == " " else term.name
        at = term.at if term.name[0] != " " else (*term.at, (loop.axis, build.position(loop.axis)))
        here = name in loop.draws
        places = tuple(
            (axis, build.position(axis) if here and axis is loop.axis else place if isinstance(place, Axis) else whole(place))
            for axis, place in at
        )
        terms.append(Term(name, ordered_places(places, loop, name), whole(term.coefficient)))
    return Form(whole(form.offset), tuple(terms))


def ordered_places(
    at: tuple[tuple[Axis, Node | Axis], ...], loop: Loop, name: str
) -> tuple[tuple[Axis, Node | Axis], ...]:
    """Plates, chain, events: as a state's axes are."""
    plates = [pair for pair in at if pair[0] in loop.around]
    chain = [pair for pair in at if pair[0] is loop.axis]
    return (*plates, *chain, *(pair for pair in at if pair not in plates and pair not in chain))


def by_position_of(axis: Axis, forms: list[Form]) -> Form:
    """The form that is the first at the first element, and so on, the last at all that follow."""
    if len(forms) == 1:
        return forms[0]
    parts = list[Form]()
    for number, form in enumerate(forms):
        for term in form.terms:
            others = [build.node(0.0)] * len(forms)
            others[number] = term.coefficient
            node = by_position(axis, [build.apply("real", each) for each in others])
            parts.append(Form(build.node(0.0), (Term(term.name, term.at, node),)))
    offset = by_position(axis, [build.apply("real", form.offset) for form in forms])
    return Form(offset, added(parts).terms)
