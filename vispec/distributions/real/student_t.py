"""StudentT(df, loc, scale) on the real line, with df degrees of freedom."""

from vispec.catalog import Distribution

ENTRY = Distribution(
    name="StudentT",
    params={"df": "positive", "loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="StudentT",
    examples=({"df": 3.5, "loc": 0.5, "scale": 2.0},),
)
