"""iwae: the log of the mean weight of draws from the guide, a tighter bound with more of them (Burda et al. 2016)."""

from vispec.estimators.entry import EstimatorKind
from vispec.estimators.ways import GRADIENTS, by_gradient

ENTRY = EstimatorKind(
    "iwae",
    words="the log of the mean weight of draws from its guide",
    settings={"samples": "samples", "gradient": (*GRADIENTS, "dreg")},
    guide=True,
    way=by_gradient,
    bound=lambda settings: "iwae",
)
