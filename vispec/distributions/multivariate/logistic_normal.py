"""LogisticNormal(loc, scale) on the simplex: normal numbers, one fewer than it has parts, through stick breaking."""

from vispec.catalog import Distribution

ENTRY = Distribution(
    name="LogisticNormal",
    params={"loc": "real", "scale": "positive"},
    support="simplex",
    everywhere=False,
    event_dim=1,
    has_rsample=True,
    torch_class="LogisticNormal",
    size_delta={"loc": -1, "scale": -1},
    examples=({"loc": [0.5, -0.3], "scale": [1.0, 0.6]},),
)
