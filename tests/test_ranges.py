"""Where expressions lie: values of random ones never leave their intervals, and multilinear ones reach both ends."""

import itertools
import math
import random
from collections.abc import Mapping

import numpy as np
import pytest

from vispec.model import model as m
from vispec.model.check import check
from vispec.model.names.annotations import read_type
from vispec.model.names.declare import declare
from vispec.model.names.scope import Context, Scope
from vispec.model.problems import Problems
from vispec.model.values.intervals import Interval
from vispec.model.values.ranges import range_of, sums_to_1
from vispec.model.values.resolve import resolve
from vispec.source import Source
from vispec.syntax import tree as t
from vispec.syntax.parse import parse

SPEC = """
size K = 3
param p : unit
param q : unit
param r : unit
param w : positive
param v : positive
param a : real
param s : simplex[K]
param u : simplex[K]
param g : positive[K]
plate k[K]:
    param h : unit
plate n:
    given b : bit
    given c : bit
    given i : count
    given j : count
    given y : real
    given d : index[k]
    let share = w / (w + v)
    let value = {}
    observed x : real ~ Normal(0, 1)
"""
DRAWS = 24


def resolved(text: str, spec: str = SPEC) -> tuple[Scope, m.Expression | None]:
    """The value of `let value`, in its scope."""
    tree = parse(Source("tiny.vispec", spec.format(text)))
    scope = Scope(tree.source, Problems())
    declare(scope, tree.body, {})
    for symbol in scope.symbols.values():
        if isinstance(symbol.node, t.Param | t.Variable):
            place = "parameter" if isinstance(symbol.node, t.Param) else "variable"
            symbol.type = read_type(scope, symbol.node.type, place, symbol.plates)
    for name in ("share", "value"):
        symbol = scope.symbols[name]
        assert isinstance(symbol.node, t.Let)
        symbol.value = resolve(scope, Context(symbol.plates), symbol.node.value)
        symbol.type = symbol.value.type if symbol.value is not None else None
    return scope, scope.symbols["value"].value


def drawn(generator: random.Random) -> dict[str, np.ndarray]:
    """Values of every name in its domain, some of them at an end of it."""
    exponential = generator.expovariate
    weights = [np.array([exponential(1) for _ in range(3)]) for _ in range(2)]
    unit = {name: generator.choice([0.001, generator.random() * 0.998 + 0.001, 0.999]) for name in "pqr"}
    found = {
        **unit,
        **{name: generator.choice([1e-3, exponential(1), 10 * exponential(1)]) for name in "wv"},
        **{name: generator.choice([-3.0, 0.0, generator.gauss(0, 2)]) for name in "ay"},
        **{name: generator.randrange(2) for name in "bc"},
        **{name: generator.choice([0, generator.randrange(6)]) for name in "ij"},
        "s": weights[0] / weights[0].sum(),
        "u": weights[1] / weights[1].sum(),
        "g": np.array([exponential(1) for _ in range(3)]),
        "h": np.array([generator.random() for _ in range(3)]),
        "d": generator.randrange(3),
    }
    return {name: np.asarray(value, dtype=float) for name, value in found.items()}


BINARY = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "max": np.maximum,
    "min": np.minimum,
    "dot": np.dot,
}
UNARY = {
    "neg": np.negative,
    "not": np.logical_not,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "round": np.round,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softplus": lambda x: np.logaddexp(0, x),
    "sin": np.sin,
    "cos": np.cos,
    "erf": np.vectorize(math.erf, otypes=[float]),
    "Phi": np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2, otypes=[float]),
    "lgamma": np.vectorize(math.lgamma, otypes=[float]),
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "softmax": lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(),
}


def evaluate(e: m.Expression, values: Mapping[str, np.ndarray], scope: Scope, at: int | None = None) -> np.ndarray:
    """The expression's value, as the language defines it; in plate k, at element `at`."""
    match e:
        case m.Const(value=value):
            return np.asarray(value, dtype=float)
        case m.Ref(name=name) if (let := scope.symbols[name].value) is not None:
            return evaluate(let, values, scope, at)
        case m.Ref(name="h"):
            return values["h"][at]
        case m.Ref(name=name) | m.All(name=name):
            return values[name]
        case m.Select(name=name, by=((_, index),)):
            return values[name][int(evaluate(index, values, scope, at))]
        case m.Element(base=base, at=index):
            return evaluate(base, values, scope, at)[int(evaluate(index, values, scope, at))]
        case m.Position():
            return np.asarray(at, dtype=float)
        case m.SizeOf():
            return np.asarray(3.0)
        case m.Conditional(test=test, then=then, otherwise=otherwise):
            return evaluate(then if evaluate(test, values, scope, at) else otherwise, values, scope, at)
        case m.Stack(items=items):
            return np.stack([evaluate(item, values, scope, at) for item in items])
        case m.For(body=body):
            return np.stack([evaluate(body, values, scope, place) for place in range(3)])
        case m.Apply(function=function, args=args):
            found = [evaluate(argument, values, scope, at) for argument in args]
            return np.asarray((UNARY if len(found) == 1 else BINARY)[function](*found), dtype=float)
    raise AssertionError(e)


