"""elbo: the mean of log p(row, latent) − log q(latent) at draws from the guide, a lower bound on log p(row)."""

from vispec.estimators.entry import EstimatorKind
from vispec.estimators.ways import GRADIENTS, by_gradient

ENTRY = EstimatorKind(
    "elbo",
    words="the mean log-weight of draws from its guide",
    settings={"samples": "samples", "gradient": GRADIENTS},
    guide=True,
    way=by_gradient,
    bound=lambda settings: "elbo",
)
