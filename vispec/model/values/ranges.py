"""Where the values of an expression surely lie, and whether its entries sum to 1: a fold over the expression.

Of each value is kept an interval, and a quotient of polynomials in what cannot be taken apart further (variables, parameters,
outputs of nets, functions of those), so that what occurs more than once is one thing: `p + q - p * q` and `a / (a + b)` lie in
[0, 1]. What varies from entry to entry of a vector is bounded for all entries at once.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from vispec.model import dims
from vispec.model import model as m
from vispec.model.types import Dim, Domain, Type
from vispec.model.values import intervals as iv
from vispec.model.values import polynomials as poly
from vispec.model.values.functions import plain
from vispec.model.values.intervals import Interval
from vispec.model.values.polynomials import ONE, Poly
from vispec.model.walk import looked_up, prefix_of

if TYPE_CHECKING:
    from vispec.model.names.scope import Scope

Fact = frozenset[tuple[poly.Monomial, Fraction]]
SLACK = 1e-6  # by how far numbers written out may miss a sum of 1
COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!="})
CASTS = frozenset({"unit", "positive", "count", "simplex"})
EMPTY = {"sum": iv.point(0), "mean": iv.point(0), "max": iv.point(-iv.INF), "min": iv.point(iv.INF)}


@dataclass(frozen=True)
class Atom:
    """What is not taken apart. total: the number of the sum of its entries, None of a single number; 0 of a simplex, whose
    entries sum to 1."""

    range: Interval
    total: int | None


@dataclass(frozen=True)
class Form:
    """What is known of one value: equal values have equal numbers. It is top / bottom in the atoms."""

    number: int
    range: Interval
    top: Poly
    bottom: Poly
    atoms: Mapping[int, Atom]


@dataclass
class Ranges:
    """The forms of a file's expressions. `facts` are what the tests say that are around what is being looked at: a polynomial,
    without its constant and with a leading 1, and where its values lie."""

    numbers: dict[Hashable, int] = field(default_factory=dict)
    lets: dict[str, Form] = field(default_factory=dict)
    forms: dict[int, tuple[m.Expression, Form]] = field(default_factory=dict)
    facts: dict[Fact, Interval] = field(default_factory=dict)

    def number(self, key: Hashable) -> int:
        return self.numbers.setdefault(key, len(self.numbers) + 1)

    @contextmanager
    def assuming(self, scope: "Scope", test: m.Expression | None, holds: bool) -> Iterator[None]:
        """What the test says, where it holds or does not, is known inside."""
        facts = {} if test is None else dict(_facts(scope, test, holds))
        if not facts:
            yield
            return
        kept = self.facts, self.forms
        merged = {key: iv.meet(fact, self.facts[key]) if key in self.facts else fact for key, fact in facts.items()}
        self.facts, self.forms = {**self.facts, **merged}, {}
        try:
            yield
        finally:
            self.facts, self.forms = kept


def range_of(scope: "Scope", value: m.Expression) -> Interval:
    """An interval in which every number of the value lies; anything for labels."""
    return form_of(scope, value).range


def narrowest(interval: Interval) -> Domain:
    """The domain of plain numbers that says most of an interval."""
    for domain in ("bit", "unit", "positive", "count"):
        if iv.fits(interval, domain) and not (domain == "bit" and interval.low == interval.high == 1):
            return domain
    return "real"


def sums_to_1(scope: "Scope", value: m.Expression) -> bool:
    """Whether the entries of a vector are never negative and sum to 1, by how it is made."""
    if isinstance(value, m.Apply) and value.function == "one_hot":
        return True
    if isinstance(value, m.Stack):
        parts = [form_of(scope, item) for item in value.items]
        return all(part.range.never_negative for part in parts) and _is_whole(parts)
    if len(value.type.shape) != 1 or value.type.star:
        return False
    form = form_of(scope, value)
    total = _total(form)
    return form.range.never_negative and total is not None and _near(poly.add(total, form.bottom, -1))


def _is_whole(parts: Sequence[Form]) -> bool:
    """Whether quotients add up to 1: Σ a / b = 1 as Σ a · (the other b) = the product of all b."""
    top: Poly | None = {}
    bottom: Poly | None = ONE
    for part in parts:
        if top is None or bottom is None:
            return False
        if part.bottom == bottom:
            top = poly.add(top, part.top)
            continue
        left, right = poly.multiply(top, part.bottom), poly.multiply(part.top, bottom)
        top = None if left is None or right is None else poly.add(left, right)
        bottom = poly.multiply(bottom, part.bottom)
    return top is not None and bottom is not None and _near(poly.add(top, bottom, -1))


def _near(rest: Poly) -> bool:
    return all(abs(value) <= SLACK for value in rest.values())


def _total(form: Form) -> Poly | None:
    """The sum of a vector's entries times its bottom, where each term has one vector in it, and the bottom none."""
    found: Poly = {}
    if any(form.atoms[atom].total is not None for atom in poly.atoms(form.bottom)):
        return None
    for monomial, value in form.top.items():
        vectors = [(atom, power) for atom, power in monomial if form.atoms[atom].total is not None]
        if len(vectors) != 1 or vectors[0][1] != 1:
            return None
        total = form.atoms[vectors[0][0]].total
        rest = tuple(pair for pair in monomial if pair != vectors[0])
        key = tuple(sorted((*rest, (total, 1)))) if total else rest
        found = poly.add(found, {key: value})  # type: ignore[dict-item]
    return found