NAMES = ["p", "q", "r", "w", "v", "a", "b", "c", "i", "j", "y", "d", "K", "share", "s[0]", "g[2]", "h[d]"]
NUMBERS = ["0", "1", "2", "0.5", "0.25", "3", "1.5", "-1"]


def expression(generator: random.Random, depth: int, inside: bool = False) -> str:
    """The text of a random number of the model."""
    if depth == 0 or generator.random() < 0.1:
        names = [*NAMES, "k", "h"] if inside else NAMES
        return generator.choice(names if generator.random() < 0.75 else NUMBERS)

    def part(less: int = 1) -> str:
        return expression(generator, max(depth - less, 0), inside)

    def vector() -> str:
        softmax = f"softmax([{part(2)}, {part(2)}, {part(2)}])"
        return generator.choice(["s", "u", "g", f"[{part()}, {part()}, {part()}]", softmax])

    kind = generator.randrange(12)
    if kind < 5:
        operator = generator.choice(["+", "+", "-", "-", "*", "*", "*", "/", "/", "^"])
        return f"({part()} {operator} {part(2)})"
    if kind < 7:
        names = "exp log sqrt abs sign floor round sigmoid tanh relu softplus sin cos erf Phi lgamma -"
        return f"{generator.choice(names.split())}({part()})"
    if kind == 7:
        return f"({part()} if {part(2)} {generator.choice(['<', '<=', '>', '>=', '==', '!='])} {part(2)} else {part()})"
    if kind == 8:
        return f"({part()} {generator.choice(['<', '<=', '>', '>=', '==', '!='])} {part()})"
    if kind == 9:
        return f"{generator.choice(['max', 'min'])}({part()}, {part()})"
    if kind == 10 and not inside:
        return f"{generator.choice(['sum', 'mean', 'max', 'min'])}({expression(generator, depth - 1, True)} for k)"
    if generator.random() < 0.5:
        return f"dot({vector()}, {vector()})"
    return f"{generator.choice(['sum', 'mean', 'max', 'min'])}({vector()})"


def misses(interval: Interval, value: np.ndarray) -> bool:
    """Whether a number lies outside, by more than rounding; or is not whole where all are."""
    slack = 1e-9 * (1 + np.abs(np.where(np.isfinite(value), value, 0)))
    outside = (value < interval.low - slack) | (value > interval.high + slack)
    if interval.whole:
        finite = np.where(np.isfinite(value), value, 0)
        outside |= np.abs(finite - np.round(finite)) > 1e-9
    return bool(outside.any())


@pytest.mark.parametrize("seed", range(8))
def test_no_value_leaves_its_interval(seed: int) -> None:
    generator, looked, told = random.Random(seed), 0, 0
    while looked < 150:
        text = expression(generator, generator.randint(1, 4))
        scope, value = resolved(text)
        if value is None:
            continue
        interval = range_of(scope, value)
        looked += 1
        told += math.isfinite(interval.low) or math.isfinite(interval.high)
        for _ in range(DRAWS):
            draw = drawn(generator)
            with np.errstate(all="ignore"):
                number = evaluate(value, draw, scope)
            if not np.isnan(number).any():
                assert not misses(interval, number), f"{text} = {number} in {interval} at {draw}"
    assert told > looked / 2


@pytest.mark.parametrize("seed", range(4))
def test_multilinear_expressions_are_bounded_at_their_vertices(seed: int) -> None:
    """Sums of products of bits, each to the first power, in whatever way they are written: both ends are values."""
    generator = random.Random(seed)
    for _ in range(60):
        names = generator.sample(["p", "q", "r", "b", "c"], generator.randint(1, 4))
        text = nested(generator, names)
        scope, value = resolved(text)
        assert value is not None
        interval = range_of(scope, value)
        vertices = itertools.product((0.0, 1.0), repeat=len(names))
        corners = [dict(zip(names, map(np.asarray, ends), strict=True)) for ends in vertices]
        found = [float(evaluate(value, corner, scope)) for corner in corners]
        assert interval.low == pytest.approx(min(found), abs=1e-12), text
        assert interval.high == pytest.approx(max(found), abs=1e-12), text
        only_bits = set(names) <= {"b", "c"}
        assert not only_bits or (interval.low_closed and interval.high_closed), text


