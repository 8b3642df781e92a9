"""The quantity that training maximises: per row, or where rows share latents for all rows together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vispec.estimators import estimators
from vispec.explain.factors import guide, joint_guide, less_divergence
from vispec.explain.formula import Formula, Section, Writer, joint_name, law_alone, nested, random_nets
from vispec.model import model as m
from vispec.plan.held.adds import asked
from vispec.plan.order.refuse import figure
from vispec.plan.planned import Plan

if TYPE_CHECKING:
    from vispec.explain.planned import Told


def objective(told: Told, total: Formula) -> Section:
    """Its value, and how it is estimated."""
    writer, plan = told.writer, told.plan
    points = told.points
    left = writer.log(joint_name(writer, hidden=False, points=[writer.notation.name(name) for name in points]))
    masked = [writer.prose.notation.name(t.variable) for t in plan.treatments.values() if t.kind == "masked"]
    dropped = f" Missing cells of {', '.join(masked)} drop out, as nothing depends on them." if masked else ""
    if plan.combine == "mc":
        prose = f"Estimated by S = {draws(plan)} from the prior.{dropped}"
        return Section("Objective", prose, (left + writer.sign(" ≈ ", r" \approx ") + writer.log(average(told, total)),))
    inside = writer.log(average(told, total)) if plan.combine == "iwae" else total.log
    if plan.has_shared:
        return Section("Objective", of_all_rows(told) + dropped, (of_shared(told, left, inside, points),))
    if plan.combine == "exact":
        aim = "it" if plan.model.single else "its sum over the rows"
        prose = f"{exactly(plan)} Training maximises {aim}.{smoothed(told)}{dropped}"
        return Section("Objective", prose, (f"{left} = {alone.log if (alone := law_alone(writer)) else inside}",))
    prose = bounded(told) + dropped + supervised(told) + smoothed(told)
    outer = [q for q, read in told.drawn.values() if not read]
    return Section("Objective", prose, (left + writer.sign(" ≥ ", r" \ge ") + writer.mean(outer, inside),))


def exactly(plan: Plan) -> str:
    """Whether it is exact for all rows."""
    if plan.alternative is None or plan.exactly is None:
        return "Exact."
    name, most = plan.exactly
    return f"Exact for rows of up to {most} joint values of {name}, for longer ones a bound by {plan.alternative.estimator}."


def average(told: Told, total: Formula) -> str:
    return told.writer.sign("(1/S) Σ_s ", r"\frac{1}{S} \sum_s ") + f"[{total.prob}]"


def draws(plan: Plan) -> str:
    return f"{plan.samples} draw{'s' if plan.samples != 1 else ''}"


def bounded(told: Told) -> str:
    """What kind of bound it is."""
    sampled = any(t.kind == "draw" for t in told.plan.treatments.values()) or told.plan.bayesian_nets
    how = f"estimated by {draws(told.plan)}" if sampled else "the guide in place of the posterior"
    gap = (
        " It falls short by the divergence of the guide from the posterior."
        if told.guided and told.plan.combine == "elbo"
        else ""
    )
    return f"A lower bound{',' if sampled else ':'} {how}.{gap}{estimated(told)}"


# ---- what all rows share


def of_all_rows(told: Told) -> str:
    """What the objective is where rows share latents."""
    plan, notation = told.plan, told.writer.prose.notation
    names = [notation.own(name) for name in plan.shared_latents if not plan.row.draws.way(name).point]
    drawn = ", ".join([*random_nets(told.writer.prose), *names])
    if not drawn:
        return f"Exact at the point estimates, whose prior counts once.{estimated(told)}"
    text = bounded(told) + supervised(told) + smoothed(told)
    if plan.model.single is None:
        return f"{text} All rows share {drawn}: the divergence from their prior is taken off once for all, not for each row."
    return f"{text} The divergence of {drawn} from their prior is taken off."


def of_shared(told: Told, left: str, inside: str, points: list[str]) -> str:
    """The sum over the rows, under the guides of what they share, less its divergence from its prior."""
    writer, plan = told.writer, told.plan
    shared = [name for name in plan.shared_latents if name not in points]
    outer = {name: q for name, (q, read) in told.drawn.items() if not read}
    rows = [q for name, q in outer.items() if name not in shared]
    guides = [*(Formula(f"q({net})", writer.log(f"q({net})")) for net in random_nets(writer))]
    guides += [q for name, q in outer.items() if name in shared]
    each = writer.mean(rows, inside)
    if plan.model.single is None:
        each = writer.over((plan.data_plate,), Formula("", each), several=not rows and told_apart(each)).log
    less = "".join(f" {text[:1]} {text[1:]}" for text in divergences(told, shared))
    prior = "".join(f" + {prior_of(writer, name).log}" for name in points)
    conditional = any(" | " in q.prob or r"\mid" in q.prob for q in guides)
    value = writer.mean(guides, each + less) + prior if conditional else writer.mean(guides, each) + less + prior
    sign = writer.sign("≥", r"\ge") if guides or plan.combine != "exact" else "="
    return f"{left} {sign} {value}"


def told_apart(text: str) -> bool:
    """Whether a formula is a sum of terms, which a sign of summation before it would split."""
    return " + " in text or " − " in text or " - " in text


def divergences(told: Told, shared: list[str]) -> list[str]:
    """-KL of the guide of each shared latent, or of all that have one together, from its prior."""
    writer, model = told.writer, told.writer.model
    found = []
    for net in random_nets(writer):
        p, q = (Formula(f"{letter}({net})", "") for letter in "pq")
        found.append(less_divergence(writer, q, p).log)
    joint = model.joint.names if model.joint is not None else ()
    if model.joint is not None:
        prior = nested(writer, [(plates_of(model, name), writer.density(name, model.variable[name].law)) for name in joint])
        found.append(less_divergence(writer, joint_guide(writer, model.joint), prior).log)
    for name in shared:
        if name not in joint:
            q = writer.density(name, guide(model, name), "q")
            less = less_divergence(writer, q, writer.density(name, model.variable[name].law)).log
            found.append(less[:1] + writer.over(plates_of(model, name), Formula("", less[1:])).log)
    return found


def prior_of(writer: Writer, name: str) -> Formula:
    """The density of a point estimate, in all its plates."""
    return writer.over(plates_of(writer.model, name), writer.density(name, writer.model.variable[name].law))


def plates_of(model: m.Model, name: str) -> tuple[str, ...]:
    return tuple(plate for plate in model.variable[name].plates if not model.plate[plate].data)


# ---- words


def supervised(told: Told) -> str:
    """What becomes of the guides of cells that the data has."""
    plan, writer = told.plan, told.writer.prose
    seen = [writer.notation.name(name) for name in guided_partial(plan)]
    certain = f" Where {', '.join(seen)} is seen, its guide is certain of it." if seen else ""
    labels = [writer.density(name, guide(plan.model, name), "q").log for name in taught(plan)]
    if not labels:
        return certain
    weight = next(entry.value for entry in plan.model.fit if isinstance(entry, m.FitEntry) and entry.key == "supervise")
    return f"{certain} Training adds {weight} times {', '.join(labels)} where the data has the cell, to teach the guide."


def smoothed(told: Told) -> str:
    """What training takes in the place of the outcomes that are seen."""
    share = asked(told.plan.model, "label_smoothing")
    return f" In it an observed category counts {1 - share:g} times, and the mean of all {share:g} times." if share else ""


def estimated(told: Told) -> str:
    """What the estimators do that `infer:` asks for."""
    model, plan = told.plan.model, told.plan
    found = [(i, estimators()[i.estimator.name]) for i in model.infer if plan.treatments[i.name].kind == "draw"]
    return "".join(f" {told.writer.prose.notation.name(i.name)} by {kind.name}: {kind.words}." for i, kind in found)


def taught(plan: Plan) -> list[str]:
    """The partial variables whose guides the data's own cells teach."""
    return guided_partial(plan) if any(entry.key == "supervise" for entry in plan.model.fit) else []


def guided_partial(plan: Plan) -> list[str]:
    """Partial variables whose missing cells have guides."""
    partial = [v.name for v in plan.model.variables if v.role == "partial" and guide(plan.model, v.name) is not None]
    return [name for name in partial if plan.treatments[name].kind in ("sum", "draw")]


def costs(plan: Plan) -> Section:
    """What all sums take, and the next cheapest order would."""
    cost = plan.cost
    found = f"At most {cost.peak} bytes are alive at once, {cost.bytes} are kept for a gradient."
    if cost.terms != "0":
        found = f"All sums: {cost.terms} terms. {found}"
    if cost.runner_up is not None:
        other, how = cost.runner_up
        found += f" The next cheapest order ({how}) takes {figure(other)} terms a row in place of {figure(plan.order.terms)}."
    return Section("Cost", found, ())