# ---- the fold


def typed(scope: "Scope", value: m.Apply) -> m.Apply:
    """The value with the domain of its numbers, which is the narrowest that its range lies in."""
    form = form_of(scope, value)
    domain = narrowest(form.range)
    found = replace(value, type=replace(value.type, domain=domain, card=2 if domain == "bit" else None))
    scope.ranges.forms[id(found)] = (found, form)
    return found


def form_of(scope: "Scope", value: m.Expression) -> Form:
    known = scope.ranges.forms.get(id(value))
    if known is None:
        known = scope.ranges.forms[id(value)] = (value, _folded(scope, value))
    return known[1]


def _folded(scope: "Scope", value: m.Expression) -> Form:
    match value:
        case m.Const(value=number):
            return _constant(scope, number)
        case m.Ref(name=name) if (let := _let(scope, name)) is not None:
            return _with_facts(scope, let)
        case m.Apply(args=args) if not value.type.star:
            return _applied(scope, value, [form_of(scope, argument) for argument in args])
        case m.Conditional(test=test, then=then, otherwise=otherwise):
            with scope.ranges.assuming(scope, test, holds=True):
                one = range_of(scope, then)
            with scope.ranges.assuming(scope, test, holds=False):
                other = range_of(scope, otherwise)
            return _atom(scope, value, iv.hull(one, other))
        case m.Stack(items=items):
            return _atom(scope, value, iv.hull(*(range_of(scope, item) for item in items)))
        case m.For(body=body):
            return _atom(scope, value, range_of(scope, body))
        case m.Element(base=m.Stack(items=items), at=m.Const(value=int(place))) if 0 <= place < len(items):
            return form_of(scope, items[place])
        case m.Element(base=base):
            return _atom(scope, value, range_of(scope, base))
        case m.Where(sequence=sequence):
            return _atom(scope, value, range_of(scope, sequence))
        case m.Select(name=name) | m.All(name=name) | m.Prefix(name=name) | m.Past(name=name):
            let = _let(scope, name)
            return _atom(scope, value, _by_type(scope, value.type) if let is None else let.range)
        case m.Position(plate=plate):
            return _atom(scope, value, _upto(scope, scope.plates[plate].card, -1))
        case m.Length(plate=plate):
            return _atom(scope, value, _size(scope, scope.plates[plate].card))
        case m.SizeOf(name=name):
            known = scope.values.get(name)
            return _atom(scope, value, iv.closed(1, iv.INF, whole=True)) if known is None else _constant(scope, known)
        case _:
            return _atom(scope, value, _by_type(scope, value.type))


