"""Laws: a distribution with its parameters by position, by name or from the heads of a net, checked against its variable."""

from collections.abc import Sequence
from dataclasses import dataclass

from vispec.catalog import Distribution, distributions
from vispec.model import dims
from vispec.model import model as m
from vispec.model.applying import condition
from vispec.model.conform import domain_fits, is_ragged_sequence, shape_of
from vispec.model.functions import FUNCTIONS
from vispec.model.nets import Arguments, apply_head
from vispec.model.problems import did_you_mean, listed
from vispec.model.resolve import find_net, resolve, resolve_arguments
from vispec.model.scope import Context, Scope, Signature
from vispec.model.types import Dim, Type
from vispec.source import Span
from vispec.syntax import tree as t


@dataclass(frozen=True)
class Target:
    """What a law is for: a variable (or, with no name of its own, the weights of a net). `type` is None where it is wrong."""

    name: str
    type: Type | None
    span: Span


def resolve_law(scope: Scope, context: Context, node: t.Expr, target: Target) -> m.Law | None:
    """The law of a variable; None where something in it is reported."""
    match node:
        case t.Then(laws=laws):
            return _then(scope, context, node, laws, target)
        case t.IfElse():
            test = resolve(scope, context, node.test)
            then, otherwise = (resolve_law(scope, context, law, target) for law in (node.then, node.otherwise))
            if test is None or then is None or otherwise is None or not condition(scope, test):
                return None
            return m.Choice(node.span, test, then, otherwise)
        case t.Call() if node.function.id in distributions() and node.function.id not in scope.nets:
            return _draw(scope, context, node, distributions()[node.function.id], target)
    _not_a_law(scope, context, node, target)
    return None


def _then(scope: Scope, context: Context, node: t.Then, laws: Sequence[t.Expr], target: Target) -> m.Law | None:
    if not any(scope.plates[plate].kind == "chain" for plate in context.open):
        plate = scope.plates[context.open[-1]] if context.open else None
        cause = (plate.span, "a plate, not a chain") if plate else None
        help = f"write `chain {plate.name}:` here" if plate and not plate.data else "open a `chain t:` around it"
        message = "`then` gives the elements of a chain their laws in order, and no chain is open here"
        scope.problems.add("V213", node.span, message, "no first element", cause=cause, help=help)
        for law in laws:
            resolve_law(scope, context.after(-1), law, target)
        return None
    resolved = [resolve_law(scope, context.after(number), law, target) for number, law in enumerate(laws)]
    good = tuple(law for law in resolved if law is not None)
    return m.Then(node.span, good) if len(good) == len(laws) else None


def _not_a_law(scope: Scope, context: Context, node: t.Expr, target: Target) -> None:
    known = distributions()
    if isinstance(node, t.Call):
        name = node.function.id
        if name not in scope.nets and name not in FUNCTIONS and name not in scope.symbols:
            help = did_you_mean(name, known, f"the distributions are {listed(known)}")
            scope.problems.add(
                "V403", node.function.span, f"there is no distribution `{name}`", "not a distribution", help=help
            )
            for argument in node.args:
                if not _heads(scope, argument):
                    resolve(scope, context, argument)
            return
    elif isinstance(node, t.Name) and node.id in known:
        message = f"`{node.id}` is a distribution without its parameters"
        scope.problems.add("V404", node.span, message, "not applied", help=f"write `{_usage(known[node.id])}`")
        return
    if _heads(scope, node) or resolve(scope, context, node) is not None:
        support = target.type.domain if target.type else "real"
        fitting = [d for d in known.values() if support in _supports(d) and d.params]
        example = _usage(min(fitting or known.values(), key=lambda d: d.event_dim))
        if isinstance(node, t.Call) and _heads(scope, node):
            heads = {name for name, _ in scope.nets[node.function.id].heads}
            matching = next((d.name for d in known.values() if set(d.params) == heads), "Normal")
            example = f"{matching}({node.function.id}(...))"
        message = "a law is a distribution, and this is a value"
        scope.problems.add(
            "V404", node.span, message, "a value", help=f"write `{example}`, or `let` for a value that is not random"
        )


def _heads(scope: Scope, node: t.Expr | t.Comprehension) -> bool:
    """Whether this is the call of a net with several heads."""
    return isinstance(node, t.Call) and node.function.id in scope.nets and len(scope.nets[node.function.id].heads) > 1


def _usage(entry: Distribution) -> str:
    return f"{entry.name}({', '.join(entry.params)})"


