"""DependencyTree(head, dependent) on trees: p(tree) ∝ exp Σ_i dependent[i] · head[parent of i]; an arc from the root scores 0.

Both params are sequences of vectors, one per element of the tree's plate. The planner normalises by the matrix-tree theorem.
"""

from vispec.catalog import Distribution

ENTRY = Distribution(
    name="DependencyTree",
    params={"head": "real", "dependent": "real"},
    param_event_dim={"head": 2, "dependent": 2},
    support="tree",
    event_dim=1,
)
