"""Loops along an axis: a Python loop whose body has only what changes from step to step.

What a step puts out is kept in a list, of which one tensor is made behind the loop; where no gradient is asked for, in a buffer
that is there before it. What the body reads of earlier steps it reads there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from vispec.program.axis import Axis, ordered
from vispec.program.node import Call, Carried, Decide, Loop, Node, Part
from vispec.program.walk import inside_loops, nodes
from vispec.torch.nodes.writer import ONE, PLAIN, Writer
from vispec.torch.text.code import Args, Code, Told, call, method, number, text
from vispec.torch.text.layout import Value, aligned

if TYPE_CHECKING:
    from vispec.torch.text.lines import Lines


@dataclass(frozen=True)
class Slot:
    """One of the values that each step puts out. dims: of all steps; place: of the loop's axis among them. codes: for each body
    the value that it puts out. buffer: whether it is written into a tensor that is there before the loop."""

    part: Part
    dims: tuple[Axis, ...]
    place: int
    codes: tuple[Code, ...]
    buffer: bool

    @property
    def same(self) -> bool:
        """Whether all steps compute it alike."""
        return len({*self.codes}) == 1


LAST = -1
"""The place of Told for the last element as a sequence of one."""


# ---- what is written


def _loop(w: Writer, node: Loop) -> Value:
    found, dims = list[Slot](), ordered(node.shared)
    place = dims.index(node.axis)
    in_place = not w.graph or any(isinstance(c, Carried) and c.what in ("history", "last") for c in carried(w, node))
    for at in needed(w, node):
        output = node.outputs[at]
        own = (*dims, *output.own)
        one = tuple(axis for axis in own if axis is not node.axis)
        buffer = in_place and not any(undecided(body[at]) for body in node.bodies)
        codes = tuple(step(w, body[at], one, output.dtype, buffer) for body in node.bodies)
        found.append(Slot(Part(node, at), own, place, codes, buffer))
    w.loops[node] = found
    everything = [w.extent(node.axis)]
    for slot in found:
        everything += [*([zeros(w, slot)] if slot.buffer else []), *dict.fromkeys(slot.codes)]
    return Value(Code((Args("(", tuple(everything), ")"),)), dims)


def step(w: Writer, node: Node, dims: tuple[Axis, ...], dtype: str, buffer: bool) -> Code:
    """What a step puts out: with all dimensions, or so that it broadcasts to them."""
    value = w.real(w.value(node)) if dtype == "real" else w.value(node)
    if buffer:
        return aligned(value, dims)
    return w.full(w.tensor(value), dims).code


def undecided(body: Node) -> bool:
    """Whether it may have a dimension more: by the rule "mean", the probabilities of values that nothing reads again."""
    return any(isinstance(each, Decide) and not each.read for each in nodes([body]))


def carried(w: Writer, node: Loop) -> list[Carried]:
    """What the bodies read of the loop."""
    found = (each for body in node.bodies for each in nodes(body))
    return [each for each in dict.fromkeys(found) if isinstance(each, Carried) and each.loop == node.loop]


def needed(w: Writer, node: Loop) -> list[int]:
    """The outputs that anything reads, in the loop or behind it."""
    found = {each.index for each in w.order if isinstance(each, Part) and each.source is node}
    found |= {back(node, each.index)[0] for each in carried(w, node) if each.what != "now"}
    return sorted(found)


def back(node: Loop, at: int) -> tuple[int, int]:
    """Of a state that only hands on what another one was: that one, and how many steps back. One that keeps its own is none."""
    lag = 1
    while isinstance(root := node.bodies[-1][at], Carried) and root.what == "state" and root.loop == node.loop:
        if root.index == at:
            break
        at, lag = root.index, lag + 1
    return at, lag


def _carried(w: Writer, node: Carried) -> Value:
    if node.what == "now":
        return Value(Code((Told(node.loop),)), (), "int", python=True)
    loop = next(each for each in w.program.nodes() if isinstance(each, Loop) and each.loop == node.loop)
    dims = ordered(loop.shared)
    at, lag = back(loop, node.index)
    own, place = loop.outputs[at].own, dims.index(loop.axis)
    if node.what == "history":
        return Value(Code((Told(loop.loop, node.index, None, place),)), (*dims, *loop.outputs[node.index].own), node.kind)
    if node.what == "last":
        own = tuple(node.order[-1] if axis is loop.axis else axis for axis in dims)
        return Value(Code((Told(loop.loop, node.index, LAST, place),)), (*own, *loop.outputs[node.index].own), node.kind)
    told = Told(loop.loop, node.index, 0, place) if node.what == "present" else Told(loop.loop, at, lag, place)
    own = loop.outputs[node.index].own if node.what == "present" else own
    return Value(Code((told,)), (*(axis for axis in dims if axis is not loop.axis), *own), node.kind)


PLAIN |= {Loop: _loop, Carried: _carried}


# ---- lines


def within(w: Writer) -> dict[Node, str]:
    """Of what changes from step to step, the loop."""
    found = inside_loops(w.program.nodes())
    return {node: min(loops) for node, loops in found.items() if loops}


def of_steps(lines: Lines) -> dict[Node, str]:
    """Hints for what the steps put out."""
    found = dict[Node, str]()
    for loop, slots in lines.w.loops.items():
        for slot in slots:
            stem = lines.w.program.hints.get(slot.part, "")
            found |= {body[slot.part.index]: f"{stem}_now" for body in loop.bodies if stem}
    return {node: hint for node, hint in found.items() if node in lines.within}


def in_one_branch(lines: Lines) -> dict[Node, tuple[str, int]]:
    """Of what a step puts out in one branch alone, which output it is: the branches call it alike."""
    found = dict[Node, tuple[str, int]]()
    for loop, slots in lines.w.loops.items():
        below = [{*nodes(body)} for body in loop.bodies]
        for slot in slots:
            for body in loop.bodies:
                node = body[slot.part.index]
                if node in lines.within and sum(node in each for each in below) == 1:
                    found[node] = (loop.loop, slot.part.index)
    return found


def names_of(lines: Lines, loop: Loop) -> None:
    """Names of the step's number, and of what keeps each output."""
    fresh = lines.fresh
    lines.told[loop.loop, None] = fresh(loop.axis.hint)
    for slot in lines.w.loops[loop]:
        name = lines.names.get(slot.part)
        if name is None or not slot.buffer:
            stem = name or lines.w.program.hints.get(slot.part) or lines.hints.hint(slot.part, lines.names)
            name = fresh(stem if slot.buffer else f"{stem}_steps")
        lines.told[loop.loop, slot.part.index] = name


