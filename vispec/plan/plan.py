"""The plan: how each variable is treated, the joint's factors, and the ordered steps that reduce them to one number a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vispec.model.model import Estimator, Law, Model
from vispec.plan.axes import Scope

Kind = Literal["data", "sum", "draw", "masked", "free"]
Combine = Literal["exact", "elbo", "iwae", "mc"]


@dataclass(frozen=True)
class Treatment:
    """What happens to one variable.

    data: its value is in the batch. sum: enumerated and summed out. draw: sampled from its guide or prior.
    masked: a partial leaf, scored where it is seen. free: a latent that nothing observed depends on; it integrates to one.
    """

    variable: str
    kind: Kind
    exact: bool
    because: str
    estimator: Estimator | None = None


@dataclass(frozen=True)
class Factor:
    """A log-density with named axes. `plates` is where it stands, whether or not its tensor differs along them.

    kind: density (of `variable`), seen (a partial variable's evidence: 0 at the value in the data, -inf elsewhere),
          kl (minus the analytic KL of a drawn variable), ratio (log p − log q at the draw), guide (log q of an enumerated
          variable, certain where its cell is seen).
    """

    name: str
    variable: str
    kind: Literal["density", "seen", "kl", "ratio", "guide"]
    law: Law | None
    plates: tuple[str, ...]
    latents: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """Formulas in the sizes of plates and variables, as text, and their numbers where all are known."""

    terms: str
    madds: str
    bytes: str


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


@dataclass(frozen=True)
class Row:
    """One line of the printed plan."""

    variable: str
    plates: tuple[str, ...]
    treatment: str
    exact: bool
    cost: Mapping[str, Any]
    because: str


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

    @property
    def shared_latents(self) -> tuple[str, ...]:
        """Latents that all rows share, in the order in which they are drawn."""
        return tuple(name for name in self.model.order if name in {factor.variable for factor in self.shared})

    @property
    def bayesian_nets(self) -> tuple[str, ...]:
        """Nets whose weights have a prior."""
        return tuple(net.name for net in self.model.nets if net.prior is not None)

    @property
    def has_shared(self) -> bool:
        return bool(self.shared or self.bayesian_nets)

    @property
    def exact(self) -> bool:
        return self.combine == "exact"

    @property
    def estimator(self) -> str:
        return "exact" if self.exact else f"{self.combine}(samples={self.samples})"

    @property
    def data_plate(self) -> str:
        return next(plate.name for plate in self.model.plates if plate.data)
