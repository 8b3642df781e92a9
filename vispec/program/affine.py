"""Affine forms: a value as a part free of some numbers and, for each of these, a coefficient at an element of it.

    v = offset + Σ_term coefficient · e[at]

`at` says for each axis of e which element is meant: a whole number (its own position, the one before, an index in the data), or
an axis, along which all elements count, each with a coefficient of its own. Nothing is ever read off at sample points: a value
that is not affine says which node of it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce

from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.node import (
    Carried,
    Concat,
    Contract,
    Draw,
    Link,
    Loop,
    Map,
    Node,
    Noise,
    Part,
    Pick,
    Reduce,
    Rename,
    Shift,
    Source,
    Spread,
)
from vispec.program.walk import nodes, relooped

At = tuple[tuple[Axis, Node | Axis], ...]


class NotAffineError(Exception):
    """What is not affine: the node, the names of what it reads, and why."""

    def __init__(self, node: Node, names: Collection[str], why: str):
        self.node, self.names, self.why = node, frozenset(names), why
        super().__init__(why)


@dataclass(frozen=True)
class Term:
    """coefficient · e[at]; an axis among the places stands in the coefficient, and the term is a sum along it."""

    name: str
    at: At
    coefficient: Node

    @property
    def dense(self) -> tuple[Axis, ...]:
        return tuple(place for _, place in self.at if isinstance(place, Axis))

    @property
    def axes(self) -> frozenset[Axis]:
        places = (place.axes for _, place in self.at if isinstance(place, Node))
        return (self.coefficient.axes - {*self.dense}).union(*places)

    def mapped(self, change: Callable[[Node], Node]) -> Term:
        return replace(self, coefficient=change(self.coefficient))

    def moved(self, change: Callable[[Node], Node]) -> Term:
        """The coefficient and the places changed alike, as by a pick or a shift."""
        at = tuple((axis, place if isinstance(place, Axis) else change(place)) for axis, place in self.at)
        return Term(self.name, at, change(self.coefficient))


@dataclass(frozen=True)
class Form:
    offset: Node
    terms: tuple[Term, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(term.name for term in self.terms)

    @property
    def axes(self) -> frozenset[Axis]:
        return self.offset.axes.union(*(term.axes for term in self.terms))

    def mapped(self, change: Callable[[Node], Node]) -> Form:
        """Each coefficient and the offset by a linear map of elements."""
        offset = self.offset if build.is_const(self.offset, 0) else change(self.offset)
        return Form(offset, tuple(term.mapped(change) for term in self.terms))

    def times(self, factor: Node) -> Form:
        return self.mapped(lambda node: build.mul(node, factor))


def added(forms: Iterable[Form]) -> Form:
    """Their sum; terms of the same elements are one."""
    forms = list(forms)
    found = dict[tuple[str, At], Node]()
    for term in (term for form in forms for term in form.terms):
        term = aligned(term, found)
        key = (term.name, term.at)
        found[key] = build.add(found[key], term.coefficient) if key in found else term.coefficient
    terms = tuple(Term(name, at, node) for (name, at), node in found.items())
    return Form(build.add(*(form.offset for form in forms)), terms)


def aligned(term: Term, known: Iterable[tuple[str, At]]) -> Term:
    """The term along the axes of one that is already known, where both are sums along the same axes of e."""
    for name, at in known:
        if name == term.name and all(same_place(a, b) for a, b in zip(at, term.at, strict=True)):
            pairs = {b: a for (_, a), (_, b) in zip(at, term.at, strict=True) if isinstance(a, Axis) and isinstance(b, Axis)}
            return Term(name, at, build.rename(term.coefficient, pairs))
    return term


def same_place(one: tuple[Axis, Node | Axis], other: tuple[Axis, Node | Axis]) -> bool:
    both_dense = isinstance(one[1], Axis) and isinstance(other[1], Axis)
    return one[0] is other[0] and (both_dense or one[1] is other[1])


def dense_along(axis: Axis) -> Axis:
    """An axis for all elements of e along one of its own."""
    return replace(copy(axis, kind="event"), lengths=None)


def densified(term: Term, axes: Collection[Axis], seeds: Mapping[Axis, Axis] | None = None) -> Term:
    """The term with all elements of e along these axes of its, each where it is meant."""
    at, coefficient = list[tuple[Axis, Node | Axis]](), term.coefficient
    for axis, place in term.at:
        seed = (seeds or {}).get(axis) or (dense_along(axis) if axis in axes else None)
        if axis not in axes or seed is None:
            at.append((axis, place))
        elif isinstance(place, Axis):
            coefficient = build.rename(coefficient, {place: seed})
            at.append((axis, seed))
        else:
            coefficient = build.where(build.eq(place, build.position(seed)), coefficient, 0.0)
            at.append((axis, seed))
    return Term(term.name, tuple(at), coefficient)


class Affine:
    """The forms of nodes in some sites, by one fold. axes: of each site, those of its numbers, in order.

    States of loops are named by themselves, or unrolled: told in what is drawn."""

    def __init__(self, axes: Mapping[str, tuple[Axis, ...]], unrolled: bool = True):
        self.axes, self.unrolled = axes, unrolled
        self.states = dict[str, tuple[Loop, int]]()
        self.known = dict[Node, Form]()
        self.reads = dict[Node, frozenset[str]]()
        self.loops = dict[Loop, tuple[Form, ...]]()

    def below(self, node: Node) -> frozenset[str]:
        """The sites that a node is computed from."""
        for each in nodes([node]):
            if each not in self.reads:
                own = frozenset({each.site}) if isinstance(each, Draw | Noise) and each.site in self.axes else frozenset[str]()
                self.reads[each] = own.union(*(self.reads[arg] for arg in each.args))
        return self.reads[node]

    def form(self, node: Node) -> Form:
        """Raises NotAffineError."""
        for each in outside_sources(node):
            if each not in self.known:
                self.known[each] = self._form(each)
        return self.known[node]

    def _form(self, node: Node) -> Form:
        if not self.below(node):
            return Form(node)
        match node:
            case Draw() | Noise():
                return self.drawn(node, {})
            case Part(Loop() as loop, index):
                return self.looped(loop)[index]
        return self.computed(node, self.form)

    def computed(self, node: Node, form: Callable[[Node], Form]) -> Form:
        """By the forms of its arguments."""
        match node:
            case Map(op, operands):
                return self.elementwise(node, op, [form(each) for each in operands])
            case Reduce("sum", arg, over):
                return reduce(lambda found, axis: summed(found, axis), inner_first(over), form(arg))
            case Contract(factors, over):
                product = self.product(node, [form(each) for each in factors])
                return reduce(lambda found, axis: summed(found, axis), inner_first(over), product)
            case Rename(arg, pairs):
                return moved(form(arg), lambda each: build.rename(each, dict(pairs)))
            case Spread(arg, over):
                found = form(arg)
                return Form(build.spread(found.offset, over), found.terms)
            case Pick(table, at) if not any(form(index).terms for _, index in at):
                return moved(form(table), lambda each: picked(each, dict(at)))
            case Shift(arg, axis, lag, fill) if not form(fill).terms:
                found = form(arg)
                terms = (term.moved(lambda each: shifted(each, axis, lag)) for term in found.terms)
                kept = tuple(replace(t, coefficient=build.shift(t.coefficient, axis, lag, build.node(0.0))) for t in terms)
                return Form(build.shift(found.offset, axis, lag, fill), kept)
            case Concat(parts, axis):
                return one_after_another([(form(part), own) for part, own in parts], axis)
            case Link(op, _, _):
                raise self.not_affine(node, op.replace("_", " "))
        raise self.not_affine(node, type(node).__name__.lower())

    def elementwise(self, node: Node, op: str, forms: list[Form]) -> Form:
        match op:
            case "add":
                return added(forms)
            case "sub":
                return added([forms[0], forms[1].mapped(build.neg)])
            case "neg" | "real" | "wide":
                return forms[0].mapped(lambda each: build.apply(op, each))
            case "mul":
                return self.product(node, forms)
            case "div" if not forms[1].terms:
                return forms[0].mapped(lambda each: build.apply("div", each, forms[1].offset))
            case "where" if not forms[0].terms:
                test = forms[0].offset
                chosen = Form(build.where(test, forms[1].offset, forms[2].offset))
                one = Form(build.node(0.0), forms[1].terms).mapped(lambda each: build.where(test, each, 0.0))
                other = Form(build.node(0.0), forms[2].terms).mapped(lambda each: build.where(test, 0.0, each))
                return added([chosen, one, other])
        raise self.not_affine(node, OPS_IN_WORDS.get(op, op))

    def product(self, node: Node, forms: list[Form]) -> Form:
        found = [form for form in forms if form.terms]
        if len(found) > 1:
            noise = next((each for each in node.args if isinstance(each, Noise)), None)
            others = self.below(node) - ({noise.site} if noise is not None else set())
            if noise is not None and others:
                raise NotAffineError(node, others, f"the scale of {noise.site} reads {' and '.join(sorted(others))}")
            raise NotAffineError(node, self.below(node), f"a product of {' and '.join(sorted(self.below(node)))}")
        others = [form.offset for form in forms if not form.terms]
        return found[0].mapped(lambda each: build.mul(each, *others))

    def not_affine(self, node: Node, what: str) -> NotAffineError:
        names = self.below(node)
        return NotAffineError(node, names, f"{what} of {' and '.join(sorted(names))}")

    # ---- draws

    def drawn(self, node: Draw | Noise, now: Mapping[Axis, Node], form: Callable[[Node], Form] | None = None) -> Form:
        """A draw as its law makes it of standard normal numbers. now: the element that is meant along a loop."""
        form = form or self.form
        at: At = tuple((axis, now.get(axis, build.position(axis))) for axis in self.axes[node.site])
        itself = Form(build.node(0.0), (Term(node.site, at, build.node(1.0)),))
        if isinstance(node, Noise):
            return itself
        match node.law, node.params:
            case "Flat", _:
                return itself
            case "MultivariateNormal", ((_, loc, own), (_, factor, (row, column))):
                factor_form = form(factor)
                if factor_form.terms:
                    names = factor_form.names
                    raise NotAffineError(factor, names, f"a scale that reads {' and '.join(sorted(names))}")
                event = node.events[-1]
                seed = dense_along(event)
                laid = build.rename(factor, {row: event, column: seed})
                inner = tuple((axis, seed if axis is event else place) for axis, place in at)
                mean = moved(form(loc), lambda each: build.rename(each, {own[-1]: event}) if own else each)
                return added([mean, Form(build.node(0.0), (Term(node.site, inner, laid),))])
        raise NotAffineError(node, {node.site}, f"`{node.law}` is no normal law")

    # ---- loops

    def looped(self, loop: Loop) -> tuple[Form, ...]:
        if loop not in self.loops:
            steps = Unrolled(self, loop)
            self.loops[loop] = steps.forms() if self.unrolled else self.named(loop, steps)
        return self.loops[loop]

    def named(self, loop: Loop, steps: Unrolled) -> tuple[Form, ...]:
        """States that are made of draws by their names, each at its own element."""
        found = list[Form]()
        for index, output in enumerate(loop.outputs):
            if index not in steps.drawn:
                found.append(Form(Part(loop, index)))
                continue
            name = state_name(loop, index)
            self.states[name] = loop, index
            at: At = tuple((axis, build.position(axis)) for axis in (*loop.around, loop.axis, *output.own))
            found.append(Form(build.node(0.0), (Term(name, at, build.node(1.0)),)))
        return tuple(found)


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


OPS_IN_WORDS = {"pow": "a power", "square": "a square", "div": "division by", "lt": "a comparison", "le": "a comparison"}


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
        """Values first, then the coefficients of each drawn site."""
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
        from vispec.program.walk import rebuild

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


def moved(form: Form, change: Callable[[Node], Node]) -> Form:
    return Form(change(form.offset), tuple(term.moved(change) for term in form.terms))


def picked(node: Node, at: Mapping[Axis, Node]) -> Node:
    own = {axis: index for axis, index in at.items() if axis in node.axes}
    if len(own) == 1 and node in [build.position(axis) for axis in own]:
        return next(iter(own.values()))
    return build.pick(node, own) if own else node


def shifted(node: Node, axis: Axis, lag: int) -> Node:
    """The places of elements so far back; before the first anything."""
    if node is build.position(axis):
        return build.sub(node, lag)
    if node.dtype != "int":
        return node
    return build.shift(node, axis, lag, build.node(0)) if axis in node.axes else node


def inner_first(over: Iterable[Axis]) -> list[Axis]:
    """Axes in an order in which a ragged one comes before those that its lengths differ along."""
    left, found = list(over), list[Axis]()
    while left:
        ready = next(
            a for a in left if not any(a in (b.lengths.axes if b.lengths is not None else ()) for b in left if b is not a)
        )
        left.remove(ready)
        found.append(ready)
    return found


def summed(form: Form, axis: Axis) -> Form:
    """The sum along an axis."""
    terms = list[Term]()
    for term in form.terms:
        moving = [own for own, place in term.at if isinstance(place, Node) and axis in place.axes]
        if len(moving) == 1 and dict(term.at)[moving[0]] is build.position(axis):
            seed = dense_along(moving[0])
            inside = build.where(build.inside(axis), build.spread(term.coefficient, (axis,)), 0.0)
            at = tuple((own, seed if own is moving[0] else place) for own, place in term.at)
            terms.append(Term(term.name, at, build.rename(build.spread(inside, (axis,)), {axis: seed})))
            continue
        one = densified(term, moving) if moving else term
        terms.append(replace(one, coefficient=build.reduce("sum", one.coefficient, (axis,))))
    whole = added([Form(build.node(0.0), (term,)) for term in terms])
    return Form(build.reduce("sum", form.offset, (axis,)), whole.terms)


def one_after_another(parts: list[tuple[Form, Axis | None]], axis: Axis) -> Form:
    """Parts along an axis: the terms of one are none of the others."""
    offset = build.concat([(form.offset, own) for form, own in parts], axis)
    found = list[Form]()
    for at, (form, _) in enumerate(parts):
        for term in form.terms:

            def laid(node: Node, at: int = at) -> Node:
                zero = build.node(0 if node.dtype == "int" else 0.0)
                pieces = list[tuple[Node, Axis | None]]()
                for other, (_, own) in enumerate(parts):
                    mine = node if other == at else zero
                    pieces.append((build.spread(mine, (own,)) if own is not None else mine, own))
                return build.concat(pieces, axis)

            own = parts[at][1]
            places = tuple(
                (a, place if isinstance(place, Axis) or own not in place.axes else laid(place)) for a, place in term.at
            )
            found.append(Form(build.node(0.0), (Term(term.name, places, laid(term.coefficient)),)))
    return Form(offset, added(found).terms)
