"""Gumbel(loc, scale) on the real line: the law of a maximum."""

from vispec.catalog import Distribution

ENTRY = Distribution(
    name="Gumbel",
    params={"loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="Gumbel",
    examples=({"loc": 0.5, "scale": 2.0},),
)
