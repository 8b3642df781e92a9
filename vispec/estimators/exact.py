"""exact: the latent is summed out. Nothing is drawn."""

from vispec.estimators.entry import EstimatorKind

ENTRY = EstimatorKind("exact", words="summed out", variables="exact")
