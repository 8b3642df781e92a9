"""DependencyTree(scores) on trees: p(head) ∝ exp Σ scores[i, head_i], normalised by the matrix-tree theorem."""

from vispec.catalog import Distribution

ENTRY = Distribution(
    name="DependencyTree",
    params={"scores": "real"},
    param_event_dim={"scores": 2},
    support="tree",
    event_dim=1,
)
