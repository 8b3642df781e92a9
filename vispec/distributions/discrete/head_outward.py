"""HeadOutward(stop) on projective trees: the dependents of each element come one after the other, from the nearest on, before
it and after it, and each time it decides whether to take one more (Klein and Manning, "Corpus-based induction of syntactic
structure: models of dependency and constituency", 2004: the dependency model with valence).

stop: unit[2, 2], the probability to stop, of each element of the tree's plate or one for all: by the side, 0 before the element
and 1 after it, and by whether the decision is on the first dependent there, 1, or on a later one, 0. An element with k > 0
dependents on a side goes on with probability 1 - stop[side, 1], then k - 1 times with 1 - stop[side, 0], and stops with
stop[side, 0]; with none it stops with stop[side, 1]. One element hangs from the root, which decides nothing.

It is a law on trees of all numbers of elements, as a grammar is: over the trees of one number its sum is below 1. stop may
read elements whose own laws read their heads, each its own: an element is made when its head takes it, before it decides.
"""

from vispec.catalog import Distribution
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Node
from vispec.program.size import Size

Params = tuple[tuple[str, Node, tuple[Axis, ...]], ...]


def decided(params: Params, name: str, plate: Axis) -> tuple[Node, tuple[Axis, ...]]:
    """The logarithm of the probability of each decision of each element, and its axes: the side, whether it is the first there,
    and whether to go on."""
    ((_, stop, own),) = params
    side, first, on = (Axis(f"{name}_{role}", "values", Size.of(2)) for role in ("side", "first", "on"))
    stop = build.rename(build.apply("real", stop), dict(zip(own[-2:], (side, first), strict=True)))
    found = build.stack([build.log(stop), build.log_one_minus(stop)], on)
    return build.spread(found, (plate,)), (side, first, on)


ENTRY = Distribution(
    name="HeadOutward",
    params={"stop": "unit"},
    param_event_dim={"stop": 2},
    support="tree",
    decisions=decided,
    says=(("projective", True), ("roots", "one")),
    event_dim=1,
)