def nested(generator: random.Random, names: list[str]) -> str:
    """x · (a polynomial of the others) + (1 - x) · (another), and sums and products of such."""
    if not names:
        return f"({generator.choice(['0.3', '2', '1', '0.25', '-1'])})"
    name, rest = names[0], names[1:]
    match generator.randrange(4):
        case 0:
            return f"({name} * {nested(generator, rest)} + (1 - {name}) * {nested(generator, rest)})"
        case 1:
            return f"({nested(generator, rest)} - {name} * {nested(generator, rest)})"
        case 2:
            return f"({name} + {nested(generator, rest)})"
        case _:
            return f"(({nested(generator, rest)} - {name}) / 2)"


@pytest.mark.parametrize(
    ("text", "lies"),
    [
        ("p + q - p * q", "(0, 1)"),
        ("1 - (1 - b) * (1 - c)", "[0, 1]"),
        ("1 - (1 - p) * (1 - b)", "(0, 1]"),
        ("p * (1 - r) + q * r", "(0, 1)"),
        ("2 * p * (1 - p)", "(0, 1)"),
        ("p^2 + 2 * p * (1 - p)", "(0, 1)"),
        ("exp(-w * v)", "(0, 1)"),
        ("1 - exp(-(w * i / v))", "[0, 1)"),
        ("1 - exp(-1)", "0.632121"),
        ("1 - exp(-sum(g))", "(0, 1)"),
        ("sqrt(p)", "(0, 1)"),
        ("0.3 * p + 0.7 * q", "(0, 1)"),
        ("0.1 * p + 0.2 * q + 0.7 * r", "(0, 1)"),
        ("share", "(0, 1)"),
        ("1 - share", "(0, 1)"),
        ("(w + i) / (w + i + j + 1)", "(0, 1)"),
        ("y if y > 0 else 0", "[0, inf)"),
        ("y if not (y <= 0 or p > 0.5) else 2", "(0, inf)"),
        ("w - v if w > v else v - w", "[0, inf)"),
        ("1 / i if i != 0 else 0", "[0, 1]"),
        ("i - 1 if i > 0 else 0", "[0, inf)"),
        ("i - j if j < i else 1", "[1, inf)"),
        ("max(y, 0)", "[0, inf)"),
        ("b + c", "[0, 2]"),
        ("i * (b + c)", "[0, inf)"),
        ("abs(y) + w", "(0, inf)"),
        ("a + w", "(-inf, inf)"),
        ("y^2", "[0, inf)"),
        ("p^w", "(0, 1)"),
        ("dot(s, [p, q, b])", "[0, 1]"),
        ("sum(h for k)", "(0, 3)"),
        ("sum(h^k for k)", "(0, 3]"),
        ("lgamma(i + 1)", "[-0.121486, inf)"),
        ("Phi(y)", "[0, 1]"),
        ("erf(w)", "(0, 1]"),
        ("floor(3 * p)", "[0, 2]"),
        ("round(3 * p)", "[0, 3]"),
        ("sign(w)", "1"),
        ("positive(y)", "(0, inf)"),
        ("d", "[0, 2]"),
        ("K - d", "[1, 3]"),
    ],
)
def test_ranges(text: str, lies: str) -> None:
    scope, value = resolved(text)
    assert value is not None
    assert str(range_of(scope, value)) == lies


@pytest.mark.parametrize(
    ("text", "sums"),
    [
        ("[1 - p, p]", True),
        ("[p^2, 2 * p * (1 - p), (1 - p)^2]", True),
        ("[(1 - p) / (2 - q - p), (1 - q) / (2 - q - p)]", True),
        ("[share, v / (w + v)]", True),
        ("[p * q, p * (1 - q), 1 - p]", True),
        ("[p / 2, p / 3, 1 - 5 * p / 6]", True),
        ("p * s + (1 - p) * u", True),
        ("g / sum(g)", True),
        ("one_hot(d)", True),
        ("[p, 1 - p, 0.1]", False),
        ("[2 * p, 1 - 2 * p]", False),
        ("[w / (w + v), w / (w + v)]", False),
        ("p * s + q * u", False),
        ("s * u", False),
        ("g / sum(s)", False),
    ],
)
def test_what_sums_to_1(text: str, sums: bool) -> None:
    scope, value = resolved(text)
    assert value is not None
    assert sums_to_1(scope, value) == sums


def test_long_chains_of_lets_are_no_deeper_than_short_ones() -> None:
    lets = "".join(f"    let h{n} = h{n + 1} * 0.5 + 0.25\n" for n in range(400))
    spec = f"plate n:\n    given y : bit\n    let h400 = y\n{lets}    observed x : bit ~ Bernoulli(h0 if h0 < 1 else h1)\n"
    assert check(parse(Source("tiny.vispec", spec)))[0] is not None
