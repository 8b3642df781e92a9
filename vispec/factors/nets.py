"""Calls of nets: over the axes of their arguments alone, each head through its link function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vispec.factors.frame import Frame, dtype_of, linked, shape_of
from vispec.model.model import Expression, Model, Net, NetCall
from vispec.model.nets.means import ends_in_mlp_of_mean
from vispec.model.types import INTEGER_DOMAINS, Type
from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.node import Call, Dtype, Node, Part
from vispec.trunk import reads_beside

if TYPE_CHECKING:
    from vispec.factors.expressions import Sequence

Given = tuple[Node, tuple[Axis, ...], str]


def call(
    f: Frame, e: NetCall, expression: Callable[[Frame, Expression], Node], sequence: Callable[[Frame, Expression], Sequence]
) -> Node:
    """One head of a net. Where it reads what stands before each element of a plate, the plate's axis is its own too. A plate
    that it reads whole, or up to each element, for each of its elements has two axes here."""
    net = f.model.net[e.net]
    found = [sequence(f, a) if t.star else None for a, (_, t) in zip(e.args, net.args, strict=True)]
    outer = varying(f, e, found, expression)
    again = {each.axis: copy(each.axis) for each in found if each is not None and each.axis in outer}
    found = [None if each is None else renamed(each, again) for each in found]
    along = next((each.axis for each in found if each is not None and each.before), None)
    given, masks = list[Given](), list[Given]()
    for (name, declared), argument, each in zip(net.args, e.args, found, strict=True):
        if argument.type.star and not declared.star:  # all of a sized plate, as a vector
            whole, own = sequence(f, argument), f.shape(declared)
            given.append((number(build.rename(whole.node, {whole.axis: own[0]}), declared), own, ""))
            continue
        events = f.shape(argument.type) if each is not None else f.axes(shape_of(f, argument))
        if each is None:
            node = number(expression(f, argument), declared)
            stepped = (along,) if along is not None and any(axis in node.axes for axis in again if again[axis] is along) else ()
            given.append((node, (*stepped, *events), ""))
            continue
        given.append((number(each.node, declared), (each.axis, *events), ""))
        if not each.before and (mask := counted(each)) is not None:
            masks.append((mask, (each.axis,), f"{name}_mask"))
    over = along if along is not None else _over(f, e, found)
    lead = (over,) if over else ()
    results: tuple[tuple[tuple[Axis, ...], Dtype], ...] = tuple((lead + f.shape(t), dtype_of(t)) for _, t in net.heads)
    mode, heads = "whole" if along is None else "prefix", tuple(name for name, _ in net.heads)
    settings = [("mode", mode), ("heads", heads), *of_symbols(net, e), *of_means(net)]
    if along in again.values() and not reads_beside(net):
        settings.append(("behind", True))
    if is_vocabulary(f.model, net):
        settings.append(("vocabulary", True))
    made = Call("net", net.name, (*given, *masks), results, tuple(settings))
    at = heads.index(e.head)
    part = f.named(Part(made, at), hint_of(e))
    own = {other: build.position(axis) for axis, other in again.items() if other is over}
    return linked(build.pick(part, own) if own else part, net.heads[at][1], f.shape(net.heads[at][1]))


def is_vocabulary(model: Model, net: Net) -> bool:
    """Whether its one result is a distribution over a vocabulary."""
    type_ = net.heads[0][1]
    return (
        len(net.heads) == 1
        and not net.random
        and type_.domain == "simplex"
        and type_.shape[0] in {v.name for v in model.vocabs}
    )


def hint_of(e: NetCall) -> str:
    """What a head is called where no `let` names it."""
    return "_".join(filter(None, (e.net, e.head)))


def varying(f: Frame, e: NetCall, found: list[Sequence | None], expression: Callable[[Frame, Expression], Node]) -> set[Axis]:
    """The axes along which the net's arguments differ, each as a whole."""
    axes = set[Axis]()
    for argument, each in zip(e.args, found, strict=True):
        if each is not None:
            axes |= {axis for node in (each.node, each.chosen) if node is not None for axis in node.axes} - {each.axis}
        elif not argument.type.star:
            axes |= {*expression(f, argument).axes}
    return axes


def renamed(of: Sequence, again: dict[Axis, Axis]) -> Sequence:
    """The sequence along another axis, where it has one."""
    if of.axis not in again:
        return of
    to = {of.axis: again[of.axis]}
    chosen = None if of.chosen is None else build.rename(of.chosen, to)
    return replace(of, node=build.rename(of.node, to), axis=again[of.axis], chosen=chosen)


def of_symbols(net: Net, e: NetCall) -> tuple[tuple[str, str], ...]:
    """Where it reads one symbol of a vocabulary, so that it may be run once for each that occurs: whether its features may be
    asked for alone."""
    kinds = [(argument.type.domain, argument.type.star) for argument in e.args]
    if net.random or kinds != [("token", False)]:
        return ()
    return (("symbols", "whole" if net.trunk[0].layer == "python" else "features"),)


def of_means(net: Net) -> tuple[tuple[str, bool], ...]:
    """Where it is a net of the mean of what counts, so that many masks of one sequence share what comes before."""
    return (("means", True),) if len(net.args) == 1 and not net.random and ends_in_mlp_of_mean(net) else ()


def _over(f: Frame, e: NetCall, found: list[Any]) -> Axis | None:
    """The axis along which a starred head runs: that of the first sequence."""
    net = f.model.net[e.net]
    starred = any(type_.star for _, type_ in net.heads)
    return next(each.axis for each in found if each is not None) if starred else None


def counted(of: Sequence) -> Node | None:
    """Which elements of a sequence count; None where all do."""
    if of.axis.lengths is None:
        return of.chosen
    return build.inside(of.axis) if of.chosen is None else build.both(build.inside(of.axis), of.chosen)


def number(node: Node, declared: Type) -> Node:
    """A label as a whole number, all else as a real one."""
    return build.apply("int" if declared.domain in INTEGER_DOMAINS else "real", node)
