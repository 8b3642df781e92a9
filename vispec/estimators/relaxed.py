"""relaxed: bits and categories as numbers between their values, for gradients (Maddison et al. 2017; Jang et al. 2017)."""

from __future__ import annotations

from vispec.estimators.entry import Draw, Drawing, EstimatorKind, Way
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Flag, Input, Node, Part

KERNELS = "vispec.kernels.draws.relaxed"


def relaxed_draw(d: Drawing) -> Draw:
    """A bit in (0, 1), or weights of a category's values along their axis."""
    probs = dict((name, node) for name, node, _ in d.params)["probs"]
    flag = bool(d.settings.get("straight_through", False))
    warm = Input("temperature", (), "real", "setting") if d.anneals else float(d.settings.get("temperature", 0.5))
    settings = (("temperature", warm), ("straight_through", flag), ("training", Flag("training")), ("site", d.site))
    if d.bit:
        return Draw(called("relaxed_bit", build.log_odds(probs), d.order, settings))
    assert d.values is not None
    ((_, _, own),) = d.params
    log_p = build.rename(build.log(probs), {own[-1]: d.values})
    return Draw(called("relaxed_one_hot", log_p, (*d.order, d.values), settings))


def called(name: str, node: Node, order: tuple[Axis, ...], settings: tuple[tuple[str, object], ...]) -> Node:
    """One draw for each element of an order."""
    given = ((build.spread(node, order), order, ""),)
    return Part(Call("kernel", f"{KERNELS}:{name}", given, ((order, "real"),), settings), 0)


RELAXED = Way("relaxed", smooth=True, closed=True, mixes=True, draw=relaxed_draw)

ENTRY = EstimatorKind(
    "relaxed",
    words="draws between the values, through which gradients go",
    settings={"temperature": "number", "straight_through": "flag"},
    variables="finite",
    way=lambda settings, discrete: RELAXED,
    bound=lambda settings: "elbo",
    biased="draws lie between the values",
)
