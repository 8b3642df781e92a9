"""What is asked of nets whose weights have a prior.

The weights are drawn anew for each call and each element. That leaves the mean of a sum of log-densities as it is, and of
nothing else: no density may read two draws, and no sum over the values of a latent may join densities of different ones."""

from collections.abc import Iterator, Sequence

from vispec.catalog import networks
from vispec.diagnostics import Diagnostic, Label
from vispec.model.extent import extent
from vispec.model.model import Const, Draw, Expression, Law, Model, Net, NetCall, Past, Stage, Variable
from vispec.model.types import FINITE_DOMAINS, WHOLE_DOMAINS
from vispec.model.walk import key, law_parts, walk

WEIGHTLESS = ("dropout", "standardise")
LINEAR = ("mlp", "linear", "residual", *WEIGHTLESS)  # layers that a prior may reach


def prior_problems(model: Model) -> Iterator[Diagnostic]:
    """Every reason why a prior over weights cannot be compiled (V705)."""
    for net in model.nets:
        for prior in (net.prior, *(stage.prior for stage in net.trunk)):
            if prior is not None and not is_gaussian(prior):
                message = "a prior over weights is a Normal with numbers for its location and scale"
                yield Diagnostic("V705", message, Label(prior.span, "prior"), help="write `~ Normal(0, 1)`")
        for position, stage in enumerate(net.trunk):
            yield from layer_problems(net, stage, net.trunk[position + 1 :])
        if net.random:
            yield from call_problems(net, model)


def is_gaussian(prior: Law) -> bool:
    plain = isinstance(prior, Draw) and prior.distribution == "Normal"
    return plain and all(isinstance(part, Const) for part in law_parts(prior))


# ---- layers


def layer_problems(net: Net, stage: Stage, rest: Sequence[Stage]) -> Iterator[Diagnostic]:
    """A layer with a prior is linear, and no later one reads several elements of what it gives."""
    prior = stage.prior or net.prior
    if prior is None:
        return
    of_prior = Label(prior.span, "prior")
    mixing = next((each for each in rest if networks()[each.layer].sequence != "element"), None)
    if stage.layer not in LINEAR:
        message = f"layer `{stage.layer}` has weights that this version gives no prior"
        help_ = "give priors to mlp, linear and residual layers alone, each its own: `(mlp([50]) ~ Normal(0, 1))`"
        yield Diagnostic("V705", message, Label(stage.span), (of_prior,), help_)
    elif stage.layer in WEIGHTLESS:
        if stage.prior is not None:
            yield Diagnostic("V705", f"layer `{stage.layer}` has no weights", of_prior, help="leave its prior out")
    elif mixing is not None:
        message = f"`{mixing.layer}` reads several elements, and the weights of `{stage.layer}` are drawn anew for each"
        help_ = f"give priors to layers after `{mixing.layer}`"
        yield Diagnostic("V705", message, Label(stage.span, "random weights"), (of_prior,), help_)


# ---- calls


def call_problems(net: Net, model: Model) -> Iterator[Diagnostic]:
    """Each density reads one value of the net, and no latent that is summed out reads several such densities."""
    summed = frozenset(v.name for v in model.variables if is_summed(v, model))
    for variable in model.variables:
        calls = [e for e in read_by(variable, model) if isinstance(e, NetCall) and e.net == net.name]
        if not calls:
            continue
        axes = frozenset[str]().union(*(call_axes(call, model, summed) for call in calls))
        if len({key(call.args) for call in calls}) > 1 or axes - set(variable.plates):
            message = f"the law of `{variable.name}` reads several values of `{net.name}`, each with weights drawn anew"
            which = sorted(axes & summed)
            help_ = f"let one call of `{net.name}` give them all"
            help_ += f", for each value of `{which[0]}` one, or give `{which[0]}` a guide" if which else ""
            yield Diagnostic("V705", message, Label(calls[-1].span, "several values"), help=help_)
        elif coupling := next((c for c in joined(variable, summed, model) if couples(c, axes, model)), None):
            message = f"summing over `{coupling}` joins several values of `{net.name}`, each with weights drawn anew"
            related = (Label(model.variable[coupling].span, "summed out"),)
            help_ = f"give `{coupling}` a guide, under which their log-densities add up"
            yield Diagnostic("V705", message, Label(calls[-1].span, "several values"), related, help_)


def call_axes(call: NetCall, model: Model, summed: frozenset[str]) -> frozenset[str]:
    """Along what it has values of its own, a sequence's elements included."""
    axes = extent(call, model, summed)
    return axes if call.type.over is None else axes | {call.type.over}


def is_summed(variable: Variable, model: Model) -> bool:
    """Whether the logarithm stands before a sum over its values: under a guide it stands behind it."""
    finite = variable.type.domain in FINITE_DOMAINS | WHOLE_DOMAINS
    asked = next((infer.estimator.name for infer in model.infer if infer.name == variable.name), "exact")
    guided = any(guide.name == variable.name for guide in model.guide)
    return variable.role in ("latent", "partial") and finite and asked == "exact" and not guided


def read_by(variable: Variable, model: Model) -> Iterator[Expression]:
    """All expressions in its law, deterministic nodes written out."""
    pending = list(law_parts(variable.law)) if variable.law else []
    seen: set[str] = set()
    while pending:
        for e in walk(pending.pop()):
            yield e
            name = getattr(e, "name", "")
            if name in model.let and name not in seen:
                seen.add(name)
                pending.append(model.let[name].value)


def joined(variable: Variable, summed: frozenset[str], model: Model) -> list[str]:
    """The latents that are summed out together with those of its law."""
    groups = [summed & {v.name, *(getattr(e, "name", "") for e in read_by(v, model))} for v in model.variables]
    found = set(groups[model.variables.index(variable)])
    for _ in groups:
        found = found.union(*(group for group in groups if group & found))
    return sorted(found)


def couples(name: str, axes: frozenset[str], model: Model) -> bool:
    """Whether one sum over the latent reads several elements along some axis."""
    latent = model.variable[name]
    behind = any(isinstance(e, Past) and e.name == name for e in read_by(latent, model))
    alone = set(latent.plates[:-1] if behind else latent.plates)
    return bool(axes - alone)
