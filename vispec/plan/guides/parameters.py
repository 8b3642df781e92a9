"""Mean field: the guide of a latent that all rows share has parameters of its own, one set for each element of its plates."""

from dataclasses import replace
from math import expm1, log

from vispec.model.model import Apply, Const, Draw, Expression, GuideLaw, Model, Param, Ref, Variable
from vispec.model.types import Type
from vispec.plan.guides.families import guide_of, heads
from vispec.plan.guides.questions import fresh
from vispec.plan.guides.together import WITH, coefficients, companions, moved


def with_parameters(variable: Variable, model: Model) -> Model:
    """Of a total, which may be in the thousands, the logarithm: steps are of one size."""
    learnt: dict[str, Expression] = {}
    params = list(model.params)
    own = heads(variable)
    others = companions(variable, model) if "loc" in dict(own) else []
    for head, type_ in (*own, *coefficients(variable, others)):
        stored, kind = ("log_total", Type("real", type_.shape)) if head == "total" else (head, type_)
        name = fresh(f"{variable.name}_{stored}", replace(model, params=tuple(params)))
        params.append(Param(name, kind, variable.plates, variable.span, start_of(stored, variable)))
        found = Ref(variable.span, kind, name)
        learnt[head] = Apply(variable.span, type_, "exp", (found,)) if head == "total" else found
    guide = GuideLaw(variable.name, guide_of(variable, moved(variable, learnt, others, model)), variable.span)
    return replace(model, params=tuple(params), guide=(*model.guide, guide))


def start_of(head: str, variable: Variable) -> tuple[float, float] | None:
    """Where a guide's parameter starts, as it is stored: near the prior's location, with a tenth of its scale, at most 1. Wide
    guides make noisy gradients, and latents that start alike stay alike. None for parameters of other families."""
    if head.startswith(WITH):
        return 0.0, 0.0
    law = variable.law
    args = dict(law.args) if isinstance(law, Draw) and law.distribution in ("Normal", "LogNormal") else {}
    loc, scale = (value.value if isinstance(value := args.get(name), Const) else None for name in ("loc", "scale"))
    narrow = min(0.1 * (scale or 1.0), 1.0)
    starts = {"loc": (float(loc or 0), narrow), "scale": (log(expm1(narrow)), 0.0), "log_total": (log(40), 0.0)}
    return starts.get(head)
