"""The plan as a value: how each variable is held, in which order latents are summed, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vispec.factors.make import Factors
from vispec.model.model import Model
from vispec.plan.budget import Budget
from vispec.plan.held.setting import Setting
from vispec.plan.order.order import Order
from vispec.plan.treatment import Combine, Row, Treatment, text


@dataclass(frozen=True)
class Cost:
    """terms: of all sums, as a formula. bytes: of all values that are kept for the gradient, its leading products; peak: of
    those alive at once without one. runner_up: the next cheapest order and its terms for one row."""

    terms: str
    bytes: str
    peak: str
    runner_up: tuple[int, str] | None


@dataclass(frozen=True)
class Plan:
    """row, order: of log_prob. asked, asked_order: of posterior queries, where what log_prob leaves out takes part too; None
    where nothing is summed. alternative: for rows of more joint values of a latent than `exactly` says of it."""

    f: Factors
    budget: Budget
    row: Setting
    order: Order
    asked: Setting | None
    asked_order: Order | None
    rows: tuple[Row, ...]
    cost: Cost
    alternative: Plan | None = None
    exactly: tuple[str, int] | None = None

    @property
    def model(self) -> Model:
        return self.f.model

    @property
    def treatments(self) -> Mapping[str, Treatment]:
        return self.row.treatments

    @property
    def combine(self) -> Combine:
        return self.row.combine

    @property
    def exact(self) -> bool:
        return self.combine == "exact" and self.alternative is None

    @property
    def drawn(self) -> tuple[Treatment, ...]:
        """Treatments of the latents that are drawn, points aside."""
        return tuple(
            t for t in self.treatments.values() if t.kind == "draw" and t.estimator and not self.row.draws.way(t.variable).point
        )

    @property
    def samples(self) -> int:
        """How many samples a bound is made of."""
        axis = self.row.draws.samples
        size = None if axis is None or axis.size is None else axis.size.number
        return 1 if size is None else size

    @property
    def shared_latents(self) -> tuple[str, ...]:
        """Latents that all rows share, in the order in which they are drawn."""
        return tuple(self.row.shared.orders) if self.row.shared is not None else ()

    @property
    def bayesian_nets(self) -> tuple[str, ...]:
        """Nets whose weights have a prior."""
        return tuple(net.name for net in self.model.nets if net.random)

    @property
    def has_shared(self) -> bool:
        return bool(self.shared_latents or self.bayesian_nets)

    @property
    def data_plate(self) -> str:
        return next(plate.name for plate in self.model.plates if plate.data)

    @property
    def estimator(self) -> str:
        """What log_prob reports: "exact", or the estimators of the drawn latents."""
        if self.alternative is not None and self.exactly is not None:
            return f"exact up to {self.exactly[1]} joint values, else {self.alternative.estimator}"
        if self.exact:
            return "exact"
        return ", ".join(dict.fromkeys(text(t.estimator) for t in self.drawn)) or "elbo"
