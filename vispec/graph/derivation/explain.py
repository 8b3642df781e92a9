"""The derivation of a model's objective, step by step: the joint, the marginal, the order of the sums, the bound.

What is summed and what is sampled is the plan's decision; this file only words it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vispec.graph.derivation.formula import Formula, Writer, nested
from vispec.graph.layout.figure import plate_limit
from vispec.graph.reads import reads
from vispec.model import model as m
from vispec.model.types import FINITE_DOMAINS

if TYPE_CHECKING:
    from vispec.plan.plan import Factor, Plan, Step

TEX_PARALLEL, TEX_TIMES, TEX_NEARLY, TEX_AT_LEAST = r" \,\| ", r"\, ", r"\approx", r"\ge"


@dataclass(frozen=True)
class Section:
    """A heading, a few words, and formulas, in Unicode or TeX."""

    heading: str
    prose: str
    formulas: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """The sections of one model's derivation; latex: the formulas are TeX."""

    title: str
    sections: tuple[Section, ...]
    latex: bool


def explain(model: m.Model, plan: "Plan | None" = None, latex: bool = False) -> Explanation:
    """The derivation; without a plan it ends with the marginal."""
    writer = Writer.of(model, latex)
    sections = [_laws(writer), _joint(writer)]
    sections += [_marginal(writer)] if _hidden(model) or _random_nets(writer) else []
    sections += _planned(Writer.of(plan.model, latex), plan) if plan is not None else []
    return Explanation(model.name, tuple(sections), latex)


# ---- from the model


def _laws(writer: Writer) -> Section:
    model, notation = writer.model, writer.notation
    tilde = writer.sign(" ∼ ", r" \sim ")
    laws = {v.name: notation.own(v.name) + tilde + notation.law(v.law) for v in model.variables if v.law is not None}
    lets = {let.name: notation.own(let.name) + " = " + notation.expression(let.value) for let in model.lets}
    mark = writer.sign("   (guide)", r" \quad \text{(guide)}")
    guides = [notation.own(g.name) + tilde + notation.law(g.law) + mark for g in model.guide]
    data = ", ".join(plate.name for plate in model.plates if plate.data and not plate.implicit)
    prose = f"The laws of one row, an element of plate {data}, whose index is left out." if data else "The laws."
    own = laws | lets
    return Section("Model", prose, (*_starts(writer), *(own[name] for name in model.order if name in own), *guides))


def _starts(writer: Writer) -> Iterator[str]:
    """Where parameters start, or stay, of which the spec says it."""
    model, notation = writer.model, writer.notation
    for param in model.params:
        fixed = param.name in model.fixed
        if param.value is not None or fixed:
            value = "" if param.value is None else f" = {notation.expression(param.value)}"
            word = "fixed" if fixed else "start"
            yield notation.own(param.name) + value + writer.sign(f"   ({word})", rf" \quad \text{{({word})}}")


def _joint(writer: Writer) -> Section:
    return Section(
        "Joint", "Every variable given what its law reads.", (f"{_joint_name(writer)} = {_joint_formula(writer).prob}",)
    )


def _joint_formula(writer: Writer) -> Formula:
    """The product of all laws; over the rows too where a latent is shared by them."""
    model = writer.model
    shared = any(_global(v, model) for v in model.variables if v.role == "latent") or any(net.random for net in model.nets)
    rows = {plate.name for plate in model.plates if plate.data and (plate.implicit or not shared)}
    weights = [((), Formula(f"p({name})", writer.log(f"p({name})"))) for name in _random_nets(writer)]
    laws = [
        (tuple(p for p in variable.plates if p not in rows), writer.density(variable.name, variable.law))
        for variable in _ordered(model)
        if variable.law is not None
    ]
    return nested(writer, (*weights, *laws))


def _global(variable: m.Variable, model: m.Model) -> bool:
    return not any(model.plate[plate].data for plate in variable.plates)


def _random_nets(writer: Writer) -> list[str]:
    return [writer.notation.name(net.name) for net in writer.model.nets if net.random]


