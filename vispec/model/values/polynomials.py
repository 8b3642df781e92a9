"""Polynomials over a box of intervals, and where their values lie.

Over finite intervals the coefficients in Bernstein's basis enclose a polynomial: those of a multilinear one are its values at
the vertices, so the enclosure is exact (Cargo and Shisha 1966, The Bernstein form of a polynomial). Along an infinite interval
a polynomial of degree one rises or falls as the sign of its slope says.
"""

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product

from vispec.model.values.intervals import ANYTHING, INF, REAL, Interval, between, meet, plus, times

Monomial = tuple[tuple[int, int], ...]
"""Atoms by their numbers, each with its power, sorted."""
Poly = Mapping[Monomial, Fraction]
ONE: Poly = {(): Fraction(1)}
TERMS, COEFFICIENTS, FACES, FAR = 48, 1024, 10_000, 3  # beyond these, plain interval arithmetic has to do
Box = Mapping[int, Interval]


def constant(value: float | Fraction) -> Poly:
    """A number as it is written: 0.1 is a tenth."""
    number = value if isinstance(value, Fraction) else Fraction(repr(value))
    return {(): number} if number else {}


def add(left: Poly, right: Poly, factor: int = 1) -> Poly:
    """left + factor · right."""
    found = dict(left)
    for monomial, value in right.items():
        found[monomial] = found.get(monomial, Fraction(0)) + factor * value
    return {monomial: value for monomial, value in found.items() if value}


def multiply(left: Poly, right: Poly) -> Poly | None:
    """The product; None where it has too many terms."""
    if len(left) * len(right) > TERMS:
        return None
    found: dict[Monomial, Fraction] = {}
    for (a, x), (b, y) in product(left.items(), right.items()):
        powers = dict(a)
        for atom, exponent in b:
            powers[atom] = powers.get(atom, 0) + exponent
        key = tuple(sorted(powers.items()))
        found[key] = found.get(key, Fraction(0)) + x * y
    return {monomial: value for monomial, value in found.items() if value}


def atoms(poly: Poly) -> dict[int, int]:
    """Those in it, each with its highest power."""
    found: dict[int, int] = {}
    for monomial in poly:
        for atom, exponent in monomial:
            found[atom] = max(found.get(atom, 0), exponent)
    return found


def substituted(poly: Poly, atom: int, value: Poly) -> Poly | None:
    """The polynomial with another in an atom's place; None where that has too many terms."""
    found: Poly = {}
    for monomial, coefficient in poly.items():
        term: Poly | None = {tuple(pair for pair in monomial if pair[0] != atom): coefficient}
        for _ in range(dict(monomial).get(atom, 0)):
            term = None if term is None else multiply(term, value)
        if term is None:
            return None
        found = add(found, term)
    return found


def enclosed(poly: Poly, box: Box) -> Interval:
    """An interval in which its values over the box lie."""
    whole = all(box[atom].whole for atom in atoms(poly)) and all(value.denominator == 1 for value in poly.values())
    found = _bounded(poly, box)
    return between(*found.ends, whole)


def _bounded(poly: Poly, box: Box) -> Interval:
    degrees = atoms(poly)
    far = [atom for atom in degrees if math.isinf(box[atom].low) or math.isinf(box[atom].high)]
    if not far:
        return _over_a_finite_box(poly, box, degrees)
    if any(box[atom].has(INF) or box[atom].has(-INF) for atom in far):
        return ANYTHING
    found = REAL
    for atom in far if len(far) <= FAR else ():
        if degrees[atom] == 1:
            slope = {tuple(p for p in key if p[0] != atom): value for key, value in poly.items() if atom in dict(key)}
            rest = {key: value for key, value in poly.items() if atom not in dict(key)}
            found = meet(found, _along(rest, slope, box[atom], box))
    return found


