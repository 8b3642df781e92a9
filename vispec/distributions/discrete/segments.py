"""Segments(init, move, duration) on the labelled stretches of `chain s of t`: a semi-Markov chain.

    p(stretches) = Π_s duration[k_s, d_s] · init[k_1] Π_{s > 1} move[k_{s-1}, k_s]

init: simplex[K], of the first label; without it there is one label alone. move: its row k is the law of the label after k; one
row alone is that after all, and without it all labels have the law of the first. duration: its row k is the law of the length
under the label k, one row alone that under all; without it all ways to cut a sequence have one probability. weight: numbers in
its place that need not be probabilities, so that the density has no norm. A spec writes these as laws of one stretch.
"""

from vispec.catalog import Distribution
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Node
from vispec.program.size import Size

Params = tuple[tuple[str, Node, tuple[Axis, ...]], ...]


def productions(params: Params, name: str, longest: Axis | None) -> tuple[dict[str, Node], tuple[Axis, ...]]:
    """The logarithms of the tables, over a label and the one before it, and over a label and a length, and these axes."""
    assert longest is not None
    given = {role: (build.log(value), axes) for role, value, axes in params}
    one = Axis(f"{name}_label", "values", Size.of(1))
    (init, (labels,)), lengths = given.get("init", (build.node(0.0), (one,))), given.get("duration", given.get("weight"))
    before, after = (Axis(f"{name}_{role}", "values", labels.size) for role in ("before", "after"))
    length = Axis(f"{name}_length", "values", longest.size)
    move, of_move = given.get("move", (init, (labels,)))
    move = build.rename(move, dict(zip(of_move, (before, after)[-len(of_move) :], strict=True)))
    duration, of_duration = lengths or (build.node(0.0), ())
    duration = build.rename(
        duration, dict(zip(of_duration, (after, length)[-len(of_duration) :], strict=True)) if lengths else {}
    )
    tables = {
        "init": build.spread(build.rename(init, {labels: after}), (after,)),
        "move": build.spread(move, (before, after)),
        "duration": build.spread(duration, (after, length)),
    }
    return tables, (before, after, length)


ENTRY = Distribution(
    name="Segments",
    params={"init": "simplex", "move": "simplex", "duration": "simplex", "weight": "positive"},
    param_event_dim={"init": 1, "move": 2, "duration": 2, "weight": 2},
    support="segments",
    productions=productions,
    written=False,
)