def _ordered(model: m.Model) -> list[m.Variable]:
    """The variables in the order in which they can be drawn."""
    return [model.variable[name] for name in model.order if name in model.variable]


def _joint_name(writer: Writer, hidden: bool = True) -> str:
    """p(all that is not given | what is given), with or without the latents."""
    variables = _ordered(writer.model)
    roles = ("observed", "partial", "latent") if hidden else ("observed", "partial")
    names = (_random_nets(writer) if hidden else []) + [writer.notation.name(v.name) for v in variables if v.role in roles]
    given = [writer.notation.name(v.name) for v in variables if v.role == "given"]
    bar = writer.sign(" | ", r" \mid ")
    return f"p({', '.join(names)}{bar + ', '.join(given) if given else ''})"


def _hidden(model: m.Model) -> list[m.Variable]:
    return [variable for variable in _ordered(model) if variable.role in ("latent", "partial")]


def _marginal(writer: Writer) -> Section:
    """The sum and integral that the data's probability is, before anything is rearranged."""
    hidden = _hidden(writer.model)
    signs = "".join(_integral(writer, name) for name in _random_nets(writer))
    signs += "".join(_summation(writer, variable) for variable in hidden)
    formula = f"{writer.log(_joint_name(writer, hidden=False))} = {writer.log(signs + _joint_name(writer))}"
    prose = "What is not seen is summed out, or integrated."
    if any(v.role == "partial" for v in hidden):
        prose += " Of a partial variable only the missing cells are."
    sizes = [
        _terms(variable, writer.model)
        for variable in hidden
        if variable.type.domain in FINITE_DOMAINS and not variable.type.shape
    ]
    if sizes:
        most = "up to " if any(v.role == "partial" for v in hidden) else ""
        prose += f" Written out, the sum has {most}{' · '.join(sizes)} terms."
    return Section("Marginal", prose, (formula,))


def _summation(writer: Writer, variable: m.Variable) -> str:
    name = writer.notation.name(variable.name)
    if not variable.type.discrete:
        return _integral(writer, name)
    return writer.sign(f"Σ_{name} ", rf"\sum_{{{name}}} ")


def _integral(writer: Writer, name: str) -> str:
    return writer.sign(f"∫ d{name} ", rf"\int \mathrm{{d}}{name}\, ")


def _terms(variable: m.Variable, model: m.Model) -> str:
    """The number of joint values of a finite variable's elements within a row: values to the power of elements."""
    plates = [model.plate[plate] for plate in variable.plates if not model.plate[plate].data]
    card = variable.type.card
    values = str(card) if card is not None else plate_limit(model.plate[variable.type.plate or ""], model)
    elements = "·".join(plate_limit(plate, model) for plate in plates)
    return f"{values}^{f'({elements})' if len(plates) > 1 else elements}" if plates else values


# ---- from the plan


def _planned(writer: Writer, plan: "Plan") -> Iterator[Section]:
    formulas = {factor.name: _factor(writer, factor) for factor in plan.factors if factor.kind not in ("norm", "labels")}
    guides = {factor.name for factor in plan.factors if factor.kind == "guide"}
    drawn = _drawn(writer, plan)
    costs = {row.variable: row.cost for row in plan.rows}
    number = 0
    for step in plan.steps:
        if not formulas.keys() & set(step.inputs):  # what only training adds
            continue
        formulas[step.output] = _apply(writer, step, formulas, guides, drawn)
        if step.kind != "add":
            number += 1
            names = (axis.partition("[")[0] for axis in step.eliminated)
            cost = next((costs[name] for name in names if name in costs), {})
            shown = formulas[step.output].log if guides & set(step.inputs) else formulas[step.output].prob
            lines = (shown, *_recursion(writer, step, formulas))
            yield Section(f"Step {number}: {_what(writer, step)}", _because(step, cost), lines)
    total = formulas[plan.steps[-1].output] if plan.steps else Formula("1", "0")
    yield _objective(writer, plan, total, [q for q, read in drawn.values() if not read])


