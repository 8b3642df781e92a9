from dataclasses import replace

from vispec.catalog import distributions
from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.model.model import All, Apply, Draw, Evidence, Expression, Model, Past, Prefix, Ref, Variable
from vispec.model.walk import is_read, key, rebuilt
from vispec.plan.guides.baseline import learns_baseline, with_baseline
from vispec.plan.guides.families import FAMILIES, ends_of, positions
from vispec.plan.guides.fresh import with_fresh
from vispec.plan.guides.joint import with_flow_names, with_joint
from vispec.plan.guides.nets import with_net
from vispec.plan.guides.parameters import with_parameters
from vispec.plan.guides.points import with_point
from vispec.plan.guides.questions import asked, in_joint, is_leaf, is_point, is_shared


def complete_guides(model: Model) -> Model:
    """The model with a guide for every drawn latent that can have an automatic one."""
    model = with_evidence(with_flow_names(with_joint(model)))
    for variable in model.variables:
        if needs_guide(variable, model):
            model = with_guide(variable, model)
    model = with_fresh(model)
    return with_baseline(model) if learns_baseline(model) else model


def with_evidence(model: Model) -> Model:
    """The model whose guide reads a partial variable that no law reads as the data has it, and has no law for it: it is scored
    where it is seen, and never drawn."""
    leaves = {v.name for v in model.variables if is_leaf(v, model)}

    def evidence(e: Expression) -> Expression | None:
        if isinstance(e, Apply) and e.function == "seen":
            (read,) = e.args
            assert isinstance(read, Ref | All | Past)
            return Evidence(e.span, e.type, read, seen=True)
        if isinstance(e, Ref | All | Past | Prefix) and e.name in leaves:
            return Evidence(e.span, e.type, e, seen=False)
        return None

    laws = tuple(law for law in model.guide if law.name not in leaves)
    return replace(model, guide=rebuilt(laws, evidence), guide_lets=rebuilt(model.guide_lets, evidence))


def needs_guide(variable: Variable, model: Model) -> bool:
    if variable.role == "given" or variable.role == "observed" or any(g.name == variable.name for g in model.guide):
        return False
    if in_joint(variable.name, model) or is_leaf(variable, model) or variable.name in model.integrated:
        return False
    if is_point(variable.name, model):
        return True
    if not is_read(model, variable.name):
        return False  # it is left out, and drawn from its own law where it is asked for
    if isinstance(variable.law, Draw) and distributions()[variable.law.distribution].atoms:
        return False  # no family here has masses
    kind = asked(variable.name, model)
    return variable.type.domain in FAMILIES and not (kind is not None and (kind.own_law or kind.way is None))


def with_guide(variable: Variable, model: Model) -> Model:
    check_ends(variable, model)
    if is_point(variable.name, model):
        return with_point(variable, model)
    if is_shared(variable, model):
        return with_parameters(variable, model)
    return with_net(variable, model)


def check_ends(variable: Variable, model: Model) -> None:
    """Raise SpecError where the ends of a latent's law are not the same kind in all cases, so that no guide has its support."""
    found = [ends_of(law) for law in positions(variable.law)]
    message = help_ = ""
    if None in found:
        message = f"whether the values of `{variable.name}` have ends depends on a condition, and no one guide has that support"
        help_ = "give both laws ends, or neither: `Uniform(0, 1) if f else Uniform(0, 5)`"
    elif is_point(variable.name, model) and len({key(ends) for ends in found}) > 1:
        message = f"the ends of the law of `{variable.name}` change along its chain, and its point estimate has only one pair"
        help_ = f"write `{variable.name} : elbo(samples=1)`"
    if message:
        law = variable.law
        assert law is not None
        raise SpecError(model.source, [Diagnostic("V714", message, Label(law.span, "its support"), help=help_)])
