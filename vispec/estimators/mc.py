"""mc: the log of the mean density of a row given draws from the latents' own laws."""

from vispec.estimators.entry import EstimatorKind
from vispec.estimators.ways import by_gradient

ENTRY = EstimatorKind(
    "mc",
    words="the log of the mean density, given draws from its own law",
    settings={"samples": "samples"},
    way=by_gradient,
    bound=lambda settings: "mc",
)
