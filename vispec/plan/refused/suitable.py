"""Whether each estimator can do what is asked of it in this model; where it cannot, a diagnostic says why and what can."""

from collections.abc import Iterator
from itertools import product

from vispec.catalog import Distribution, distributions
from vispec.diagnostics import Diagnostic, Label
from vispec.model.model import (
    Draw,
    Element,
    Estimator,
    Expression,
    Flow,
    GuideLaw,
    Infer,
    Law,
    Model,
    NetCall,
    Ref,
    Select,
    Then,
    Variable,
    Where,
)
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import draws, law_parts, walk
from vispec.plan.estimate import drawn_from, gradient_of, kind_of, law_reads, source_of, wanted_bound, way_of
from vispec.plan.guides import in_joint
from vispec.plan.treatment import text

INDEXABLE = ("mlp", "linear")  # layers that take a mixture of categories where they take a category


def estimator_problems(model: Model) -> Iterator[Diagnostic]:
    """V714: an estimator and the model do not go together; V715: latents ask for bounds that cannot be one."""
    data = frozenset(plate.name for plate in model.plates if plate.data)
    asked = [i for i in model.infer if i.name in model.variable and kind_of(i.estimator).way is not None]
    for guide in model.guide:
        yield from mass_problems(guide, model)
        yield from end_problems(guide, model)
        yield from flow_problems(guide, model, data)
    for infer in asked:
        yield from own_problems(model.variable[infer.name], infer, model, data)
    yield from bound_problems(model, [i for i in asked if data & set(model.variable[i.name].plates)])
    several = [i for i in asked if kind_of(i.estimator).weighed]
    sampled = [i for i in asked if i.estimator.name == "score"]
    for infer in [*several[1:], *(sampled if several else [])]:
        message = f"`{several[0].name}` is summed over its likely values, and `{infer.name}` is a second such latent"
        yield problem(infer, message, "the second", "keep `sum_and_sample` for one latent, and leave no other to `score`")


def problem(infer: Infer, message: str, here: str, help_: str, code: str = "V714") -> Diagnostic:
    return Diagnostic(code, message, Label(infer.estimator.span, here), help=help_)


def bound_problems(model: Model, asked: list[Infer]) -> Iterator[Diagnostic]:
    """Log-weights are averaged before the logarithm or after it, for all latents of a row alike."""
    bounds = [(infer, bound) for infer in asked if (bound := wanted_bound(infer.estimator)) is not None]
    first = next(iter(bounds), None)
    for infer, bound in bounds[1:]:
        if first is not None and (bound == "elbo") != (first[1] == "elbo"):
            message = f"`{first[0].name}` asks for the bound of `{first[1]}`, `{infer.name}` for that of `{bound}`"
            yield problem(infer, message, "another bound", "give both latents one of the two", "V715")
            return
    weights = next((net for net in model.nets if net.random), None)
    if weights is not None and first is not None and first[1] != "elbo":
        message = f"the weights of `{weights.name}` are shared by all rows, and `{first[1]}` averages each row on its own"
        yield problem(first[0], message, "one row at a time", "use `elbo`")


