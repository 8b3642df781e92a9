"""Model → Factors: the log-density of each variable at its own element, each let, each guide, as nodes over sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vispec.factors import structured
from vispec.factors.expressions import expression
from vispec.factors.frame import Frame
from vispec.factors.laws import FlowLaw, Law, law, log_prob
from vispec.factors.structured import is_structure
from vispec.model.model import Model
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.cost import Numbers
from vispec.program.node import Node


@dataclass(frozen=True)
class Factor:
    """A variable's log-density (nats) at its own element, over its plates and what its law reads, and that law.
    None where the density is known at the law's own draws alone.

    stands: the plates that it has one value per element of, whether or not it differs along them. norm: of labels, of which
    log_prob is a score, minus the log-sum of all scores. parts: that score, as what reads the label before and the rest."""

    name: str
    log_prob: Node | None
    law: Law
    stands: tuple[Axis, ...]
    parts: tuple[Node, ...] = ()
    norm: Node | None = None


@dataclass(frozen=True)
class Factors:
    """factors: of each variable that has a law. guides: of each latent or partial variable that has one. lets: by name."""

    model: Model
    frame: Frame
    factors: Mapping[str, Factor]
    guides: Mapping[str, Factor]
    lets: Mapping[str, Node]

    @property
    def numbers(self) -> Numbers:
        """The sizes that the spec gives."""
        return Numbers({size.name: size.value for size in self.model.sizes if size.value is not None})


def factorise(model: Model, frame: Frame | None = None) -> Factors:
    """The model as a program of which nothing is summed or drawn yet; on the axes of the frame of another one that differs from
    it in guides and estimators alone."""
    f = Frame(model) if frame is None else replace(frame, model=model, known={}, states={})
    lets = {let.name: f.named(expression(f, let.value), let.name) for let in (*model.lets, *model.guide_lets)}
    found = {v.name: factor(f, v.name, v.law) for v in model.variables if v.law is not None}
    guides = {guide.name: factor(f, guide.name, guide.law) for guide in model.guide}
    return Factors(model, f, found, guides, lets)


def flows(found: Law) -> bool:
    """Whether its density is known at its own draws alone."""
    return isinstance(found, FlowLaw)


def factor(f: Frame, name: str, found: object) -> Factor:
    """A law of a variable at its site, or at its data."""
    variable = f.model.variable[name]
    resolved = law(f, variable, found)  # type: ignore[arg-type]
    value = f.data(variable) if variable.role == "observed" else f.site(variable)
    if is_structure(variable):
        node = structured.log_prob(f, variable, resolved) if variable.role == "observed" else None
        return Factor(name, node, resolved, tuple(map(f.plate, variable.plates)))
    if variable.type.along is not None:
        parts, norm = structured.label_scores(f, variable, resolved)
        score = f.named(build.add(*parts), f"log_{name}")
        return Factor(name, score, resolved, tuple(map(f.plate, variable.plates)), parts, norm)
    type_ = variable.type if variable.type.whole_of is None else replace(variable.type, shape=())  # apart at each length
    node = None if flows(resolved) else f.named(log_prob(f, resolved, value, type_), f"log_{name}")
    return Factor(name, node, resolved, tuple(map(f.plate, variable.plates)))
