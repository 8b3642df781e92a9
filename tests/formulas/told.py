"""What `explain` says of one spec beside the module that the compiler emits for it: random parameters, a random tiny batch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Generator, Tensor

from tests.formulas.cells import Place
from tests.formulas.draws import Drawn, draws_of
from tests.formulas.text import sides, split, tree
from tests.formulas.value import Evaluator, mixed
from vispec.explain.explain import Explanation, explain
from vispec.explain.formula import Section, Writer, law_alone
from vispec.model import model as m
from vispec.model.check import check_model
from vispec.plan.planned import Plan
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.bounds.shared import joint_noise, log_q_joint
from vispec.verify.build import build, randomise
from vispec.verify.oracle.densities import log_density
from vispec.verify.oracle.expressions import Scene
from vispec.verify.oracle.row import ENUMERABLE, Cell, Row, as_tensor, in_data, place_of, without_data
from vispec.verify.oracle.weights import divergence_of_weights, random_layers, weights_with_noise
from vispec.verify.trial import Trial, small_batch

ROWS, TERMS = 2, 40


@dataclass(frozen=True)
class Told:
    """One spec, explained and compiled at the same sizes."""

    trial: Trial
    plan: Plan
    explanation: Explanation

    @classmethod
    def of(cls, source: Source, sizes: Mapping[str, int], seed: int = 0) -> "Told":
        """Raises SpecError where the spec is refused."""
        built = build(source, sizes)
        generator = torch.Generator().manual_seed(seed)
        randomise(built, generator)
        batch, _ = small_batch(built, ROWS, generator, TERMS)
        model = check_model(parse(source), dict(built.sizes))
        plan = plan_model(model)
        return cls(Trial(built, batch, ROWS), plan, explain(model, plan))

    @cached_property
    def drawn(self) -> Drawn:
        """One call of the module; what rows share has been drawn before."""
        _ = self.trial.shared
        names = [t.variable for t in self.plan.treatments.values() if t.kind == "draw"]
        return draws_of(self.trial, list(dict.fromkeys([*names, *self.plan.shared_latents])))

    @cached_property
    def evaluator(self) -> Evaluator:
        """At the draws of that call."""
        built, plan, drawn = self.trial.built, self.plan, self.drawn
        return Evaluator(
            Writer.of(plan.model),
            [Scene(built.model, built.module, row) for row in self.trial.rows],
            draws=drawn.values,
            samples=drawn.samples,
            points=frozenset(name for name in plan.shared_latents if plan.row.draws.way(name).point),
            apart=frozenset(plan.shared_latents) - frozenset(plan.row.draws.analytic),
            joint=tuple(log_q_joint(built, noise) for noise in joint_noise(built, self.trial.shared)),
            flows=drawn.flows,
            weights=divergence_of_weights(built),
            within=lambda row: weights_with_noise(
                built, {id(r.layer): n[row] for r, n in zip(random_layers(built), drawn.noise, strict=False)}
            ),
        )

    @property
    def model(self) -> m.Model:
        return self.plan.model

    def section(self, heading: str) -> Section:
        return next(each for each in self.explanation.sections if each.heading == heading)

    def read(self, heading: str) -> str:
        """The formula of a section; a law at its variable's value, of a model of nothing else, as the density that it is."""
        (formula,) = self.section(heading).formulas
        writer = Writer.of(self.model)
        if (law := law_alone(writer)) is None:
            return formula
        (variable,) = (each for each in self.model.variables if each.role != "given")
        assert law.prob in formula
        return formula.replace(law.prob, writer.density(variable.name, variable.law).prob)

    @property
    def formula(self) -> str:
        return self.read("Objective")

    # ---- (formula, program) pairs

    def objective(self) -> tuple[Tensor, Tensor]:
        """The last formula, and what the module maximises: of each row, or of all together where they share latents."""
        _, node = sides(self.formula)
        if not self.plan.has_shared:
            return torch.stack([self.evaluator.value(node, Place(row)) for row in range(ROWS)]), self.drawn.log_prob
        return self.evaluator.value(node, Place()), self.drawn.log_prob.sum() + self.trial.shared.log_ratio

    def joint(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """At random values of what is hidden, beside the densities of all cells; of rows together where they share latents."""
        _, node = sides(self.read("Joint"))
        evaluator = self.knowing(generator)
        places = [replace(self.everywhere, row=row) for row in range(ROWS)]
        of_rows = torch.stack([self.densities(evaluator, place, in_rows=True) for place in places])
        if not self.plan.has_shared:
            return torch.stack([evaluator.log(node, place) for place in places]), of_rows
        return evaluator.log(node, self.everywhere), of_rows.sum() + self.densities(evaluator, self.everywhere, in_rows=False)

    def marginal(self) -> tuple[Tensor, Tensor] | None:
        """The sum over all hidden values of the joint, beside brute force; None where these cannot be listed."""
        (formula,) = self.section("Marginal").formulas
        hidden = [v for v in self.model.variables if v.role in ("latent", "partial")]
        if any(v.type.domain not in ENUMERABLE for v in hidden) or self.plan.has_shared:
            return None
        evaluator = replace(self.evaluator, whole=sides(self.read("Joint"))[1])
        _, node = sides(formula)
        mine = torch.stack([evaluator.value(node, Place(row)) for row in range(ROWS)])
        return mine, torch.stack([each.log_prob for each in self.trial.enumerations])

    def recursions(self, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """What each recursion comes to at the end of its chain, beside the sum over all sequences that it stands for."""
        for step in self.explanation.sections:
            if step.formulas[-1:] and step.formulas[-1].startswith("α("):
                whole, recursion = step.formulas
                left, right = sides(recursion)
                own = left.removeprefix("α(").removesuffix(")")
                evaluator = replace(self.knowing(generator), recursion=(own, right))
                for here in (replace(self.everywhere, row=row) for row in range(ROWS)):
                    yield self.at_the_end(evaluator, own, here), self.sequences(evaluator, whole, here)

    def at_the_end(self, evaluator: Evaluator, own: str, here: Place) -> Tensor:
        """Σ α over the last elements of a chain, of the first elements of the plates around it."""
        at = self.first_elements(evaluator, own)
        plate = evaluator.plates[split(own.partition("[")[2].partition("]")[0])[-1]]
        last = replace(here, at={**at, plate: evaluator.row(here).count(plate, at) - 1})
        cells = [cell for text in split(own) for cell in evaluator.cells(text, last)]
        return mixed([evaluator.alpha(own, there) for there in evaluator.assigned(cells, last)])

    def sequences(self, evaluator: Evaluator, whole: str, here: Place) -> Tensor:
        names = whole.partition("{")[2].partition("}")[0]
        return evaluator.log(tree(whole), replace(here, at=self.first_elements(evaluator, names)))

    def first_elements(self, evaluator: Evaluator, own: str) -> dict[str, int]:
        name = evaluator.names[own.partition("[")[0]]
        return dict.fromkeys(without_data(self.model, self.model.variable[name].plates[:-1]), 0)

    # ---- random values of what is hidden

    @property
    def everywhere(self) -> Place:
        """Where all that the module drew is known, as in its first sample."""
        return Place(drawn=frozenset(map(self.evaluator.writer.notation.name, self.evaluator.draws)), sample=0)

    def knowing(self, generator: Generator) -> Evaluator:
        """An evaluator with a random value for each hidden cell of finite values that was not drawn."""
        given = [dict(self.random_values(row, generator)) for row in self.trial.rows]
        return replace(self.evaluator, given=given)

    def random_values(self, row: Row, generator: Generator) -> Iterator[tuple[Cell, Tensor]]:
        for variable in self.model.variables:
            for cell in row.cells(variable) if in_data(self.model, variable.plates) else ():
                finite = variable.type.domain in ENUMERABLE and variable.role in ("latent", "partial")
                if finite and cell not in row.values and variable.name not in self.evaluator.draws:
                    support = row.support_of(variable, place_of(self.model, variable, cell))
                    choice = support[int(torch.randint(len(support), (), generator=generator))]
                    yield cell, as_tensor(choice, variable.type, row.sizes)

    def densities(self, evaluator: Evaluator, here: Place, in_rows: bool) -> Tensor:
        """The sum over all laws of a row, or of what rows share, each free to read all."""
        row, total = evaluator.row(here), torch.zeros((), dtype=torch.float64)
        cells = {cell for variable in self.model.variables for cell in row.cells(variable)}
        scene = evaluator.seeing(cells, here)
        for variable in self.model.variables:
            if variable.law is not None and in_data(self.model, variable.plates) == in_rows:
                for cell in row.cells(variable):
                    if cell in scene.assignment:
                        with evaluator.within(here.row):
                            total = total + log_density(variable, variable.law, place_of(self.model, variable, cell), scene)
        return total
