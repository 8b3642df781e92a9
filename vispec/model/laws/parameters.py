"""The parameters of a distribution: by position, by name, or the heads of one net."""

from dataclasses import dataclass

from vispec.catalog import Distribution
from vispec.model import model as m
from vispec.model.names.names import find_net
from vispec.model.names.scope import Context, Scope, Signature
from vispec.model.nets.nets import Arguments, apply_head
from vispec.model.problems import did_you_mean, listed
from vispec.model.values.resolve import resolve, resolve_arguments
from vispec.source import Span
from vispec.syntax import tree as t


def usage(entry: Distribution) -> str:
    """`Normal(loc, scale)`."""
    return f"{entry.name}({', '.join(entry.params)})"


def has_heads(scope: Scope, node: t.Expr | t.Comprehension) -> bool:
    """Whether this is the call of a net with several heads."""
    return isinstance(node, t.Call) and node.function.id in scope.nets and len(scope.nets[node.function.id].heads) > 1


@dataclass(frozen=True)
class Parameters:
    """Those that could be resolved, in the order of the entry; complete if nothing is missing or wrong."""

    values: tuple[tuple[str, m.Expression], ...]
    complete: bool


def bind_parameters(scope: Scope, context: Context, node: t.Call, entry: Distribution) -> Parameters:
    """The parameters of a distribution from its arguments; what is wrong with them is reported."""
    if len(node.args) == 1 and not node.kwargs and has_heads(scope, node.args[0]):
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
            help = _from_logits(entry, keyword.name) or did_you_mean(keyword.name, names, f"write `{usage(entry)}`")
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
        scope.problems.add("V406", node.span, message, f"missing {listed(missing)}", help=f"write `{usage(entry)}`")
        good = False
    resolved = ((name, bound.get(name)) for name in names)
    values = tuple((name, value) for name, value in resolved if value is not None)
    return Parameters(values, good and len(values) == len(bound))


def _from_logits(entry: Distribution, name: str) -> str | None:
    """What stands for torch's other parametrisation."""
    if name != "logits" or "probs" not in entry.params:
        return None
    link = "softmax" if entry.params["probs"] == "simplex" else "sigmoid"
    return f"write `{usage(entry).replace('probs', f'{link}(...)')}`"


def _count(number: int) -> str:
    return "no parameters" if number == 0 else "1 parameter" if number == 1 else f"{number} parameters"


def _unexpected(scope: Scope, span: Span, entry: Distribution, message: str, label: str) -> None:
    scope.problems.add("V405", span, message, label, help=f"write `{usage(entry)}`")


def _from_heads(scope: Scope, context: Context, node: t.Expr | t.Comprehension, entry: Distribution) -> Parameters:
    """Parameters that are the heads of one net, matched by name."""
    assert isinstance(node, t.Call)
    net = find_net(scope, node)
    args = None if net is None else resolve_arguments(scope, context, node, net)
    if net is None or not _heads_match(scope, node, net, entry) or args is None:
        return Parameters((), False)
    values = _head_values(scope, context, node.span, net, args, entry)
    return Parameters(values, len(values) == len(entry.params))


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
