"""Elementwise operations: operators and methods, in the dtypes that torch would not choose by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from vispec.program.facts import moving, positive
from vispec.program.node import Const, Map, Node
from vispec.torch.nodes.writer import ONE, PLAIN, Writer
from vispec.torch.text.code import (
    AND,
    COMPARE,
    NOT,
    OR,
    POWER,
    SUM,
    TERM,
    Code,
    attribute,
    binary,
    call,
    conditional,
    method,
    number,
    unary,
)
from vispec.torch.text.layout import Value, aligned, merged


def write(w: Writer, node: Map) -> Value:
    return BY_OP[node.op](w, node, [w.value(each) for each in node.operands])


# ---- what all need


def joined(node: Map, values: Sequence[Value], make: Callable[[list[Code]], Code]) -> Value:
    """The expression of aligned operands."""
    python = all(value.python for value in values)
    dims = merged(value.dims for value in values)
    return Value(make([aligned(value, dims) for value in values]), dims, node.dtype, python)


def floating(w: Writer, values: Sequence[Value]) -> list[Value]:
    """Operands of which torch makes real numbers of the module's dtype: one of them is a tensor of these, or none a tensor."""
    values = [w.whole(value) if value.python else value for value in values]
    tensors = [value for value in values if not value.python]
    if not tensors or any(value.dtype == "real" for value in tensors):
        return list(values)
    first = tensors[0]
    return [w.real(value) if value is first else value for value in values]


def counted(w: Writer, values: Sequence[Value], every: bool) -> list[Value]:
    """Truths as whole numbers: all, or as many as must be for torch to multiply and not to join them."""
    values = [w.whole(value) if value.python else value for value in values]
    if every:
        return [w.whole(value) for value in values]
    if any(value.dtype != "bool" for value in values):
        return list(values)
    return [w.whole(values[0]), *values[1:]]


def number_of(value: Value) -> float | None:
    """The number that it is written as."""
    match value.code.pieces:
        case (str(piece),) if value.python:
            try:
                return float(piece)
            except ValueError:
                return None
    return None


# ---- arithmetic


def _add(w: Writer, node: Map, values: list[Value]) -> Value:
    """Sums, of negatives as differences."""
    minus = [isinstance(each, Map) and each.op == "neg" and _is_plain(w, each) for each in node.operands]
    values = [
        w.value(each.operands[0]) if m and isinstance(each, Map) else v
        for each, m, v in zip(node.operands, minus, values, strict=True)
    ]
    truths = sum(value.dtype == "bool" for value in values)
    values = counted(w, values, any(minus) or truths > 1)
    values = floating(w, values) if node.dtype == "real" else values
    order = sorted(range(len(values)), key=lambda at: minus[at] or values[at].python)
    values, minus = [values[at] for at in order], [minus[at] for at in order]

    def make(codes: list[Code]) -> Code:
        signs = ["-" if m else "+" for m in minus]
        codes = list(codes)
        for at, value in enumerate(values):
            head = value.code.pieces[0]
            if at and value.python and not minus[at] and isinstance(head, str) and head.startswith("-"):
                rest = (head.removeprefix("-"), *codes[at].pieces[1:])
                signs[at], codes[at] = "-", replace(codes[at], pieces=rest, level=max(codes[at].level, TERM))
        first = unary("-", codes[0]) if minus[0] else codes[0]
        return binary(SUM, first, *zip(signs[1:], codes[1:], strict=True))

    return joined(node, values, make)


def _is_plain(w: Writer, node: Node) -> bool:
    """Whether the node is written by itself and read once, so that its sign may be written elsewhere."""
    return node not in w.chosen and node not in w.program.hints and node.args[0] in w.values


def _mul(w: Writer, node: Map, values: list[Value]) -> Value:
    values = floating(w, values) if node.dtype == "real" else counted(w, values, False)
    return joined(node, values, lambda codes: binary(TERM, codes[0], *(("*", code) for code in codes[1:])))


def _sub(w: Writer, node: Map, values: list[Value]) -> Value:
    values = counted(w, values, True)
    values = floating(w, values) if node.dtype == "real" else values
    constant = number_of(values[1])
    if constant is not None and constant < 0:
        return joined(node, values, lambda codes: binary(SUM, codes[0], ("+", positive_of(codes[1]))))
    return joined(node, values, lambda codes: binary(SUM, codes[0], ("-", codes[1])))


def positive_of(code: Code) -> Code:
    """The constant without its sign."""
    (piece,) = code.pieces
    assert isinstance(piece, str)
    return Code((piece.removeprefix("-"),))


def _div(w: Writer, node: Map, values: list[Value]) -> Value:
    return joined(node, floating(w, values), lambda codes: binary(TERM, codes[0], ("/", codes[1])))


def _pow(w: Writer, node: Map, values: list[Value]) -> Value:
    return joined(node, floating(w, values), lambda codes: binary(POWER, codes[0], ("**", codes[1])))


