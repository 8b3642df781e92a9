"""Model → Plan: treat each variable, collect the factors, order the eliminations, and count what they cost."""

from collections.abc import Mapping
from dataclasses import replace

from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.distributions import CLOSED_FORM
from vispec.model.model import All, Draw, Law, Model, Select, Then, Variable
from vispec.model.walk import law_parts, walk
from vispec.plan.axes import SAMPLES, Scope, element_plates, law_axes, past, unrolled
from vispec.plan.costs import step_rows
from vispec.plan.eliminate import IntractableError, Layout, Node, Pointer, eliminate
from vispec.plan.estimate import closed_kl_is_right, draw_order, estimation, source_of
from vispec.plan.guides import complete_guides, in_joint, is_shared
from vispec.plan.modified import check_modified
from vispec.plan.pasts import without_pasts_of_lets
from vispec.plan.plan import Factor, Plan, Step, Treatment
from vispec.plan.refuse import check_plannable, model_expressions
from vispec.plan.refuse_emitted import check_emitted
from vispec.plan.treat import chain_of, guide_law, treat
from vispec.plan.unroll import coupled, options


def make_plan(model: Model, complete: bool = False, weighing: bool = False) -> Plan:
    """The plan of a checked model; raises SpecError (V7xx) where the model is sayable but this plan cannot carry it.

    complete: enumerate also what log_prob may leave out, finite variables that nothing reads; posterior queries ask for them.
    weighing: for importance weights, where what all rows share is drawn once a sample too.
    """
    check_modified(model)
    model = without_pasts_of_lets(complete_guides(model))
    if not weighing:
        check_plannable(model)
        check_emitted(model)
    treatments = {variable.name: treat(variable, model, complete) for variable in model.variables}
    scope = make_scope(model, treatments, weighing)
    found = [factor for name in model.order for factor in variable_factors(name, model, treatments, scope)]
    check_free_bits(model, found)
    found += label_factors(model, treatments, scope)
    shared = tuple(factor for factor in found if is_shared(model.variable[factor.variable], model))
    factors = tuple(factor for factor in found if factor not in shared)
    order = axis_order(model, scope)
    steps, unroll = order_steps(model, scope, factors, order)
    scope = replace(scope, unrolled=unroll)
    common = [] if weighing else [v.name for v in model.variables if is_shared(v, model)]
    samples, combine = estimation(model, treatments, common)
    rows = step_rows(model, scope, treatments, factors, steps)
    drawing = draw_order(model, [name for name, found in treatments.items() if found.kind == "draw"])
    plan = Plan(model, scope, treatments, factors, shared, steps, rows, order, samples, combine, drawing_order=drawing)
    return plan if complete or weighing else with_alternative(plan)


def with_alternative(plan: Plan) -> Plan:
    """`exact up to B else E`: the same model with E, for rows that have more joint values than B."""
    infer = next((i for i in plan.model.infer if i.otherwise is not None and i.name in plan.scope.joint), None)
    if infer is None or infer.otherwise is None:
        return plan
    other = replace(infer, estimator=infer.otherwise, budget=None, otherwise=None)
    model = replace(plan.model, infer=tuple(other if i is infer else i for i in plan.model.infer))
    return replace(plan, alternative=make_plan(model), budget=infer.budget)


def check_free_bits(model: Model, factors: list[Factor]) -> None:
    """Raise SpecError where free bits are asked for and a divergence is estimated at its draw, so has no least value."""
    entry = next((entry for entry in model.fit if entry.key == "free_bits"), None)
    guided = {guide.name for guide in model.guide} | set(model.joint.names if model.joint else ())
    drawn = next((f for f in factors if f.kind == "ratio" and f.variable in guided), None)
    if entry is not None and drawn is not None:
        message = f"free bits are a least divergence, and that of `{drawn.variable}` is estimated at its draw"
        related = (Label(model.variable[drawn.variable].span, "no divergence in closed form"),)
        found = Diagnostic("V714", message, Label(entry.span, "free bits"), related, "leave them out, or anneal the divergence")
        raise SpecError(model.source, [found])


def make_scope(model: Model, treatments: dict[str, Treatment], weighing: bool = False) -> Scope:
    """Axes of the enumerated and the drawn variables; a draw has the sample axis and whatever its guide reads."""
    enumerated = frozenset(t.variable for t in treatments.values() if t.kind == "sum")
    joint = joint_plates(model, enumerated)
    drawn: dict[str, frozenset[str]] = {}
    shared = [v.name for v in model.variables if is_shared(v, model)]
    samples, combine = estimation(model, treatments, () if weighing else shared)
    for name in draw_order(model, [n for n, t in treatments.items() if t.kind == "draw"]):
        law = source_of(name, model)
        scope = Scope(model, enumerated, drawn, joint)
        point = treatments[name].gradient == "point"
        axes = law_axes(law, scope) if law and not point else frozenset[str]()
        own = frozenset(model.variable[name].plates)
        several = samples > 1 and not point and (weighing or name not in shared or combine == "elbo")
        drawn[name] = own | axes | (frozenset({SAMPLES}) if several else frozenset())
    return Scope(model, enumerated, drawn, joint)