def _drawn(writer: Writer, plan: "Plan") -> dict[str, tuple[Formula, set[str]]]:
    """For each drawn variable the density that it is drawn from, and which of the enumerated variables that reads."""
    summed = {t.variable for t in plan.treatments.values() if t.kind == "sum"}
    found, model = {}, writer.model
    for treatment in plan.treatments.values():
        name = treatment.variable
        if model.joint is not None and name in model.joint.names:
            found[model.joint.names[0]] = (_joint_guide(writer, model.joint), set[str]())
        elif treatment.kind == "draw" and treatment.gradient != "point":
            guide = _guide(model, name)
            law = guide or model.variable[name].law
            found[name] = (writer.density(name, law, "q" if guide else "p"), {read.name for read in reads(law)} & summed)
    return found


def _joint_guide(writer: Writer, guide: m.JointGuide) -> Formula:
    """The one density that several latents are drawn from."""
    inside = ", ".join(map(writer.notation.own, guide.names))
    return Formula(f"q({inside})", writer.log(f"q({inside})"))


def _guide(model: m.Model, name: str) -> m.Law | None:
    return next((guide.law for guide in model.guide if guide.name == name), None)


def _factor(writer: Writer, factor: "Factor") -> Formula:
    model, name = writer.model, factor.variable
    law, own = model.variable[name].law, writer.notation.own(name)
    guide = _guide(model, name)
    p, q = writer.density(name, law), writer.density(name, guide, "q")
    exp, minus = writer.sign("exp", r"\exp"), writer.sign("−", "-")
    if factor.kind in ("density", "arcs"):  # the arcs of a tree and what normalises them are its law together
        return p
    if factor.kind == "guide":
        return q
    if factor.kind == "seen":
        seen = writer.sign(f"1[{own} as seen]", rf"\mathbb{{1}}[{own}\text{{ as seen}}]")
        return Formula(seen, writer.log(seen))
    if factor.kind == "kl":
        divergence = writer.sign("KL", r"\mathrm{KL}")
        log = f"{minus}{divergence}({q.prob}{writer.sign(' ‖ ', TEX_PARALLEL)}{p.prob})"
        return Formula(f"{exp}({log})", log)
    return Formula(f"{p.prob} / {q.prob}", f"{p.log} {minus} {q.log}")


def _apply(writer: Writer, step: "Step", formulas: Mapping[str, Formula], guides: set[str], drawn: Mapping) -> Formula:
    """The formula of a step's output."""
    inputs = writer.times(formulas[name] for name in step.inputs if name in formulas and name not in guides)
    if step.kind in ("product", "scatter", "unroll"):
        return writer.over(step.eliminated, inputs, several=len(step.inputs) > 1)
    if step.kind == "chain":
        return writer.summed_chain(step.eliminated, _chain_plate(writer, step), inputs)
    if step.kind == "tree":
        return _trees(writer, step, formulas)
    if step.kind != "sum":
        return inputs
    guide = [formulas[name] for name in step.inputs if name in guides]
    if not guide:
        return writer.summed_whole(step.eliminated, inputs)
    inner = [q for q, read in drawn.values() if read & set(step.eliminated)]
    return writer.expected(step.eliminated, writer.times(guide), writer.mean(inner, inputs.log))


def _trees(writer: Writer, step: "Step", formulas: Mapping[str, Formula]) -> Formula:
    """The sum over trees: the law of the tree once, all else once for each element of its plate."""
    (tree,) = step.eliminated
    own, *others = sorted(step.inputs, key=lambda name: name != f"arcs_{tree}")
    each = writer.times(formulas[name] for name in others)
    plate = writer.model.variable[tree].type.plate
    inner = [writer.over((plate,), each, several=len(others) > 1)] if others and plate else []
    return writer.summed(step.eliminated, writer.times([formulas[own], *inner]))


def _chain_plate(writer: Writer, step: "Step") -> str:
    """The plate that a chain's sum runs along: the one of its latents' plates that its output lacks."""
    return next(plate for plate in writer.model.variable[step.eliminated[0]].plates if plate not in step.plates)


