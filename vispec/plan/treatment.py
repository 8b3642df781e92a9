"""How one variable is held, and how the plan tells it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vispec.model.model import Estimator

Kind = Literal["data", "sum", "integrate", "draw", "masked", "free"]
Combine = Literal["exact", "elbo", "iwae", "mc"]
Gradient = str  # the name of a way in which draws pass one: vispec.estimators


@dataclass(frozen=True)
class Treatment:
    """What happens to one variable.

    data: its value is in the batch. sum: enumerated and summed out. integrate: jointly Gaussian with others. draw: sampled from
    its guide or prior. masked: a partial leaf, scored where it is seen. free: a latent that nothing observed depends on; it
    integrates to one. gradient: how it passes a draw: through the sample (pathwise; stl and dreg hold log q's parameters
    fixed), by the score function, through a relaxed draw, by a sum over likely values (stratified), not at all (wake_sleep: the
    guide learns from the model's own samples), or there is a point and no draw."""

    variable: str
    kind: Kind
    exact: bool
    because: str
    estimator: Estimator | None = None
    gradient: Gradient = "pathwise"


@dataclass(frozen=True)
class Row:
    """One line of the printed plan."""

    variable: str
    plates: tuple[str, ...]
    treatment: str
    exact: bool
    cost: Mapping[str, Any]
    because: str


def text(estimator: Estimator | None) -> str:
    """An estimator as the user writes it."""
    if estimator is None:
        return "elbo"
    settings = ", ".join(f"{name}={value}" for name, value in estimator.settings)
    return f"{estimator.name}({settings})"