def own_problems(variable: Variable, infer: Infer, model: Model, data: frozenset[str]) -> Iterator[Diagnostic]:
    """What one estimator demands of its latent."""
    name, estimator = variable.name, infer.estimator
    gradient = gradient_of(variable, estimator)
    law = source_of(name, model)
    shared = not data & set(variable.plates)
    laws = law.laws if isinstance(law, Then) else (law,)
    if law is not None and not all(isinstance(each, Draw | Flow) for each in laws) and not kind_of(estimator).point:
        message = f"`{name}` is drawn, and the law that it is drawn from depends on a condition"
        yield problem(infer, message, "drawn", f"write `guide:` with `{name} ~ ...` of one law")
        return
    if shared and gradient == "score":
        message = f"the score of `{name}`, which all rows share, needs the signal of all rows at once"
        yield problem(infer, message, "all rows at once", "use `elbo` with a guide whose draws are smooth")
    if kind_of(estimator).point:
        if not shared:
            message = f"`{name}` has a value for every row, and a minibatch has no place to keep its point estimate"
            yield problem(infer, message, "one point for each row", "give it a guide, or move it out of the data plate")
        return
    if shared and (wanted_bound(estimator) or "elbo") != "elbo":
        message = f"`{estimator.name}` averages over the draws of one row, and all rows share `{name}`"
        yield problem(infer, message, "all rows at once", "use `elbo`")
    if gradient in ("pathwise", "stl", "dreg") and isinstance(law, Draw):
        entry = distributions()[law.distribution]
        if not entry.has_rsample:
            message = f"a draw of {law.distribution} is no smooth function of noise, which `{gradient}` needs"
            yield problem(infer, message, "no gradient through the draw", "write `gradient=score`")
    if gradient != "pathwise" and in_joint(name, model):
        message = f"`{name}` is drawn together with others, and their guide has a pathwise gradient alone"
        yield problem(infer, message, "another gradient", f"leave it out, or write a guide `{name} ~ ...`")
    if gradient in ("stl", "dreg") and not any(g.name == name for g in model.guide) and not kind_of(estimator).point:
        return
    if gradient == "dreg":
        others = drawn_from(law_reads(law, model), model) & {v.name for v in model.variables if v.role in ("latent", "partial")}
        if others:
            message = f"`dreg` needs guides that read data alone, and that of `{name}` reads `{min(others)}`"
            yield problem(infer, message, "a guide over draws", "write `gradient=stl` or `gradient=pathwise`")
    if gradient in ("relaxed", "stratified") and (variable.role == "partial" or variable.type.domain not in FINITE_DOMAINS):
        yield problem(infer, f"`{estimator.name}` is for finite latents without data", "has data", "use `score(samples=8)`")
    if gradient == "stratified" and set(variable.plates) != data:
        message = f"`{name}` has a value in every element of {', '.join(variable.plates)}, whose joint values are not ranked"
        yield problem(infer, message, "one latent a row", "use `score(samples=8, baseline=loo)`")
    if gradient in ("score", "stratified"):
        yield from summed_problems(infer, model, law)
    if gradient == "wake_sleep":
        yield from dreaming_problems(variable, infer, model, shared)
    if gradient == "relaxed":
        yield from relaxed_problems(variable, infer, model, law)


def summed_problems(infer: Infer, model: Model, law: Law | None) -> Iterator[Diagnostic]:
    """The score is that of one draw, and there would be one for each value of what is summed."""
    drawn = {i.name for i in model.infer if kind_of(i.estimator).way is not None}
    read = [model.variable[name] for name in sorted(law_reads(law, model) - {infer.name} - drawn)]
    for variable in read:
        if variable.role in ("latent", "partial") and variable.type.domain in FINITE_DOMAINS and not variable.type.shape:
            summed = f"`{infer.name}` is drawn from a law that reads `{variable.name}`, which is summed"
            message = f"{summed}: each value of it would have a draw of its own, and a score is of one"
            help_ = (
                f"draw `{variable.name}` too, `{variable.name} : score(samples=8)`, or give `{infer.name}` a guide without it"
            )
            yield problem(infer, message, "another draw for each value", help_)
            return


def mass_problems(guide: GuideLaw, model: Model) -> Iterator[Diagnostic]:
    """Where a guide has masses, so has the law; and then log q jumps on the way of a draw, which no pathwise gradient sees."""
    variable = model.variable[guide.name]
    laws = [law.laws if isinstance(law, Then) else (law,) for law in (guide.law, variable.law)]
    own, found = ({distributions()[d.distribution].atoms for d in each if isinstance(d, Draw)} for each in reversed(laws))
    if not any(found):
        return
    estimator = next((i.estimator for i in model.infer if i.name == guide.name), Estimator("elbo", (), guide.span))
    atoms = " and ".join(f"{atom:g}" for each in found for atom in each)
    if own != found:
        message = f"the guide of `{guide.name}` has masses at {atoms}, where its own law has none"
        help_ = f"give `{guide.name}` a law with these masses too"
        yield Diagnostic("V714", message, Label(guide.span, "its divergence is infinite"), help=help_)
    elif gradient_of(variable, estimator) != "score":
        message = f"the log-density of `{guide.name}` jumps at {atoms}, which no gradient through a draw sees"
        help_ = "write `gradient=score`; or leave out the guide, and write `mc(samples=1)`"
        yield Diagnostic("V714", message, Label(estimator.span, "biased"), help=help_)


