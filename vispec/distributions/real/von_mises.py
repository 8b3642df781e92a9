"""VonMises(loc, concentration) on angles, in radians; values that differ by 2π are the same."""

from vispec.catalog import Distribution

ENTRY = Distribution(
    name="VonMises",
    params={"loc": "real", "concentration": "positive"},
    support="real",
    torch_class="VonMises",
    examples=({"loc": 0.5, "concentration": 2.0},),
)
