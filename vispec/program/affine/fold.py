"""Affine forms of nodes, by one fold. Nothing is ever read off at sample points: a value that is not affine says which node of
it is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce

from vispec.program import build
from vispec.program.affine.forms import (
    At,
    Form,
    NotAffineError,
    Term,
    added,
    dense_along,
    inner_first,
    moved,
    one_after_another,
    picked,
    shifted,
    summed,
)
from vispec.program.affine.unrolled import Unrolled, outside_sources, state_name
from vispec.program.axis import Axis
from vispec.program.node import (
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
    Spread,
)
from vispec.program.walk import nodes


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


OPS_IN_WORDS = {"pow": "a power", "square": "a square", "div": "division by", "lt": "a comparison", "le": "a comparison"}