def end_problems(guide: GuideLaw, model: Model) -> Iterator[Diagnostic]:
    """A guide whose draws leave the ends of the latent's law, where it has no density."""
    variable = model.variable[guide.name]
    if variable.type.domain not in ("real", "positive") or variable.law is None:
        return
    found = next((pair for pair in by_element(guide.law, variable.law) if not pair[1].everywhere and leaves(*pair)), None)
    if found is None:
        return
    free, law = found
    message = f"draws of {free.name} leave the ends of {law.name}, the law of `{guide.name}`, which has no density there"
    inside = "LogitNormal(loc, scale, low, high)" if all(law.bounds) else "ShiftedLogNormal(loc, scale, low)"
    help_ = f"write `{guide.name} ~ {inside}` with the ends of the law, or leave this line out"
    label = Label(variable.span, law.name)
    yield Diagnostic("V714", message, Label(guide.span, "its divergence is infinite"), (label,), help_)


def by_element(guide: Law, law: Law) -> Iterator[tuple[Distribution, Distribution]]:
    """Distributions of the guide and of the law of a chain's first, second, ... element; else of all elements."""
    laws = [each.laws if isinstance(each, Then) else (each,) for each in (guide, law)]
    for step in range(max(map(len, laws))):
        q, p = ([distributions()[d.distribution] for d in draws(each[min(step, len(each) - 1)])] for each in laws)
        yield from product(q, p)


def leaves(guide: Distribution, law: Distribution) -> bool:
    """Whether the law has an end on a side where the guide has none."""
    return any(p is not None and q is None for q, p in zip(guide.bounds, law.bounds, strict=True))


def flow_problems(guide: GuideLaw, model: Model, data: frozenset[str]) -> Iterator[Diagnostic]:
    """A flow's density is known at its own draws alone, and a draw's gradient passes through all layers."""
    if not isinstance(guide.law, Flow):
        return
    variable, name = model.variable[guide.name], guide.name
    estimator = next((i.estimator for i in model.infer if i.name == name), Estimator("elbo", (), guide.span))
    here = Label(guide.law.span, "a flow")
    if variable.role == "partial":
        message = f"the guide of `{name}` is a flow, whose density is known at its own draws, and `{name}` has data"
        yield Diagnostic("V714", message, here, help="use a Normal")
    elif not data & set(variable.plates):
        message = f"`{name}` is shared by all rows, and the flow for such latents is over all of them at once"
        yield Diagnostic("V714", message, here, help="write `auto(flow)` in place of this line")
    elif kind_of(estimator).point:
        return
    elif gradient_of(variable, estimator) != "pathwise" or not kind_of(estimator).of_guide:
        message = f"the guide of `{name}` is a flow, and `{text(estimator)}` needs its density or draws in another way"
        help_ = "write `elbo(samples=1)` or `iwae(samples=8)`, both with a pathwise gradient"
        yield Diagnostic("V714", message, Label(estimator.span, "not of a flow"), (here,), help_)
    elif name in drawn_from(law_reads(guide.law, model), model):
        message = f"the guide of `{name}` is a flow that depends on draws of `{name}` itself, one after the other"
        yield Diagnostic("V714", message, here, help="read the data alone, as a whole where need be, or use a Normal")


def sleeps(variable: Variable, estimator: Estimator) -> bool:
    """Whether an estimator draws nothing, or from a guide that learns from dreams."""
    return kind_of(estimator).way is None or way_of(variable, estimator).sleeps


