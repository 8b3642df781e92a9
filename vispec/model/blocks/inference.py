"""`infer:`: the estimators of the language with their settings, and which variables each is for."""

from collections.abc import Mapping, Sequence

from vispec.estimators import estimators
from vispec.estimators.entry import EstimatorKind
from vispec.model import model as m
from vispec.model.names.scope import Scope, Symbol
from vispec.model.problems import did_you_mean, head, listed
from vispec.model.types import FINITE_DOMAINS, WHOLE_DOMAINS, Type
from vispec.model.values.literals import is_number, is_whole, literal
from vispec.syntax import tree as t

PATHWISE = frozenset(
    {"pathwise", "stl", "dreg"}
)  # gradients that go through the sample, so it must be a smooth function of noise


def read_infer(
    scope: Scope, entries: Sequence[t.InferLaw], guided: frozenset[str], priors: frozenset[str]
) -> tuple[m.Infer, ...]:
    """What is asked for each latent. guided: variables with a guide; priors: nets whose weights have a law, latent too."""
    found: dict[str, m.Infer | None] = {}
    spans = {}
    for entry in entries:
        name = entry.name.id
        symbol = _latent(scope, entry, priors)
        if name in found:
            cause = (spans[name], "the first one")
            message = f"`{name}` has two estimators"
            scope.problems.add("V611", entry.name.span, message, "the second one", cause=cause, help="leave one of them out")
            continue
        found[name], spans[name] = _read(scope, entry, symbol, name in guided), entry.name.span
    return tuple(infer for infer in found.values() if infer is not None)


def points_of(found: Sequence[m.Infer]) -> frozenset[str]:
    """The latents that are point estimates."""
    ways = {infer.name: estimators()[infer.estimator.name].way for infer in found}
    return frozenset(name for name, way in ways.items() if way is not None and way({}, False).point)


def _latent(scope: Scope, entry: t.InferLaw, priors: frozenset[str]) -> Symbol | None:
    name = entry.name.id
    symbol = scope.symbols.get(name)
    latents = [
        s.name for s in scope.symbols.values() if isinstance(s.node, t.Variable) and s.node.role in ("latent", "partial")
    ]
    if name in scope.poisoned or name in latents or name in priors:
        return symbol
    if symbol is None:
        help = did_you_mean(name, [*latents, *priors], "an estimator is for a latent or partial variable")
        scope.problems.add("V101", entry.name.span, f"nothing is called `{name}`", "not declared", help=help)
    else:
        message = f"`{name}` is {symbol.a}; an estimator is for a latent or partial one"
        cause = (symbol.span, "declared here")
        scope.problems.add("V604", entry.name.span, message, "nothing to estimate", cause=cause, help="leave this line out")
    return None


def _read(scope: Scope, entry: t.InferLaw, symbol: Symbol | None, guided: bool) -> m.Infer | None:
    estimator = _estimator(scope, entry.estimator, symbol, guided)
    otherwise = None if entry.otherwise is None else _estimator(scope, entry.otherwise, symbol, guided)
    budget = _budget(scope, entry)
    if otherwise is not None and otherwise.name == "exact" and entry.otherwise is not None:
        message = "the alternative to an exact sum is exact again"
        help = "name an estimator that samples: `score(samples=8)`"
        scope.problems.add(
            "V610", entry.otherwise.span, message, "exact again", cause=(entry.estimator.span, "tried first"), help=help
        )
    if symbol is None or estimator is None or (entry.otherwise is not None and otherwise is None):
        return None
    return m.Infer(entry.name.id, estimator, budget, otherwise, entry.span)


def _budget(scope: Scope, entry: t.InferLaw) -> int | None:
    if entry.budget is None:
        return None
    name = entry.estimator.function.id if isinstance(entry.estimator, t.Call) else entry.estimator.id
    if name != "exact" and name in estimators():
        help = "leave out `up to`, or write `exact up to ...`"
        message = f"only an exact sum has a budget of terms, not `{name}`"
        scope.problems.add(
            "V609", entry.budget.span, message, "no terms to count", cause=(entry.estimator.span, "not exact"), help=help
        )
        return None
    try:
        value = literal(entry.budget)
    except ValueError:
        value = None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if is_whole(value) and isinstance(value, int):
        return value
    help = "write a number, such as `2^16`"
    scope.problems.add("V609", entry.budget.span, "a budget is a whole number of terms, written out", "not a number", help=help)
    return None


def _estimator(scope: Scope, node: t.Call | t.Name, symbol: Symbol | None, guided: bool) -> m.Estimator | None:
    name = node.function if isinstance(node, t.Call) else node
    kind = estimators().get(name.id)
    if kind is None:
        help = did_you_mean(name.id, estimators(), f"the estimators are {listed(estimators())}")
        scope.problems.add("V605", name.span, f"there is no estimator `{name.id}`", "not an estimator", help=help)
        return None
    settings = _settings(scope, node, name.id, kind) if isinstance(node, t.Call) else ()
    if settings is None:
        return None
    if symbol is not None and not _suits(scope, node, name, kind, dict(settings), symbol, guided):
        return None
    return m.Estimator(name.id, settings, node.span)


