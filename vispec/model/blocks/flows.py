"""`z ~ Flow(encode(x), layers=2, hidden=64)` in `guide:`: a Normal draw carried through inverse autoregressive layers.

A law of guides alone: its density is known at its own draws, and nowhere else."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vispec.catalog import Distribution, distributions
from vispec.model import model as m
from vispec.model.laws.parameters import bind_parameters, has_heads
from vispec.model.laws.support import Target, parameter_fits, support_fits
from vispec.model.names.scope import Context, Scope
from vispec.model.problems import head
from vispec.model.values.conform import domain_fits
from vispec.model.values.literals import is_whole, literal
from vispec.syntax import tree as t

FLOW = "Flow"
SETTINGS: Mapping[str, int] = {"layers": 2, "hidden": 64}
"""Whole numbers from 1, with their defaults."""
CONTEXT = "context"


def is_flow(scope: Scope, node: t.Expr) -> bool:
    """Whether this is `Flow(...)`, and no net of that name."""
    return isinstance(node, t.Call) and node.function.id == FLOW and FLOW not in scope.nets


def resolve_flow(scope: Scope, context: Context, node: t.Call, target: Target) -> m.Flow | None:
    """The law; None where something in it is reported."""
    settings = dict(SETTINGS)
    told = [each for each in node.kwargs if each.name in SETTINGS]
    good = [_setting(scope, each, settings) for each in told] + [_once(scope, told)]
    parameters = replace(node, kwargs=tuple(each for each in node.kwargs if each.name not in SETTINGS))
    entry = _entry(scope, parameters)
    found = bind_parameters(scope, context, parameters, entry)
    if target.type is None or not support_fits(scope, parameters, entry, target, target.type):
        return None
    if len(target.type.shape) > 1:
        message = f"`{FLOW}` is a law on vectors, and `{target.name}` is `{target.type}`"
        cause = (target.span, f"`{target.name} : {target.type}`")
        help = "declare it as `real[D]`, or use a law on single numbers"
        scope.problems.add("V410", node.function.span, message, "more dimensions", cause=cause, help=help)
        return None
    values = dict(found.values)
    vector = values.pop(CONTEXT, None)
    good += [parameter_fits(scope, replace(entry, event_dim=0), target, name, value) for name, value in values.items()]
    good.append(vector is None or _is_vector(scope, vector))
    if not all(good) or not found.complete:
        return None
    return m.Flow(node.span, m.Draw(node.span, "Normal", tuple(values.items())), vector, tuple(settings.items()))


def _entry(scope: Scope, node: t.Call) -> Distribution:
    """Its parameters: those of a Normal, and a context where there is one; on vectors."""
    params = dict(distributions()["Normal"].params)
    call = node.args[0] if len(node.args) == 1 and not node.kwargs else None
    if isinstance(call, t.Call) and has_heads(scope, call):
        told = any(name == CONTEXT for name, _ in scope.nets[call.function.id].heads)
    else:
        told = len(node.args) > len(params) or any(each.name == CONTEXT for each in node.kwargs)
    return Distribution(FLOW, params | ({CONTEXT: "real"} if told else {}), support="real", event_dim=1)


def _is_vector(scope: Scope, value: m.Expression) -> bool:
    if domain_fits(scope, value, "real") and len(value.type.shape) == 1 and not value.type.star:
        return True
    message = f"`{CONTEXT}` of `{FLOW}` is a vector of numbers, and this is `{value.type}`"
    scope.problems.add("V409", value.span, message, "no vector", help=f"declare the head of the net as `{CONTEXT}: real[H]`")
    return False


def _once(scope: Scope, told: Sequence[t.Keyword]) -> bool:
    """Whether no setting is there twice."""
    names = [each.name for each in told]
    again = [each for place, each in enumerate(told) if each.name in names[:place]]
    for each in again:
        message = f"`{each.name}` of `{FLOW}` is given twice"
        scope.problems.add("V407", each.span, message, "the second time", help="leave one of them out")
    return not again


def _setting(scope: Scope, keyword: t.Keyword, settings: dict[str, int]) -> bool:
    """Take one setting into `settings`; False where it is wrong."""
    try:
        value = literal(keyword.value)
    except ValueError:
        value = None
    if isinstance(value, int) and is_whole(value):
        settings[keyword.name] = value
        return True
    message = f"`{keyword.name}` of `{FLOW}` must be a whole number of at least 1"
    scope.problems.add("V607", head(keyword.span, keyword.name), message, "this value")
    return False
