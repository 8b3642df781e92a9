"""Types as written → Type, with what a parameter, a variable, an argument or a head may be."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

from vispec.model.names.scope import Scope
from vispec.model.names.sizes import size_of
from vispec.model.problems import Cause, did_you_mean, head, listed
from vispec.model.types import WHOLE_DOMAINS, Dim, Domain, Type
from vispec.model.values.labels import read_labels
from vispec.syntax import tree as t

Place = Literal["parameter", "variable", "argument", "head"]

DOMAINS = (*(each for each in get_args(Domain) if each != "segments"), "labels")
CONTINUOUS = ("real", "positive", "unit", "simplex", "ordered", "cholesky")
RANGED = ("real", "positive", "unit", "simplex")
ARGS: Mapping[str, str] = {
    "simplex": "K",
    "ordered": "K",
    "cholesky": "D",
    "category": "K",
    "token": "V",
    "index": "plate",
    "tree": "plate",
}
"""Domains with an argument that cannot be left out, and what one calls it."""


ELSEWHERE = {
    **dict.fromkeys(
        ("int", "integer", "long"),
        "a whole number is `count`; a label is `category[K]`, one that points at elements of a plate `index[plate]`",
    ),
    **dict.fromkeys(
        ("float", "double", "number", "num", "numeric"), "a number is `real`; others are `positive`, `unit`, `count`"
    ),
    **dict.fromkeys(("bool", "boolean", "binary", "logical"), "what is 0 or 1 is `bit`"),
    **dict.fromkeys(("str", "string", "word", "text"), "a word is `token[V]`, with `vocab V`; a label is `category[K]`"),
    **dict.fromkeys(("vector", "row_vector", "array"), "a vector of D numbers is `real[D]`"),
    **dict.fromkeys(("matrix",), "a matrix is `real[D, E]`"),
    **dict.fromkeys(("cov_matrix", "corr_matrix", "cholesky_factor_cov"), "a covariance is told by its factor, `cholesky[D]`"),
    **dict.fromkeys(("prob", "probability"), "a probability is `unit`; several that add up to 1 are `simplex[K]`"),
    **dict.fromkeys(("factor", "categorical", "label"), "a label is `category[K]`"),
    **dict.fromkeys(("length", "segments"), "stretches, their labels and their lengths stand in `chain s of t(longest=30):`"),
}
"""What stands here for the types of other languages."""


def read_type(scope: Scope, node: t.TypeOf, place: Place, plates: tuple[str, ...] = ()) -> Type | None:
    """The type that a declaration in `plates` may have there, or None where that is reported."""
    if node.domain not in DOMAINS:
        help = ELSEWHERE.get(node.domain.lower()) or did_you_mean(node.domain, DOMAINS, f"the types are {listed(DOMAINS)}")
        scope.problems.add("V301", head(node.span, node.domain), f"there is no type `{node.domain}`", "not a type", help=help)
        return None
    if node.star and place in ("parameter", "variable"):
        scope.problems.add(
            "V304",
            node.span,
            f"a {place} is one element, not a sequence",
            "`*` makes this a sequence",
            help="leave out the `*` and declare it inside a plate or chain",
        )
        return None
    if place in ("parameter", "head") and node.domain not in CONTINUOUS:
        return _not_continuous(scope, node, place)
    kind = _type(scope, node, place)
    if kind is None or (place in ("variable", "argument") and not _plate_suits(scope, node, kind, place, plates)):
        return None
    return kind


def _not_continuous(scope: Scope, node: t.TypeOf, place: Place) -> None:
    code, what = ("V306", "learnt by gradients") if place == "parameter" else ("V508", "the output of a net")
    simplex = "give the probabilities instead, `simplex[K]`"
    help = {
        "category": simplex,
        "token": simplex.replace("K", "V"),
        "bit": "give its probability instead, `unit`",
        "count": "use `positive`",
    }
    message = f"a {place} cannot be `{node.domain}`: discrete values are not {what}"
    fix = help.get(node.domain, f"use one of {listed(CONTINUOUS, 'or')}")
    scope.problems.add(code, node.span, message, "discrete", help=fix)


def _type(scope: Scope, node: t.TypeOf, place: Place) -> Type | None:
    domain: Domain = node.domain  # type: ignore[assignment]
    single = domain in ("simplex", "ordered", "cholesky", "index", "tree")
    if (domain in ARGS and not node.args) or (single and len(node.args) > 1):
        needs = f"`{domain}[{ARGS[domain]}]`"
        scope.problems.add(
            "V302", node.span, f"`{domain}` takes one argument, {needs}", f"{len(node.args)} given", help=f"write {needs}"
        )
        return None
    if domain in ("index", "tree"):
        return _over_plate(scope, node)
    if domain == "parse":
        return _parse(scope, node)
    if node.domain == "labels":
        return _labels(scope, node, place)
    match node.args:
        case (t.Range() as span,):
            return _ranged(scope, node, span, place)
    if domain == "category" and any(isinstance(argument, t.String) for argument in node.args):
        labels = read_labels(scope, node)
        return None if labels is None else Type("category", card=len(labels), star=node.star, labels=labels)
    if domain == "token" and not _is_vocabulary(scope, next(iter(node.args))):
        return None
    sizes = [size_of(scope, argument) for argument in node.args]
    shape = tuple(size for size in sizes if size is not None)
    if len(shape) < len(sizes):
        return None
    return _shaped(domain, shape, node.star)


def _shaped(domain: Domain, shape: tuple[Dim, ...], star: bool) -> Type:
    if domain in ("category", "token"):
        return Type(domain, shape[1:], card=shape[0], star=star)
    if domain == "cholesky":
        return Type(domain, shape * 2, star=star)
    return Type(domain, shape, card=2 if domain == "bit" else None, star=star)


def _ranged(scope: Scope, node: t.TypeOf, span: t.Range, place: Place) -> Type | None:
    if place != "parameter" or node.domain not in RANGED:
        message = f"only a parameter that is {listed(RANGED, 'or')} can be indexed by a range"
        scope.problems.add("V305", span.span, message, "a range", help="write a size")
        return None
    if span.low > span.high:
        scope.problems.add(
            "V305", span.span, "the range is empty", "low end above high end", help=f"write `{span.high}..{span.low}`"
        )
        return None
    return Type(node.domain, (span.high - span.low + 1,), low=span.low, high=span.high)  # type: ignore[arg-type]


def _is_vocabulary(scope: Scope, argument: t.Expr | t.Range) -> bool:
    name = argument.id if isinstance(argument, t.Name) else ""
    symbol = scope.symbols.get(name)
    if name in scope.poisoned or (symbol is not None and symbol.kind == "vocabulary"):
        return name not in scope.poisoned
    vocabularies = scope.of_kind("vocabulary")
    if isinstance(argument, t.Name) and symbol is None:
        help = did_you_mean(name, vocabularies, f"declare it: `vocab {name}`")
        scope.problems.add("V101", argument.span, f"no vocabulary is called `{name}`", "not declared", help=help)
        scope.poisoned.add(name)
        return False
    cause: Cause | None = (symbol.span, f"`{name}` is {symbol.a}") if symbol is not None else None
    help = "for plain numbers use `category`; for words declare `vocab V` and write `token[V]`"
    scope.problems.add("V303", argument.span, "a token comes from a vocabulary", "not a vocabulary", cause=cause, help=help)
    return False


def _parse(scope: Scope, node: t.TypeOf) -> Type | None:
    """A plate, how many symbols phrases have, and how many preterminals; or how many labels all of them have."""
    if len(node.args) not in (2, 3):
        message = "`parse` takes two arguments, `parse[plate, L]`, or three, `parse[plate, NT, PT]`"
        help = "write `parse[i, L]`, a plate and the number of labels, or `parse[i, NT, PT]`, of phrases and of preterminals"
        scope.problems.add("V302", node.span, message, f"{len(node.args)} given", help=help)
        return None
    over = _over_plate(scope, node)
    sizes = [size_of(scope, argument) for argument in node.args[1:]]
    if over is None or None in sizes:
        return None
    symbols = [scope.symbols.get(argument.id) if isinstance(argument, t.Name) else None for argument in node.args[1:]]
    if len({symbol is not None and symbol.kind == "vocabulary" for symbol in symbols}) > 1:
        message = "the labels of phrases and of elements are of a vocabulary each, or numbers"
        help = "declare both as vocabularies, `vocab NT(unknown=false)`, or both as sizes"
        scope.problems.add("V303", node.span, message, "one of each", help=help)
        return None
    return Type(
        "parse",
        card=sizes[-1],
        plate=over.plate,
        star=node.star,
        symbols=sizes[0] if len(sizes) > 1 else None,
        element=Type("category", card=sizes[-1]),
    )


def _labels(scope: Scope, node: t.TypeOf, place: Place) -> Type | None:
    """A plate, and what each of its elements is labelled with: a size, a vocabulary, or the labels themselves."""
    if len(node.args) < 2 or (len(node.args) > 2 and not isinstance(node.args[1], t.String)):
        message = "`labels` takes two arguments, `labels[plate, K]`"
        help = "write `labels[i, K]`: a plate, and how many labels there are, or the vocabulary that they come from"
        scope.problems.add("V302", node.span, message, f"{len(node.args)} given", help=help)
        return None
    symbol = scope.symbols.get(node.args[1].id) if isinstance(node.args[1], t.Name) else None
    domain = "token" if symbol is not None and symbol.kind == "vocabulary" else "category"
    over, kind = _over_plate(scope, node), _type(scope, replace(node, domain=domain, args=node.args[1:]), place)
    return None if over is None or kind is None else replace(kind, along=over.plate)


def _over_plate(scope: Scope, node: t.TypeOf) -> Type | None:
    argument = node.args[0]
    name = argument.id if isinstance(argument, t.Name) else ""
    if name in scope.poisoned:
        return None
    plate = scope.plates.get(name)
    if plate is None:
        symbol = scope.symbols.get(name)
        if isinstance(argument, t.Name) and symbol is None:
            help = did_you_mean(name, scope.written, f"open it somewhere: `plate {name}:`")
            scope.problems.add("V101", argument.span, f"no plate is called `{name}`", "not opened anywhere", help=help)
            scope.poisoned.add(name)
        else:
            cause: Cause | None = (symbol.span, f"`{name}` is {symbol.a}") if symbol is not None else None
            help = "for one of K values use `category[K]`" if node.domain == "index" else "name the plate of the elements"
            over = "stand along" if node.domain == "labels" else "points into"
            scope.problems.add("V303", argument.span, f"`{node.domain}` {over} a plate", "not a plate", cause=cause, help=help)
        return None
    scope.used.add(name)
    return Type(node.domain, card=plate.size if node.domain == "index" else None, plate=name, star=node.star)  # type: ignore[arg-type]


def _plate_suits(scope: Scope, node: t.TypeOf, kind: Type, place: Place, plates: tuple[str, ...]) -> bool:
    """Whether an index, or a structure, over this plate makes sense where it is declared."""
    over = kind.along or kind.plate
    if over is None:
        return True
    plate = scope.plates[over]
    cause = (plate.span, f"`{plate.name}` is opened here")
    if plate.data:
        verb, label = ("stand along", "along rows") if kind.along else ("point into", "points at rows")
        message = f"`{node.domain}` cannot {verb} the data plate `{plate.name}`: only a batch of its rows is there at a time"
        help = (
            f"open a plate of rows around `{plate.name}`: `plate row:`, and this line and `{plate.name}` inside"
            if kind.along
            else scope.sized(plate.name)
        )
        scope.problems.add("V307", node.span, message, label, cause=cause, help=help)
        return False
    if place == "argument" and kind.along:
        message, inner = "a net takes labels as a sequence, not as `labels`", replace(kind, along=None)
        help = f"take `{inner}*`, and pass all of them, as in `tag[*]`; or take `{inner}`, an element's own"
        scope.problems.add("V307", node.span, message, "no input of a net", cause=cause, help=help)
        return False
    if place == "argument" and kind.domain in WHOLE_DOMAINS:
        message = f"a net cannot take a {node.domain}"
        help = f"pass the element that a head points at, as in `x[head]`, or take `category` for `{node.domain}`"
        help = help if node.domain == "tree" else "pass an element's own preterminal, by its name, and take `category`"
        scope.problems.add("V307", node.span, message, "no input of a net", cause=cause, help=help)
        return False
    if place == "argument":
        if plate.size is None:
            message = f"a net cannot take `index[{plate.name}]`: the plate's size differs from row to row"
            scope.problems.add(
                "V307", node.span, message, "no fixed size", cause=cause, help="pass the element it points at, as in `y[a]`"
            )
            return False
        return True
    if kind.whole and plate.name in plates:
        message = f"a {kind.domain} over `{plate.name}` is one value for the whole plate, so it cannot be declared inside it"
        if kind.along:
            message = f"labels along `{plate.name}` have one law for the whole plate, so they cannot be declared inside it"
        scope.problems.add(
            "V307", node.span, message, "declared in its own plate", cause=cause, help=f"move this line out of `{plate.name}`"
        )
        return False
    missing = [outer for outer in plate.inside if outer not in plates] if plate.size is None else []
    if missing:
        message = f"the size of `{plate.name}` depends on {listed(missing)}, which is not open here"
        help = f"declare the variable inside `{missing[0]}`"
        scope.problems.add("V307", node.span, message, "which plate's elements?", cause=cause, help=help)
        return False
    return True