def told(lines: Lines, piece: Told) -> str:
    """The text of what a body reads of its loop."""
    now = lines.told[piece.loop, None]
    if piece.index is None:
        return now
    name = lines.told[piece.loop, piece.index]
    if piece.lag is None:
        return name
    at = f"{now} - 1 : {now}" if piece.lag == LAST else f"{now} - {piece.lag}" if piece.lag else now
    slot = next(
        s for loop, found in lines.w.loops.items() if loop.loop == piece.loop for s in found if s.part.index == piece.index
    )
    return f"{name}[{', '.join([':'] * piece.place + [at])}]" if slot.buffer else f"{name}[{at}]"


def lines_of(lines: Lines, loop: Loop, label: Mapping[Axis, str], indent: int) -> list[str]:
    """The loop, what it needs before it and what is made of it."""
    slots = lines.w.loops[loop]
    name = {slot: lines.told[loop.loop, slot.part.index] for slot in slots}
    found = list[str]()
    for slot in slots:
        made = lines.flat(zeros(lines.w, slot)) if slot.buffer else text("[]")
        comment = lines.comment_of(slot.dims, label) if slot.buffer else ""
        found += lines.broken(f"{name[slot]} = ", made, comment, indent)
    if any(remembers(node) for body in loop.bodies for node in nodes(body)):
        found.append(f"{' ' * indent}kept: dict[str, Tensor] = {{}}  # what nets have read")
    now = lines.told[loop.loop, None]
    found += lines.broken(f"for {now} in range(", lines.w.extent(loop.axis), "):", indent)
    found += steps(lines, loop, label, indent + 4)
    for slot in (each for each in slots if not each.buffer and each.part in lines.names):
        stacked = call("torch.stack", text(name[slot]), number(slot.place))
        found += lines.broken(f"{lines.names[slot.part]} = ", stacked, lines.comment_of(slot.dims, label), indent)
    return found


