"""Values of `let`s, and deterministic state along a chain: `let s = 0 then decay * s[t-1] + x[t-1]`.

A state reads its own past, so its type is known before its value is: as it is declared, or that of its first element; numbers
are real unless a domain is declared, which must hold of the first element and be kept by the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from vispec.model import model as m
from vispec.model.graphs import circles, ordered, reading
from vispec.model.names.annotations import read_type
from vispec.model.names.scope import Context, Scope, Symbol
from vispec.model.types import Type
from vispec.model.values.conform import fits_argument
from vispec.model.values.functions import NUMERIC
from vispec.model.values.ranges import range_of
from vispec.model.values.resolve import resolve
from vispec.syntax import tree as t


def in_order(scope: Scope, symbols: Mapping[str, Symbol]) -> tuple[str, ...]:
    """The lets, each after those whose types its own needs; a circle is reported, and what is in it poisoned."""
    graph = reading({name: needed(symbol.node) for name, symbol in symbols.items()})
    for circle in circles(graph):
        first = min((symbols[name] for name in circle), key=lambda symbol: symbol.span.start)
        message = f"`{first.name}` is computed from itself"
        help = "give it a value that does not read it"
        chain = chain_of(scope, first)
        if chain is not None and not first.guide:
            past = f"{first.name}[{chain}-1]"
            help = f"write its first value along `{chain}`, then how the next follows: `let {first.name} = 0 then f({past})`"
        scope.problems.add("V212", first.span, message, "in a circle", help=help)
        scope.poisoned |= circle
        graph |= {name: [] for name in circle}
    return ordered(graph)


def needed(node: t.Node) -> t.Node:
    """What the type of a let's value follows from."""
    if isinstance(node, t.Let) and isinstance(node.value, t.Then):
        return node.value.laws[0] if node.type is None else node.type
    return node.value if isinstance(node, t.Let | t.GuideLet) else node


def chain_of(scope: Scope, symbol: Symbol) -> str | None:
    """The innermost chain that a let stands in."""
    return next((plate for plate in reversed(symbol.plates) if scope.plates[plate].kind == "chain"), None)


def type_of_state(scope: Scope, symbol: Symbol, node: t.Let, steps: tuple[t.Expr, ...]) -> Type | None:
    """As it is declared, or that of its first element."""
    if node.type is not None:
        return read_type(scope, node.type, "variable", symbol.plates)
    first = resolve(scope, context_of(symbol), steps[0])
    if first is None:
        return None
    if first.type.star:
        message = f"the first value of `{symbol.name}` is a whole sequence"
        scope.problems.add("V314", steps[0].span, message, "a sequence", help="a state has one value for each element")
        return None
    return Type("real", first.type.shape) if first.type.domain in NUMERIC else first.type


def context_of(symbol: Symbol, before: int = 0) -> Context:
    return Context(symbol.plates, owner=symbol.name).after(before)


def state(scope: Scope, symbol: Symbol, node: t.Let, then: t.Then, kind: Type) -> m.Recursion | None:
    """The values of the elements of a chain; None where something in them is reported."""
    chain = chain_of(scope, symbol)
    assert chain is not None
    found = [resolve(scope, context_of(symbol, number), step) for number, step in enumerate(then.laws)]
    steps = tuple(step for step in found if step is not None)
    good = all([keeps(scope, symbol, node, step, kind) for step in steps])
    return m.Recursion(then.span, kind, symbol.name, chain, steps) if good and len(steps) == len(then.laws) else None


def outside_chain(scope: Scope, symbol: Symbol, then: t.Then) -> bool:
    """Reports a `then` that no chain is open around."""
    if chain_of(scope, symbol) is not None:
        return False
    plate = scope.plates[symbol.plates[-1]] if symbol.plates else None
    cause = (plate.span, "a plate, not a chain") if plate and not plate.implicit else None
    message = "`then` gives the elements of a chain their values in order, and no chain is open here"
    help = f"write `chain {plate.name}:` here" if plate and not plate.data else "open a `chain t:` around it"
    scope.problems.add("V213", then.span, message, "no first element", cause=cause, help=help)
    return True


def keeps(scope: Scope, symbol: Symbol, node: t.Let, value: m.Expression, kind: Type) -> bool:
    """Whether a value is of the type of its let; reported where it is not."""
    why = fits_argument(scope, value, kind)
    if why is None:
        return True
    code = {"shape": "V308", "sequence": "V314", "element": "V314"}.get(why, "V309")
    known = f", and may be anything in {range_of(scope, value)}" if value.type.domain in NUMERIC and code == "V309" else ""
    message = f"`{symbol.name}` is `{kind}`, and this is `{value.type}`{known}"
    cause = (node.type.span, "declared here") if node.type is not None else (symbol.span, "by its first value")
    name = f"{symbol.name} : {value.type}" if code == "V309" and not value.type.star else f"{symbol.name} : {kind}"
    help = f"declare what all its values are, `let {name} = ...`, or keep them in the domain"
    scope.problems.add(code, value.span, message, f"`{value.type}`", cause=cause, help=help)
    return False
