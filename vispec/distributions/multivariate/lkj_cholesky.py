"""LKJCholesky(concentration) on Cholesky factors of correlation matrices; 1 is uniform over the matrices."""

from vispec.catalog import Distribution

ENTRY = Distribution(
    name="LKJCholesky",
    params={"concentration": "positive"},
    param_event_dim={"concentration": 0},
    support="cholesky",
    event_dim=2,
    torch_class="LKJCholesky",
    shape_params={"dim": -1},
    examples=({"concentration": 1.5},),
)
