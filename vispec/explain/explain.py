"""The derivation of a model's objective, step by step: the joint, the marginal, the order of the sums, the bound.

What is summed and what is sampled is the plan's decision; this file only words it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from vispec.explain.formula import (
    Formula,
    Section,
    Writer,
    integral,
    joint_name,
    law_alone,
    nested,
    ordered,
    random_nets,
    row_plates,
)
from vispec.explain.planned import planned
from vispec.graph.layout.figure import plate_limit
from vispec.model import model as m
from vispec.model.types import FINITE_DOMAINS
from vispec.plan.planned import Plan
from vispec.plan.treatment import Row


class UnknownSectionError(ValueError):
    """Sections that a derivation does not have."""


@dataclass(frozen=True)
class Explanation:
    """The sections of one model's derivation; latex: the formulas are TeX."""

    title: str
    sections: tuple[Section, ...]
    latex: bool


def explain(model: m.Model, plan: Plan | None = None, latex: bool = False, derived: Sequence[Row] = ()) -> Explanation:
    """The derivation; without a plan it ends with the marginal. derived: how the posterior tells of quantities that no law
    reads."""
    writer = Writer.of(model, latex)
    sections = [_laws(writer), _joint(writer)]
    sections += [_marginal(writer)] if _hidden(model) or random_nets(writer) else []
    sections += planned(Writer.of(plan.model, latex), plan) if plan is not None else []
    sections += [_derived(writer, derived)] if derived else []
    return Explanation(model.name, tuple(sections), latex)


def kind(section: Section) -> str:
    """What a section is called where some are asked for: `model`, `step`, `objective`."""
    return section.heading.split()[0].lower()


def only(explanation: Explanation, names: Collection[str]) -> Explanation:
    """Those sections. Raises UnknownSectionError where the derivation has none of a name."""
    kinds = dict.fromkeys(map(kind, explanation.sections))
    for name in names:
        if name not in kinds:
            raise UnknownSectionError(f"the derivation has no section `{name}`; it has {', '.join(kinds)}")
    return replace(explanation, sections=tuple(s for s in explanation.sections if kind(s) in names))


# ---- from the model


def _laws(writer: Writer) -> Section:
    model, notation = writer.model, writer.notation
    tilde = writer.sign(" ∼ ", r" \sim ")
    laws = {v.name: writer.drawn(v.name) + tilde + notation.law(v.law) for v in model.variables if v.law is not None}
    lets = {let.name: notation.own(let.name) + " = " + notation.expression(let.value) for let in model.lets}
    mark = writer.sign("   (guide)", r" \quad \text{(guide)}")
    guides = [notation.own(g.name) + tilde + notation.law(g.law) + mark for g in model.guide]
    data = ", ".join(plate.name for plate in model.plates if plate.data and not plate.implicit)
    prose = f"The laws of one row, an element of plate {data}, whose index is left out." if data else "The laws."
    own = laws | lets
    return Section("Model", prose, (*_starts(writer), *(own[name] for name in model.order if name in own), *guides))


def _derived(writer: Writer, rows: Sequence[Row]) -> Section:
    """What can be asked for beside the latents."""
    model, notation = writer.model, writer.notation
    told = " ".join(f"{row.variable} is {row.because}{', exact' if row.exact else ''}." for row in rows)
    lets = {let.name: notation.own(let.name) + " = " + notation.expression(let.value) for let in model.lets}
    return Section(
        "Derived", f"What `vispec posterior` tells beside latents. {told}", tuple(lets[row.variable] for row in rows)
    )


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
    formula = f"{joint_name(writer)} = {(law_alone(writer) or _joint_formula(writer)).prob}"
    return Section("Joint", "Every variable given what its law reads.", (formula,))


def _joint_formula(writer: Writer) -> Formula:
    """The product of all laws; over the rows too where a latent is shared by them."""
    model, rows = writer.model, row_plates(writer.model)
    weights = [((), Formula(f"p({name})", writer.log(f"p({name})"))) for name in random_nets(writer)]
    laws = [
        (tuple(p for p in variable.law_plates if p not in rows), writer.density(variable.name, variable.law))
        for variable in ordered(model)
        if variable.law is not None
    ]
    return nested(writer, (*weights, *laws))


def _hidden(model: m.Model) -> list[m.Variable]:
    return [variable for variable in ordered(model) if variable.role in ("latent", "partial")]


def _marginal(writer: Writer) -> Section:
    """The sum and integral that the data's probability is, before anything is rearranged."""
    hidden = _hidden(writer.model)
    signs = "".join(integral(writer, name) for name in random_nets(writer))
    signs += "".join(_summation(writer, variable) for variable in hidden)
    formula = f"{writer.log(joint_name(writer, hidden=False))} = {writer.log(signs + joint_name(writer))}"
    kinds = {v.type.discrete for v in hidden} | ({False} if random_nets(writer) else set())
    how = "summed out, or integrated" if len(kinds) > 1 else "summed out" if kinds == {True} else "integrated out"
    prose = f"What is not seen is {how}."
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
        return integral(writer, name)
    return writer.sign(f"Σ_{name} ", rf"\sum_{{{name}}} ")


def _terms(variable: m.Variable, model: m.Model) -> str:
    """The number of joint values of a finite variable's elements within a row: values to the power of elements."""
    plates = [model.plate[plate] for plate in variable.plates if not model.plate[plate].data]
    card = variable.type.card
    values = str(card) if card is not None else plate_limit(model.plate[variable.type.plate or ""], model)
    elements = "·".join(plate_limit(plate, model) for plate in plates)
    return f"{values}^{f'({elements})' if len(plates) > 1 else elements}" if plates else values
