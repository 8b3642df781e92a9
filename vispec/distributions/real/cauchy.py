"""Cauchy(loc, scale) on the real line; it has no mean."""

from vispec.catalog import Distribution

ENTRY = Distribution(
    name="Cauchy",
    params={"loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="Cauchy",
    examples=({"loc": 0.5, "scale": 2.0},),
)
