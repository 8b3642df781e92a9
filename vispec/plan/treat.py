"""How each variable is held: at its data, summed, drawn as its estimator asks for, or left out."""

from dataclasses import replace

from vispec.estimators import estimators
from vispec.model.model import Draw, Estimator, Flow, Infer, Law, Model, Past, Then, Variable
from vispec.model.types import FINITE_DOMAINS, WHOLE_DOMAINS
from vispec.model.walk import draws, is_read, law_parts, walk
from vispec.plan.estimate import gradient_of, law_reads
from vispec.plan.guides import in_joint, is_shared
from vispec.plan.refused.refuse import model_expressions
from vispec.plan.treatment import Treatment


def treat(variable: Variable, model: Model, complete: bool) -> Treatment:
    """How one variable is held."""
    name = variable.name
    finite = variable.type.domain in FINITE_DOMAINS | WHOLE_DOMAINS and not variable.type.shape
    if variable.role in ("given", "observed"):
        return Treatment(name, "data", True, "given by the data" if variable.role == "given" else "scored at the data")
    integrated = name in model.integrated
    tree = variable.type.whole and variable.role == "partial"  # what is missing hangs on what is seen
    if not is_read(model, name) and not ((complete or tree) and (finite or (integrated and complete))):
        if variable.role == "partial":
            return Treatment(name, "masked", True, "nothing depends on it: scored where it is seen")
        return Treatment(name, "free", True, "nothing depends on it: it integrates to one")
    asked = next((infer for infer in model.infer if infer.name == name), None)
    guided = any(guide.name == name for guide in model.guide)
    if finite and told_apart(variable, model):
        return Treatment(name, "masked", True, "nothing depends on it: scored where it is seen")
    if finite:
        return treat_finite(variable, asked if is_read(model, name) else None, guided)
    if integrated:
        return Treatment(
            name, "integrate", True, conjugate(name, model) if name in model.pairs else "jointly Gaussian given the rest"
        )
    if model.joint is not None and in_joint(name, model):
        estimator = asked.estimator if asked else Estimator("elbo", (("samples", 1),), variable.span)
        where = "shared by all rows" if model.single is None else "continuous"
        because = f"{where}; guide {model.joint.family} over {', '.join(model.joint.names)}"
        return Treatment(name, "draw", False, because, estimator, gradient_of(variable, estimator))
    found = treat_drawn(variable, asked, guide_law(name, model), is_shared(variable, model) and model.single is None)
    why = dict(model.reasons).get(name)
    return found if why is None else replace(found, because=f"{found.because}; {why}")


def treat_finite(variable: Variable, asked: Infer | None, guided: bool) -> Treatment:
    estimator = asked.estimator if asked and estimators()[asked.estimator.name].way is not None else None
    if estimator is None:
        because = "discrete; enumerated under its guide" if guided else "discrete"
        return Treatment(variable.name, "sum", not guided, because)
    drawn = "" if guided else "; drawn from its own law"
    because = f"asked for {estimator.name}{drawn}{bias(estimator)}"
    return Treatment(variable.name, "draw", False, because, estimator, gradient_of(variable, estimator))


def bias(estimator: Estimator) -> str:
    """What the plan adds about an estimator whose gradient is not that of its bound."""
    why = estimators()[estimator.name].biased
    return f"; biased: {why}" if why else ""


def treat_drawn(variable: Variable, asked: Infer | None, guide: Law | None, shared: bool) -> Treatment:
    default = Estimator("elbo", (("samples", 1),), variable.span)
    estimator = asked.estimator if asked else default
    if estimators()[estimator.name].point:
        return Treatment(variable.name, "draw", True, "a point estimate", estimator, "point")
    where = "shared by all rows" if shared else "discrete" if variable.type.discrete else "continuous"
    last = guide.laws[-1] if isinstance(guide, Then) else guide
    guided = f"guide {last.distribution}" if isinstance(last, Draw) else "drawn from its own law"
    if isinstance(last, Flow):
        guided = "guide Flow, whose divergence is estimated at its draws"
    because = f"{where}; {guided}"
    because += bias(estimator)
    return Treatment(variable.name, "draw", False, because, estimator, gradient_of(variable, estimator))


def guide_law(name: str, model: Model) -> Law | None:
    return next((guide.law for guide in model.guide if guide.name == name), None)


def chain_of(variable: Variable, model: Model) -> str | None:
    """The plate along which the variable's past is read, by its own law or by another's."""
    if variable.type.along is not None:
        return variable.type.along
    guide = [part for each in model.guide for part in law_parts(each.law)] + [let.value for let in model.guide_lets]
    read = (*model_expressions(model), *(e for part in guide for e in walk(part)))
    return next((e.plate for e in read if isinstance(e, Past) and e.name == variable.name), None)


def told_apart(variable: Variable, model: Model) -> bool:
    """Whether a label that no law reads depends on a latent that is integrated by a pair: a missing one is no sum, which would
    go over all those of the latent's readers together, and its probabilities follow from the latent's posterior."""
    alone = variable.role == "partial" and not is_read(model, variable.name)
    return alone and bool(law_reads(variable.law, model) & {*model.pairs})


def conjugate(name: str, model: Model) -> str:
    """Why a latent is integrated by its family: the pairs that it makes with what reads it."""
    readers = [v for v in model.variables if v.name != name and name in law_reads(v.law, model)]
    laws = dict.fromkeys(draw.distribution for v in readers for draw in draws_of(v))
    prior = " or ".join(dict.fromkeys(draw.distribution for draw in draws_of(model.variable[name])))
    return f"conjugate: {prior} of {', '.join(laws)}"


def draws_of(variable: Variable) -> tuple[Draw, ...]:
    return () if variable.law is None else tuple(draws(variable.law))
