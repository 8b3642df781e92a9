"""The plan: how each variable is treated, the joint's factors, and the ordered steps that reduce them to one number a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vispec.model.model import Expression, Law, Model
from vispec.plan.axes import Scope
from vispec.plan.treatment import Combine, Gradient, Row, Treatment, text

__all__ = ["Combine", "Factor", "Gradient", "Plan", "Row", "Step", "Treatment", "text"]


@dataclass(frozen=True)
class Factor:
    """A log-density with named axes. `plates` is where it stands, whether or not its tensor differs along them.

    kind: density (of `variable`), seen (a partial variable's evidence: 0 at the value in the data, -inf elsewhere),
          kl (minus the analytic KL of a drawn variable), ratio (log p − log q at the draw), guide (log q of an enumerated
          variable, certain where its cell is seen), labels (in training, log q at the seen cells of a guided partial variable,
          times a weight), arcs (the score of each arc of an enumerated tree), norm (minus the log-sum of those scores over
          all trees).
    """

    name: str
    variable: str
    kind: Literal["density", "seen", "kl", "ratio", "guide", "labels", "arcs", "norm"]
    law: Law | None
    plates: tuple[str, ...]
    latents: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One elimination. inputs and output name factors or earlier outputs; subclasses are in vispec/steps."""

    inputs: tuple[str, ...]
    output: str
    plates: tuple[str, ...]
    latents: tuple[str, ...]
    kind: str
    eliminated: tuple[str, ...]
    because: str
    order: int = 1  # of a chain: how many elements back its laws read
    into: str | None = None  # of a scatter: the plate whose elements are pointed at, and the index that does it
    index: Expression | None = None


@dataclass(frozen=True)
class Plan:
    """order: axis names in the one order that every tensor keeps. shared: factors of latents outside the data plate."""

    model: Model
    scope: Scope
    treatments: Mapping[str, Treatment]
    factors: tuple[Factor, ...]
    shared: tuple[Factor, ...]
    steps: tuple[Step, ...]
    rows: tuple[Row, ...]
    order: tuple[str, ...]
    samples: int
    combine: Combine
    alternative: "Plan | None" = None  # for rows with more joint values than the budget
    budget: int | None = None
    drawing_order: tuple[str, ...] = ()
    count: str | None = None  # the number of samples as emitted text, where only a call says it

    @property
    def sample_count(self) -> str:
        """The number of samples as text."""
        return self.count or str(self.samples)

    @property
    def shared_latents(self) -> tuple[str, ...]:
        """Latents that all rows share, in the order in which they are drawn."""
        return tuple(name for name in self.drawing_order if name in {factor.variable for factor in self.shared})

    @property
    def bayesian_nets(self) -> tuple[str, ...]:
        """Nets whose weights have a prior."""
        return tuple(net.name for net in self.model.nets if net.random)

    @property
    def has_shared(self) -> bool:
        return bool(self.shared or self.bayesian_nets)

    @property
    def exact(self) -> bool:
        return self.combine == "exact" and self.alternative is None

    @property
    def estimator(self) -> str:
        """What log_prob reports: "exact", or the estimators of the drawn latents."""
        if self.alternative is not None:
            return f"exact up to {self.budget} joint values, else {self.alternative.estimator}"
        if self.exact:
            return "exact"
        return ", ".join(dict.fromkeys(text(t.estimator) for t in self.drawn)) or "elbo"

    @property
    def drawn(self) -> tuple[Treatment, ...]:
        """Treatments of the latents that are drawn, points aside."""
        return tuple(t for t in self.treatments.values() if t.kind == "draw" and t.estimator and t.gradient != "point")

    @property
    def baseline(self) -> str:
        """What the score function's signal is compared with: none, mean (a moving average), loo or vimco (the other samples),
        nvil (a net of the data)."""
        scored = [t.estimator for t in self.drawn if t.estimator and t.gradient == "score"]
        found = [dict(estimator.settings).get("baseline", "none") for estimator in scored]
        return str(next((name for name in found if name != "none"), "none"))

    @property
    def by_gradient(self) -> frozenset[Gradient]:
        """The gradients of its draws."""
        return frozenset(t.gradient for t in self.drawn)

    @property
    def data_plate(self) -> str:
        return next(plate.name for plate in self.model.plates if plate.data)
