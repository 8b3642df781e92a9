"""A method of the emitted module from a program: its lines, and what it needs from the file around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vispec.program.axis import Axis
from vispec.program.node import Input
from vispec.program.program import Program
from vispec.torch.nodes import along, calls, elementwise, joint_calls, laws, loops, picks
from vispec.torch.nodes.implementation import Target
from vispec.torch.nodes.writer import PLAIN, Writer
from vispec.torch.text.code import Code, listed
from vispec.torch.text.lines import Lines, Needs
from vispec.torch.text.names import PYTHON, ModuleNames, local

Statements = list[tuple[str, Code]]
Returns = Literal["value", "tuple", "dict"] | Callable[[Mapping[str, Code]], Code | Statements]
WRITTEN = (along, calls, elementwise, joint_calls, laws, loops, picks)
"""The files that say how nodes are written; each adds to PLAIN."""


@dataclass(frozen=True)
class Method:
    lines: list[str]
    needs: Needs


def method(
    program: Program,
    name: str,
    module: ModuleNames,
    arguments: Sequence[str] = ("batch: dict[str, Tensor]",),
    docstring: str = "",
    returns: Returns = "value",
    result: str = "Tensor",
    target: Target | None = None,
    told: Mapping[Axis, str] | None = None,
    shaped: Iterable[Input] = (),
    orders: Mapping[str, Sequence[Axis]] | None = None,
    before: Sequence[str] = (),
    graph: bool = True,
) -> Method:
    """`def name(self, *arguments)` that returns the program's outputs: the one value, all in order, all by name, or what a
    function makes of their expressions: a value, or statements, each its beginning and an expression.

    before: lines that give the inputs "argument" that are none of the method's.

    told: text for how many elements axes have, where no input and no size tells. shaped: inputs beside those of the program
    that may be asked for their shapes. graph: whether gradients are asked for."""
    assert PLAIN
    w = Writer(program, target, told, shaped, orders, graph)
    own = [argument.partition(":")[0].partition("=")[0].strip() for argument in arguments]
    own += (told or {}).values()
    own += [local(node.name) for node in program.nodes() if isinstance(node, Input) and node.source == "shared"]
    lines = Lines(w, module, {*PYTHON, *own}, indent=4)
    head = f"def {name}(self{''.join(f', {argument}' for argument in arguments)}) -> {result}:"
    text = [
        head,
        *(f"    {line}" for line in (f'"""{docstring}"""' if docstring else "").splitlines()),
        *(f"    {line}" for line in before),
        *lines.body(),
        *returned(w, lines, returns),
    ]
    return Method(text, lines.needs())


def returned(w: Writer, lines: Lines, returns: Returns) -> list[str]:
    """The return statement, with the shape of a single value."""
    codes = {name: lines.flat(value.code) for name, value in w.outputs.items()}
    if callable(returns):
        found = returns(codes)
        statements = [("return ", found)] if isinstance(found, Code) else found
        return [line for start, code in statements for line in lines.broken(start, code, "", lines.indent)]
    if returns == "value":
        ((name, code),) = codes.items()
        return lines.broken("return ", code, lines.comment([w.outputs[name].dims], code, lines.labels()), lines.indent)
    if returns == "tuple":
        return lines.broken("return ", _bare(list(codes.values())), "", lines.indent)
    items = [Code((f'"{name}": ', *code.pieces), 0) for name, code in codes.items()]
    return lines.broken("return ", listed(items, "{}"), "", lines.indent)


def _bare(codes: list[Code]) -> Code:
    """Values with commas between them."""
    if len(codes) == 1:
        return listed(codes)
    pieces = [piece for at, code in enumerate(codes) for piece in ([", "] if at else []) + list(code.pieces)]
    return Code(tuple(pieces), 0)
