"""What BUGS, JAGS, Stan, R, SciPy and PyTorch call the laws of the catalog."""

OTHERS = {
    "Normal": "norm normal gaussian gauss",
    "Uniform": "unif uniform",
    "Bernoulli": "bern bernoulli bernoulli_logit",
    "Binomial": "bin binom binomial binomial_logit",
    "Poisson": "pois poisson poisson_log",
    "Categorical": "cat categorical categorical_logit multinoulli",
    "Multinomial": "multi multinom multinomial",
    "NegativeBinomial": "negbin nbinom neg_binomial negative_binomial neg_binomial_2",
    "Geometric": "geom geometric",
    "Gamma": "gamma",
    "InverseGamma": "invgamma inv_gamma inverse_gamma igamma",
    "Beta": "beta",
    "Exponential": "exp expon exponential",
    "StudentT": "t student student_t",
    "Cauchy": "cauchy",
    "Laplace": "dexp double_exponential laplace",
    "LogNormal": "lnorm lognorm lognormal log_normal",
    "Weibull": "weib weibull weibull_min",
    "Pareto": "par pareto",
    "Chi2": "chisq chisqr chi_square chi2",
    "Gumbel": "gumbel gumbel_r",
    "VonMises": "vonmises von_mises",
    "HalfNormal": "halfnorm half_normal",
    "HalfCauchy": "halfcauchy half_cauchy",
    "Dirichlet": "dirch ddirch dirich dirichlet",
    "MultivariateNormal": "mnorm mvnorm multi_normal multivariate_normal mvn",
    "LKJCholesky": "lkj_corr_cholesky lkj_cholesky lkj",
}
NOTES = {
    "dnorm": "`Normal(mean, deviation)`, as R's dnorm; that of BUGS has a precision: `Normal(mean, 1 / sqrt(precision))`",
    "dmnorm": "`MultivariateNormal(loc, scale_tril)`: BUGS's dmnorm has a matrix of precisions",
    "dt": "`StudentT(df, loc, scale)`: BUGS's dt has a precision in place of the scale",
    "dlnorm": "`LogNormal(loc, scale)`, as R's dlnorm; that of BUGS has a precision: `1 / sqrt(precision)`",
    "dweib": "`Weibull(scale, concentration)`: BUGS's dweib(v, lambda) has the scale `lambda^(-1 / v)`",
}
KNOWN = {other: name for name, others in OTHERS.items() for other in others.split()}


def meant(name: str, usage: dict[str, str]) -> str | None:
    """How a law of another language is written here. usage: how each law of this one is."""
    if name in NOTES:
        return NOTES[name]
    bare = name.lower()
    for ending in ("_lpdf", "_lpmf", "_rng"):
        bare = bare.removesuffix(ending)
    for spelling in (bare, bare[1:] if bare[:1] in ("d", "r") else bare):
        if KNOWN.get(spelling) in usage:
            return f"it is called `{usage[KNOWN[spelling]]}`"
    return None
