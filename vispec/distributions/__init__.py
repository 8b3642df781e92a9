"""One distribution per file, in folders by the kind of their values."""

SAME_FAMILY = (
    "Bernoulli",
    "Beta",
    "Categorical",
    "Cauchy",
    "ContinuousBernoulli",
    "Dirichlet",
    "Exponential",
    "Gamma",
    "Geometric",
    "Gumbel",
    "HalfNormal",
    "Laplace",
    "MultivariateNormal",
    "Normal",
    "Poisson",
)
OTHER_PAIRS = (("Exponential", "Gamma"), ("Gamma", "Exponential"), ("Normal", "Gumbel"), ("Normal", "Laplace"))

CLOSED_FORM = frozenset((name, name) for name in SAME_FAMILY) | frozenset(OTHER_PAIRS)
"""(guide, prior) pairs with a KL divergence in closed form, here or in torch.distributions."""
