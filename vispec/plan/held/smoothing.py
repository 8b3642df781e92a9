"""Label smoothing: in training an outcome that is seen counts 1 − ε times, and each of K counts ε / K times (Szegedy et al.,
"Rethinking the inception architecture", 2016, section 7). Evaluation scores what is seen."""

from __future__ import annotations

from vispec.factors.make import Factors
from vispec.model.model import Variable
from vispec.plan.held.adds import TRAINING, asked
from vispec.program import build
from vispec.program.at_tokens import SMOOTHED
from vispec.program.node import Call, Node, Part, Pick
from vispec.program.walk import nodes, substitute


def smoothed(f: Factors, variable: Variable, density: Node) -> Node:
    """The log-density of an observed variable as training counts it, where `fit:` asks for that."""
    share = asked(f.model, "label_smoothing")
    if share is None or variable.role != "observed":
        return density
    weight = build.where(TRAINING, share, 0.0)
    return substitute([density], {seen: smooth(seen, weight) for seen in outcomes(f, variable, density)})[0]


def outcomes(f: Factors, variable: Variable, density: Node) -> list[Pick]:
    """Where a density takes the entry of its own value from the logarithms of all probabilities."""
    if variable.type.along is not None:  # it picks scores, and those of two labels
        return []
    own = (f.frame.site(variable), f.frame.data(variable))
    picks = [node for node in nodes([density]) if isinstance(node, Pick) and node.dtype == "real"]
    return [node for node in picks if len(node.at) == 1 and node.at[0][1] in own]


def smooth(seen: Pick, weight: Node) -> Node:
    """That entry with the mean of all."""
    ((axis, value),) = seen.at
    given = ((seen.table, (axis,), ""), (value, (), ""))
    return Part(Call("kernel", SMOOTHED, given, (((), "real"),), (("smoothing", weight),)), 0)