def remembers(node: Node) -> bool:
    """Whether it is a net that keeps what it has read."""
    return isinstance(node, Call) and dict(node.settings).get("mode") == "next"


def zeros(w: Writer, slot: Slot) -> Code:
    """A buffer for an output."""
    sizes = [w.extent(axis) for axis in slot.dims]
    kind = slot.part.dtype
    if kind == "real":
        return method(ONE, "new_zeros", *sizes)
    return method(ONE, "new_zeros", *sizes, dtype=text("torch.long" if kind == "int" else "torch.bool"))


def steps(lines: Lines, loop: Loop, label: Mapping[Axis, str], indent: int) -> list[str]:
    """The body: what all steps do alike, and branches for what the first steps do otherwise."""
    found, done = list[str](), set[tuple[Node, int]]()
    every = range(len(loop.bodies))
    uses = used(lines, loop)
    now, pad = lines.told[loop.loop, None], " " * indent
    for group in grouped(lines, loop):
        alike = group[0].same
        for node in (each for slot in group for each in inner(lines, loop, slot, every)):
            if uses[node] == {*every} and (node, 0) not in done:
                done |= {(node, at) for at in every}
                found += lines.line(node, label, indent)
        if alike:
            found += [line for slot in group for line in kept(lines, loop, slot, 0, indent)]
            continue
        for at in every:
            head = "else:" if at == len(loop.bodies) - 1 else f"{'if' if at == 0 else 'elif'} {now} == {at}:"
            found.append(pad + head)
            for slot in group:
                for node in inner(lines, loop, slot, [at]):
                    if (node, at) not in done:
                        done.add((node, at))
                        found += lines.line(node, label, indent + 4)
                found += kept(lines, loop, slot, at, indent + 4)
    return found


def kept(lines: Lines, loop: Loop, slot: Slot, at: int, indent: int) -> list[str]:
    """The line that keeps what a step puts out."""
    name, code = lines.told[loop.loop, slot.part.index], lines.flat(slot.codes[at])
    if not slot.buffer:
        return lines.broken(f"{name}.append(", code, ")", indent)
    where = ", ".join([":"] * slot.place + [lines.told[loop.loop, None]])
    return lines.broken(f"{name}[{where}] = ", code, "", indent)


def grouped(lines: Lines, loop: Loop) -> list[list[Slot]]:
    """Outputs that one branch, or no branch, may put out one after the other: none reads what another one in it has put out."""
    found = list[list[Slot]]()
    for slot in lines.w.loops[loop]:
        last = found[-1] if found else []
        present = {each.index for body in loop.bodies for each in nodes([body[slot.part.index]]) if of_now(each, loop)}
        if last and last[0].same == slot.same and not (not slot.same and present & {each.part.index for each in last}):
            last.append(slot)
        else:
            found.append([slot])
    return found


def of_now(node: Node, loop: Loop) -> TypeGuard[Carried]:
    return isinstance(node, Carried) and node.loop == loop.loop and node.what == "present"


def inner(lines: Lines, loop: Loop, slot: Slot, bodies: Iterable[int]) -> list[Node]:
    """The lines inside the loop that an output needs, in order."""
    below = {lines.line_of(each) for at in bodies for each in nodes([loop.bodies[at][slot.part.index]])}
    return [node for node in lines.lined() if node in below and lines.within.get(node) == loop.loop]


def used(lines: Lines, loop: Loop) -> dict[Node, set[int]]:
    """For each line inside the loop the bodies that need it."""
    found: dict[Node, set[int]] = {}
    for slot in lines.w.loops[loop]:
        for at in range(len(loop.bodies)):
            for node in inner(lines, loop, slot, [at]):
                found.setdefault(node, set()).add(at)
    return found
