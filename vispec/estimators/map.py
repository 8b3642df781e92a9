"""map: a parameter in the latent's place, at which its log-density is added: no draw, no bound."""

from vispec.estimators.entry import EstimatorKind, Way

ENTRY = EstimatorKind("map", words="a point estimate", way=lambda settings, discrete: Way("point", point=True))
