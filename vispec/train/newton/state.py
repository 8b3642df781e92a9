"""Where a second-order search stands: a plain value, which each method takes to the next.

A search that is stopped goes on from a stored state as if it never had been: no step depends on anything else.
"""

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from vispec.train.newton.curvature import Function


@dataclass(frozen=True)
class State:
    """x, gradient, scale, unit: (d,). value: nats. radius: of the trust region, in scaled variables, about standard errors.

    scaled: whether `scale` was measured. unit: about what it was at the start for each nat of the value, so that rounding of a
    gradient is told from the rest in any units; empty as long as that is not known. decrement: ½ g·|H|⁻¹g at the last point
    whose curvature was measured, nats: how far below the local maximum the quadratic model is. saddle: whether a curvature was
    negative there; ridge: whether there was no slope along it either, so that a maximum may lie to both sides, of which `side`
    (1 or -1) is the one to go to. rounds: steps so far. stuck: no step downhill was found. moves, turns: the last steps in x
    and in the gradient (m, d), of quasi-Newton methods. gains: how much each of the last rounds lowered the value.
    """

    x: Tensor
    value: float
    gradient: Tensor
    scale: Tensor
    radius: float = 1.0
    scaled: bool = False
    decrement: float = float("inf")
    saddle: bool = False
    ridge: bool = False
    rounds: int = 0
    stuck: bool = False
    moves: Tensor = field(default_factory=lambda: torch.zeros(0))
    turns: Tensor = field(default_factory=lambda: torch.zeros(0))
    gains: tuple[float, ...] = ()
    side: int = 1
    unit: Tensor = field(default_factory=lambda: torch.zeros(0))

    def converged(self, tolerance: float) -> bool:
        """Whether the maximum is no more than `tolerance` nats away and is one."""
        return self.decrement < tolerance and not self.saddle

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for a checkpoint."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def of_dict(cls, stored: dict[str, Any], device: torch.device) -> "State":
        """The inverse of `as_dict`, with its tensors on a device."""
        placed = {name: value.to(device) for name, value in stored.items() if isinstance(value, Tensor)}
        return cls(**{**stored, **placed, "gains": tuple(stored["gains"])})

    def fresh(self) -> "State":
        """The same point for another method: of the curvature, only the scale is known."""
        none = self.x.new_zeros(0)
        known = {"scale": self.scale, "scaled": self.scaled, "unit": self.unit, "side": self.side}
        return State(self.x, self.value, self.gradient, moves=none, turns=none, **known)


def begin(f: Function, x: Tensor) -> State:
    """The state at a start x (d,)."""
    value, gradient = f(x)
    return State(x, value, gradient, torch.ones_like(x), moves=x.new_zeros(0), turns=x.new_zeros(0))


def rounding(value: float) -> float:
    """Differences of the objective below it are rounding."""
    return 1e-13 * (1 + abs(value))
