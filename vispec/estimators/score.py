"""score: draws of any type, whose gradient is that of their log-density times what they are worth (Williams 1992)."""

from vispec.estimators.entry import EstimatorKind
from vispec.estimators.ways import SCORE

ENTRY = EstimatorKind(
    "score",
    words="draws, each with the gradient of its log-density times its log-weight less a baseline",
    settings={"samples": "samples", "baseline": ("none", "mean", "loo", "nvil", "vimco")},
    way=lambda settings, discrete: SCORE,
    bound=lambda settings: "iwae" if settings.get("baseline") == "vimco" else None,
)
