"""Relaxed categories: weights of their values in the place of one of them, wherever a law reads one.

A table's row becomes the mixture of all rows; a net that takes a category takes its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from vispec.factors.laws import FlowLaw, Law
from vispec.factors.make import Factor, Factors
from vispec.plan.held.along import changed, parts
from vispec.plan.held.hold import values_axis
from vispec.program import build
from vispec.program.node import Call, Node, Pick, Site
from vispec.program.walk import nodes, substitute


def mixed(f: Factors, names: Iterable[str]) -> tuple[Factors, Mapping[str, Site]]:
    """The factors with the weights of these latents in the place of their values; name → the weights, the values last."""
    sites, weights = dict[Node, Site](), dict[str, Site]()
    for name in names:
        variable = f.model.variable[name]
        plates = tuple(map(f.frame.plate, variable.plates))
        weights[name] = Site(f"weights of {name}", (*plates, values_axis(f.frame, variable)), "real")
        sites[f.frame.site(variable)] = weights[name]
    if not sites:
        return f, weights
    new = dict[Node, Node]()
    for node in nodes(every(f)):
        match node:
            case Pick(table, at) if any(index in sites for _, index in at):
                (inner,) = substitute([table], new)
                for axis, index in at:
                    if index in sites:
                        values = sites[index].order[-1]
                        inner = build.contract((sites[index], build.rename(inner, {axis: values})), (values,))
                new[node] = build.pick(inner, {axis: index for axis, index in at if index not in sites})
            case Call("net", name, given, results, settings) if any(read in sites for read, _, _ in given):
                told = tuple(
                    (sites[read], sites[read].order[-1:], key) if read in sites else (substitute([read], new)[0], own, key)
                    for read, own, key in given
                )
                new[node] = Call("net", name, told, results, settings)
    return with_changed(f, new), weights


def every(f: Factors) -> Iterator[Node]:
    """All nodes that the factors are made of."""
    yield from f.lets.values()
    for factor in (*f.factors.values(), *f.guides.values()):
        yield from (each for each in (factor.log_prob, factor.norm) if each is not None)
        yield from law_parts(factor.law)


def law_parts(law: Law) -> list[Node]:
    if isinstance(law, FlowLaw):
        return [*parts(law.base), *([] if law.context is None else [law.context])]
    return parts(law)


def with_changed(f: Factors, new: Mapping[Node, Node]) -> Factors:
    """The factors with nodes in place of others, which keep their names."""
    for old, node in new.items():
        if old in f.frame.hints:
            f.frame.named(node, f.frame.hints[old])

    def factor(each: Factor) -> Factor:
        density, norm = (None if node is None else substitute([node], new)[0] for node in (each.log_prob, each.norm))
        parts = tuple(substitute(each.parts, new))
        return replace(each, log_prob=density, law=changed(each.law, new), parts=parts, norm=norm)

    lets = {name: substitute([node], new)[0] for name, node in f.lets.items()}
    factors, guides = ({name: factor(each) for name, each in found.items()} for found in (f.factors, f.guides))
    return replace(f, factors=factors, guides=guides, lets=lets)
