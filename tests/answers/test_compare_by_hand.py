"""AIC, BIC and PSIS-LOO of runs against numbers that are worked out here, without vispec's code for them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arviz_stats
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.optimize import minimize
from scipy.special import gammaln, logsumexp
from scipy.stats import norm, qmc

from vispec.answers.compared.arviz import to_arviz
from vispec.cli.main import main
from vispec.train.data import Dataset
from vispec.train.estimates.stored import training_data
from vispec.train.store.run import Run

ROOT = Path(__file__).parents[2]
FAITHFUL = ROOT / "specs" / "data" / "faithful.csv"
Array = np.ndarray[Any, Any]

MIXTURE = """
size K = {K}
size D
param pi : simplex[K]
param L  : cholesky[D]
plate k[K]:
    param mu : real[D]
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real[D]  ~ MultivariateNormal(mu[c], L)
"""
POOLED = """
param rate : positive
plate n:
    observed y : count ~ Poisson(rate)
"""
HIERARCHICAL = """
size G
latent mu  : real     ~ Normal(0, 5)
latent tau : positive ~ HalfNormal(1)
plate g[G]:
    latent b : real ~ Normal(mu, tau)
plate n:
    given  k : index[g]
    observed y : count ~ Poisson(exp(b[k]))
"""


def run(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def fitted(folder: Path, name: str, spec: str, *data: object) -> Path:
    (folder / f"{name}.vispec").write_text(spec, encoding="utf-8")
    run("fit", folder / f"{name}.vispec", *data, "--out", folder / name)
    return folder / name


def compared(runs: list[Path], *words: object) -> dict[str, dict[str, Any]]:
    found = json.loads(run("compare", *runs, "--json", *words))
    assert found["fitted"]
    return {Path(each["run"]).name: each for each in found["runs"]}


def by_arviz(folder: Path, draws: int = 1000) -> Any:
    """PSIS-LOO as ArviZ makes it of the DataTree of a run."""
    run = Run.open(folder)
    data = training_data(run, print)
    assert isinstance(data, Dataset)
    tree: Any = to_arviz(run, data, draws)
    if tree.posterior.attrs["approximation"] == "laplace":
        return arviz_stats.loo(tree)
    return arviz_stats.loo_approximate_posterior(tree, tree.sample_stats.lp, tree.sample_stats.log_q)


# ---- three nested mixtures


def mixture_log_density(x: torch.Tensor, u: torch.Tensor, K: int) -> torch.Tensor:
    """log p of rows (N, 2) under unconstrained numbers (*S, d): logits, means, then the factor's two diagonal numbers behind
    softplus and the one between."""
    logits, mu, raw = u[..., :K], u[..., K : 3 * K].unflatten(-1, (K, 2)), u[..., 3 * K :, None, None]
    first, between, second = raw[..., 0, :, :].exp().log1p(), raw[..., 1, :, :], raw[..., 2, :, :].exp().log1p()
    gap = x[:, None] - mu[..., None, :, :]  # (*S, N, K, 2)
    a = gap[..., 0] / first
    b = (gap[..., 1] - between * a) / second
    log_normal = -0.5 * (a**2 + b**2) - math.log(2 * math.pi) - first.log() - second.log()
    return (logits.log_softmax(-1)[..., None, :] + log_normal).logsumexp(-1)


def maximum(f: Callable[[torch.Tensor], torch.Tensor], starts: list[Array]) -> Array:
    """Where the sum of f over rows is largest, of several starts."""

    def slope(u: Array) -> tuple[float, Array]:
        at = torch.tensor(u, requires_grad=True)
        value = -f(at).sum()
        (gradient,) = torch.autograd.grad(value, at)
        return value.item(), gradient.numpy()

    found = [minimize(slope, start, jac=True, method="BFGS", options={"gtol": 1e-7, "maxiter": 2000}) for start in starts]
    return min(found, key=lambda each: each.fun).x


def information(f: Callable[[torch.Tensor], torch.Tensor], top: Array, h: float = 1e-4) -> Array:
    """Minus the second derivatives of the sum of f, by central differences of gradients."""

    def gradient(u: Array) -> Array:
        return torch.func.grad(lambda at: f(at).sum())(torch.tensor(u)).numpy()

    steps = h * np.eye(len(top))
    columns = [(gradient(top - step) - gradient(top + step)) / (2 * h) for step in steps]
    return (np.array(columns) + np.array(columns).T) / 2


def loo(f: Callable[[torch.Tensor], torch.Tensor], top: Array, count: int = 1 << 14) -> Array:
    """Each row's log of the harmonic mean of its density over Laplace draws, which is what smoothing estimates."""
    w, v = np.linalg.eigh(information(f, top))
    known = w > 1e-6 * w.max()
    noise = qmc.MultivariateNormalQMC(np.zeros(known.sum()), rng=7).random(count)
    draws = torch.tensor(top + (noise / np.sqrt(w[known])) @ v[:, known].T)
    with torch.no_grad():
        each = torch.cat([f(part) for part in draws.split(512)]).numpy()
    return math.log(count) - logsumexp(-each, axis=0)


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("mixtures")
    columns = ("--columns", "x=eruptions,waiting")
    return [fitted(folder, f"k{K}", MIXTURE.replace("{K}", str(K)), FAITHFUL, *columns) for K in (1, 2, 3)]