def joint_plates(model: Model, names: frozenset[str]) -> dict[str, str]:
    """Enumerated variables that are read as a whole sequence, and the plate along which their joint values are."""
    return {e.name: e.plate for e in model_expressions(model) if isinstance(e, All) and e.name in names}


# ---- factors


def variable_factors(name: str, model: Model, treatments: dict[str, Treatment], scope: Scope) -> list[Factor]:
    """The factors that one variable adds to the joint; none for lets and givens."""
    if name not in model.variable or model.variable[name].law is None:
        return []
    variable, treatment = model.variable[name], treatments[name]
    law = variable.law
    if treatment.kind == "free" or law is None:
        return []
    if variable.type.domain == "tree":
        return tree_factors(variable, law, treatment, scope)
    axes = law_axes(law, scope) | scope.axes(name)
    guide = guide_law(name, model)
    if treatment.kind == "draw":
        scored = guide is not None or in_joint(name, model) or treatment.gradient == "point" or variable.role == "partial"
        return [draw_factor(variable, law, guide, treatments, axes, scope)] if scored else []
    found = [make_factor(f"log_{name}", variable, "density", law, axes, model)]
    if guide is not None:
        found.append(make_factor(f"guide_{name}", variable, "guide", guide, law_axes(guide, scope) | {name}, model))
    elif variable.role == "partial" and treatment.kind == "sum":
        found.append(make_factor(f"seen_{name}", variable, "seen", None, scope.axes(name), model))
    return found


def label_factors(model: Model, treatments: dict[str, Treatment], scope: Scope) -> list[Factor]:
    """For each partial variable with a guide, what teaches the guide the cells that the data has: α log q(y | x) of Kingma et
    al. (2014), for the bound of such a row has no gradient with respect to q(y | x). Raises SpecError where there is none."""
    entry = next((entry for entry in model.fit if entry.key == "supervise"), None)
    if entry is None:
        return []
    guided = [model.variable[guide.name] for guide in model.guide if treatments[guide.name].kind in ("sum", "draw")]
    found = []
    for variable in guided:
        law = guide_law(variable.name, model)
        if variable.role != "partial" or law is None:
            continue
        axes = law_axes(law, scope)
        if axes & scope.enumerated:
            message = f"the guide of `{variable.name}` reads what is summed out, so it has no value at the data alone"
            label = Label(variable.span, "its guide cannot be supervised")
            help_ = "leave `supervise` out, or let the guide read only the data and what is drawn"
            raise SpecError(model.source, [Diagnostic("V714", message, Label(entry.span, "supervise"), (label,), help_)])
        found.append(make_factor(f"labels_{variable.name}", variable, "labels", law, axes, model))
    if not found:
        message = "no partial variable has a guide that its labels could teach"
        help_ = "leave it out, or give a partial variable a guide, such as `y ~ Categorical(classify(x))`"
        raise SpecError(model.source, [Diagnostic("V714", message, Label(entry.span, "supervise"), (), help_)])
    return found


def tree_factors(variable: Variable, law: Law, treatment: Treatment, scope: Scope) -> list[Factor]:
    """log p of an observed tree; of an enumerated one the score of each arc, and apart from it what normalises them."""
    name, model = variable.name, scope.model
    read = law_axes(law, scope)
    if treatment.kind == "data":
        return [make_factor(f"log_{name}", variable, "density", law, read, model)]
    arcs = make_factor(f"arcs_{name}", variable, "arcs", law, read | {*element_plates(variable), name}, model)
    return [arcs, make_factor(f"norm_{name}", variable, "norm", law, read, model)]


def draw_factor(
    variable: Variable, law: Law, guide: Law | None, treatments: dict[str, Treatment], axes: frozenset[str], scope: Scope
) -> Factor:
    """What a drawn variable adds: nothing from its own prior, minus its KL where that has a closed form, else log p − log q."""
    name = variable.name
    model = scope.model
    if guide is not None:
        axes = axes | law_axes(guide, scope)
        if linear_kl(name, treatments, scope) and closed_form(guide, law) and closed_kl_is_right(name, treatments, model):
            without_draw = law_axes(guide, scope) | law_axes(law, scope)
            return make_factor(f"kl_{name}", variable, "kl", law, without_draw, model)
    return make_factor(f"ratio_{name}", variable, "ratio", law, axes, model)