def _supports(entry: Distribution) -> tuple[str, ...]:
    finite = ("category", "token", "index")
    every = (entry.support, *entry.other_supports)
    return tuple(domain for support in every for domain in (finite if support == "index" else (support,)))


# ---- one distribution


def _draw(scope: Scope, context: Context, node: t.Call, entry: Distribution, target: Target) -> m.Draw | None:
    args = _arguments(scope, context, node, entry)
    kind = target.type
    if kind is None or not _support_fits(scope, node, entry, target, kind) or args is None:
        return None
    good = [_param_fits(scope, node, entry, target, kind, name, value) for name, value in args]
    return m.Draw(node.span, entry.name, args) if all(good) else None


def _arguments(
    scope: Scope, context: Context, node: t.Call, entry: Distribution
) -> tuple[tuple[str, m.Expression], ...] | None:
    """The parameters in the order of the entry, or None where one is wrong."""
    if len(node.args) == 1 and not node.kwargs and _heads(scope, node.args[0]):
        return _from_heads(scope, context, node.args[0], entry)
    names = list(entry.params)
    bound: dict[str, m.Expression | None] = {}
    good = True
    for place, argument in enumerate(node.args):
        value = resolve(scope, context, argument)
        if place < len(names):
            bound[names[place]] = value
        else:
            _unexpected(
                scope, argument.span, entry, f"`{entry.name}` takes {_count(len(names))}, and this is one more", "too many"
            )
            good = False
    for keyword in node.kwargs:
        value = resolve(scope, context, keyword.value)
        if keyword.name not in names:
            help = did_you_mean(keyword.name, names, f"write `{_usage(entry)}`")
            message = f"`{entry.name}` has no parameter `{keyword.name}`"
            scope.problems.add("V405", keyword.span, message, "not a parameter", help=help)
            good = False
        elif keyword.name in bound:
            message = f"`{keyword.name}` of `{entry.name}` is given twice"
            scope.problems.add("V407", keyword.span, message, "the second time", help="leave one of them out")
            good = False
        else:
            bound[keyword.name] = value
    missing = [name for name in names if name not in bound]
    if missing and good and not (set(missing) == set(names) == set(entry.optional)):
        message = f"`{entry.name}` needs {listed(missing)}"
        scope.problems.add("V406", node.span, message, f"missing {listed(missing)}", help=f"write `{_usage(entry)}`")
        good = False
    resolved = ((name, bound.get(name)) for name in names)
    values = tuple((name, value) for name, value in resolved if value is not None)
    return values if good and len(values) == len(bound) else None


def _count(number: int) -> str:
    return "no parameters" if number == 0 else "1 parameter" if number == 1 else f"{number} parameters"


def _unexpected(scope: Scope, span: Span, entry: Distribution, message: str, label: str) -> None:
    scope.problems.add("V405", span, message, label, help=f"write `{_usage(entry)}`")


def _from_heads(
    scope: Scope, context: Context, node: t.Expr | t.Comprehension, entry: Distribution
) -> tuple[tuple[str, m.Expression], ...] | None:
    """Parameters that are the heads of one net, matched by name."""
    assert isinstance(node, t.Call)
    net = find_net(scope, node)
    args = None if net is None else resolve_arguments(scope, context, node, net)
    if net is None or not _heads_match(scope, node, net, entry) or args is None:
        return None
    values = _head_values(scope, context, node.span, net, args, entry)
    return values if len(values) == len(entry.params) else None


def _head_values(
    scope: Scope, context: Context, span: Span, net: Signature, args: Arguments, entry: Distribution
) -> tuple[tuple[str, m.Expression], ...]:
    calls = ((name, apply_head(context, scope, span, net, args, name)) for name in entry.params)
    return tuple((name, call) for name, call in calls if call is not None)


def _heads_match(scope: Scope, node: t.Call, net: Signature, entry: Distribution) -> bool:
    heads = [name for name, _ in net.heads]
    missing, extra = [n for n in entry.params if n not in heads], [n for n in heads if n not in entry.params]
    cause = (net.span, f"its heads are {listed(heads)}")
    if missing:
        message = f"`{entry.name}` needs {listed(entry.params)}; net `{net.name}` has no head {listed(missing, 'or')}"
        each = ", ".join(f"{param}=..." for param in entry.params)
        help = f"call the heads {listed(entry.params)}, or name them one by one: `{entry.name}({each})`"
        scope.problems.add("V411", node.span, message, f"no {listed(missing, 'or')}", cause=cause, help=help)
    elif extra:
        message = f"`{entry.name}` does not take {listed(extra, 'or')} of net `{net.name}`"
        help = f"leave the head out, or write `{entry.name}({', '.join(f'{p}={net.name}(...).{p}' for p in entry.params)})`"
        scope.problems.add("V412", node.span, message, "a head too many", cause=cause, help=help)
    return not missing and not extra


