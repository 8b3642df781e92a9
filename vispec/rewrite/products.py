"""Densities of vectors, each under each of several vectors of parameters: the entries of one product of matrices.

Σ_d log N(x_nd; loc_kd, scale_kd²) = const_k + Σ_t weight_kt · statistics_nt, and of bits with log-odds l
Σ_d log P(x_nd) = Σ_d log σ(-l_kd) + Σ_d x_nd l_kd: nothing has the axes n, k and d at once."""

from __future__ import annotations

from collections.abc import Sequence

from vispec.catalog import distributions
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers
from vispec.program.node import Call, Density, Input, Map, Node, Part, Pick, Reduce, Rename, Spread
from vispec.program.program import Program
from vispec.rewrite.rules import Rule


class Products:
    """hints: names of what a kernel gives, of the values in them."""

    def __init__(self, hints: dict[Node, str]):
        self.hints = hints

    def rule(self, node: Node) -> Node | None:
        match node:
            case Reduce("sum", Map("where", (test, Map("log_sigmoid", (x,)), Map("log_sigmoid", (y,)))), over):
                opposite = build.neg(x) is y or build.neg(y) is x
                return self.of_bits(number_of(test), x, over) if opposite else None
            case Reduce("sum", Density(law, value, params, ()), over) if kernel := distributions()[law].natural:
                return self.by_kernel(kernel, build.apply("real", value), [param for _, param, _ in params], over)
        return None

    def of_bits(self, bit: Node, logit: Node, over: tuple[Axis, ...]) -> Node | None:
        ragged = over[0].lengths
        if not each_by_each(bit, logit.axes, over) or (ragged is not None and not ragged.axes <= logit.axes):
            return None
        if over[0].kind != "event" and not is_of_net(logit):
            return None  # a probability of one element that is fitted may reach 0, and its log-odds an infinity
        const = build.reduce("sum", build.apply("log_sigmoid", build.neg(logit)), over)
        return self.named(bit, build.contract((bit, build.where(build.inside(over[0]), logit, 0.0)), over), const=const)

    def by_kernel(self, kernel: str, value: Node, params: Sequence[Node], over: tuple[Axis, ...]) -> Node | None:
        """The kernel gives const, weight and statistics."""
        whole = frozenset[Axis]().union(*(param.axes for param in params))
        if not each_by_each(value, whole, over) or over[0].kind != "event":
            return None
        rows, own, terms = ordered(value.axes - {*over}), ordered(whole - {*over}), Axis("T", "event")
        given = ((value, (*rows, *over), ""), *((build.spread(each, (*own, *over)), (*own, *over), "") for each in params))
        call = Call("kernel", kernel, given, ((own, "real"), ((*own, terms), "real"), ((*rows, terms), "real")), ())
        const, weight, statistics = (Part(call, at) for at in range(3))
        return self.named(
            value, build.contract((statistics, weight), (terms,)), const=const, weight=weight, statistics=statistics
        )

    def named(self, value: Node, product: Node, const: Node, **others: Node) -> Node:
        """The log-densities of a value, whose parts are named by it."""
        latent = next((axis.origin.of[0].hint for axis in value.axes if axis.origin.kind == "joint"), "value")
        stem = self.hints.get(value) or (value.name if isinstance(value, Input) else latent)
        found = build.add(product, const)
        self.hints |= {node: f"{stem}_{word}" for word, node in [("const", const), *others.items()]} | {found: f"log_{stem}"}
        return found


def number_of(test: Node) -> Node:
    """What a test asks of, as a number."""
    return build.apply("real", test.operands[0] if isinstance(test, Map) and test.op == "bool" else test)


def is_of_net(logit: Node) -> bool:
    """Whether it is what nets put out, which is finite."""
    match logit:
        case Part(Call("net")):
            return True
        case Pick(arg) | Rename(arg) | Spread(arg):
            return is_of_net(arg)
    return False


def each_by_each(value: Node, params: frozenset[Axis], over: tuple[Axis, ...]) -> bool:
    """Whether values and params differ along other axes, but for the one that is added up."""
    own = {*value.axes}
    return len(over) == 1 and own & params == {*over} and own > {*over} < params


def rewrite(program: Program, numbers: Numbers) -> Program:
    hints = dict(program.hints)
    found = program.rewritten(Products(hints).rule)
    return Program(found.outputs, {**hints, **found.hints}, found.spans)


ENTRY = Rule(
    name="products",
    what="densities of each vector under each of several are one product",
    rewrite=rewrite,
    after=("joint_values",),
)