def _let(scope: "Scope", name: str) -> Form | None:
    """What is known of a `let`, whatever the tests around its reader say."""
    found = scope.ranges.lets.get(name)
    symbol = scope.symbols.get(name)
    if found is None and symbol is not None and symbol.value is not None:
        found = scope.ranges.lets[name] = form_of(scope, symbol.value)
    return found


def _by_type(scope: "Scope", kind: Type) -> Interval:
    """What a declared type says."""
    if kind.domain == "index":
        return _upto(scope, scope.card(kind), -1)
    if kind.domain == "tree":
        return _upto(scope, scope.card(kind), 0)
    return iv.DOMAINS.get(plain(kind.domain), iv.REAL)


def _number_of(scope: "Scope", dim: Dim | None) -> int | None:
    return None if dim is None else dims.evaluate(dim, scope.values)


def _upto(scope: "Scope", dim: Dim | None, more: int) -> Interval:
    """Whole numbers from 0 up to a size and so many more."""
    known = _number_of(scope, dim)
    return iv.COUNT if known is None else iv.closed(0, known + more, whole=True)


def _size(scope: "Scope", dim: Dim) -> Interval:
    known = _number_of(scope, dim)
    ragged = isinstance(dim, str) and dim.startswith("|")
    return iv.closed(0 if ragged else 1, iv.INF, whole=True) if known is None else iv.point(known)


# ---- forms


def _constant(scope: "Scope", number: float) -> Form:
    top = poly.constant(number)
    whole = isinstance(number, int) or float(number).is_integer()
    range_ = Interval(float(number), float(number), True, True, whole)
    return Form(scope.ranges.number(("const", float(number))), range_, top, ONE, {})


def _key(scope: "Scope", value: m.Expression) -> Hashable:
    """What an atom is told by: its parts by their numbers, without its place in the text."""

    def part(item: object) -> Hashable:
        if isinstance(item, m.Expression):
            return form_of(scope, item).number
        return tuple(part(each) for each in item) if isinstance(item, tuple) else item  # type: ignore[return-value]

    names = [name for name in value.__dataclass_fields__ if name not in ("span", "type")]
    return (type(value).__name__, *(part(getattr(value, name)) for name in names))


def _atom(scope: "Scope", value: m.Expression, range_: Interval) -> Form:
    """A value that is not taken apart."""
    number = scope.ranges.number(_key(scope, value))
    top: Poly = {((number, 1),): Fraction(1)}
    vector = value.type.shape != () or value.type.star
    total = None if not vector else 0 if value.type.domain == "simplex" else scope.ranges.number(("Apply", "sum", (number,)))
    return _with_facts(scope, Form(number, range_, top, ONE, {number: Atom(range_, total)}))


def _with_facts(scope: "Scope", form: Form) -> Form:
    """The form with what is known by the tests around it."""
    if not scope.ranges.facts or form.bottom != ONE:
        return form
    shift, scale, key = _canonical(form.top)
    fact = scope.ranges.facts.get(key)
    if fact is None:
        return form
    moved = iv.plus(iv.times(fact, iv.point(float(scale))), iv.point(float(shift)))
    found = iv.meet(form.range, moved)
    if form.number in form.atoms:
        return replace(form, range=found, atoms={form.number: replace(form.atoms[form.number], range=found)})
    return replace(form, range=found)


def _canonical(top: Poly) -> tuple[Fraction, Fraction, Fact]:
    """A polynomial as shift + scale · one that has no constant and a leading 1."""
    rest = {key: value for key, value in top.items() if key}
    scale = rest[min(rest)] if rest else Fraction(1)
    return top.get((), Fraction(0)), scale, frozenset((key, value / scale) for key, value in rest.items())


# ---- operators and functions


