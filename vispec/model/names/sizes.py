"""Sizes and vocabularies: their declarations, and the arithmetic of sizes inside of types and plates."""

import math
from collections.abc import Mapping, Sequence

from vispec.model import dims
from vispec.model import model as m
from vispec.model.graphs import circles, ordered, reading
from vispec.model.names.scope import Scope
from vispec.model.problems import did_you_mean, listed
from vispec.model.types import Dim
from vispec.source import Span
from vispec.syntax import tree as t

LARGEST = 2**63 - 1  # of a tensor's dimension

VOCAB_OPTIONS: Mapping[str, str] = {
    "min_count": "a whole number of at least 1",
    "max_size": "a whole number of at least 1",
    "lower": "true or false",
    "chars": "true or false",
    "begin": "true, false or a symbol in quotes",
    "end": "true, false or a symbol in quotes",
    "unknown": "true or false",
    "from": "the name of a file in quotes",
    "subword": "of the form `subword(pieces=8000)`, with a whole number of at least 2",
}
COUNTED = ("min_count", "max_size")  # options that choose among the words of the training data


def read_sizes(scope: Scope, nodes: Sequence[t.Size], outside: Mapping[str, int]) -> None:
    """The value of every size: from outside, else from the text, which may use other sizes in any order."""
    table = {node.name.id: node for node in nodes}
    _check_outside(scope, table, outside)
    scope.values.update({name: value for name, value in outside.items() if name in table and value >= 1})
    graph = reading({name: node.value for name, node in table.items() if node.value is not None and name not in outside})
    for circle in circles(graph):
        first = min((table[name] for name in circle), key=lambda node: node.span.start)
        message = f"size `{first.name.id}` is computed from itself"
        scope.problems.add("V106", first.name.span, message, "in a circle", help="give it a number")
        scope.poisoned |= circle
        graph |= {name: [] for name in circle}
    for name in ordered(graph):
        value = table[name].value
        if value is not None and name not in scope.poisoned:
            _settle(scope, table[name], size_of(scope, value))


def _settle(scope: Scope, node: t.Size, dim: Dim | None) -> None:
    """Take the value of a size's formula, if all that it reads is known."""
    assert node.value is not None
    name = node.name.id
    value = None if dim is None else dims.evaluate(dim, scope.values)
    if value is not None:
        if value >= 1:
            scope.values[name] = value
        else:
            scope.problems.add("V105", node.value.span, f"size `{name}` is {value}; a size is at least 1", "too small")
            scope.poisoned.add(name)
        return
    if dim is not None and not scope.poisoned & dims.names(dim):
        unknown = sorted(other for other in dims.names(dim) if other not in scope.values)
        scope.problems.add(
            "V106",
            node.value.span,
            f"size `{name}` cannot be computed: only the data can tell {listed(unknown)}"
            if unknown
            else f"size `{name}` has no value",
            "its value is not known here",
            cause=(scope.symbols[unknown[0]].span, "declared without a value") if unknown else None,
            help=f"leave out `size {name}` and write `{dim}` in its place, or give {listed(unknown)} a value"
            if unknown
            else None,
        )
    scope.poisoned.add(name)


def _check_outside(scope: Scope, table: Mapping[str, t.Size], outside: Mapping[str, int]) -> None:
    start = Span(0, 0, 1, 1, 1, 1)
    for name, value in outside.items():
        if name not in table and isinstance(getattr(scope.symbols.get(name), "node", None), t.Vocab):
            continue  # a vocabulary's size: the emitted module's default, of no account to the checker
        if name not in table:
            known = f"the sizes of this model are {listed(table)}" if table else "this model declares no size"
            scope.problems.add(
                "V101",
                start,
                f"`{name}={value}` is set from outside, but there is no size `{name}`",
                help=did_you_mean(name, table, known),
            )
        elif value < 1:
            span = table[name].name.span
            scope.problems.add(
                "V105", span, f"size `{name}` is set to {value} from outside; a size is at least 1", f"set to {value}"
            )


def size_of(scope: Scope, expr: t.Expr | t.Range) -> Dim | None:
    """A size written as a number, a name of a size or vocabulary, or arithmetic of those; None where that is reported."""
    dim = _size(scope, expr)
    value = None if dim is None else dims.evaluate(dim, scope.values)
    if value is not None and value < 1 and not isinstance(expr, t.Name):
        scope.problems.add("V105", expr.span, f"a size is at least 1, and this is {value}", "too small")
        return None
    if value is not None and value > LARGEST:
        scope.problems.add("V105", expr.span, "a size is below 2^63, and this is more", "too large")
        return None
    return dim


