"""Sums that take more than their budget, or that nothing takes apart, as diagnostics: with figures and ways out."""

from __future__ import annotations

from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.model.model import Model
from vispec.plan.held.setting import Setting
from vispec.plan.order.refuse import IntractableError, figure
from vispec.program.axis import ordered
from vispec.program.node import Node
from vispec.program.walk import nodes

CODE_OF = {"shared": "V704", "coupled": "V701", "selected": "V708", "structured": "V707", "budget": "V711"}


def refused(s: Setting, error: IntractableError) -> SpecError:
    """The refusal with carets at the latents and at the laws that make it large."""
    model = s.f.model
    names = [name.partition("[")[0] for name in error.latents]
    first, *others = [name for name in dict.fromkeys(names) if name in model.variable] or [model.variables[0].name]
    readers = [name for factor in error.factors if (name := variable_of(factor, model)) not in (None, first)]
    related = [Label(model.variable[name].span, "coupled with it") for name in others]
    related += [
        Label(model.variable[name].span, "its law reads them")
        for name in dict.fromkeys(readers)
        if name is not None and name not in others
    ]
    together = [name for name in names if s.joint.held.along.get(name)]
    code = "V703" if error.kind == "budget" and together else CODE_OF[error.kind]
    what = f"{figure(error.bytes)} bytes" if error.bytes is not None else f"{figure(error.step or 0)} terms"
    label = what if error.kind == "budget" else "summed out"
    message = error.why + (" a row" if error.kind == "budget" and error.bytes is None else "")
    found = Diagnostic(code, message, Label(model.variable[first].span, label), tuple(related), ways_out(error, model, first))
    return SpecError(model.source, [found])


def ways_out(error: IntractableError, model: Model, latent: str) -> str:
    """What would help: a larger budget, which the spec or the command may give, or an estimator in place of the sum."""
    own = f"give `{latent}` a guide, or an estimator in `infer:`"
    if any(guide.name == latent for guide in model.guide):  # under which it is summed all the same
        own = f"draw it from its guide: `{latent} : score(samples=8)` in `infer:`"
    if error.kind == "budget" and error.bytes is not None:
        return f"allow it by --memory, for {error.ways[0].text}; or {own}"
    if error.kind == "budget" and error.terms is not None:
        return f"allow it by --work {error.terms}, or `{latent} : exact up to {error.terms}` in `infer:`; or {own}"
    told = "; ".join(way.text for way in error.ways)
    return f"{told}; or {own}" if told else own


def variable_of(factor: str, model: Model) -> str | None:
    """The variable that a factor is of."""
    name = factor.partition("_")[2]
    return name if name in model.variable else None


def too_large(s: Setting, node: Node, size: int) -> SpecError:
    """A value of one row that takes more memory than allowed, with a caret at the variable whose law is computed by it."""
    model = s.f.model
    found = next((each.name for each in s.joint.problem.factors if node in nodes([each.node])), "")
    name = variable_of(found, model) or model.variables[0].name
    axes = ", ".join(str(axis) for axis in ordered(node.axes - s.joint.problem.kept))
    message = f"the law of `{name}` needs a value along {axes}, {figure(size)} bytes a row"
    latents = [t.variable for t in s.treatments.values() if t.kind == "sum"]
    related = tuple(Label(model.variable[each].span, "summed out") for each in latents if each != name)
    help_ = f"allow it by --memory {size}B, or draw a latent in place of its sum"
    return SpecError(
        model.source, [Diagnostic("V711", message, Label(model.variable[name].span, f"{figure(size)} bytes"), related, help_)]
    )