def linear_kl(name: str, treatments: dict[str, Treatment], scope: Scope) -> bool:
    """Whether the bound averages log-weights, and the estimator leaves the divergence to a closed form."""
    shared = [v.name for v in scope.model.variables if is_shared(v, scope.model)]
    _, combine = estimation(scope.model, treatments, shared)
    return (combine == "elbo" or name in shared) and treatments[name].gradient in ("pathwise", "relaxed")


def closed_form(guide: Law, law: Law) -> bool:
    pairs = closed_pairs(guide, law)
    return bool(pairs) and all((q.distribution, p.distribution) in CLOSED_FORM for q, p in pairs)


def closed_pairs(guide: Law, law: Law) -> list[tuple[Draw, Draw]]:
    """Guide and law of a chain's first, second, ... element and of all others; one pair where they do not change, none where
    either depends on a condition."""
    found = [each.laws if isinstance(each, Then) else (each,) for each in (guide, law)]
    longest = max(map(len, found))
    pairs = [tuple(laws[min(step, len(laws) - 1)] for laws in found) for step in range(longest)]
    if not all(isinstance(each, Draw) and each.args for pair in pairs for each in pair):
        return []
    return pairs  # type: ignore[return-value]


def make_factor(name: str, variable: Variable, kind: str, law: Law | None, axes: frozenset[str], model: Model) -> Factor:
    plates = frozenset(model.plate)
    latents = tuple(sorted(axes - plates - {SAMPLES}))
    stands = tuple(p.name for p in model.plates if p.name in frozenset(variable.plates) | (axes & plates))
    return Factor(name, variable.name, kind, law, stands, latents)  # type: ignore[arg-type]


# ---- order


def axis_order(model: Model, scope: Scope) -> tuple[str, ...]:
    """Samples, the data plate, the other plates as declared, then latents, each after its past and before its joint values."""
    plates = sorted(model.plates, key=lambda plate: not plate.data)
    latents = [v.name for v in model.variables if v.name in scope.enumerated]
    own = {v: (past(v, 2), past(v), v, *(unrolled(v, p) for p in model.variable[v].plates)) for v in latents}
    return (SAMPLES, *(p.name for p in plates), *(axis for v in latents for axis in own[v]))


def order_steps(
    model: Model, scope: Scope, factors: tuple[Factor, ...], order: tuple[str, ...]
) -> tuple[tuple[Step, ...], Mapping[str, str]]:
    """The steps, and the latents that they sum out jointly along a small plate."""
    data = next(plate.name for plate in model.plates if plate.data)
    nodes = [Node(f.name, frozenset(f.plates) | {data}, frozenset(f.latents), pointers(f, scope)) for f in factors]
    whole = {name: {plate} for name, plate in scope.joint.items()}
    own = {name: frozenset(element_plates(model.variable[name])) for name in scope.enumerated}
    home = {name: (own[name] | {data}) - whole.get(name, set()) for name in scope.enumerated}
    trees = {name: str(v.type.plate) for name in scope.enumerated if (v := model.variable[name]).type.domain == "tree"}
    chains = {name: chain for name in scope.enumerated if (chain := chain_of(model.variable[name], model))}
    guided = {factor.variable for factor in factors if factor.kind == "guide"}
    fixed = {*chains, *trees, *scope.joint, *guided, *(pointer.latent for node in nodes for pointer in node.pointers)}
    unroll: dict[str, str] = {}

    def sort(axes: frozenset[str]) -> tuple[str, ...]:
        return tuple(sorted(axes, key=order.index))

    while nodes:
        try:
            known = Layout(home, chains, trees, frozenset(scope.joint), frozenset(guided), unroll, frozenset({data}), sort)
            return eliminate(nodes, known), unroll
        except IntractableError as error:
            found = options(error, model, home, fixed)
            if not found or found[0].why is not None:
                raise SpecError(model.source, [coupled(error, model, found)]) from error
            unroll |= dict.fromkeys(found[0].latents, found[0].plate)
            home |= {name: home[name] - {found[0].plate} for name in found[0].latents}
    return (), unroll


def pointers(factor: Factor, scope: Scope) -> tuple[Pointer, ...]:
    """The enumerated latents that a factor reads at an index."""
    found = [e for part in (law_parts(factor.law) if factor.law else ()) for e in walk(part) if isinstance(e, Select)]
    return tuple(Pointer(e.name, plate, index) for e in found if e.name in scope.enumerated for plate, index in e.by)
