"""A distribution against the variable that it is for: its support, its parameters' domains, and shapes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vispec.catalog import Distribution, written_laws
from vispec.model import dims
from vispec.model import model as m
from vispec.model.laws.outside import outside_domain
from vispec.model.laws.parameters import usage
from vispec.model.names.scope import Scope
from vispec.model.problems import listed
from vispec.model.types import Dim, Type
from vispec.model.values.conform import domain_fits, is_ragged_sequence, shape_of
from vispec.model.values.ranges import range_of
from vispec.source import Span
from vispec.syntax import tree as t


@dataclass(frozen=True)
class Target:
    """What a law is for: a variable, or the weights of a net. `type` is None where it is wrong."""

    name: str
    type: Type | None
    span: Span


PARSES = {"parse": "parse[i, NT, PT]", "spans": "parse[i, L]"}
"""What parses are called whose phrases have symbols of their own, and those that have one set of labels."""


def supports_of(entry: Distribution) -> tuple[str, ...]:
    """The domains on which it is a law."""
    finite = ("category", "token", "index")
    every = (entry.support, *entry.inside, *entry.other_supports)
    return tuple(domain for support in every for domain in (finite if support == "index" else (support,)))


def _without_laws(kind: Type) -> str | None:
    """What to do where no law is on such values."""
    if kind.domain == "ordered":
        return "no law is on ordered vectors: declare steps, `latent gap : positive ~ ...`, and add them up"
    return None


def support_fits(scope: Scope, node: t.Call, entry: Distribution, target: Target, kind: Type) -> bool:
    """Whether the distribution is one on the variable's domain."""
    supports = supports_of(entry)
    given = bool(node.args or node.kwargs)
    if entry.optional:
        numbers = (entry.support, *entry.inside)
        supports = numbers if given else tuple(d for d in supports if d not in numbers or entry.support == "index")
    if kind.support in supports:
        return _rank_fits(scope, node, entry, target, kind)
    if entry.optional and kind.domain == entry.support:
        message = f"`{entry.name}` on `{kind}` needs {listed(entry.params)}"
        scope.problems.add("V406", node.span, message, f"missing {listed(entry.params)}", help=f"write `{usage(entry)}`")
        return False
    fitting = [d.name for d in written_laws().values() if kind.support in supports_of(d) and d.event_dim <= len(kind.shape)]
    message = f"`{entry.name}` is a law on {listed(supports, 'or')}, and `{target.name}` is `{kind}`"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = f"laws on `{kind.support}` are {listed(fitting)}{sure(kind)}" if fitting else _without_laws(kind)
    if supports == ("labels",) and kind.domain in ("category", "token"):
        help = f"it is one law for all of a plate: declare `{target.name} : labels[i, {kind.card}]` outside of plate `i`"
    if kind.domain == "segments":
        help = "leave this line out: stretches are summed out exactly"
    if kind.domain == "parse" and supports in (("parse",), ("spans",)):
        message = f"`{entry.name}` is a law on `{PARSES[supports[0]]}`, and `{target.name}` is `{kind}`"
        help = f"the law on `{PARSES[kind.support]}` is `{', '.join(fitting)}`"
    scope.problems.add("V410", node.function.span, message, "another support", cause=cause, help=help)
    return False


def sure(kind: Type) -> str:
    """How a law is written under which a label has one value for certain, or that is on one alone, as the rest of a help."""
    if kind.domain == "bit":
        return "; `Bernoulli(0)` is 0 for sure"
    if kind.along is not None:
        return f"; labels that have a law each are declared inside `{kind.along}`, as `{replace(kind, along=None)}`"
    return "; `Exactly(v)` is v for sure" if kind.domain in ("category", "token", "index") else ""


def _rank_fits(scope: Scope, node: t.Call, entry: Distribution, target: Target, kind: Type) -> bool:
    if len(kind.shape) >= entry.event_dim or kind.domain == "tree":
        return True
    what = {1: "vectors", 2: "matrices"}.get(entry.event_dim, f"arrays of {entry.event_dim} dimensions")
    message = f"`{entry.name}` is a law on {what}, and `{target.name}` is a single number"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = f"declare it as `{kind.domain}[D]`, or use a law on single numbers"
    scope.problems.add("V414", node.function.span, message, "more dimensions", cause=cause, help=help)
    return False


def parameter_fits(scope: Scope, entry: Distribution, target: Target, name: str, value: m.Expression) -> bool:
    """Whether a parameter is in its domain, and of the shape that the variable asks for."""
    if is_ragged_sequence(scope, value) and entry.support not in ("tree", "labels", "spans"):
        message = f"`{name}` of `{entry.name}` is one element, and this is a whole sequence"
        help = "read one element, or reduce the sequence with a net or `mean(...)`"
        scope.problems.add("V314", value.span, message, "a sequence", help=help)
        return False
    if not domain_fits(scope, value, entry.params[name]):
        outside_domain(scope, entry, name, value)
        return False
    return target.type is None or _shape_fits(scope, entry, target, target.type, name, value)


