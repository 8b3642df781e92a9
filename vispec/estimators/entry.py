"""What an entry of estimators says, and what it is told of draws and of log-weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vispec.program.axis import Axis
    from vispec.program.node import Node

Settings = Mapping[str, Any]
Bound = Literal["elbo", "iwae", "mc"]
"""elbo: the mean of log-weights. iwae: the log of the mean weight. mc: the same of draws from the latents' own laws."""


@dataclass(frozen=True)
class Drawing:
    """One latent that is to be drawn.

    law, params: what from: name of the distribution, and (name, node, own axes) of each parameter. order: the axes of the draw.
    values: the axis of a finite latent's values, None of others. bit: whether these are 0 and 1. rows, samples: those of the
    module, samples None where there is one. settings: the estimator's. anneals: whether training moves the temperature."""

    site: str
    law: str
    params: tuple[tuple[str, Node, tuple[Axis, ...]], ...]
    order: tuple[Axis, ...]
    values: Axis | None
    bit: bool
    rows: tuple[Axis, ...]
    samples: Axis | None
    settings: Settings
    anneals: bool


@dataclass(frozen=True)
class Draw:
    """value: over the order. weight: of each sample in the bound, over samples and rows, where they differ."""

    value: Node
    weight: Node | None = None


@dataclass(frozen=True)
class Weights:
    """What a bound is made of.

    node: log-weights (nats) over the rows, and over the samples where there are several. bound: what they become without more.
    log_q: log-density of the draws that were made in the same way, one number for each row and sample. weight: of each sample
    where they differ. baseline: a let of that role, None where there is none. settings: of the estimators that ask for it."""

    node: Node
    samples: Axis | None
    rows: tuple[Axis, ...]
    bound: Bound
    log_q: Callable[[], Node]
    weight: Node | None
    baseline: Node | None
    settings: tuple[Settings, ...]


@dataclass(frozen=True)
class Way:
    """How a draw passes a gradient.

    smooth: through the draw, which is a smooth function of noise. fixed: log q is held fixed but for the draw. closed: a
    divergence in closed form may stand for log p − log q. learns: whether the log-weights teach the guide. point: there is no
    draw but a parameter. draw: makes the draw in a way of its own. passed: what is done to a draw (its node, its axes) before
    it is read. told: what is done to log-weights before they are combined. combined: the bound, where the gradient is not the
    bound's own; where several latents ask for it, that of the lowest rank.
    sleeps: the guide learns from dreams of the model. mixes: a draw is weights of the latent's values along their axis, instead
    of one of them, but for bits."""

    name: str
    smooth: bool = False
    fixed: bool = False
    closed: bool = False
    learns: bool = True
    point: bool = False
    sleeps: bool = False
    mixes: bool = False
    draw: Callable[[Drawing], Draw] | None = None
    passed: Callable[[Node, Axis, tuple[Axis, ...]], Node] | None = None
    told: Callable[[Weights], Node] | None = None
    combined: Callable[[Weights], Node] | None = None
    rank: int = 0


@dataclass(frozen=True)
class EstimatorKind:
    """An estimator of the language.

    settings: name → "samples" (a whole number from 1), "number" (above 0), "flag", or the words to choose from.
    variables: which it is for: "any", "finite" (enumerable), "exact" (finite, or a tree). guide: a discrete one needs a guide.
    way: how a draw passes its gradient, by the settings and whether the latent is discrete; None: nothing is drawn.
    samples: how many draws there are. bound: which bound it is for; None: either. default: settings that are not written.
    weighed: its samples have weights of their own in the bound, so that there are as many as it says, whatever others ask for.
    biased: why the gradient is not that of the bound. words: what it does, in a line."""

    name: str
    words: str
    settings: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    variables: str = "any"
    guide: bool = False
    way: Callable[[Settings, bool], Way] | None = None
    samples: Callable[[Settings], int] = lambda settings: int(settings.get("samples", 1))
    bound: Callable[[Settings], Bound | None] = lambda settings: None
    weighed: bool = False
    biased: str | None = None

    @property
    def point(self) -> bool:
        """Whether there is a parameter in the latent's place."""
        return self.way is not None and self.way({}, False).point

    @property
    def draws(self) -> bool:
        """Whether the latent is drawn."""
        return self.way is not None and not self.point

    @property
    def own_law(self) -> bool:
        """Whether it draws from the latent's own law unless a guide is written."""
        return self.bound({}) == "mc"

    @property
    def of_guide(self) -> bool:
        """Whether its bound and its gradient are those of draws from the guide alone."""
        return self.guide and self.draws and self.biased is None