def _settings(scope: Scope, node: t.Call, name: str, kind: EstimatorKind) -> tuple[tuple[str, m.Setting], ...] | None:
    flags = [arg for arg in node.args if isinstance(arg, t.Name) and kind.settings.get(arg.id) == "flag"]
    others = [arg for arg in node.args if arg not in flags]
    places = [key for key in kind.settings if key not in {flag.id for flag in flags}]
    pairs = [(key, value, value.span) for key, value in zip(places, others, strict=False)]
    pairs += [(flag.id, t.Name(flag.span, "true"), flag.span) for flag in flags]
    good = True
    for extra in others[len(places) :]:
        known = f"it has {listed(kind.settings)}" if kind.settings else f"write `{name}` alone"
        scope.problems.add("V606", extra.span, f"`{name}` has no such setting", "one too many", help=known)
        good = False
    for keyword in node.kwargs:
        pairs.append((keyword.name, keyword.value, head(keyword.span, keyword.name)))
    found: dict[str, m.Setting] = {}
    for key, value, span in pairs:
        if key not in kind.settings:
            known = f"it has {listed(kind.settings)}" if kind.settings else f"write `{name}` alone"
            scope.problems.add(
                "V606", span, f"`{name}` has no setting `{key}`", "not a setting", help=did_you_mean(key, kind.settings, known)
            )
            good = False
            continue
        if key in found:
            scope.problems.add("V607", span, f"`{key}` of `{name}` is given twice", "the second time", help="leave one out")
            good = False
            continue
        wrong = _wrong(kind.settings[key], value, found, key)
        if wrong is not None:
            scope.problems.add("V607", value.span, f"`{key}` of `{name}` must be {wrong}", "this value")
            good = False
    return tuple(found.items()) if good else None


def _wrong(wanted: str | tuple[str, ...], node: t.Expr | t.Comprehension, found: dict[str, m.Setting], key: str) -> str | None:
    """Take the setting's value into `found`, or say what it must be."""
    try:
        value = node.id if isinstance(node, t.Name) and node.id == "none" else literal(node)
    except ValueError:
        value = None
    found[key] = value
    if isinstance(wanted, tuple):
        return None if value in wanted else f"one of {listed(wanted, 'or')}"
    if wanted == "samples":
        return None if is_whole(value) else "a whole number of at least 1"
    if wanted == "flag":
        return None if isinstance(value, bool) else "true or false"
    return None if is_number(value) and isinstance(value, int | float) and value > 0 else "a number above 0"


def _suits(
    scope: Scope,
    node: t.Call | t.Name,
    name: t.Name,
    kind: EstimatorKind,
    settings: Mapping[str, m.Setting],
    symbol: Symbol,
    guided: bool,
) -> bool:
    """Whether the estimator can be one for this variable."""
    variable = symbol.type
    if symbol.kind == "net":
        variable = Type("real")
    if variable is None:
        return True
    cause = (symbol.span, f"`{variable}`" if symbol.kind != "net" else "weights are real")
    finite = variable.domain in FINITE_DOMAINS or (kind.variables == "exact" and variable.domain in WHOLE_DOMAINS)
    if kind.variables == "exact" and variable.domain in ("real", "unit", "positive", "simplex"):
        return True  # whether what reads it is Gaussian or in a conjugate pair with it, the plan finds out
    if kind.variables != "any" and not finite:
        what = {
            "count": "a count without an upper end",
            "tree": "a whole tree",
            "parse": "a whole parse",
            "segments": "all stretches",
        }.get(variable.domain, "continuous")
        message = f"`{name.id}` is for variables of finitely many values, and `{symbol.name}` is {what}"
        help = (
            "use `mc(samples=...)` or `score(samples=...)`"
            if variable.discrete
            else "use `elbo(samples=1)`, or leave this line out"
        )
        scope.problems.add("V608", name.span, message, f"cannot enumerate `{symbol.name}`", cause=cause, help=help)
        return False
    if variable.discrete and settings.get("gradient") in PATHWISE:
        message = f"`gradient={settings['gradient']}` goes through the sample, and `{symbol.name}` is discrete"
        scope.problems.add("V608", node.span, message, "no such gradient", cause=cause, help="write `gradient=score`")
        return False
    if kind.guide and variable.discrete and not guided:
        message = f"`{name.id}` samples from a guide, and `{symbol.name}` has none"
        help = f"write one: `guide:` with a line `{symbol.name} ~ ...`, or use `exact` or `score(samples=8)`"
        scope.problems.add("V616", name.span, message, "no guide", cause=cause, help=help)
        return False
    return True
