"""Statements, expressions and types of the tree as canonical text, without what is around them: indentation and comments."""

from functools import singledispatch

from vispec.source import Source
from vispec.syntax import tree as t

# How tightly an expression binds: where 0, if 1, or 2, and 3, not 4, comparison 5, + 6, * 7, unary - 8, ^ 9, atoms 10.
_LEVELS = {"or": 2, "and": 3, "+": 6, "-": 6, "*": 7, "/": 7, "^": 9} | dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), 5)
_ATOM = 10
INDENT = " " * 4

Entry = t.Statement | t.GuideLaw | t.GuideLet | t.GuideAuto | t.InferLaw | t.FitEntry
Cells = tuple[str, ...]


class Unparser:
    """Texts of nodes of one source; a number keeps the notation that it was written in."""

    def __init__(self, source: Source):
        self.source = source

    def items(self, items: tuple[t.Node, ...]) -> str:
        return ", ".join(self.expression(item) for item in items)

    def expression(self, node: t.Node, level: int = 0) -> str:
        """The text of an expression, in parentheses where it binds less tightly than `level`."""
        text, binds = _show(node, self)
        return text if binds >= level else f"({text})"

    def law(self, node: t.Expr) -> list[str]:
        """The laws of a chain's elements, in order; one where there is no `then`."""
        return [self.expression(law, 1) for law in (node.laws if isinstance(node, t.Then) else (node,))]

    def type(self, node: t.TypeOf) -> str:
        extents = ", ".join(self._extent(extent) for extent in node.args)
        return node.domain + (f"[{extents}]" if extents else "") + ("*" if node.star else "")

    def _extent(self, node: t.Expr | t.Range) -> str:
        return f"{node.low}..{node.high}" if isinstance(node, t.Range) else self.expression(node, 1)

    def named(self, items: tuple[t.Named, ...]) -> str:
        return ", ".join(f"{item.name}: {self.type(item.type)}" for item in items)

    def heads(self, heads: tuple[t.Named, ...]) -> str:
        return self.type(heads[0].type) if heads[0].name == "" else f"({self.named(heads)})"

    def stage(self, node: t.Stage) -> str:
        call = node.call
        text = self.expression(call) if call.args or call.kwargs else call.function.id
        return text if node.prior is None else f"({text} ~ {self.expression(node.prior, 1)})"

    def estimator(self, node: t.InferLaw) -> str:
        budget = f" up to {self.expression(node.budget, 6)}" if node.budget is not None else ""
        otherwise = f" else {self.expression(node.otherwise)}" if node.otherwise is not None else ""
        return self.expression(node.estimator) + budget + otherwise

    def setting(self, node: t.Expr | t.Schedule | t.Names | t.Amount) -> str:
        if isinstance(node, t.Names):
            return self.items(node.items)
        if isinstance(node, t.Amount):
            return f"{self.expression(node.number, 6)} {node.unit}"
        if not isinstance(node, t.Schedule):
            return self.expression(node, 1)
        start, stop, over = (self.expression(part, 6) for part in (node.start, node.stop, node.over))
        return f"{node.name.id} from {start} to {stop} over {over} {node.unit}"

    # ---- statements

    def cells(self, entry: Entry) -> Cells:
        """The parts of a statement that are aligned with those of its neighbours."""
        match entry:
            case t.Variable(role=role, name=name, type=kind, law=law, of=of):
                whole = "" if of is None else f" of {self.expression(of)}"
                tail = () if law is None else (f"~ {' then '.join(self.law(law))}{whole}",)
                return (role, name.id, f": {self.type(kind)}", *tail)
            case t.Param(name=name, type=kind, value=value):
                tail = () if value is None else (f"= {self.expression(value, 1)}",)
                return (f"param {name.id}", f": {self.type(kind)}", *tail)
            case t.GuideLaw(name=name, law=law):
                return (name.id, f"~ {' then '.join(self.law(law))}")
            case t.InferLaw(name=name):
                return (name.id, f": {self.estimator(entry)}")
            case t.FitEntry(key=key, value=value):
                return (key.id, f": {self.setting(value)}")
            case _:
                return (self._line(entry),)

    def _line(self, entry: Entry) -> str:
        match entry:
            case t.Size(name=name, value=value):
                return f"size {name.id}" + (f" = {self.expression(value, 1)}" if value is not None else "")
            case t.Vocab(name=name, options=options):
                return f"vocab {name.id}" + (f"({self.items(options)})" if options else "")
            case t.Embedding(name=name, args=args, kwargs=kwargs):
                return f"embedding {name.id}({self.items(tuple(sorted((*args, *kwargs), key=lambda each: each.span.start)))})"
            case t.Let(name=name, value=value, type=kind):
                domain = "" if kind is None else f" : {self.type(kind)}"
                return f"let {name.id}{domain} = {' then '.join(self.law(value))}"
            case t.GuideLet(name=name, value=value):
                return f"let {name.id} = {self.expression(value)}"
            case t.GuideAuto(call=call):
                return self.expression(call)
            case t.Net():
                return f"{self._signature(entry)} = {' |> '.join(self._trunk(entry))}"
            case t.Plate(kind=kind, name=name, size=size):
                size_text = f"[{self.expression(size, 1)}]" if size is not None else ""
                if entry.stretches is not None:
                    size_text = f" of {entry.stretches.of.id}({self.items(entry.stretches.settings)})"
                return f"{kind} {name.id}{size_text}" + (":" if entry.body else "")
            case _:
                return f"{type(entry).__name__.lower()}:"

    def _signature(self, net: t.Net) -> str:
        return f"net {net.name.id}({self.named(net.args)}) -> {self.heads(net.heads)}"

    def _trunk(self, net: t.Net) -> list[str]:
        stages = [self.stage(stage) for stage in net.trunk]
        if net.prior is not None:
            stages[-1] += f" ~ {self.expression(net.prior, 1)}"
        return stages

    def wrapped(self, entry: Entry, text: str, room: int) -> list[str]:
        """The statement on one line, or on several where it is longer than `room` and can go on below."""
        if len(text) <= room:
            return [text]
        if isinstance(entry, t.Net):
            stages = self._trunk(entry)
            trunk = f"{INDENT}= {' |> '.join(stages)}"
            below = (
                [trunk] if len(trunk) <= room else [f"{INDENT}= {stages[0]}", *(f"{INDENT}|> {stage}" for stage in stages[1:])]
            )
            return [self._signature(entry), *below]
        law = entry.value if isinstance(entry, t.Let) else getattr(entry, "law", None)
        if isinstance(law, t.Then):
            _, *later = self.law(law)
            first = text.removesuffix("".join(f" then {law}" for law in later))
            return [first, *(f"{INDENT}then {law}" for law in later)]
        return [text]


