"""SpanTree(first, last) on parses with one set of labels: p(tree) ∝ exp Σ_nodes first[i, label] · last[j, label] over its
nodes.

A node is a stretch of elements i..j with a label; a single element is one, and so is the whole. first and last are sequences
along the parse's plate of a vector for each label: what an element is as the first or the last of a stretch (a biaffine score,
as of Stern, Andreas and Klein, "A minimal span-based neural constituency parser", 2017). A tree conditional random field
(Finkel, Kleeman and Manning, "Efficient, feature-based, conditional random field parsing", 2008), normalised by one chart over
stretches (kernels/trees/spans.py), so there is no elementwise kernel."""

from vispec.catalog import Distribution
from vispec.program.axis import Axis
from vispec.program.node import Call, Node, Part

Params = tuple[tuple[str, Node, tuple[Axis, ...]], ...]


def scored(params: Params, first: Axis, last: Axis, label: Axis) -> Node:
    """The score of each label over each stretch."""
    given = tuple((node, own, "") for _, node, own in params)
    return Part(Call("kernel", "vispec.kernels.trees.spans:span_scores", given, (((first, last, label), "real"),), ()), 0)


ENTRY = Distribution(
    name="SpanTree",
    params={"first": "real", "last": "real"},
    param_event_dim={"first": 3, "last": 3},
    support="spans",
    spans=scored,
)