def _power(w: Writer, node: Map, values: list[Value]) -> Value:
    return joined(node, counted(w, values, True), lambda codes: binary(POWER, codes[0], ("**", codes[1])))


def _whole_quotient(op: str) -> Callable[[Writer, Map, list[Value]], Value]:
    def made(w: Writer, node: Map, values: list[Value]) -> Value:
        values = floating(w, values) if node.dtype == "real" else counted(w, values, True)
        return joined(node, values, lambda codes: binary(TERM, codes[0], (op, codes[1])))

    return made


def _neg(w: Writer, node: Map, values: list[Value]) -> Value:
    return joined(node, counted(w, values, True), lambda codes: unary("-", codes[0]))


def _square(w: Writer, node: Map, values: list[Value]) -> Value:
    (value,) = counted(w, values, True)
    make = (lambda codes: binary(POWER, codes[0], ("**", number(2)))) if value.python else _method("square")
    return joined(node, [value], make)


def _method(name: str) -> Callable[[list[Code]], Code]:
    return lambda codes: method(codes[0], name)


def _kept(name: str, python: str) -> Callable[[Writer, Map, list[Value]], Value]:
    """A method that keeps its argument's kind of number."""

    def made(w: Writer, node: Map, values: list[Value]) -> Value:
        (value,) = counted(w, values, True)
        if value.python and not python:
            value = w.tensor(value)
        return joined(node, [value], (lambda codes: call(python, *codes)) if value.python else _method(name))

    return made


def _real_method(name: str) -> Callable[[Writer, Map, list[Value]], Value]:
    """A method for tensors of real numbers."""
    return lambda w, node, values: joined(node, [w.tensor(w.real(values[0]))], _method(name))


def _real_function(name: str) -> Callable[[Writer, Map, list[Value]], Value]:
    """A function of torch or of its functional interface (F.name), of a tensor of real numbers."""

    def made(w: Writer, node: Map, values: list[Value]) -> Value:
        function = w.functional(name[2:]) if name.startswith("F.") else name
        return joined(node, [w.tensor(w.real(values[0]))], lambda codes: call(function, *codes))

    return made


def _log(w: Writer, node: Map, values: list[Value]) -> Value:
    """Exact where its argument may be 0 and a gradient could come back: see the kernel."""
    (arg,) = node.operands
    if positive(arg) or not moving(arg) or values[0].python:
        return _real_method("log")(w, node, values)
    return joined(node, [w.real(values[0])], lambda codes: call(w.kernel("probability", "log_of"), *codes))


# ---- comparisons, truths, choices


def _extreme(least: bool) -> Callable[[Writer, Map, list[Value]], Value]:
    def made(w: Writer, node: Map, values: list[Value]) -> Value:
        if all(value.python for value in values):
            return joined(node, values, lambda codes: call("min" if least else "max", *codes))
        values = floating(w, values) if node.dtype == "real" else counted(w, values, True) if node.dtype == "int" else values
        tensors = [value for value in values if not value.python]
        bounds = [value for value in values if value.python]
        name = "torch.minimum" if least else "torch.maximum"

        limits = _both_limits(w, node, least)
        if limits is not None:
            value, *between = limits
            return joined(node, [value], lambda codes: method(codes[0], "clamp", *between))

        def make(codes: list[Code]) -> Code:
            found, *rest = codes[: len(tensors)]
            for code in rest:
                found = call(name, found, code)
            for bound in codes[len(tensors) :]:
                found = method(found, "clamp", max=bound) if least else method(found, "clamp", min=bound)
            return found

        return joined(node, [*tensors, *bounds], make)

    return made


def _both_limits(w: Writer, node: Map, least: bool) -> tuple[Value, Code, Code] | None:
    """x, low and high where the node is min(max(x, low), high) of constants and x of its dtype."""
    match node.operands:
        case (Map("max" as op, (x, Const() as low)) as inner, Const() as high) if least and op:
            if w.readers[inner] == 1 and inner not in w.chosen and low.value <= high.value:
                value = w.value(x)
                plain = not value.python and value.dtype == node.dtype and {low.dtype, high.dtype} <= {node.dtype}
                return (value, w.value(low).code, w.value(high).code) if plain else None
    return None


MIRRORED = {"==": "==", "<": ">", "<=": ">="}


def _compare(op: str) -> Callable[[Writer, Map, list[Value]], Value]:
    def made(w: Writer, node: Map, values: list[Value]) -> Value:
        if values[0].python and not values[1].python:
            return joined(node, values[::-1], lambda codes: binary(COMPARE, codes[0], (MIRRORED[op], codes[1])))
        return joined(node, values, lambda codes: binary(COMPARE, codes[0], (op, codes[1])))

    return made


def truth(w: Writer, value: Value) -> Value:
    if value.dtype == "bool":
        return value
    code = call("bool", value.code) if value.python else method(value.code, "bool")
    return replace(value, code=code, dtype="bool")


