"""Laws: a distribution for a variable, a choice between laws, or the laws of a chain's first elements."""

from collections.abc import Sequence

from vispec.catalog import Distribution, written_laws
from vispec.model import model as m
from vispec.model.blocks.flows import FLOW, is_flow
from vispec.model.laws.elsewhere import meant
from vispec.model.laws.modified import (
    Around,
    bounds_fit,
    has_tails,
    is_exactly,
    is_modified,
    resolve_exactly,
    resolve_modified,
)
from vispec.model.laws.options import take_options
from vispec.model.laws.parameters import bind_parameters, has_heads, usage
from vispec.model.laws.support import Target, arcs_fit, ends_fit, parameter_fits, support_fits, supports_of
from vispec.model.names.scope import Context, Scope
from vispec.model.problems import did_you_mean, listed
from vispec.model.values.applying import condition
from vispec.model.values.functions import FUNCTIONS
from vispec.model.values.resolve import resolve
from vispec.syntax import tree as t


def resolve_law(scope: Scope, context: Context, node: t.Expr, target: Target, around: Around | None = None) -> m.Law | None:
    """The law of a variable; None where something in it is reported. around: what each distribution in it stands inside."""
    match node:
        case t.Call() if is_modified(scope, node):
            return resolve_modified(
                scope, context, node, around, lambda law, inner: resolve_law(scope, context, law, target, inner)
            )
        case t.Call() if is_exactly(scope, node) and around is None:
            return resolve_exactly(scope, context, node, target)
        case t.Then(laws=laws):
            return _then(scope, context, node, laws, target, around)
        case t.IfElse():
            test = resolve(scope, context, node.test)
            then, otherwise = (resolve_law(scope, context, law, target, around) for law in (node.then, node.otherwise))
            if test is None or then is None or otherwise is None or not condition(scope, test):
                return None
            return m.Choice(node.span, test, then, otherwise)
        case t.Call() if node.function.id in written_laws() and node.function.id not in scope.nets:
            return _draw(scope, context, node, written_laws()[node.function.id], target, around)
    _not_a_law(scope, context, node, target)
    return None


def _then(
    scope: Scope, context: Context, node: t.Then, laws: Sequence[t.Expr], target: Target, around: Around | None
) -> m.Law | None:
    if not any(scope.plates[plate].kind == "chain" for plate in context.open):
        plate = scope.plates[context.open[-1]] if context.open else None
        cause = (plate.span, "a plate, not a chain") if plate else None
        help = f"write `chain {plate.name}:` here" if plate and not plate.data else "open a `chain t:` around it"
        message = "`then` gives the elements of a chain their laws in order, and no chain is open here"
        scope.problems.add("V213", node.span, message, "no first element", cause=cause, help=help)
        for law in laws:
            resolve_law(scope, context.after(-1), law, target, around)
        return None
    resolved = [resolve_law(scope, context.after(number), law, target, around) for number, law in enumerate(laws)]
    good = tuple(law for law in resolved if law is not None)
    return m.Then(node.span, good) if len(good) == len(laws) else None


FINITE = ("bit", "category", "token", "index")
COMMON = frozenset({"Normal", "Gamma", "Beta", "Poisson", "Bernoulli", "Categorical"})  # laws that one tries first


def _not_a_law(scope: Scope, context: Context, node: t.Expr, target: Target) -> None:
    known = written_laws()
    if is_flow(scope, node):
        message = f"`{FLOW}` is a law of guides, for a whole line: its density is known at its own draws alone"
        scope.problems.add("V403", node.span, message, "not a law here", help="write one of the distributions")
        return
    if isinstance(node, t.Call):
        name = node.function.id
        if name not in scope.nets and name not in FUNCTIONS and name not in scope.symbols:
            help = meant(name, {d.name: usage(d) for d in known.values()})
            help = help or did_you_mean(name, known, f"the distributions are {listed(known)}")
            scope.problems.add(
                "V403", node.function.span, f"there is no distribution `{name}`", "not a distribution", help=help
            )
            for argument in node.args:
                if not has_heads(scope, argument):
                    resolve(scope, context, argument)
            return
    elif isinstance(node, t.Name) and node.id in known:
        message = f"`{node.id}` is a distribution without its parameters"
        scope.problems.add("V404", node.span, message, "not applied", help=f"write `{usage(known[node.id])}`")
        return
    if has_heads(scope, node) or resolve(scope, context, node) is not None:
        support = target.type.domain if target.type else "real"
        fitting = [d for d in known.values() if support in supports_of(d) and d.params]
        fitting = sorted(fitting or known.values(), key=lambda d: (d.event_dim, d.name not in COMMON))
        example = usage(fitting[0])
        if isinstance(node, t.Call) and has_heads(scope, node):
            heads = {name for name, _ in scope.nets[node.function.id].heads}
            matching = next((d.name for d in fitting if set(d.params) == heads), fitting[0].name)
            example = f"{matching}({node.function.id}(...))"
        message = "a law is a distribution, and this is a value"
        sure = ", `Exactly(...)` for what is that value for sure" if support in FINITE else ""
        help = f"write `{example}`{sure}, or `let` for a value that is not random"
        scope.problems.add("V404", node.span, message, "a value", help=help)


def _draw(
    scope: Scope, context: Context, node: t.Call, entry: Distribution, target: Target, around: Around | None
) -> m.Draw | None:
    """One distribution; its parameters are checked even where the variable's type, or another parameter, is wrong."""
    node, options = take_options(scope, node, entry, target.type)
    found = bind_parameters(scope, context, node, entry)
    whole, args = entry, found.values
    if around is not None:
        if not has_tails(scope, node, entry, around):
            return None
        whole, args = around.entry(entry), (*args, *around.args)
    if target.type is not None and not support_fits(scope, node, whole, target, target.type):
        return None
    good = [parameter_fits(scope, entry, target, name, value) for name, value in found.values]
    if all(good) and found.complete:
        good.append(bounds_fit(scope, whole, target, around) if around else ends_fit(scope, entry, target, dict(args)))
    if (
        entry.support in ("tree", "spans")
        and entry.decisions is None
        and all(good)
        and found.complete
        and target.type is not None
    ):
        good.append(arcs_fit(scope, entry, dict(args)))
    if not all(good) or not found.complete or target.type is None or options is None:
        return None
    return m.Draw(node.span, whole.name, args, options)