def test_nested_mixtures(mixtures: list[Path]) -> None:
    x = torch.tensor(np.loadtxt(FAITHFUL, delimiter=",", skiprows=1))
    told, rng, each = compared(mixtures), np.random.default_rng(0), dict[str, Array]()
    for K in (1, 2, 3):
        f = lambda u, K=K: mixture_log_density(x, u, K)  # noqa: E731
        starts = [np.concatenate([np.zeros(K), x[rng.integers(0, 272, K)].numpy().ravel(), [0.0, 1.0, 5.0]]) for _ in range(6)]
        top = maximum(f, starts)
        best, free, found = float(f(torch.tensor(top)).sum()), 3 * K + 2, told[f"k{K}"]
        assert found["free_parameters"] == free
        assert found["log_prob"] == pytest.approx(best, abs=1e-6)
        assert found["aic"] == pytest.approx(2 * free - 2 * best, abs=1e-6)
        assert found["bic"] == pytest.approx(free * math.log(272) - 2 * best, abs=1e-6)
        each[f"k{K}"] = loo(f, top)
        assert found["elpd"] == pytest.approx(each[f"k{K}"].sum(), abs=0.1)
        assert found["elpd_se"] == pytest.approx(math.sqrt(272 * each[f"k{K}"].var(ddof=1)), rel=0.01)
        assert by_arviz(mixtures[K - 1]).elpd == pytest.approx(each[f"k{K}"].sum(), abs=0.1)
    assert list(told) == ["k3", "k2", "k1"]
    for name in ("k2", "k1"):
        gap = each[name] - each["k3"]
        assert told[name]["elpd_diff"] == pytest.approx(gap.sum(), abs=0.15)
        assert told[name]["elpd_diff_se"] == pytest.approx(math.sqrt(272 * gap.var(ddof=1)), rel=0.02)


# ---- a hierarchical and a pooled Poisson model


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array, Array]:
    """Counts of six groups, and of which group each is."""
    rng, sizes = np.random.default_rng(5), (14, 20, 9, 16, 11, 18)
    group = np.repeat(np.arange(6), sizes)
    y = rng.poisson(np.array([1.5, 6.0, 3.0, 10.0, 2.0, 4.5])[group])
    path = tmp_path_factory.mktemp("counts") / "counts.csv"
    path.write_text("k,y\n" + "".join(f"{k},{n}\n" for k, n in zip(group, y, strict=True)), encoding="utf-8")
    return path, group, y


