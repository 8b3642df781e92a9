"""DependencyTree(head, dependent, root) on trees with one root: p(tree) ∝ exp Σ_i (root[i], or dependent[i] · head[head of i]).

Each param is a sequence along the tree's plate: head and dependent of vectors of one length, root of the score of each as
the one below the root. The matrix-tree theorem normalises it (kernels/tree.py), so there is no elementwise kernel.
"""

from vispec.catalog import Distribution

ENTRY = Distribution(
    name="DependencyTree",
    params={"head": "real", "dependent": "real", "root": "real"},
    param_event_dim={"head": 2, "dependent": 2, "root": 1},
    support="tree",
    event_dim=1,
)
