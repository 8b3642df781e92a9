"""Loops whose states are Gaussian as chains: each state from that before it, from what is integrated later, and from noise.

    s[t] = F[t] s[t-1] + b[t] · (a, 1) + G[t] e[t]

Where something reads a state at another element than its own, or what a step reads changes along the chain by itself, there is
no such form, and the states' coefficients are carried along (`Unrolled`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from vispec.factors.laws import by_position
from vispec.plan.gaussian.sizes import merged
from vispec.program import build
from vispec.program.affine.fold import Affine
from vispec.program.affine.forms import Form, Term, added, dense_along, densified
from vispec.program.affine.unrolled import Unrolled, state_name
from vispec.program.axis import Axis
from vispec.program.node import Carried, Const, Loop, Map, Node, Pick
from vispec.program.walk import reads, rebuild


class NoChainError(Exception):
    """States that are no chain: what makes them is to be unrolled."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Along an axis, in plates `around`. states: name → axes, the chain's among them. forms: of each state in the states one
    element before (by the same names), in other latents, and in noise. noise: site → its axes beside plates and chain. free:
    numbers without a law, by name with their axes."""

    axis: Axis
    around: frozenset[Axis]
    states: Mapping[str, tuple[Axis, ...]]
    forms: Mapping[str, Form]
    noise: Mapping[str, tuple[Axis, ...]]
    free: Mapping[str, tuple[Axis, ...]]


class Links:
    """The forms of the states of loops along one axis, those that are needed. Raises NoChainError."""

    def __init__(self, affine: Affine, axis: Axis, around: frozenset[Axis], laws: Mapping[str, Node]):
        self.affine, self.axis, self.around, self.laws = affine, axis, around, laws
        self.free, self.raw, self.steps = dict[str, tuple[Axis, ...]](), dict[str, Form](), dict[Loop, Unrolled]()

    def chain(self, wanted: Collection[str]) -> Chain:
        left = [*wanted]
        while left:
            name = left.pop()
            if name not in self.raw:
                self.raw[name] = self.of(name)
                left += [
                    each.removesuffix(BEFORE)
                    for each in self.raw[name].names
                    if each.removesuffix(BEFORE) in self.affine.states
                ]
        forms = {name: settled(self.now(name, ()), self.affine) for name in self.raw}
        forms = {name: form for name, form in forms.items() if self.is_needed(name, wanted, forms)}
        loops = {name: self.affine.states[name] for name in forms}
        states = {name: (*loop.around, loop.axis, *loop.outputs[index].own) for name, (loop, index) in loops.items()}
        read, draws = (
            {t.name for form in forms.values() for t in form.terms},
            {d for loop, _ in loops.values() for d in loop.draws},
        )
        noise = {
            name: tuple(axis for axis in self.affine.axes[name] if axis not in self.around and axis is not self.axis)
            for name in sorted(draws & read)
        }
        return Chain(self.axis, self.around, states, forms, noise, self.free)

    def is_needed(self, name: str, wanted: Collection[str], forms: Mapping[str, Form]) -> bool:
        """Whether it is asked for, or a state reads it one element back."""
        return name in wanted or any(name in form.names for form in forms.values())

    def of(self, name: str) -> Form:
        """A state's form along the chain, in states at their own element and one before (" before")."""
        loop, index = self.affine.states[name]
        if loop.axis is not self.axis or frozenset(loop.around) != self.around:
            raise NoChainError
        steps = self.steps.setdefault(loop, Unrolled(self.affine, loop))
        names = {at: state_name(loop, at) for at in steps.drawn}
        parts = [with_free(self, step[index], at, len(steps.steps), loop) for at, step in enumerate(steps.steps)]
        if any(int(t.name) not in names for form in parts for t in form.terms if t.name[0] == " "):
            raise NoChainError
        return by_position_of(self.axis, [along(form, loop, names) for form in parts])

    def now(self, name: str, inside: tuple[str, ...]) -> Form:
        """The form in states one element back alone: what is read at its own element is what that follows from."""
        if name in inside:
            raise NoChainError
        form = self.raw[name]
        parts = [Form(form.offset)]
        for term in form.terms:
            if term.name not in self.affine.states:
                parts.append(Form(build.node(0.0), (term,)))
                continue
            place = dict(term.at)[self.axis]
            own = all(each is build.position(axis) for axis, each in term.at if axis is not self.axis)
            if place is build.position(self.axis) and own:
                parts.append(self.now(term.name, (*inside, name)).times(term.coefficient))
            elif place is build.sub(build.position(self.axis), 1) and own:
                at = tuple((axis, build.position(axis)) for axis, _ in term.at)
                parts.append(Form(build.node(0.0), (Term(term.name + BEFORE, at, term.coefficient),)))
            else:
                raise NoChainError
        return added(parts)