def _applied(scope: "Scope", value: m.Apply, args: Sequence[Form]) -> Form:
    natural = _natural(scope, value, args)
    quotient = _quotient(value, args)
    if quotient is None:
        return _atom(scope, value, natural)
    top, bottom = quotient
    if max(len(top), len(bottom)) > poly.TERMS:
        return _atom(scope, value, natural)
    atoms = {number: atom for form in args for number, atom in form.atoms.items()}
    box = {number: atom.range for number, atom in atoms.items()}
    found = iv.meet(natural, _of_quotient(top, bottom, box))
    number = scope.ranges.number((frozenset(top.items()), frozenset(bottom.items())))
    return _with_facts(scope, Form(number, found, top, bottom, atoms))


def _of_quotient(top: Poly, bottom: Poly, box: poly.Box) -> Interval:
    above = poly.enclosed(top, box)
    if bottom == ONE:
        return above
    below = poly.enclosed(bottom, box)
    found = iv.over(above, below)
    if not below.above_zero:
        return found
    left = poly.enclosed(poly.add(bottom, top, -1), box)  # a / b ≤ 1 where b - a ≥ 0
    if left.never_negative:
        found = iv.meet(found, Interval(-iv.INF, 1.0, False, not left.above_zero))
    return found


def _quotient(value: m.Apply, args: Sequence[Form]) -> tuple[Poly, Poly] | None:
    """top / bottom of arithmetic; None where it is none, or has too many terms."""
    match value.function, args:
        case "neg", (a,):
            return poly.add({}, a.top, -1), a.bottom
        case ("+" | "-") as op, (a, b):
            sign = 1 if op == "+" else -1
            if a.bottom == b.bottom:
                return poly.add(a.top, b.top, sign), a.bottom
            left, right = poly.multiply(a.top, b.bottom), poly.multiply(b.top, a.bottom)
            bottom = poly.multiply(a.bottom, b.bottom)
            return None if left is None or right is None or bottom is None else (poly.add(left, right, sign), bottom)
        case "*", (a, b):
            return _both(poly.multiply(a.top, b.top), poly.multiply(a.bottom, b.bottom))
        case "/", (a, b):
            if set(b.top) == {()} and b.bottom == ONE:
                return poly.multiply(a.top, {(): 1 / b.top[()]}) or {}, a.bottom
            return _both(poly.multiply(a.top, b.bottom), poly.multiply(a.bottom, b.top)) if b.top else None
        case "^", (a, b) if b.range.low == b.range.high and b.range.whole and 0 < b.range.low <= 4:
            top, bottom = a.top, a.bottom
            for _ in range(int(b.range.low) - 1):
                found = _both(poly.multiply(top, a.top), poly.multiply(bottom, a.bottom))
                if found is None:
                    return None
                top, bottom = found
            return top, bottom
        case _:
            return None


def _both(top: Poly | None, bottom: Poly | None) -> tuple[Poly, Poly] | None:
    return None if top is None or bottom is None else (top, bottom)


def _natural(scope: "Scope", value: m.Apply, args: Sequence[Form]) -> Interval:
    """By interval arithmetic on the ranges of the arguments alone."""
    ranges = [form.range for form in args]
    match value.function, ranges:
        case "+", (a, b):
            return iv.plus(a, b)
        case "-", (a, b):
            return iv.plus(a, iv.negative(b))
        case "*", (a, b):
            return iv.power(a, iv.point(2)) if args[0].number == args[1].number else iv.times(a, b)
        case "/", (a, b):
            return iv.over(a, b)
        case "^", (a, b):
            return iv.power(a, b)
        case "neg", (a,):
            return iv.negative(a)
        case ("max" | "min") as name, (a, b):
            return iv.larger(a, b) if name == "max" else iv.smaller(a, b)
        case ("sum" | "mean" | "max" | "min") as name, (a,):
            return _reduced(scope, name, value.args[0], a)
        case "dot", (a, b):
            return _dot(scope, value, args)
        case "concat", parts:
            return iv.hull(*parts)
        case name, (a,) if name in iv.ELEMENTWISE:
            return iv.ELEMENTWISE[name](a)
        case name, (a,) if name in CASTS:
            return iv.meet(a, iv.DOMAINS[name])
        case name, _ if name in COMPARISONS or name in ("and", "or", "not", "one_hot", "seen"):
            return iv.BIT
        case _:
            return iv.DOMAINS.get(plain(value.type.domain), iv.REAL)