def dreaming_problems(variable: Variable, infer: Infer, model: Model, shared: bool) -> Iterator[Diagnostic]:
    """The model dreams whole rows, so the guides of all latents that are drawn in a row learn from dreams."""
    name = variable.name
    if shared:
        message = f"`{name}` is shared by all rows, and a dream is one row"
        yield problem(infer, message, "all rows at once", "use `elbo`")
    if variable.role == "partial":
        yield problem(infer, f"`{name}` has data, which no dream explains", "has data", "use `score(samples=8)`")
    asked = {i.name: i.estimator for i in model.infer}
    for other in model.variables:
        estimator = asked.get(other.name)
        drawn = other.type.domain not in FINITE_DOMAINS if estimator is None else not sleeps(other, estimator)
        if other.role in ("latent", "partial") and drawn and set(other.plates) & set(variable.plates):
            message = f"`{name}` learns from dreams, and `{other.name}` beside it does not"
            yield problem(infer, message, "one of two", f"write `{other.name} : wake_sleep()` too, or use `score`")
            return


def relaxed_problems(variable: Variable, infer: Infer, model: Model, law: Law | None) -> Iterator[Diagnostic]:
    """A relaxed value is a number between the values, so it can weigh things but not choose among them."""
    name = variable.name
    families = ("Bernoulli",) if variable.type.domain == "bit" else ("Categorical",)
    if not isinstance(law, Draw) or law.distribution not in families or not law.args:
        message = f"`{name}` is relaxed, which needs a {families[0]} with its probabilities"
        yield problem(infer, message, "no such law", "write one, or use `score`")
    elif not isinstance(variable.law, Draw) or variable.law.distribution != law.distribution or not variable.law.args:
        message = f"`{name}` is relaxed, and its divergence needs a {families[0]} with its probabilities as its own law"
        yield problem(infer, message, "no closed form", "write one, or use `score`")
    elif name in drawn_from(law_reads(variable.law, model), model):
        message = f"`{name}` is relaxed, and its own law reads what is drawn from it"
        yield problem(infer, message, "no closed form", "use `score`")
    for expression in model_values(model):
        if (bad := misuse(expression, variable, model)) is not None:
            message = f"`{name}` is relaxed to a value between its values, and this needs one of them"
            help_ = "use `score(samples=8, baseline=loo)`"
            yield Diagnostic("V714", message, Label(bad.span), (Label(infer.estimator.span, "relaxed here"),), help_)


def model_values(model: Model) -> Iterator[Expression]:
    laws = [v.law for v in model.variables if v.law] + [guide.law for guide in model.guide]
    for law in laws:
        yield from law_parts(law)
    yield from (let.value for let in (*model.lets, *model.guide_lets))


def misuse(expression: Expression, variable: Variable, model: Model) -> Expression | None:
    """The first place where the variable must have one of its values."""
    bit = variable.type.domain == "bit"
    for part in walk(expression):
        if isinstance(part, Where) and variable.name in names(part.mask):
            return part
        if bit and any(variable.name in names(index) for index in indices(part)):
            return part
        if not bit and any(not fine(part, child, variable, model) for child in part.children):
            return part
    return expression if not bit and isinstance(expression, Ref) and expression.name == variable.name else None


def indices(part: Expression) -> tuple[Expression, ...]:
    """What points at an element or entry."""
    return (part.at,) if isinstance(part, Element) else tuple(at for _, at in part.by) if isinstance(part, Select) else ()


def fine(parent: Expression, child: Expression, variable: Variable, model: Model) -> bool:
    """Whether a category may stand here as a vector of weights."""
    if getattr(child, "name", None) != variable.name:
        return True
    if isinstance(child, Select) or not isinstance(child, Ref):
        return False
    if isinstance(parent, Select):
        return len(parent.by) == 1 and parent.name in model.param
    return isinstance(parent, NetCall) and model.net[parent.net].trunk[0].layer in INDEXABLE


def names(expression: Expression) -> frozenset[str]:
    return frozenset(str(getattr(part, "name", "")) for part in walk(expression))
