"""What other software says of the maxima: statsmodels, scikit-learn, hmmlearn, lifelines, scipy. Each is imported where it is
needed, none is a dependency of vispec. A function gives the log-likelihood by the name of what computed it."""
# pyright: reportMissingImports=false

import math
from collections.abc import Callable
from typing import Any

import numpy as np

OTHERS: dict[str, Callable[..., dict[str, float]]] = {}


def other(check: Callable[..., dict[str, float]]) -> Callable[..., dict[str, float]]:
    OTHERS[check.__name__] = check
    return check


def table(data: dict[str, Any], *without: str) -> np.ndarray:
    return np.stack([column.numpy() for name, column in data.items() if name not in without], 1)


def certified(squares: float, rows: int) -> dict[str, float]:
    """The maximum of a regression with normal errors whose least sum of squares is known."""
    return {"NIST": -rows / 2 * (math.log(2 * math.pi * squares / rows) + 1)}


@other
def misra1a(d, p):
    return certified(1.2455138894e-01, 14)


@other
def mgh09(d, p):
    return certified(3.0750560385e-04, 11)


@other
def thurber(d, p):
    return certified(5.6427082397e03, 37)


@other
def rat42(d, p):
    return certified(8.0565229338, 9)


@other
def boxbod(d, p):
    return certified(1.1680088766e03, 6)


@other
def mgh10(d, p):
    return certified(8.7945855171e01, 16)


@other
def lanczos3(d, p):
    return certified(1.6117193594e-08, 24)


@other
def puromycin(d, p):
    from scipy.optimize import curve_fit

    x, y = d["dose"].numpy(), d["rate"].numpy()
    (v, k), _ = curve_fit(lambda x, v, k: v * x / (k + x), x, y, p0=[200, 0.05], xtol=1e-14, ftol=1e-14)
    return {"scipy": certified(float(((y - v * x / (k + x)) ** 2).sum()), len(y))["NIST"]}


@other
def committee_negbin(d, p):
    from statsmodels.api import NegativeBinomial, add_constant

    fit = NegativeBinomial(d["y"].numpy(), add_constant(table(d, "y"))).fit(disp=0, maxiter=5000, method="bfgs", gtol=1e-8)
    return {"statsmodels": fit.llf}


@other
def scotland_gamma(d, p):
    """The mean does not depend on the shape; given the mean, the shape is one equation."""
    from scipy.optimize import minimize_scalar
    from scipy.stats import gamma
    from statsmodels.api import GLM, add_constant, families

    y = d["y"].numpy()
    fit = GLM(y, add_constant(table(d, "y")), family=families.Gamma(families.links.Log())).fit(tol=1e-14, maxiter=200)
    best = minimize_scalar(lambda t: -gamma.logpdf(y, np.exp(t), scale=fit.fittedvalues / np.exp(t)).sum(), tol=1e-12)
    return {"statsmodels": -best.fun}


@other
def food_beta(d, p):
    from statsmodels.othermod.betareg import BetaModel

    inputs = np.stack([np.ones(len(d["share"])), d["income"].numpy(), d["persons"].numpy()], 1)
    return {"statsmodels": BetaModel(d["share"].numpy(), inputs).fit(disp=0, gtol=1e-10).llf}


@other
def anes_ordinal(d, p):
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    fit = OrderedModel(d["y"].numpy().astype(int), table(d, "y"), distr="logit").fit(
        disp=0, method="bfgs", maxiter=2000, gtol=1e-6
    )
    return {"statsmodels": fit.llf}


@other
def travel_mode(d, p):
    from statsmodels.discrete.conditional_models import ConditionalLogit

    x = np.array(d["x"])
    y = (np.arange(4) == np.array(d["choice"])[:, None]).astype(float)
    fit = ConditionalLogit(y.ravel(), x.reshape(-1, x.shape[-1]), groups=np.repeat(np.arange(len(x)), 4)).fit(disp=0, gtol=1e-8)
    return {"statsmodels": fit.llf, "Greene (2003), table 21.11": -199.1284}


@other
def beetles_cloglog(d, p):
    from statsmodels.api import GLM, add_constant, families

    dead = (d["insects"] - d["alive"]).numpy()
    fit = GLM(np.stack([dead, d["alive"].numpy()], 1), add_constant(d["dose"].numpy()),
              family=families.Binomial(families.links.CLogLog())).fit(tol=1e-14)  # fmt: skip
    return {"statsmodels": fit.llf}


@other
def leukaemia_exponential(d, p):
    from scipy.stats import expon
    from statsmodels.api import GLM, add_constant, families

    inputs = add_constant(np.stack([d["ag"].numpy(), d["cells"].numpy()], 1))
    fit = GLM(d["weeks"].numpy(), inputs, family=families.Gamma(families.links.Log())).fit(tol=1e-14)
    return {"statsmodels": expon.logpdf(d["weeks"].numpy(), scale=fit.fittedvalues).sum()}