BEFORE = " before"


def settled(form: Form, affine: Affine) -> Form:
    """With states one element back by their own names."""
    terms = tuple(replace(term, name=term.name.removesuffix(BEFORE)) for term in form.terms)
    return added([Form(form.offset), *(Form(build.node(0.0), (term,)) for term in terms)])


def chains_in(forms: Sequence[Form], affine: Affine, laws: Mapping[str, Node]) -> list[Chain]:
    """The chains whose states are read. Raises NoChainError."""
    wanted, found = dict.fromkeys(name for form in forms for name in form.names if name in affine.states), list[Chain]()
    places = {name: (affine.states[name][0].axis, frozenset(affine.states[name][0].around)) for name in wanted}
    for axis, around in dict.fromkeys(places.values()):
        links = Links(affine, axis, around, laws)
        found.append(links.chain([name for name in wanted if places[name] == (axis, around)]))
    return found


def with_free(links: Links, form: Form, number: int, many: int, loop: Loop) -> Form:
    """At one of the first steps, numbers of the chain without a law as latents of their own, which are integrated later."""
    terms = list[Term]()
    for term in form.terms:
        law = links.laws.get(term.name) if term.name in loop.draws else None
        value = 1.0 if law is None else simplified(law, number, loop.axis)
        last = number == many - 1
        if law is None or (value == 1 and not last) or (last and ends_known(law, many)):
            terms.append(term)
        elif value == 0 and not last:
            name = f"{term.name} at {number}"
            links.free[name] = tuple(axis for axis in links.affine.axes[term.name] if axis is not loop.axis)
            terms.append(Term(name, tuple((axis, place) for axis, place in term.at if axis is not loop.axis), term.coefficient))
        else:
            raise NoChainError
    return Form(form.offset, tuple(terms))


def simplified(node: Node, number: int, axis: Axis) -> float | None:
    """A law's presence at one position, where that is plain."""
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
    match law:
        case Const(value):
            return value == 1
        case Map("where", (Map("eq", (_, Const(at))), _, otherwise)):
            return at < many - 1 and ends_known(otherwise, many)
    return False


def along(form: Form, loop: Loop, names: Mapping[int, str]) -> Form:
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
            raise NoChainError
        return found

    terms = list[Term]()
    for term in form.terms:
        name = names[int(term.name)] + BEFORE if term.name[0] == " " else term.name
        at = term.at if term.name[0] != " " else (*term.at, (loop.axis, build.position(loop.axis)))
        here = name in loop.draws
        places = tuple(
            (axis, build.position(axis) if here and axis is loop.axis else place if isinstance(place, Axis) else whole(place))
            for axis, place in at
        )
        terms.append(Term(name, ordered_places(places, loop), whole(term.coefficient)))
    return Form(whole(form.offset), tuple(terms))


def ordered_places(at: tuple[tuple[Axis, Node | Axis], ...], loop: Loop) -> tuple[tuple[Axis, Node | Axis], ...]:
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


def noise_of(form: Form, chain: Chain, axis: Axis) -> Node:
    """How standard normal numbers enter a state: the coefficients of all of a chain's noise, along an axis."""
    parts, terms = list[tuple[Node, Axis | None]](), {term.name: term for term in form.terms}
    for name, events in chain.noise.items():
        seeds = {event: dense_along(event) for event in events}
        own = merged(name, [*seeds.values()])
        node: Node = build.node(0.0)
        if name in terms:
            node = densified(terms[name], [*seeds], seeds).coefficient
        laid = build.spread(node, [*seeds.values()])
        parts.append((laid if own is None else build.merge(laid, [*seeds.values()], own), own))
    return build.concat(parts, axis)