@pytest.fixture(scope="module")
def poisson(tmp_path_factory: pytest.TempPathFactory, counts: tuple[Path, Array, Array]) -> list[Path]:
    folder, data = tmp_path_factory.mktemp("poisson"), counts[0]
    return [fitted(folder, "pooled", POOLED, data), fitted(folder, "hierarchical", HIERARCHICAL, data)]


MUS, TAUS, EFFECTS = np.linspace(-3, 5, 121), np.linspace(0, 4, 161)[1:], np.linspace(-4, 6, 1001)
LOG_PRIOR = -0.5 * (MUS[:, None] / 5) ** 2 - 0.5 * TAUS**2  # Normal(0, 5) and HalfNormal(1), up to a constant
OF_GROUPS = norm.pdf(EFFECTS, MUS[:, None, None], TAUS[:, None])  # of a group's log-rate given mu and tau (mu, tau, b)


def log_evidence(sums: float, size: int) -> Array:
    """log p of one group's counts given mu and tau (mu, tau), but for the factorials and a constant: over its log-rate."""
    log_p = sums * EFFECTS - size * np.exp(EFFECTS)
    return np.log(np.maximum(OF_GROUPS @ np.exp(log_p - log_p.max()), 1e-300)) + log_p.max()


def exact_loo(y: Array, group: Array) -> Array:
    """log p of each count given all others, by quadrature over what groups share."""
    sums, sizes = np.bincount(group, y), np.bincount(group)
    groups = [log_evidence(*each) for each in zip(sums, sizes, strict=True)]
    joint = LOG_PRIOR + sum(groups)

    def one(g: int, count: int) -> float:
        without = joint - groups[g] + log_evidence(sums[g] - count, sizes[g] - 1)
        return float(logsumexp(joint) - logsumexp(without) - gammaln(count + 1))

    found = {pair: one(*pair) for pair in set(zip(group.tolist(), y.tolist(), strict=True))}
    return np.array([found[pair] for pair in zip(group.tolist(), y.tolist(), strict=True)])


def test_hierarchical_and_pooled(poisson: list[Path], counts: tuple[Path, Array, Array]) -> None:
    _, group, y = counts
    told = compared(poisson, "--draws", 20_000)
    mean, n = y.mean(), len(y)
    best = float((y * math.log(mean) - mean - gammaln(y + 1)).sum())
    assert told["pooled"]["log_prob"] == pytest.approx(best, abs=1e-6)
    assert told["pooled"]["aic"] == pytest.approx(2 - 2 * best, abs=1e-6)
    assert told["pooled"]["bic"] == pytest.approx(math.log(n) - 2 * best, abs=1e-6)
    assert told["pooled"]["elpd"] == pytest.approx(loo(pooled(y), np.log(np.expm1([mean]))).sum(), abs=0.1)
    exact = exact_loo(y, group)
    assert told["hierarchical"]["elpd"] == pytest.approx(exact.sum(), abs=0.1)
    assert told["hierarchical"]["elpd_se"] == pytest.approx(math.sqrt(n * exact.var(ddof=1)), rel=0.02)
    few = compared(poisson, "--draws", 2000)["hierarchical"]["elpd"]
    assert by_arviz(poisson[1], 2000).elpd == pytest.approx(few, abs=1e-6)
    assert [told["hierarchical"][name] for name in ("free_parameters", "aic", "bic", "bad_k")] == [None, None, None, []]
    assert list(told) == ["hierarchical", "pooled"]


def pooled(y: Array) -> Callable[[torch.Tensor], torch.Tensor]:
    """log p of each count under a rate behind softplus."""
    count, constant = torch.tensor(y, dtype=torch.float64), torch.tensor(gammaln(y + 1))

    def f(u: torch.Tensor) -> torch.Tensor:
        rate = torch.nn.functional.softplus(u)
        return count * rate.log() - rate - constant

    return f