@singledispatch
def _show(node: t.Node, to: Unparser) -> tuple[str, int]:
    """The text of an expression and how tightly it binds."""
    raise TypeError(f"no expression: {node}")


@_show.register
def _(node: t.Number, to: Unparser) -> tuple[str, int]:
    return to.source.text[node.span.start : node.span.end], _ATOM


@_show.register
def _(node: t.String, to: Unparser) -> tuple[str, int]:
    return f'"{node.value}"', _ATOM


@_show.register
def _(node: t.Name, to: Unparser) -> tuple[str, int]:
    return node.id, _ATOM


@_show.register
def _(node: t.All, to: Unparser) -> tuple[str, int]:
    return "*", _ATOM


@_show.register
def _(node: t.Before, to: Unparser) -> tuple[str, int]:
    return f"<{node.plate.id}", _ATOM


@_show.register
def _(node: t.Index, to: Unparser) -> tuple[str, int]:
    items = ", ".join(_step(item, to) or to.expression(item, 1) for item in node.items)
    return f"{to.expression(node.base, _ATOM)}[{items}]", _ATOM


def _step(item: t.Node, to: Unparser) -> str | None:
    """`t-1`: a step along a plate is written without spaces."""
    if not isinstance(item, t.Binary) or item.op not in ("+", "-"):
        return None
    if not isinstance(item.left, t.Name) or not isinstance(item.right, t.Name | t.Number):
        return None
    return f"{to.expression(item.left)}{item.op}{to.expression(item.right)}"


@_show.register
def _(node: t.Call, to: Unparser) -> tuple[str, int]:
    given = sorted((*node.args, *node.kwargs), key=lambda argument: argument.span.start)
    return f"{node.function.id}({to.items(tuple(given))})", _ATOM


@_show.register
def _(node: t.Keyword, to: Unparser) -> tuple[str, int]:
    if node.span == node.value.span and isinstance(node.value, t.Call):  # subword(pieces=8000)
        return to.expression(node.value, 1), 0
    return f"{node.name}={to.expression(node.value, 1)}", 0


@_show.register
def _(node: t.Comprehension, to: Unparser) -> tuple[str, int]:
    return f"{to.expression(node.body, 1)} for {node.plate.id}", 0


@_show.register
def _(node: t.Where, to: Unparser) -> tuple[str, int]:
    return f"{to.expression(node.sequence, 1)} where {to.expression(node.mask, 1)}", 0


@_show.register
def _(node: t.Attribute, to: Unparser) -> tuple[str, int]:
    return f"{to.expression(node.base, _ATOM)}.{node.name}", _ATOM


@_show.register
def _(node: t.Length, to: Unparser) -> tuple[str, int]:
    return f"|{to.expression(node.operand, _ATOM)}|", _ATOM


@_show.register
def _(node: t.ListOf, to: Unparser) -> tuple[str, int]:
    return f"[{to.items(node.items)}]", _ATOM


@_show.register
def _(node: t.IfElse, to: Unparser) -> tuple[str, int]:
    then, test, otherwise = to.expression(node.then, 2), to.expression(node.test, 2), to.expression(node.otherwise, 1)
    return f"{then} if {test} else {otherwise}", 1


@_show.register
def _(node: t.Unary, to: Unparser) -> tuple[str, int]:
    if node.op == "not":
        return f"not {to.expression(node.operand, 4)}", 4
    return f"-{to.expression(node.operand, 8)}", 8


@_show.register
def _(node: t.Binary, to: Unparser) -> tuple[str, int]:
    level = _LEVELS[node.op]
    if node.op == "^":
        return f"{to.expression(node.left, _ATOM)}^{to.expression(node.right, 8)}", level
    left = level + 1 if level == 5 else level
    return f"{to.expression(node.left, left)} {node.op} {to.expression(node.right, level + 1)}", level
