"""V714: what `fit:` asks of a bound that it does not have."""

from __future__ import annotations

from collections.abc import Iterator

from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.plan.divergence import divergence
from vispec.plan.held.along import parts
from vispec.plan.held.setting import Setting
from vispec.plan.held.sink import below
from vispec.plan.held.smoothing import outcomes


def check_fit(s: Setting) -> None:
    """Raise SpecError where free bits are asked for and a divergence is estimated at its draw, so has no least value, where
    `supervise` has nothing to teach, and where there are no labels to smooth."""
    found = (*free_bits(s), *supervised(s), *smoothed(s))
    if found:
        raise SpecError(s.f.model.source, found)


def free_bits(s: Setting) -> Iterator[Diagnostic]:
    model = s.f.model
    entry = next((entry for entry in model.fit if entry.key == "free_bits"), None)
    guided = {*s.f.guides, *(model.joint.names if model.joint else ())}
    names = [*s.draws.drawn, *(s.shared.orders if s.shared is not None else ())]
    estimated = next((name for name in names if name in guided and not is_closed(s, name)), None)
    if entry is not None and estimated is not None:
        message = f"free bits are a least divergence, and that of `{estimated}` is estimated at its draw"
        related = (Label(model.variable[estimated].span, "no divergence in closed form"),)
        yield Diagnostic("V714", message, Label(entry.span, "free bits"), related, "leave them out, or anneal the divergence")


def is_closed(s: Setting, name: str) -> bool:
    """Whether a draw adds its divergence in closed form."""
    if name not in s.draws.analytic:
        return False
    q, p = s.f.guides[name].law, s.f.factors[name].law
    return divergence(s.f.frame, q, p, s.f.model.variable[name].type) is not None


def supervised(s: Setting) -> Iterator[Diagnostic]:
    """Labels teach the guide of a partial variable the cells that the data has (Kingma et al. 2014), at the data alone."""
    model = s.f.model
    entry = next((entry for entry in model.fit if entry.key == "supervise"), None)
    if entry is None:
        return
    taught = [
        v
        for v in model.variables
        if v.role == "partial" and v.name in s.f.guides and s.treatments[v.name].kind in ("sum", "draw")
    ]
    if not taught:
        help_ = "leave it out, or give a partial variable a guide, such as `y ~ Categorical(classify(x))`"
        yield Diagnostic(
            "V714", "no partial variable has a guide that its labels could teach", Label(entry.span, "supervise"), (), help_
        )
    summed = {name for name, found in s.treatments.items() if found.kind == "sum"}
    for variable in taught:
        read = parts(s.f.guides[variable.name].law)
        if any(below(read, summed)[node] for node in read):
            message = f"the guide of `{variable.name}` reads what is summed out, so it has no value at the data alone"
            label = Label(variable.span, "its guide cannot be supervised")
            help_ = "leave `supervise` out, or let the guide read only the data and what is drawn"
            yield Diagnostic("V714", message, Label(entry.span, "supervise"), (label,), help_)


def smoothed(s: Setting) -> Iterator[Diagnostic]:
    """Labels are smoothed where something finite is observed, and not inside a sum, of which only a density can be a part."""
    f, entry = s.f, next((entry for entry in s.f.model.fit if entry.key == "label_smoothing"), None)
    if entry is None:
        return
    densities = {v: f.factors[v.name].log_prob for v in f.model.variables if v.role == "observed"}
    found = {v: node for v, node in densities.items() if node is not None and outcomes(f, v, node)}
    if not found:
        message = "there are no labels to smooth: nothing that is observed is Categorical"
        yield Diagnostic("V714", message, Label(entry.span, "label_smoothing"), (), "leave it out")
    summed = {name for name, treatment in s.treatments.items() if treatment.kind == "sum"}
    for variable, node in found.items():
        if below([node], summed)[node]:
            message = f"`{variable.name}` is summed over what is latent, and a smoothed label has no probability to sum"
            label = Label(variable.span, "its law reads what is summed out")
            yield Diagnostic("V714", message, Label(entry.span, "label_smoothing"), (label,), "leave `label_smoothing` out")