def _reduced(scope: "Scope", name: str, argument: m.Expression, entries: Interval) -> Interval:
    """A sum, mean, largest or smallest of a vector or sequence, which may be empty where only the data tell its length."""
    if isinstance(argument, m.Stack) and name in ("max", "min"):
        parts = [range_of(scope, item) for item in argument.items]
        return iv.larger(*parts) if name == "max" else iv.smaller(*parts)
    least, most = _count(scope, argument)
    found = iv.total(entries, max(least, 1), most) if name == "sum" else entries
    if name == "mean":
        found = iv.between(*found.ends)
    return found if least else iv.hull(found, EMPTY[name])


def _count(scope: "Scope", value: m.Expression) -> tuple[int, float]:
    """At least and at most how many entries along the last dimension, or along a sequence."""
    if isinstance(looked_up(value), m.Where) or prefix_of(value) is not None:
        return 0, iv.INF
    dim = scope.plates[value.type.over].card if value.type.star and value.type.over else None
    dim = value.type.shape[-1] if dim is None and value.type.shape else dim
    known = _number_of(scope, dim)
    if known is not None:
        return known, known
    return (0 if dim is None or (isinstance(dim, str) and dim.startswith("|")) else 1), iv.INF


def _dot(scope: "Scope", value: m.Apply, args: Sequence[Form]) -> Interval:
    """Of a simplex and numbers, a mixture of these; else a sum of products."""
    for weights, other in ((0, 1), (1, 0)):
        if value.args[weights].type.domain == "simplex" and (weights == 0 or len(value.args[1].type.shape) == 1):
            return iv.between(*args[other].range.ends)
    product = args[0].range
    product = iv.power(product, iv.point(2)) if args[0].number == args[1].number else iv.times(product, args[1].range)
    last = value.args[0]
    least, most = _count(scope, last if last.type.shape else value.args[1])
    return iv.total(product, max(least, 1), most) if least else iv.hull(iv.total(product, 1, most), iv.point(0))


# ---- what a test says


OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
SIDES = {
    "<": Interval(-iv.INF, 0.0),
    "<=": Interval(-iv.INF, 0.0, False, True),
    ">": Interval(0.0, iv.INF),
    ">=": Interval(0.0, iv.INF, True, False),
    "==": iv.point(0),
}
"""Where left - right lies."""


def _facts(scope: "Scope", test: m.Expression, holds: bool) -> Iterator[tuple[Fact, Interval]]:
    match test:
        case m.Apply(function="not", args=(inner,)):
            yield from _facts(scope, inner, not holds)
        case m.Apply(function="and" | "or", args=args) if (test.function == "and") == holds:
            for inner in args:
                yield from _facts(scope, inner, holds)
        case m.Apply(function=op, args=(left, right)) if op in COMPARISONS:
            if plain(left.type.domain) in NUMBERS and plain(right.type.domain) in NUMBERS:
                yield from _fact(form_of(scope, left), form_of(scope, right), op if holds else OPPOSITE[op])
        case m.Ref():
            yield from _fact(form_of(scope, test), _constant(scope, int(holds)), "==")


NUMBERS = frozenset({"real", "positive", "unit", "count", "bit"})


def _fact(left: Form, right: Form, op: str) -> Iterator[tuple[Fact, Interval]]:
    if left.bottom != ONE or right.bottom != ONE:
        return
    apart = iv.plus(left.range, iv.negative(right.range))
    if op == "!=":  # says something only of what lies on one side
        op = ">" if apart.low == 0 else "<" if apart.high == 0 else op
    shift, scale, key = _canonical(poly.add(left.top, right.top, -1))
    if op not in SIDES or not key:
        return
    side = iv.between(*SIDES[op].ends, apart.whole)
    moved = iv.times(iv.plus(side, iv.point(-float(shift))), iv.point(1 / float(scale)))
    yield key, iv.between(*moved.ends)
