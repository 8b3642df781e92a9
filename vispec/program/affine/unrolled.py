"""Loops whose steps are affine, told in what is drawn in them: coefficients are carried beside the values, along an axis for
all elements of the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from vispec.program import build
from vispec.program.affine.forms import At, Form, Term, dense_along, densified
from vispec.program.affine.recurrence import NoRecurrenceError, solved
from vispec.program.axis import Axis
from vispec.program.node import Carried, Draw, Loop, Node, Noise, Part, Source
from vispec.program.walk import nodes, rebuild, relooped

if TYPE_CHECKING:
    from vispec.program.affine.fold import Affine


def outside_sources(root: Node) -> Iterator[Node]:
    """The nodes below one, arguments first, those that nets and loops are computed from aside."""
    seen, stack = set[Node](), [(root, False)]
    while stack:
        found, ready = stack.pop()
        if ready:
            yield found
        elif found not in seen and not isinstance(found, Source):
            seen.add(found)
            stack.append((found, True))
            stack += [(arg, False) for arg in reversed(found.args)]


def state_name(loop: Loop, index: int) -> str:
    """What a state is called that no name of a spec can be."""
    return f"{loop.loop}: {index}"


class Unrolled:
    """The states of a loop as forms: each step is affine in the states before and in what is drawn at it, so that coefficients
    are carried beside the values, along an axis for all elements of the chain."""

    def __init__(self, outer: Affine, loop: Loop):
        self.outer, self.loop = outer, loop
        self.name = f"{loop.loop}*"
        self.steps = [self.step(number, body) for number, body in enumerate(loop.bodies)]
        self.drawn = self.made_of_draws()

    def made_of_draws(self) -> frozenset[int]:
        """The states that draws enter, be it through other states."""
        found = {i for step in self.steps for i, form in enumerate(step) if any(t.name[0] != " " for t in form.terms)}
        while (
            more := {
                i
                for step in self.steps
                for i, form in enumerate(step)
                for t in form.terms
                if t.name[0] == " " and int(t.name) in found
            }
            - found
        ):
            found |= more
        return frozenset(found)

    def step(self, number: int, body: tuple[Node, ...]) -> list[Form]:
        """Of each state, its form in the states before ("", index) and in draws."""
        known = dict[Node, Form]()

        def form(node: Node) -> Form:
            for each in outside_sources(node):
                if each not in known:
                    known[each] = self.one(each, number, form)
            return known[node]

        return [form(root) for root in body]

    def moves(self, node: Node) -> bool:
        """Whether a node reads what the loop carries, or a draw that it makes."""
        own = (each for each in nodes([node]) if isinstance(each, Carried | Draw | Noise))
        return any(each.loop == self.loop.loop if isinstance(each, Carried) else each.site in self.loop.draws for each in own)

    def one(self, node: Node, number: int, form: Callable[[Node], Form]) -> Form:
        if not self.moves(node):
            return self.outer.form(node)
        match node:
            case Carried(loop, "state", index, order) if loop == self.loop.loop and self.loop.outputs[index].dtype == "real":
                at: At = tuple((axis, build.position(axis)) for axis in order)
                return Form(build.node(0.0), (Term(f" {index}", at, build.node(1.0)),))
            case Carried(loop, what, index) if loop == self.loop.loop and what != "now":
                if self.outer.below(Part(self.loop, index)):
                    raise self.outer.not_affine(Part(self.loop, index), "the whole past")
                return Form(node)
            case Draw(site) | Noise(site) if site in self.outer.axes:
                now: Node = build.node(0) if number == 0 else Carried(self.loop.loop, "now", 0, (), "int")
                return self.outer.drawn(node, {self.loop.axis: now}, form)
            case Part(source):
                if any(form(each).terms for each in source.args):
                    raise self.outer.not_affine(node, "a net")
                return Form(node)
        if not any(form(arg).terms for arg in node.args):
            return Form(node)
        return self.outer.computed(node, form)

    def forms(self) -> tuple[Form, ...]:
        """Solved for all steps at once, or of a loop with values first, then the coefficients of each drawn site."""
        try:
            return solved(self.loop, self.steps)
        except NoRecurrenceError:
            return self.stepped()

    def stepped(self) -> tuple[Form, ...]:
        """Of a loop that carries values first, then the coefficients of each drawn site."""
        loop, count = self.loop, len(self.loop.bodies[0])
        sites = sorted({term.name for step in self.steps for form in step for term in form.terms if term.name[0] != " "})
        seeds = {
            site: {axis: dense_along(axis) for axis in self.outer.axes[site] if self.is_dense(site, axis)} for site in sites
        }
        slots = {(site, index): count * (1 + place) + index for place, site in enumerate(sites) for index in range(count)}
        plain = {index: tuple(a for a in self.order(index)) for index in range(count)}
        bodies = list[tuple[Node, ...]]()
        for number, step in enumerate(self.steps):
            values = [self.value(form, plain, number) for form in step]
            slopes = [self.slope(form, site, seeds[site], slots, plain, number) for site in sites for form in step]
            bodies.append(tuple(self.renamed(each) for each in (*values, *slopes)))
        made = relooped(self.name, loop.axis, tuple(bodies), loop.around, loop.draws)
        found = list[Form]()
        for index in range(count):
            terms = list[Term]()
            for site in sites:
                at = tuple((axis, seeds[site].get(axis, build.position(axis))) for axis in self.outer.axes[site])
                terms.append(Term(site, at, Part(made, slots[site, index])))
            found.append(Form(Part(made, index), tuple(terms) if index in self.drawn else ()))
        return tuple(found)

    def is_dense(self, site: str, axis: Axis) -> bool:
        """Whether a step reads other elements of a site along an axis than its own; along the chain always."""
        places = [dict(t.at)[axis] for step in self.steps for form in step for t in form.terms if t.name == site]
        mixing = [t for step in self.steps for form in step for t in form.terms if t.name[0] == " "]
        own = all(place is build.position(axis) for place in places)
        kept = all(dict(t.at).get(axis) in (None, build.position(axis)) for t in mixing)
        return axis is self.loop.axis or not own or not kept

    def order(self, index: int) -> tuple[Axis, ...]:
        """The axes of a state, the chain's aside."""
        return tuple(a for a in (*self.loop.around, *self.loop.outputs[index].own))

    def value(self, form: Form, plain: Mapping[int, tuple[Axis, ...]], number: int) -> Node:
        parts = [form.offset]
        for term in form.terms:
            if term.name[0] == " ":
                index = int(term.name)
                parts.append(applied(term, Carried(self.name, "state", index, plain[index], "real")))
        return build.add(*parts)

    def slope(
        self,
        form: Form,
        site: str,
        seeds: Mapping[Axis, Axis],
        slots: Mapping[tuple[str, int], int],
        plain: Mapping[int, tuple[Axis, ...]],
        number: int,
    ) -> Node:
        parts = list[Node]()
        for term in form.terms:
            if term.name == site:
                parts.append(densified(term, {*seeds}, seeds).coefficient)
            elif term.name[0] == " ":
                index = int(term.name)
                order = (*plain[index], *seeds.values())
                parts.append(applied(term, Carried(self.name, "state", slots[site, index], order, "real")))
        return build.spread(build.add(build.node(0.0), *parts) if parts else build.node(0.0), tuple(seeds.values()))

    def renamed(self, node: Node) -> Node:
        """What the old loop carried, carried by the new one."""

        def rule(each: Node) -> Node | None:
            if isinstance(each, Carried) and each.loop == self.loop.loop:
                return replace_loop(each, self.name)
            return None

        return rebuild([node], rule)[0]


def replace_loop(each: Carried, name: str) -> Carried:
    return Carried(name, each.what, each.index, each.order, each.kind)


def applied(term: Term, value: Node) -> Node:
    """The coefficient times the value that is meant, summed along dense axes."""
    seeds = {axis: place for axis, place in term.at if isinstance(place, Axis)}
    at = {axis: place for axis, place in term.at if isinstance(place, Node) and place is not build.position(axis)}
    value = build.rename(build.pick(value, at) if at else value, seeds)
    product = build.mul(term.coefficient, value)
    return build.reduce("sum", product, tuple(seeds.values())) if seeds else product


# ---- along axes
