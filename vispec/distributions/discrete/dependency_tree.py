"""DependencyTree(head, dependent, root) on trees with one root: p(tree) ∝ exp Σ_i (root[i], or dependent[i] · head[head of i]).

Each param is a sequence along the tree's plate: head and dependent of vectors of one length, root of the score of each as
the one below the root. The matrix-tree theorem normalises it (kernels/trees/tree.py), so there is no elementwise kernel.
"""

from vispec.catalog import Distribution
from vispec.program.axis import Axis
from vispec.program.node import Call, Node, Part

Params = tuple[tuple[str, Node, tuple[Axis, ...]], ...]


def arc_potentials(params: Params, plate: Axis, heads: Axis) -> Node:
    """The score of each arc, over the elements of the plate and the heads that each may have."""
    given = tuple((node, own, "") for _, node, own in params)
    call = Call("kernel", "vispec.kernels.trees.tree:arc_scores", given, (((plate, heads), "real"),), ())
    return Part(call, 0)


ENTRY = Distribution(
    name="DependencyTree",
    params={"head": "real", "dependent": "real", "root": "real"},
    param_event_dim={"head": 2, "dependent": 2, "root": 1},
    support="tree",
    potentials=arc_potentials,
    event_dim=1,
)