def _what(writer: Writer, step: "Step") -> str:
    names = ", ".join(step.eliminated)
    if step.kind == "product":
        return f"multiply over {names}"
    if step.kind == "unroll":
        return f"multiply over {names}, at all joint values along it"
    if step.kind == "scatter":
        return f"multiply over {names}, for each {step.into} those that point at it"
    if step.kind == "chain":
        return f"sum over all sequences of {names} along {_chain_plate(writer, step)}"
    if step.kind == "tree":
        return f"sum over all trees {names}"
    return f"sum out {names}" if step.kind == "sum" else f"{step.kind} {names}"


def _because(step: "Step", cost: Mapping) -> str:
    words = step.because[:1].upper() + step.because[1:] + "."
    shown = [f"{value} {name}" for name, value in (("terms", cost.get("terms")), ("bytes", cost.get("bytes"))) if value]
    return f"{words} Cost: {', '.join(shown)}." if shown and step.kind in ("sum", "chain", "tree") else words


def _recursion(writer: Writer, step: "Step", formulas: Mapping[str, Formula]) -> tuple[str, ...]:
    """The forward pass of a chain."""
    if step.kind != "chain":
        return ()
    plate, inputs = writer.notation.name(_chain_plate(writer, step)), writer.times(formulas[name] for name in step.inputs)
    own = ", ".join(map(writer.notation.own, step.eliminated))
    before = ", ".join(writer.notation.at(name, (f"{plate}{writer.sign('−', '-')}1",)) for name in step.eliminated)
    alpha, subscript = writer.sign("α", r"\alpha"), writer.sign(f"Σ_{{{before}}} ", rf"\sum_{{{before}}} ")
    return (f"{alpha}({own}) = {subscript}{alpha}({before}){writer.sign(' · ', TEX_TIMES)}{inputs.prob}",)


def _objective(writer: Writer, plan: "Plan", total: Formula, outer: list[Formula]) -> Section:
    """The quantity that training maximises; outer: the densities that draws come from, those of inner sums aside."""
    left = writer.log(_joint_name(writer, hidden=False))
    masked = [writer.notation.name(t.variable) for t in plan.treatments.values() if t.kind == "masked"]
    dropped = f" Missing cells of {', '.join(masked)} drop out, as nothing depends on them." if masked else ""
    if plan.combine == "exact":
        aim = "it" if plan.model.single else "its sum over the rows"
        return Section("Objective", f"Exact. Training maximises {aim}.{dropped}", (f"{left} = {total.log}",))
    average = writer.sign("(1/S) Σ_s ", r"\frac{1}{S} \sum_s ") + f"[{total.prob}]"
    draws = f"{plan.samples} draw{'s' if plan.samples != 1 else ''}"
    if plan.combine == "mc":
        prose = f"Estimated by S = {draws} from the prior.{dropped}"
        return Section("Objective", prose, (f"{left} {writer.sign('≈', TEX_NEARLY)} {writer.log(average)}",))
    inside = writer.log(average) if plan.combine == "iwae" else total.log
    sampled = any(t.kind == "draw" for t in plan.treatments.values())
    prose = (
        f"A lower bound, estimated by {draws}.{dropped}"
        if sampled
        else f"A lower bound: the guide in place of the posterior.{dropped}"
    )
    if plan.shared_latents:
        names = ", ".join(map(writer.notation.own, plan.shared_latents))
        all_rows = f" All rows share {names}: the divergence from their prior is taken off once for all, not for each row."
        prose += all_rows if plan.model.single is None else f" The divergence of {names} from their prior is taken off."
    labels = [writer.density(f.variable, f.law, "q").log for f in plan.factors if f.kind == "labels"]
    if labels:
        weight = next(entry.value for entry in plan.model.fit if isinstance(entry, m.FitEntry) and entry.key == "supervise")
        prose += f" Training adds {weight} times {', '.join(labels)} where the data has the cell, to teach the guide."
    return Section("Objective", prose, (f"{left} {writer.sign('≥', TEX_AT_LEAST)} {writer.mean(outer, inside)}",))
