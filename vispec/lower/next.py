"""Nets on the elements before, asked for one element more where their layers keep what they have read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vispec.catalog import networks
from vispec.model.model import Model
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Carried, Const, Dtype, Loop, Map, Node, Part, Pick, Rename
from vispec.program.program import Program
from vispec.program.size import Size
from vispec.program.walk import nodes, rebuild, with_fields

Given = tuple[Node, tuple[Axis, ...], str]


def next_call(
    call: Call,
    along: Axis,
    model: Model,
    last: Callable[[Carried], tuple[Node, Axis]],
    now: Callable[[Node], Node],
    alike: Callable[[Node], Node],
) -> Call | None:
    """A net's call on all elements before each as one for the present element alone; None where that cannot be. along: the
    elements' axis. last: the last element, as a sequence of one or of none, and the axis of that. now: what stands at the
    present element. alike: what is the same at all of them."""
    settings = dict(call.settings)
    if call.kind != "net" or settings["mode"] != "prefix":
        return None
    net, given = model.net[call.name], list[Given]()
    if net.random or not all(stepping(stage.layer) for stage in net.trunk):
        return None
    for number, (node, own, keyword) in enumerate(call.given):
        if along not in own:
            given.append((alike(node), own, keyword))
            continue
        if keyword or own[0] is not along:
            return None
        if net.args[number][1].star:
            found = of_last(node, last)
            if found is None:
                return None
            given.append((found[0], (found[1], *own[1:]), ""))
        elif "behind" in settings:  # what differs from element to element enters the net behind what reads the sequence
            one = Axis("one", "plate", Size.of(1))
            given.append((build.spread(now(node), (one,)), (one, *own[1:]), ""))
        else:
            return None
    results: tuple[tuple[tuple[Axis, ...], Dtype], ...] = tuple((own[1:], kind) for own, kind in call.results)
    heads = tuple((name, value) for name, value in call.settings if name == "heads")
    return Call("net", call.name, tuple(given), results, (("mode", "next"), *heads))


def called_once(roots: Iterable[Node]) -> frozenset[str]:
    """The nets that are called in one way."""
    calls = [each.name for each in nodes(roots) if isinstance(each, Call) and each.kind == "net"]
    return frozenset(name for name in calls if calls.count(name) == 1)


def of_last(node: Node, last: Callable[[Carried], tuple[Node, Axis]]) -> tuple[Node, Axis] | None:
    """The last element, or what is looked up for it in a table, where a sequence is one of the elements or of such rows."""
    match node:
        case Map("real", (arg,)):
            return of_last(arg, last)
        case Pick(table, ((axis, at),)) if not any(isinstance(each, Carried) for each in nodes([table])):
            found = of_last(at, last)
            return found and (build.pick(table, {axis: found[0]}), found[1])
    before = history(node)
    return None if before is None else last(before)


def history(node: Node) -> Carried | None:
    """The elements themselves, as whole numbers or as they are, along whichever axis."""
    match node:
        case Map("int" | "real", (arg,)) | Rename(arg):
            return history(arg)
        case Carried(what="history"):
            return node
    return None


def stepping(layer: str) -> bool:
    """Whether it works on single elements, or keeps what it has read."""
    found = networks()[layer]
    return found.sequence == "element" or found.steps


def element_by_element(program: Program, model: Model) -> Program:
    """A program whose loops ask nets for the present element alone, where they can."""
    known = dict[Node, Node]()
    changed = rebuild(
        program.outputs.values(), lambda node: stepped(node, model, known) if isinstance(node, Loop) else None, known
    )
    hints = {known.get(node, node): hint for node, hint in program.hints.items()}
    return Program(dict(zip(program.outputs, changed, strict=True)), {**program.hints, **hints}, program.spans)


def stepped(loop: Loop, model: Model, renewed: dict[Node, Node]) -> Loop | None:
    """The loop, if its steps all call the same nets once, so that these keep what they have read. renewed: takes what has
    become of the nodes in its bodies."""
    once = frozenset.intersection(*map(called_once, loop.bodies))
    axis = Axis("last", "plate")

    def last(each: Carried) -> tuple[Node, Axis]:
        return Carried(loop.loop, "last", each.index, (*(a for a in each.order if a is not loop.axis), axis), each.kind), axis

    def body(roots: tuple[Node, ...], now: tuple[Node, ...]) -> tuple[Node, ...]:
        known = dict[Node, Node]()

        def at(node: Node) -> Node:
            if node not in known:
                known[node] = made(node)
            return known[node]

        def made(node: Node) -> Node:
            match node:
                case Pick(Part(Call() as call, index), ((along, place),)) if place in now and call.name in once:
                    found = next_call(call, along, model, last, lambda each: at(build.pick(each, {along: place})), at)
                    if found is not None:
                        return Part(found, index)
            return with_fields(node, at)

        found = tuple(map(at, roots))
        renewed.update((old, new) for old, new in known.items() if old is not new)
        return found

    now = Carried(loop.loop, "now", 0, (), "int")
    bodies = tuple(body(roots, (now, *([] if number else [Const(0)]))) for number, roots in enumerate(loop.bodies))
    return None if bodies == loop.bodies else Loop(loop.loop, loop.axis, bodies, loop.around, loop.draws)