def _shape_fits(scope: Scope, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression) -> bool:
    """The parameter's own dimensions, then those along which the draws are independent, against the variable's shape."""
    if entry.support == "tree":
        return _along_tree(scope, entry, target, kind, name, value)
    if entry.support == "parse":
        return _of_grammar(scope, entry, target, kind, name, value)
    if entry.support == "spans":
        return _of_spans(scope, entry, target, kind, name, value)
    if entry.support == "labels":
        return _of_labels(scope, entry, target, kind, name, value)
    rank = entry.param_event_dim.get(name, entry.event_dim)
    shape = shape_of(scope, value)
    lead = kind.shape[: len(kind.shape) - entry.event_dim]
    event = kind.shape[len(kind.shape) - entry.event_dim :]
    if not shape and rank <= entry.event_dim and entry.params[name] not in ("simplex", "cholesky", "ordered"):
        return True
    if entry.params[name] == "simplex" and entry.support == "index" and len(shape) >= 1:
        if not scope.same(shape[-1], scope.card(kind)):
            _other_card(scope, entry, target, kind, name, value, shape[-1])
            return False
        expected = (shape[-1],)
    else:
        expected = _own_shape(entry, name, event, shape, rank)
    if scope.same_shape(shape, (*lead, *expected)) or scope.same_shape(shape, expected):
        return True
    wanted = [f"({', '.join(scope.shown(d) for d in s)})" for s in dict.fromkeys(((*lead, *expected), expected)) if s]
    has = f"({', '.join(scope.shown(d) for d in shape)})" if shape else "a single number"
    message = f"`{name}` of `{entry.name}` has shape {has}; for `{kind}` it must be {' or '.join(wanted) or 'a single number'}"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = "use the same sizes in both types"
    if shape and not any(s for s in ((*lead, *expected), expected)):
        help = "the sum of products of two vectors is `dot(w, x)`; of one, `sum(x)`; an element of it, `x[0]`"
    scope.problems.add("V409", value.span, message, f"`{value.type}`", cause=cause, help=help)
    return False


def _along_tree(scope: Scope, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression) -> bool:
    """Whether a parameter of a law on trees is a sequence over the elements of the tree, of numbers or of vectors; or what the
    elements decide, (2, 2) of each or of all."""
    if entry.decisions is not None:
        return _decided(scope, entry, target, kind, name, value)
    rank = entry.param_event_dim.get(name, entry.event_dim) - 1
    if value.type.star and value.type.over == kind.plate:
        if len(value.type.shape) == rank:
            return True
        message = f"`{name}` of `{entry.name}` is a sequence of {('numbers', 'vectors')[rank]}, and this is `{value.type}`"
        cause = (target.span, f"`{target.name} : {kind}`")
        help = f"declare it as `{'real[H]*' if rank else 'real*'}`"
        scope.problems.add("V409", value.span, message, f"not {('a number', 'a vector')[rank]} each", cause=cause, help=help)
        return False
    message = f"`{name}` of `{entry.name}` is a sequence along `{kind.plate}`, and this is `{value.type}`"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = f"compute it from a whole sequence in `{kind.plate}`, by a net with a starred head"
    scope.problems.add("V409", value.span, message, f"not along `{kind.plate}`", cause=cause, help=help)
    return False


def _decided(scope: Scope, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression) -> bool:
    """Whether a parameter is a probability by side and by whether the decision is the first there."""
    along = not value.type.star or value.type.over == kind.plate
    if along and scope.same_shape(value.type.shape, (2, 2)):
        return True
    message = f"`{name}` of `{entry.name}` is `unit[2, 2]`, of each element of `{kind.plate}` or one for all, and this is "
    message += f"`{value.type}`" + ("" if along else f" along `{value.type.over}`")
    cause = (target.span, f"`{target.name} : {kind}`")
    help = (
        "its rows are the sides, before an element and after it, its columns a later decision there and the first; by a word "
    )
    help += f"it is looked up: `{name}[x[*]]` of `plate w[V]: param {name} : unit[2, 2]`"
    scope.problems.add("V409", value.span, message, "not `unit[2, 2]`", cause=cause, help=help)
    return False


def _of_grammar(scope: Scope, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression) -> bool:
    """Whether a parameter has a law on symbols, or for each symbol a score of each two children."""
    assert kind.symbols is not None
    children: Dim = f"{kind.symbols} + {kind.card}"
    if isinstance(kind.symbols, int) and isinstance(kind.card, int):
        children = kind.symbols + kind.card
    wanted = (kind.symbols, *(children for _ in range(entry.param_event_dim[name] - 1)))
    if scope.same_shape(shape_of(scope, value), wanted):
        return True
    shown = f"{'real' if len(wanted) > 1 else 'simplex'}[{', '.join(map(str, wanted))}]"
    message = f"`{name}` of `{entry.name}` for `{kind}` is `{shown}`, and this is `{value.type}`"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = "a parent is one of the symbols, a child one of the symbols or, after them, of the preterminals"
    scope.problems.add("V409", value.span, message, f"not `{shown}`", cause=cause, help=help)
    return False


