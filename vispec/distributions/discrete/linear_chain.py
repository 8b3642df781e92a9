"""LinearChain(scores, move) on labels: p(labels) ∝ exp(Σ_i scores[i, label_i] + Σ_{i>0} move[label_{i-1}, label_i]).

scores: for each element a score of each label. move: real[K, K], of the label before and its own. A conditional random field
(Lafferty, McCallum and Pereira, "Conditional random fields", 2001), which a chain's forward pass normalises.
"""

from collections.abc import Mapping

from vispec.catalog import Distribution
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Node


def chained(value: Node, before: Node, own: Mapping[str, tuple[Axis, ...]], scores: Node, move: Node) -> tuple[Node, Node]:
    """What an element's label adds after the one before, nothing at the first element; and what it adds by itself."""
    (plate, state), (source, target) = own["scores"], own["move"]
    step = build.pick(move, {source: before, target: value})
    return build.where(build.eq(build.position(plate), 0), 0.0, step), build.pick(scores, {state: value})


ENTRY = Distribution(
    name="LinearChain",
    params={"scores": "real", "move": "real"},
    param_event_dim={"scores": 2, "move": 2},
    elements=("scores",),
    support="labels",
    chained=chained,
)