def _junction(op: str, word: str, level: int) -> Callable[[Writer, Map, list[Value]], Value]:
    def made(w: Writer, node: Map, values: list[Value]) -> Value:
        values = sorted((truth(w, value) for value in values), key=lambda value: value.python)
        if values[0].python:
            return joined(node, values, lambda codes: binary(NOT, codes[0], *((word, code) for code in codes[1:])))
        return joined(node, values, lambda codes: binary(level, codes[0], *((op, code) for code in codes[1:])))

    return made


def _not(w: Writer, node: Map, values: list[Value]) -> Value:
    value = truth(w, values[0])
    (arg,) = node.operands
    if isinstance(arg, Map) and arg.op == "eq" and not value.python and _is_plain(w, arg):
        sides = [w.value(each) for each in arg.operands]
        sides = sides[::-1] if sides[0].python else sides
        return joined(node, sides, lambda codes: binary(COMPARE, codes[0], ("!=", codes[1])))
    return joined(node, [value], lambda codes: unary("not " if value.python else "~", codes[0]))


def _where(w: Writer, node: Map, values: list[Value]) -> Value:
    test, *branches = values
    test = truth(w, test)
    if test.python:
        dims = merged(value.dims for value in branches)
        same = [value if value.python and not dims else w.full(value, dims) for value in map(_as(w, node), branches)]
        python = all(value.python for value in same)
        return Value(conditional(test.code, *(value.code for value in same)), dims, node.dtype, python)
    branches = [value if value.python else _as(w, node)(value) for value in branches]
    if all(value.python for value in branches):
        branches[0] = w.tensor(_as(w, node)(branches[0]))
    codes = [replace(v, code=_constant(v, node)) if v.python else v for v in branches]
    return joined(node, [test, *codes], lambda codes: call("torch.where", *codes))


def _as(w: Writer, node: Map) -> Callable[[Value], Value]:
    return {"real": w.real, "int": w.whole, "bool": lambda value: value}[node.dtype]


def _constant(value: Value, node: Map) -> Code:
    """A constant branch, real where the result is."""
    found = number_of(value)
    return number(found, real=True) if found is not None and node.dtype == "real" else value.code


def _real(w: Writer, node: Map, values: list[Value]) -> Value:
    return w.real(values[0])


def _wide(w: Writer, node: Map, values: list[Value]) -> Value:
    value = w.real(values[0])
    if value.python:
        return replace(value, code=binary(TERM, method(ONE, "double"), ("*", value.code)), python=False)
    return replace(value, code=method(value.code, "double"))


def _narrow(w: Writer, node: Map, values: list[Value]) -> Value:
    (value,) = values
    return value if value.python else replace(value, code=method(value.code, "to", attribute(ONE, "dtype")))


def _int(w: Writer, node: Map, values: list[Value]) -> Value:
    (value,) = values
    if value.dtype == "real":
        code = call("int", value.code) if value.python else method(value.code, "long")
        return replace(value, code=code, dtype="int")
    return w.whole(value)


def _bool(w: Writer, node: Map, values: list[Value]) -> Value:
    """Whether it is not 0, of a whole number as it is."""
    match node.operands:
        case (Map("real", (whole,)),) if whole.dtype == "int":
            return truth(w, w.value(whole))
    return truth(w, values[0])


BY_OP: dict[str, Callable[[Writer, Map, list[Value]], Value]] = {
    "add": _add,
    "mul": _mul,
    "sub": _sub,
    "div": _div,
    "floor_div": _whole_quotient("//"),
    "mod": _whole_quotient("%"),
    "neg": _neg,
    "pow": _pow,
    "int_pow": _power,
    "square": _square,
    "abs": _kept("abs", "abs"),
    "sign": _kept("sign", ""),
    "exp": _real_method("exp"),
    "expm1": _real_method("expm1"),
    "log": _log,
    "log1p": _real_method("log1p"),
    "sqrt": _real_method("sqrt"),
    "sigmoid": _real_method("sigmoid"),
    "log_sigmoid": _real_function("F.logsigmoid"),
    "softplus": _real_function("F.softplus"),
    "tanh": _real_method("tanh"),
    "sin": _real_method("sin"),
    "cos": _real_method("cos"),
    "erf": _real_method("erf"),
    "ndtr": _real_function("torch.special.ndtr"),
    "lgamma": _real_method("lgamma"),
    "floor": _real_method("floor"),
    "round": _real_method("round"),
    "min": _extreme(True),
    "max": _extreme(False),
    "eq": _compare("=="),
    "lt": _compare("<"),
    "le": _compare("<="),
    "and": _junction("&", "and", AND),
    "or": _junction("|", "or", OR),
    "not": _not,
    "where": _where,
    "real": _real,
    "wide": _wide,
    "narrow": _narrow,
    "int": _int,
    "bool": _bool,
}

PLAIN[Map] = write