def _size(scope: Scope, expr: t.Expr | t.Range) -> Dim | None:
    match expr:
        case t.Number(value=int(value)):
            return value
        case t.Number(value=value):
            scope.problems.add("V105", expr.span, f"a size is a whole number, not {value}", "not a whole number")
        case t.Name():
            return size_named(scope, expr)
        case t.Binary(op="+" | "-" | "*" | "/" | "^", left=left, right=right):
            a, b = _size(scope, left), _size(scope, right)
            if a is None or b is None:
                return None
            try:
                return _combine(scope, expr, a, b)
            except ValueError:
                help = "give a part of it a name of its own: `size H = ...`"
                scope.problems.add("V106", expr.span, "this size has too many terms", "too long", help=help)
        case t.Range():
            scope.problems.add("V305", expr.span, "a range is the only size of a parameter's type", "not a size")
        case _:
            scope.problems.add(
                "V106",
                expr.span,
                "a size is a number, a name, or arithmetic of those",
                "not a size",
                help="use `+ - * / ^` on sizes",
            )
    return None


def _combine(scope: Scope, expr: t.Binary, left: Dim, right: Dim) -> Dim | None:
    match expr.op:
        case "+":
            return dims.add(left, right)
        case "-":
            return dims.subtract(left, right)
        case "*":
            return dims.multiply(left, right)
        case "/":
            top, bottom = dims.evaluate(left, scope.values), dims.evaluate(right, scope.values)
            if bottom == 0 or (top is not None and bottom is not None and top % bottom):
                scope.problems.add("V105", expr.span, f"{top} / {bottom} is not a whole number", "a size is a whole number")
                return None
            return dims.divide(left, right)
        case _:
            base, exponent = dims.evaluate(left, scope.values), dims.evaluate(right, scope.values)
            if exponent is not None and (exponent < 0 or ((base or 2) > 1 and exponent * math.log2(base or 2) > 63)):
                scope.problems.add("V105", expr.span, "this power is not a size", "too large, or below 1")
                return None
            return dims.power(left, right)


def size_named(scope: Scope, name: t.Name) -> Dim | None:
    """A size or vocabulary by its name; None where that is none, which is reported."""
    symbol = scope.symbols.get(name.id)
    if symbol is not None and symbol.kind in ("size", "vocabulary"):
        scope.used.add(name.id)
        return None if name.id in scope.poisoned else name.id
    if name.id in scope.poisoned:
        return None
    if symbol is None:
        known = scope.of_kind("size", "vocabulary")
        scope.problems.add(
            "V101",
            name.span,
            f"no size is called `{name.id}`",
            "not declared",
            help=did_you_mean(name.id, known, f"declare it: `size {name.id} = 16`, or `size {name.id}` where the data tells"),
        )
        scope.poisoned.add(name.id)
        return None
    plate = scope.plates.get(name.id)
    size = plate.size if plate else None
    scope.problems.add(
        "V103",
        name.span,
        f"`{name.id}` is {symbol.a}, not a size",
        "a size is needed here",
        cause=(symbol.span, "declared here"),
        help=f"write its size, `{size}`" if size is not None else None,
    )
    return None


def read_vocab(scope: Scope, node: t.Vocab) -> m.Vocab:
    """The vocabulary with those of its options that are right."""
    options: list[tuple[str, int | bool | str]] = []
    for option in node.options:
        if option.name not in VOCAB_OPTIONS:
            every = f"a vocabulary has {listed(VOCAB_OPTIONS)}"
            help = did_you_mean(option.name, VOCAB_OPTIONS, every)
            scope.problems.add("V107", option.span, f"a vocabulary has no option `{option.name}`", "not an option", help=help)
        elif option.name in dict(options):
            scope.problems.add("V108", option.span, f"`{option.name}` is given twice", "the second time", help="leave one out")
        else:
            value = _option(option.value, VOCAB_OPTIONS[option.name])
            if value is None:
                wanted = VOCAB_OPTIONS[option.name]
                scope.problems.add("V108", option.value.span, f"`{option.name}` must be {wanted}", "this value")
            else:
                options.append((option.name, value))
    for option in node.options:
        if option.name in COUNTED and "from" in dict(options):
            told = f"`{option.name}` chooses among the words of the training data, and `from` says which there are"
            scope.problems.add("V108", option.span, told, "without effect", help="leave one of them out")
    for option in node.options:
        if option.name in ("chars", "from", *COUNTED) and "subword" in dict(options):
            told = f"`{option.name}` says what the entries are, and so does `subword`"
            scope.problems.add("V108", option.span, told, "not beside `subword`", help="leave one of them out")
    return m.Vocab(node.name.id, tuple(options), node.name.span)


def _pieces(value: t.Expr) -> int | None:
    """How many pieces `subword(pieces=8000)` asks for."""
    match value:
        case t.Call(args=(t.Number(value=int(number)),), kwargs=()):
            return number if number >= 2 else None
        case t.Call(args=(), kwargs=(t.Keyword(name="pieces", value=t.Number(value=int(number))),)):
            return number if number >= 2 else None
    return None


def _option(value: t.Expr, wanted: str) -> int | bool | str | None:
    if "subword" in wanted:
        return _pieces(value)
    if isinstance(value, t.String) and "in quotes" in wanted and value.value.strip():
        return value.value
    if wanted.startswith("true"):
        return {"true": True, "false": False}.get(value.id) if isinstance(value, t.Name) else None
    return value.value if isinstance(value, t.Number) and isinstance(value.value, int) and value.value >= 1 else None
