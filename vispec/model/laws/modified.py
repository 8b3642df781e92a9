"""Laws of a law: `Censored(Normal(mu, s), high=c)`, `Truncated(Poisson(rate), low=1)`; and `Exactly(v)`, a sure value."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from vispec.catalog import BOUNDS, Distribution, Modifier, composed, modifiers
from vispec.model import model as m
from vispec.model.laws.outside import literal_numbers
from vispec.model.laws.support import Target, ends_fit, parameter_fits
from vispec.model.names.scope import Context, Scope
from vispec.model.problems import listed
from vispec.model.values.conform import domain_fits
from vispec.model.values.ranges import COMPARISONS
from vispec.model.values.resolve import resolve
from vispec.syntax import tree as t

EXACTLY = "Exactly"
FINITE = ("bit", "category", "token", "index")


@dataclass(frozen=True)
class Around:
    """A modifier with its bounds, around the laws inside: each of these becomes the composed one."""

    node: t.Call
    modifier: Modifier
    bounds: tuple[tuple[str, m.Expression], ...]

    def entry(self, law: Distribution) -> Distribution:
        return composed(self.modifier, law, tuple(BOUNDS[word] for word, _ in self.bounds))

    @property
    def args(self) -> tuple[tuple[str, m.Expression], ...]:
        return tuple((BOUNDS[word], value) for word, value in self.bounds)


def is_modified(scope: Scope, node: t.Expr) -> bool:
    return isinstance(node, t.Call) and node.function.id in modifiers() and node.function.id not in scope.nets


def is_exactly(scope: Scope, node: t.Expr) -> bool:
    return isinstance(node, t.Call) and node.function.id == EXACTLY and EXACTLY not in scope.nets


# ---- Censored, Truncated


def resolve_modified(
    scope: Scope,
    context: Context,
    node: t.Call,
    around: Around | None,
    inside: Callable[[t.Expr, Around], m.Law | None],
) -> m.Law | None:
    """The law; None where something in it is reported. inside: resolves the law inside."""
    name = node.function.id
    usage = f"`{name}({'Normal(mu, s)' if not node.args else '...'}, low=..., high=...)`"
    given: dict[str, m.Expression | None] = {}
    good = True
    places = [(word, argument, argument.span) for word, argument in zip(BOUNDS, node.args[1:], strict=False)]
    places += [(each.name, each.value, each.span) for each in node.kwargs]
    for word, argument, span in places:
        if word not in BOUNDS or word in given:
            told = ("is given twice", "V407", "the second time") if word in given else ("is no bound", "V405", "not a bound")
            scope.problems.add(told[1], span, f"`{word}` of `{name}` {told[0]}", told[2], help=f"write {usage}")
            good = False
        else:
            given[word] = resolve(scope, context, argument)
    if len(node.args) > 1 + len(BOUNDS):
        extra = node.args[1 + len(BOUNDS)]
        scope.problems.add("V405", extra.span, f"`{name}` takes a law and two bounds", "too many", help=f"write {usage}")
        good = False
    if not node.args or not places:
        missing = "a law" if not node.args else "`low`, `high` or both"
        scope.problems.add("V406", node.span, f"`{name}` needs {missing}", f"without {missing}", help=f"write {usage}")
        return None
    if around is not None:
        message = f"`{name}` stands inside `{around.modifier.name}`, and a law of a law is not the law of a third"
        scope.problems.add("V415", node.function.span, message, "a law of a law", help="write one of the two")
        return None
    bounds = tuple((word, value) for word in BOUNDS if (value := given.get(word)) is not None)
    law = inside(node.args[0], Around(node, modifiers()[name], bounds))
    return law if good and len(bounds) == len(given) else None


def has_tails(scope: Scope, node: t.Call, entry: Distribution, around: Around) -> bool:
    """Whether the law inside has a distribution function, which its bounds are told by."""
    if entry.log_cdf is not None and entry.log_survival is not None and (node.args or node.kwargs or not entry.optional):
        return True
    name = around.modifier.name
    why = (
        "is a law on vectors"
        if entry.event_dim
        else "is a law on labels, which have no order"
        if entry.support in ("index", "tree") or entry.optional
        else "has no distribution function here"
    )
    message = f"`{entry.name}` {why}, so it cannot be {name.lower()}"
    scope.problems.add("V415", node.function.span, message, f"not in `{name}`", help="use a law on single numbers")
    return False


def bounds_fit(scope: Scope, entry: Distribution, target: Target, around: Around) -> bool:
    """Whether the bounds are numbers of the right shape and order, and within the domain where the law is one only then."""
    told = replace(entry, name=around.modifier.name, params=dict.fromkeys(BOUNDS, "real"), bounds=tuple(BOUNDS))
    if not all([parameter_fits(scope, told, target, word, value) for word, value in around.bounds]):
        return False
    values = dict(around.bounds)
    if around.modifier.ends and not ends_fit(scope, told, target, values):
        return False
    if len(values) < len(BOUNDS):
        return True
    low, high = (_literals(values[word]) for word in BOUNDS)
    whole = entry.support in ("count", "bit")
    if low and high and (min(low) > max(high) or (min(low) == max(high) and not (whole and around.modifier.ends))):
        message = f"`low` of `{around.modifier.name}` is {min(low)} and `high` is {max(high)}: nothing lies between them"
        cause = (values["low"].span, "the lower one")
        scope.problems.add("V416", values["high"].span, message, "not above `low`", cause=cause, help="exchange the bounds")
        return False
    return True


def _literals(value: m.Expression) -> tuple[int | float, ...]:
    """The numbers of a bound that is written out; none where it is anything else."""
    match value:
        case m.Const(value=number):
            return (number,)
        case m.Apply(function="neg", args=(m.Const(value=number),)):
            return (-number,)
    return literal_numbers(value)


# ---- Exactly


def resolve_exactly(scope: Scope, context: Context, node: t.Call, target: Target) -> m.Draw | None:
    """A bit that is 1 with probability v, or a label with all probability at v."""
    values = [resolve(scope, context, argument) for argument in (*node.args, *(each.value for each in node.kwargs))]
    if len(node.args) != 1 or node.kwargs:
        code = "V405" if values else "V406"
        scope.problems.add(code, node.span, f"`{EXACTLY}` takes one value", "not one value", help=f"write `{EXACTLY}(v)`")
        return None
    (value,), kind = values, target.type
    if value is None or kind is None:
        return None
    if kind.domain not in FINITE:
        message = f"`{EXACTLY}` is a law on {listed(FINITE, 'or')}, and `{target.name}` is `{kind}`"
        cause = (target.span, f"`{target.name} : {kind}`")
        help = f"write `let {target.name} = ...`: a number that is sure is not random"
        scope.problems.add("V410", node.function.span, message, "another support", cause=cause, help=help)
        return None
    card = scope.card(kind)
    domain = "category" if isinstance(value, m.Const) and kind.domain == "index" else kind.domain  # a number of an element
    if not domain_fits(scope, value, domain, card) or value.type.star:
        message = f"`{target.name}` is `{kind}`, and this is `{value.type}`, which may be something else"
        cause = (target.span, f"`{target.name} : {kind}`")
        scope.problems.add("V408", value.span, message, f"not `{kind}`", cause=cause, help="write a value of that type")
        return None
    if kind.domain == "bit":
        entry, name, sure = "Bernoulli", "probs", _number(value)
        if value.type.shape and not scope.same_shape(value.type.shape, kind.shape):
            message = f"`{target.name}` is `{kind}`, and this is `{value.type}`"
            scope.problems.add("V409", value.span, message, "another shape", help="use the same sizes in both types")
            return None
        return m.Draw(node.span, entry, ((name, sure),))
    if card is None or kind.shape:
        message = f"`{EXACTLY}` is for one label of a number of values that is known, and `{target.name}` is `{kind}`"
        cause = (target.span, f"`{target.name} : {kind}`")
        help = "read the other variable itself in place of this one"
        scope.problems.add("V413", node.function.span, message, "not one of so many", cause=cause, help=help)
        return None
    simplex = m.Apply(value.span, m.Type("simplex", (card,)), "one_hot", (value,))
    return m.Draw(node.span, "Categorical", (("probs", simplex),))


def _number(value: m.Expression) -> m.Expression:
    """A truth value as the numbers 0 and 1."""
    if isinstance(value, m.Apply) and value.function in COMPARISONS | {"and", "or", "not"}:
        one, zero = (m.Const(value.span, m.Type("bit", card=2), number) for number in (1, 0))
        return m.Conditional(value.span, m.Type("bit", value.type.shape, card=2), value, one, zero)
    return value