def _along(rest: Poly, slope: Poly, at: Interval, box: Box) -> Interval:
    """rest + slope · t of t in an infinite interval."""
    rise = _bounded(slope, box)
    if math.isinf(at.low) and math.isinf(at.high):
        return REAL
    if math.isinf(at.low):  # t = -s
        at, slope = Interval(-at.high, INF, at.high_closed), add({}, slope, -1)
        rise = _bounded(slope, box)
    start = add(rest, multiply(slope, constant(at.low)) or {})
    base = _bounded(start, box) if start else between((0.0, True), (0.0, True))
    if rise.low >= 0:
        strictly = not at.low_closed and rise.above_zero
        return between((base.low, base.low_closed and not strictly), (INF, False))
    if rise.high <= 0:
        strictly = not at.low_closed and (rise.high < 0 or not rise.high_closed)
        return between((-INF, False), (base.high, base.high_closed and not strictly))
    return REAL


def _over_a_finite_box(poly: Poly, box: Box, degrees: Mapping[int, int]) -> Interval:
    order = sorted(degrees)
    apart = sum(map(len, poly)) == len(order) == sum(degrees.values())  # each once, so that its terms vary by themselves
    if apart or math.prod(degree + 1 for degree in degrees.values()) > COEFFICIENTS:
        return _term_by_term(poly, box)
    bernstein = _coefficients(poly, box, order, degrees)
    if bernstein is None:
        return _term_by_term(poly, box)
    low, high = min(bernstein.values()), max(bernstein.values())
    intervals = [box[atom] for atom in order]
    ends = [(value, _is_reached(value, bernstein, intervals, [degrees[atom] for atom in order])) for value in (low, high)]
    (a, first), (b, last) = ends
    return between((float(a), first), (float(b), last))


def _term_by_term(poly: Poly, box: Box) -> Interval:
    total = between((0.0, True), (0.0, True))
    for monomial, value in poly.items():
        term = between((float(value), True), (float(value), True))
        for atom, exponent in monomial:
            for _ in range(exponent):
                term = times(term, box[atom])
        total = plus(total, term)
    return total


def _coefficients(poly: Poly, box: Box, order: list[int], degrees: Mapping[int, int]) -> dict[tuple[int, ...], Fraction] | None:
    """In Bernstein's basis of these degrees, by the place in it: first over [0, 1], then Σ_j C(k, j) / C(d, j) · a_j.

    None where the degrees are too high."""
    for atom in order:
        low, high = Fraction(repr(box[atom].low)), Fraction(repr(box[atom].high))
        moved = substituted(poly, atom, {(): low, ((atom, 1),): high - low})
        if moved is None:
            return None
        poly = moved
    table = {tuple(dict(key).get(atom, 0) for atom in order): value for key, value in poly.items()}
    for place, atom in enumerate(order):
        degree, found = degrees[atom], dict[tuple[int, ...], Fraction]()
        for powers, value in table.items():
            for k in range(powers[place], degree + 1):
                key = (*powers[:place], k, *powers[place + 1 :])
                weight = Fraction(math.comb(k, powers[place]), math.comb(degree, powers[place]))
                found[key] = found.get(key, Fraction(0)) + weight * value
        table = found
    every = product(*(range(degrees[atom] + 1) for atom in order))
    return {key: table.get(key, Fraction(0)) for key in every}


def _is_reached(
    value: Fraction, bernstein: Mapping[tuple[int, ...], Fraction], box: list[Interval], degrees: list[int]
) -> bool:
    """Whether an extreme coefficient is a value of the polynomial: where all are equal that have a weight at some point.

    An atom may stand at an end that is closed, where only the coefficients of that end have a weight, or inside. True where
    there is too much to look at."""
    if 3 ** len(box) * len(bernstein) > FACES:
        return True
    return any(all(bernstein[key] == value for key in product(*face)) for face in product(*map(_faces, box, degrees)))


def _faces(interval: Interval, degree: int) -> Iterator[tuple[int, ...]]:
    if interval.low_closed:
        yield (0,)
    if interval.high_closed:
        yield (degree,)
    if interval.low < interval.high and not interval.whole:
        yield tuple(range(degree + 1))