# ---- against the variable


def _support_fits(scope: Scope, node: t.Call, entry: Distribution, target: Target, kind: Type) -> bool:
    """Whether the distribution is one on the variable's domain."""
    supports = _supports(entry)
    given = bool(node.args or node.kwargs)
    if entry.optional:
        supports = (entry.support,) if given else tuple(d for d in supports if d != entry.support or entry.support == "index")
    if kind.domain in supports:
        return _rank_fits(scope, node, entry, target, kind)
    if entry.optional and kind.domain == entry.support:
        message = f"`{entry.name}` on `{kind}` needs {listed(entry.params)}"
        scope.problems.add("V406", node.span, message, f"missing {listed(entry.params)}", help=f"write `{_usage(entry)}`")
        return False
    fitting = [d.name for d in distributions().values() if kind.domain in _supports(d) and d.event_dim <= len(kind.shape)]
    message = f"`{entry.name}` is a law on {_in_words(supports)}, and `{target.name}` is `{kind}`"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = f"laws on `{kind.domain}` are {listed(fitting)}" if fitting else None
    scope.problems.add("V410", node.function.span, message, "another support", cause=cause, help=help)
    return False


def _in_words(supports: Sequence[str]) -> str:
    return listed(supports, "or")


def _rank_fits(scope: Scope, node: t.Call, entry: Distribution, target: Target, kind: Type) -> bool:
    if len(kind.shape) >= entry.event_dim:
        return True
    what = {1: "vectors", 2: "matrices"}.get(entry.event_dim, f"arrays of {entry.event_dim} dimensions")
    message = f"`{entry.name}` is a law on {what}, and `{target.name}` is a single number"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = f"declare it as `{kind.domain}[D]`, or use a law on single numbers"
    scope.problems.add("V414", node.function.span, message, "more dimensions", cause=cause, help=help)
    return False


def _param_fits(
    scope: Scope, node: t.Call, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression
) -> bool:
    domain = entry.params[name]
    if is_ragged_sequence(scope, value) and not _takes_sequences(entry, name):
        message = f"`{name}` of `{entry.name}` is one element, and this is a whole sequence"
        help = "read one element, or reduce the sequence with a net or `mean(...)`"
        scope.problems.add("V314", value.span, message, "a sequence", help=help)
        return False
    if not domain_fits(scope, value, domain):
        functions = {"positive": "softplus", "unit": "sigmoid", "simplex": "softmax"}
        fix = f"`{functions[domain]}(...)`" if domain in functions else None
        net = f", or declare the head of the net as `{domain}`" if isinstance(value, m.NetCall) else ""
        this = value.value if isinstance(value, m.Const) else f"`{value.type}`"
        message = f"`{name}` of `{entry.name}` must be `{domain}`, and this is {this}"
        is_number = isinstance(value, m.Const)
        help = None if is_number or fix is None else f"write {fix} around it{net}"
        label = f"not `{domain}`"
        scope.problems.add("V408", value.span, message, label, help=help)
        return False
    return _shape_fits(scope, entry, target, kind, name, value)


def _takes_sequences(entry: Distribution, name: str) -> bool:
    return entry.support == "tree"


def _shape_fits(scope: Scope, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression) -> bool:
    """The parameter's own dimensions, then those along which the draws are independent, against the variable's shape."""
    if entry.support == "tree":
        return _along_tree(scope, entry, target, kind, name, value)
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
    scope.problems.add("V409", value.span, message, f"`{value.type}`", cause=cause, help="use the same sizes in both types")
    return False


def _along_tree(scope: Scope, entry: Distribution, target: Target, kind: Type, name: str, value: m.Expression) -> bool:
    """Whether a parameter of a law on trees is a sequence over the elements of the tree."""
    if value.type.star and value.type.over == kind.plate:
        return True
    message = f"`{name}` of `{entry.name}` is a sequence along `{kind.plate}`, and this is `{value.type}`"
    cause = (target.span, f"`{target.name} : {kind}`")
    help = f"compute it from a whole sequence in `{kind.plate}`, by a net with a starred head"
    scope.problems.add("V409", value.span, message, f"not along `{kind.plate}`", cause=cause, help=help)
    return False


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
