"""Automatic guides, as a rewriting of the model: what lacks a guide gets parameters or a net, and a guide over them.

A latent outside the data plate gets parameters of its own, one set for each element of its plates (mean field). One inside gets a
net from what is observed around it. The family follows the support: Normal on the reals, LogNormal on the positive reals, Beta on the
unit interval, Dirichlet on the simplex. `map()` asks for a point: a parameter in the latent's own domain.
"""

from dataclasses import replace

from vispec.model.model import All, Draw, Expression, GuideLaw, Model, Net, NetCall, Param, Ref, Stage, Variable
from vispec.model.types import INTEGER_DOMAINS, Type

FAMILIES: dict[str, tuple[str, dict[str, str]]] = {
    "real": ("Normal", {"loc": "real", "scale": "positive"}),
    "positive": ("LogNormal", {"loc": "real", "scale": "positive"}),
    "unit": ("Beta", {"concentration1": "positive", "concentration0": "positive"}),
    "simplex": ("Dirichlet", {"concentration": "positive"}),
}


def complete_guides(model: Model) -> Model:
    """The model with a guide for every drawn latent that can have an automatic one."""
    for variable in model.variables:
        if needs_guide(variable, model):
            model = with_guide(variable, model)
    return model


def is_shared(variable: Variable, model: Model) -> bool:
    """Whether a latent stands outside the data plate, so that all rows share it."""
    return variable.role == "latent" and not any(model.plate[p].data for p in variable.plates)


def asked(name: str, model: Model) -> str | None:
    """The estimator that `infer:` names for a variable."""
    return next((infer.estimator.name for infer in model.infer if infer.name == name), None)


def needs_guide(variable: Variable, model: Model) -> bool:
    if variable.role == "given" or variable.role == "observed" or any(g.name == variable.name for g in model.guide):
        return False
    if asked(variable.name, model) == "map":
        return True
    return variable.type.domain in FAMILIES and asked(variable.name, model) != "mc" and bool(heads(variable, model))


def with_guide(variable: Variable, model: Model) -> Model:
    if asked(variable.name, model) == "map":
        point = Param(fresh(f"{variable.name}_point", model), variable.type, variable.plates, variable.span)
        return replace(model, params=(*model.params, point))
    if is_shared(variable, model):
        return with_parameters(variable, model)
    return with_net(variable, model)


def point_name(variable: Variable, model: Model) -> str:
    """The parameter that holds a latent's point estimate."""
    names = {param.name for param in model.params}
    return next(n for n in (f"{variable.name}_point" + "_" * i for i in range(9)) if n in names)


def heads(variable: Variable, model: Model) -> tuple[tuple[str, Type], ...]:
    """The parameters of the guide's family, each of the latent's event shape."""
    _, params = FAMILIES[variable.type.domain]
    return tuple((name, Type(domain, variable.type.shape)) for name, domain in params.items())  # type: ignore[arg-type]


def with_parameters(variable: Variable, model: Model) -> Model:
    """Mean field: its own parameters."""
    family = FAMILIES[variable.type.domain][0]
    args: list[tuple[str, Expression]] = []
    params = list(model.params)
    for head, type_ in heads(variable, model):
        name = fresh(f"{variable.name}_{head}", replace(model, params=tuple(params)))
        params.append(Param(name, type_, variable.plates, variable.span))
        args.append((head, Ref(variable.span, type_, name)))
    guide = GuideLaw(variable.name, Draw(variable.span, family, tuple(args)), variable.span)
    return replace(model, params=tuple(params), guide=(*model.guide, guide))


def with_net(variable: Variable, model: Model) -> Model:
    """Amortised: a net from the observed and given variables around the latent."""
    inputs = [read for other in model.variables if (read := reading(other, variable, model)) is not None]
    if not inputs:
        return model
    name = fresh(f"encode_{variable.name}", model)
    words = any(e.type.star and e.type.domain in INTEGER_DOMAINS for e in inputs)
    layers = [Stage("embed", (64,), (), None, variable.span)] if words else []
    if any(e.type.star for e in inputs):
        layers.append(Stage("mean", (), (), None, variable.span))
    layers.append(Stage("mlp", ((128,),), (), None, variable.span))
    args = tuple((f"{e.name}", argument_type(e.type)) for e in inputs)  # type: ignore[attr-defined]
    net = Net(name, args, heads(variable, model), tuple(layers), None, variable.span)
    found = tuple((head, NetCall(variable.span, t, name, tuple(inputs), head)) for head, t in heads(variable, model))
    guide = GuideLaw(variable.name, Draw(variable.span, FAMILIES[variable.type.domain][0], found), variable.span)
    return replace(model, nets=(*model.nets, net), guide=(*model.guide, guide))


def argument_type(type_: Type) -> Type:
    return replace(type_, over=None)


def reading(other: Variable, latent: Variable, model: Model) -> Expression | None:
    """How the latent's net reads another variable: its own element, or its sequence one plate further in."""
    if other.role not in ("observed", "given") or other.name == latent.name:
        return None
    if set(other.plates) == set(latent.plates):
        return Ref(latent.span, other.type, other.name)
    inner = [p for p in other.plates if p not in latent.plates]
    if len(inner) != 1 or inner[0] != other.plates[-1] or not set(latent.plates) <= set(other.plates):
        return None
    return All(latent.span, replace(other.type, star=True, over=inner[0]), other.name, inner[0])


def fresh(name: str, model: Model) -> str:
    """A name that the spec does not use."""
    used = {d.name for group in (model.sizes, model.vocabs, model.plates, model.params, model.nets) for d in group}
    used |= {v.name for v in model.variables} | {let.name for let in (*model.lets, *model.guide_lets)}
    while name in used:
        name += "_"
    return name