def _of_spans(scope: Scope, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression) -> bool:
    """Whether a parameter has a vector of each label for each element."""
    assert kind.card is not None
    along = value.type.star and value.type.over == kind.plate
    if along and len(value.type.shape) == 2 and scope.same(value.type.shape[0], kind.card):
        return True
    shown = f"real[{kind.card}, H]*"
    message = f"`{name}` of `{entry.name}` for `{kind}` is `{shown}` along `{kind.plate}`, and this is `{value.type}`"
    if value.type.star and not along:
        message += f" along `{value.type.over}`"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = (
        f"compute it by a net with starred heads, `-> (first: {shown}, last: {shown})`: for each element a vector of each label"
    )
    scope.problems.add("V409", value.span, message, f"not `{shown}`", cause=cause, help=help)
    return False


def _of_labels(scope: Scope, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression) -> bool:
    """Whether a parameter has a score of each label for each element, or one of each label after each other."""
    each = name in entry.elements
    assert kind.card is not None
    wanted = (kind.card,) * (entry.param_event_dim[name] - each)
    along = value.type.over == kind.along if value.type.star else not each
    if along and value.type.star == each and scope.same_shape(value.type.shape, wanted):
        return True
    shown = f"real[{', '.join(map(str, wanted))}]{'*' if each else ''}"
    over = f" along `{kind.along}`" if each else ""
    message = f"`{name}` of `{entry.name}` for `{kind}` is `{shown}`{over}, and this is `{value.type}`"
    if value.type.star and value.type.over != kind.along:
        message += f" along `{value.type.over}`"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = f"declare it as `param {name} : {shown}`: a row for each label before, a column for each after it"
    if each:
        help = f"a net with a starred head, `-> {shown}`, has a score of each label for each element of `{kind.along}`"
    scope.problems.add("V409", value.span, message, f"not `{shown}`", cause=cause, help=help)
    return False


def ends_fit(scope: Scope, entry: Distribution, target: Target, values: Mapping[str, m.Expression]) -> bool:
    """Whether the ends of a law lie in the variable's domain, where it is a law on that domain only then."""
    domain = target.type.domain if target.type else None
    if domain not in entry.inside:
        return True
    low, high = (values[end] if isinstance(end, str) and end in values else None for end in entry.bounds)
    wrong = "below 0" if low is not None and not range_of(scope, low).never_negative else ""
    if not wrong and domain == "unit" and high is not None and not range_of(scope, high).in_unit:
        low, wrong = high, "above 1"
    if not wrong or low is None:
        return not wrong
    name = next(name for name, value in values.items() if value is low)
    message = f"`{entry.name}` on `{domain}` needs ends in that domain, and `{name}` may be {wrong}"
    cause = (target.span, f"`{target.name} : {target.type}`")
    help = "write numbers as its ends, or parameters and latents of that type"
    scope.problems.add("V408", low.span, message, f"may be {wrong}", cause=cause, help=help)
    return False


def arcs_fit(scope: Scope, entry: Distribution, values: Mapping[str, m.Expression]) -> bool:
    """Whether the vectors of a law on trees, whose inner products score its parts, are of one length."""
    (first, one), (second, other) = ((name, value) for name, value in values.items() if value.type.shape)
    if not scope.same_shape(one.type.shape, other.type.shape):
        message = f"`{first}` and `{second}` of `{entry.name}` are multiplied, and their vectors differ in length"
        cause, help = (one.span, f"`{one.type}`"), "use the same size in both"
        scope.problems.add("V409", other.span, message, f"`{other.type}`", cause=cause, help=help)
        return False
    return True


def _own_shape(entry: Distribution, name: str, event: tuple[Dim, ...], shape: tuple[Dim, ...], rank: int) -> tuple[Dim, ...]:
    """The dimensions that a parameter has of its own for one draw of this event shape."""
    delta = entry.size_delta.get(name, 0)
    if rank == 0:
        return ()
    longer = (*event, *event) if event else shape
    own = longer[-rank:] if rank > len(event) else event[len(event) - rank :]
    return (*own[:-1], dims.add(own[-1], delta)) if delta and own else own


def _other_card(
    scope: Scope, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression, size: Dim
) -> None:
    ragged = kind.domain == "index" and kind.card is None
    takes = f"as many as `{kind.plate}` has elements" if ragged else scope.shown(scope.card(kind))
    message = f"`{entry.name}` here is over {scope.shown(size)} values, and `{target.name}` takes {takes}"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = "use the same size in both"
    if ragged:
        help = f"its size differs from row to row: write `softmax(... for {kind.plate})`, or `Uniform()`"
    scope.problems.add("V413", value.span, message, f"{scope.shown(size)} probabilities", cause=cause, help=help)
