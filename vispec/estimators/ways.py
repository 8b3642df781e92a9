"""Ways in which several estimators draw, and the gradients that these ways need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vispec.estimators.entry import Settings, Way, Weights
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Flag, Input, Node, Part
from vispec.program.size import Size

if TYPE_CHECKING:
    from vispec.estimators.entry import Bound

GRADIENTS = ("pathwise", "stl", "score")


# ---- the bound without more


def plain(weights: Node, samples: Axis | None, bound: Bound) -> Node:
    """The mean of log-weights, or the log of the mean weight."""
    if samples is None or samples not in weights.axes:
        return weights
    if bound == "elbo":
        return build.mean(weights, (samples,))
    count = samples.size.number if samples.size is not None else None
    log_count = math.log(count) if count is not None else build.log(build.extent(samples))
    return build.sub(build.reduce("log_sum_exp", weights, (samples,)), log_count)


# ---- the score function


def chosen_baseline(w: Weights) -> str:
    """The one that a latent asks for; where nothing is said, of several draws each has the others: they cost nothing."""
    said = [str(each["baseline"]) for each in w.settings if "baseline" in each]
    alone = w.samples is None or (w.samples.size is not None and w.samples.size.number == 1)
    return next((each for each in said if each != "none"), "none" if said or alone else "loo")


def scored(w: Weights) -> Node:
    """With the gradient of the score function for draws that carry none: a kernel of vispec/kernels/draws/score."""
    samples = w.samples or Axis("s", "samples", Size.of(1))
    axes = (samples, *w.rows)
    several = w.bound in ("iwae", "mc")
    baseline = chosen_baseline(w)
    if several and baseline == "loo":
        baseline = "vimco"
    given: list[tuple[Node, tuple[Axis, ...], str]] = [(build.spread(node, axes), axes, "") for node in (w.node, w.log_q())]
    settings = list[tuple[str, Node]]()
    if baseline == "mean":
        given.append((Input("score_baseline", (), "real", "buffer"), (), ""))
        settings.append(("training", Flag("training")))
    elif baseline == "nvil":
        assert w.baseline is not None
        given.append((build.spread(w.baseline, w.rows), w.rows, ""))
    name = f"vispec.kernels.draws.score:score_{'multi' if several else 'bound'}_{baseline}"
    return Part(Call("kernel", name, tuple(given), ((w.rows, "real"),), tuple(settings)), 0)


# ---- the doubly reparameterised gradient

REPARAMETERISED = "vispec.kernels.draws.reparameterised"
SHARES = Part(Call("kernel", f"{REPARAMETERISED}:no_shares", (), (((), "real"),), ()), 0)
"""The samples' shares in the bound, which are known by the backward pass."""


def weighed_by_share(value: Node, samples: Axis, axes: tuple[Axis, ...]) -> Node:
    """A draw whose gradient is weighed by its sample's share."""
    order = (samples, *(axis for axis in axes if axis is not samples))
    given = ((build.spread(value, order), order, ""),)
    return Part(Call("kernel", f"{REPARAMETERISED}:weighed_by_share", given, ((order, "real"),), (("shares", SHARES),)), 0)


def telling_shares(w: Weights) -> Node:
    """The log-weights; the draws are told their shares."""
    if w.samples is None:
        return w.node
    axes = (w.samples, *w.rows)
    given = ((build.spread(w.node, axes), axes, ""),)
    return Part(Call("kernel", f"{REPARAMETERISED}:telling_shares", given, ((axes, "real"),), (("shares", SHARES),)), 0)


PATHWISE = Way("pathwise", smooth=True, closed=True)
STL = Way("stl", smooth=True, fixed=True)
DREG = Way("dreg", smooth=True, fixed=True, passed=weighed_by_share, told=telling_shares)
SCORE = Way("score", combined=scored, rank=2)

BY_GRADIENT = {way.name: way for way in (PATHWISE, STL, DREG, SCORE)}


def by_gradient(settings: Settings, discrete: bool) -> Way:
    """As the setting `gradient` says; a discrete draw carries none."""
    return BY_GRADIENT[str(settings.get("gradient", "score" if discrete else "pathwise"))]