@other
def baseball_bradley_terry(d, p):
    from statsmodels.api import GLM, families

    one = np.eye(7)
    inputs = (one[d["i"].numpy().astype(int)] - one[d["j"].numpy().astype(int)])[:, :6]
    lost = (d["games"] - d["won"]).numpy()
    return {"statsmodels": GLM(np.stack([d["won"].numpy(), lost], 1), inputs, family=families.Binomial()).fit(tol=1e-14).llf}


@other
def ships_poisson(d, p):
    from statsmodels.api import GLM, add_constant, families

    one = np.concatenate([np.eye(5)[d["type"].numpy().astype(int)][:, 1:], np.eye(4)[d["built"].numpy().astype(int)][:, 1:]], 1)
    inputs = add_constant(np.column_stack([one, d["late"].numpy()]))
    fit = GLM(d["incidents"].numpy(), inputs, family=families.Poisson(), offset=np.log(d["service"].numpy())).fit(tol=1e-14)
    return {"statsmodels": fit.llf}


@other
def longley_normal(d, p):
    x = table(d)
    _, logdet = np.linalg.slogdet(np.cov(x.T, bias=True))
    return {"closed form, numpy": -len(x) / 2 * (x.shape[1] * (math.log(2 * math.pi) + 1) + logdet)}


@other
def iris_dirichlet(d, p):
    from scipy.stats import dirichlet

    x = table(d).T
    return {"scipy, at these estimates": float(dirichlet.logpdf(x / x.sum(0), p["alpha"].numpy()).sum())}


@other
def port_pirie_gumbel(d, p):
    from scipy.stats import gumbel_r

    x = d["level"].numpy()
    return {"scipy": gumbel_r.logpdf(x, *gumbel_r.fit(x)).sum()}


@other
def darwin_cauchy(d, p):
    from scipy.stats import cauchy

    x = d["x"].numpy()
    return {"scipy": cauchy.logpdf(x, *cauchy.fit(x, loc=24, scale=20)).sum()}


@other
def stackloss_student(d, p):
    from statsmodels.api import add_constant
    from statsmodels.miscmodels.tmodel import TLinearModel

    fit = TLinearModel(d["y"].numpy(), add_constant(table(d, "y"))).fit(
        start_params=np.array([-38, 0.8, 0.6, -0.1, 1.5, 1.0]), disp=0, method="bfgs", maxiter=2000)  # fmt: skip
    return {"statsmodels": fit.llf}


@other
def stackloss_laplace(d, p):
    from scipy.stats import laplace
    from statsmodels.api import QuantReg, add_constant

    y, inputs = d["y"].numpy(), add_constant(table(d, "y"))
    residuals = y - QuantReg(y, inputs).fit(q=0.5, p_tol=1e-10, max_iter=10000).predict(inputs)
    return {"statsmodels": laplace.logpdf(residuals, scale=np.abs(residuals).mean()).sum()}


@other
def deaths_poissons(d, p):
    return {"Titterington, Smith, Makov (1985)": -1989.946}


@other
def crabs_mixture(d, p):
    return {"scikit-learn": by_sklearn(d["x"].numpy()[:, None] * 1000, 2) + len(d["x"]) * math.log(1000)}


def by_sklearn(x: np.ndarray, classes: int) -> float:
    from sklearn.mixture import GaussianMixture

    fit = GaussianMixture(classes, n_init=20, tol=1e-13, max_iter=20000, reg_covar=0, random_state=0).fit(x)
    return float(fit.score(x)) * len(x)


@other
def carcinoma_lca(d, p):
    return {"poLCA (Linzer and Lewis 2011)": -293.705}


@other
def dippers(d, p):
    return {"MARK, Lebreton et al. (1992)": -666.838 / 2}


@other
def dippers_by_year(d, p):
    return {"MARK, Lebreton et al. (1992)": -656.950 / 2}


@other
def sunspots_ar(d, p):
    from statsmodels.tsa.ar_model import AutoReg

    return {"statsmodels": AutoReg(d["x"].numpy(), 2).fit().llf}


@other
def gnp_switching(d, p):
    """statsmodels starts one step earlier, so it is given what a step takes to the uniform law."""
    from statsmodels.tsa.regime_switching.markov_autoregression import MarkovAutoregression

    model = MarkovAutoregression(d["x"].numpy(), k_regimes=2, order=1, switching_ar=False)
    trans = p["trans"].numpy()
    model.initialize_known(np.linalg.solve(trans.T, np.array([0.5, 0.5])))
    at = [trans[0, 0], trans[1, 0], *p["mu"].tolist(), float(p["s"]) ** 2, float(p["phi"])]
    return {"statsmodels, at these estimates": model.loglike(np.array(at))}


@other
def geyser_hmm(d, p):
    from hmmlearn.hmm import GaussianHMM

    x = d["x"].numpy()[:, None]
    fits = [
        GaussianHMM(2, n_iter=5000, tol=1e-10, random_state=seed, covars_prior=0, covars_weight=0, min_covar=0).fit(x)
        for seed in range(5)
    ]
    return {"hmmlearn": max(fit.score(x) for fit in fits)}
