"""The gradient of the objective by the parameters of the model: that of the joint, in the mean under the posterior of what is
not seen, or under what stands in the posterior's place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vispec.explain.factors import guide, guided
from vispec.explain.formula import Formula, Section, joint_name, law_alone, nested, ordered, random_nets, row_plates
from vispec.graph.reads import reads
from vispec.model import model as m
from vispec.plan.planned import Plan

if TYPE_CHECKING:
    from vispec.explain.planned import Told


def gradient(told: Told) -> Iterator[Section]:
    """A section, and none where the model has nothing to fit."""
    writer, plan = told.writer, told.plan
    terms = list(learning(told))
    if not terms:
        return
    nabla = writer.sign("∇ ", r"\nabla ")
    points = [writer.notation.name(name) for name in told.points]
    left = nabla + writer.log(joint_name(writer, hidden=False, points=points))
    laws = [(in_rows(plan, v), Formula("", nabla + (law_alone(writer) or writer.density(v.name, v.law)).log)) for v in terms]
    inside = nested(writer, laws).log
    if plan.combine in ("iwae", "mc"):
        inside = f"[{inside}]" if len(terms) > 1 else inside
        inside = writer.sign("Σ_s w[s] ", r"\sum_s w_s\, ") + inside
    under = [*under_guides(told), *posterior(told)]
    sign = writer.sign("≈", r"\approx") if [*under_guides(told)] or plan.combine != "exact" else "="
    yield Section("Gradient", " ".join(words(told)), (f"{left} {sign} {writer.mean(under, inside)}",))


def in_rows(plan: Plan, variable: m.Variable) -> tuple[str, ...]:
    """Its plates but that of the rows, which stands where rows share latents."""
    left_out = row_plates(plan.model)
    return tuple(plate for plate in variable.law_plates if plate not in left_out)


def learning(told: Told) -> Iterator[m.Variable]:
    """The variables whose laws read what is fitted, guides aside, and where their gradient is that of their own log-density."""
    model, plan = told.writer.model, told.plan
    for variable in ordered(model):
        treatment, point = plan.treatments.get(variable.name), variable.name in told.points
        if variable.law is None or treatment is None or treatment.kind == "free":
            continue
        drawn_from_law = treatment.kind == "draw" and not point and not guided(model, variable.name)
        if not drawn_from_law and (point or fitted(told, variable.law)):
            yield variable


def fitted(told: Told, value: m.Expression | m.Law) -> bool:
    """Whether it reads a parameter that is not fixed, the weights of a net, or a point estimate."""
    model = told.writer.model
    names = {read.name for read in reads(value)}
    nets = (net for net in model.nets if net.name in names)
    return (
        bool(names & ({*model.param, *told.points} - {*model.fixed}))
        or any(net.prior is None and net.name not in model.fixed for net in nets)
        or any(fitted(told, model.let[name].value) for name in names & model.let.keys())
    )


# ---- what the mean is under


def under_guides(told: Told) -> list[Formula]:
    """The densities that draws come from, and those of guides that are summed; each after what it reads."""
    writer, plan = told.writer, told.plan
    nets = [Formula(f"q({net})", "") for net in random_nets(writer)]
    first = [q for q, read in told.drawn.values() if not read]
    summed = [writer.density(name, guide(plan.model, name), "q") for name in summed_names(told, with_guide=True)]
    return [*nets, *first, *summed, *(q for q, read in told.drawn.values() if read)]


def posterior(told: Told) -> list[Formula]:
    """That of what is summed out without a guide, given what is drawn and seen."""
    writer, plan = told.writer, told.plan
    summed = summed_names(told, with_guide=False)
    if not summed:
        return []
    before = [*random_nets(writer), *(writer.notation.name(v.name) for v in ordered(plan.model) if is_before(told, v))]
    seen = [v for v in ordered(plan.model) if v.role in ("observed", "partial", "given") and v.name not in summed]
    given = dict.fromkeys([*before, *(writer.notation.name(v.name) for v in seen)])
    bar = writer.sign(" | ", r" \mid ")
    left = ", ".join(map(writer.notation.name, summed))
    return [Formula(f"p({left}{bar + ', '.join(given) if given else ''})", "")]


def summed_names(told: Told, with_guide: bool) -> list[str]:
    """What is summed out, in the order of the model."""
    model, treatments = told.writer.model, told.plan.treatments
    kinds = ("sum", "integrate")
    summed = [v.name for v in ordered(model) if v.name in treatments and treatments[v.name].kind in kinds]
    return [name for name in summed if guided(model, name) == with_guide]


def is_before(told: Told, variable: m.Variable) -> bool:
    """Whether it has a value when what is left is summed: it is drawn, or its guide summed."""
    kind = told.plan.treatments[variable.name].kind if variable.name in told.plan.treatments else ""
    return kind == "draw" or (kind == "sum" and guided(told.writer.model, variable.name))


# ---- words


def words(told: Told) -> Iterator[str]:
    """What the mean is under, how draws are weighed, and by what else parameters of guides and of drawn laws learn."""
    plan, name_of, drawn = told.plan, told.writer.prose.notation.name, [t.variable for t in told.plan.drawn]
    if not under_guides(told):
        hidden = bool(posterior(told))
        yield "That of the log joint, averaged over the posterior." if hidden else "Nothing is hidden, so there is no average."
        return
    guides = plan.bayesian_nets or summed_names(told, with_guide=True) or any(guided(plan.model, name) for name in drawn)
    place = "The guide" if guides else "What is drawn from"
    yield f"That of the log joint, averaged. {place} stands in the posterior's place."
    if plan.combine == "iwae":
        yield "Draws have weights w[s] in proportion to p / q, of sum 1."
    elif plan.combine == "mc":
        yield "Draws have weights w[s] in proportion to the density of the row given them, of sum 1."
    learners = dict[str, list[str]]()
    for name in drawn:
        learners.setdefault(learns(told, name), []).append(name_of(name))
    if summed := summed_names(told, with_guide=True):
        learners["The guide of {} learns by all its probabilities."] = [name_of(name) for name in summed]
    for how, names in learners.items():
        yield how.format(", ".join(names))


def learns(told: Told, name: str) -> str:
    """A sentence, for the names of those of which it holds."""
    way, has_guide = told.plan.row.draws.way(name), guided(told.plan.model, name)
    who = ("The guide" if has_guide else "The law") + " of {} learns "
    if way.sleeps:
        return who + "from draws of the model itself."
    if way.smooth:
        return who + "through its draws, which are smooth in its parameters."
    if way.draw is not None:
        return who + "by its probabilities of likely values, and by the score of draws from the rest."
    return who + f"by ∇ log {'q' if has_guide else 'p'} of each draw, times what the draw is worth."
