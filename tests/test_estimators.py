"""Gradients of every estimator against their exact value on tiny models, and bounds against the log-probability they bound.

A row is repeated many times in one batch, so that a call draws as many independent estimates; the references are closed forms,
enumeration and quadrature written here, apart from the compiler.
"""

import math
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vispec.compile import compile_spec
from vispec.source import Source
from vispec.train.errors import OptionError
from vispec.train.weights import Estimator, estimate, log_of_mean, mean_of_logs, read_estimator

DRAWS, PARTS = 20_000, 40
DEVIATIONS = 4.0

DISCRETE = """
size K = 3
param pi : simplex[K]
param guess : simplex[K]
plate k[K]:
    param mu : real
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real ~ Normal(mu[c], 1)
guide:
    c ~ Categorical(guess)
"""
CONTINUOUS = """
param a : real
param m : real
param s : positive
plate n:
    latent   z : real ~ Normal(0, 1)
    observed x : real ~ Normal(a * z, 1)
guide:
    z ~ Normal(m, s)
"""
X = 0.7


def module_of(text: str, name: str = "model") -> nn.Module:
    """The emitted module in float64, its parameters set by a seed."""
    space: dict = {}
    exec(compile_spec(Source(f"{name}.vispec", text), {}), space)
    module = space["Model"]().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def with_estimator(text: str, line: str) -> nn.Module:
    return module_of(f"{text}infer:\n    {line}\n")


def gradients(module: nn.Module, value: Tensor) -> dict[str, Tensor]:
    named = dict(module.named_parameters())
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    zero = torch.zeros((), dtype=torch.float64)
    return {n: zero.expand(p.shape) if g is None else g for (n, p), g in zip(named.items(), found, strict=True)}


def assert_unbiased(module: nn.Module, expected: Tensor, batch: Mapping[str, Tensor] | None = None) -> None:
    """Mean value and mean gradient of DRAWS estimates within 4 standard errors of `expected` () and its gradient."""
    torch.manual_seed(0)
    batch = batch or {"x": torch.tensor([X], dtype=torch.float64)}
    values, found = [], []
    for _ in range(PARTS):
        many = {key: value.repeat(DRAWS // PARTS, *[1] * (value.dim() - 1)) for key, value in batch.items()}
        value = module.log_prob(many)
        values.append(value.mean().detach())
        found.append(torch.cat([g.flatten() for g in gradients(module, value.mean()).values()]))
    wanted = torch.cat([g.flatten() for g in gradients(module, expected).values()])
    for got, exact in ((torch.stack(values).unsqueeze(-1), expected.detach()[None]), (torch.stack(found), wanted)):
        error = got.std(0) / math.sqrt(PARTS) + 1e-12
        assert bool(((got.mean(0) - exact).abs() <= DEVIATIONS * error).all()), (got.mean(0), exact, error)


# ---- a discrete latent


def discrete_terms(module: nn.Module) -> tuple[Tensor, Tensor]:
    """log p(x, c) and log q(c) of every value c."""
    log_x = -0.5 * (X - module.mu).square() - 0.5 * math.log(2 * math.pi)
    return module.pi.log() + log_x, module.guess.log()


def discrete_elbo(module: nn.Module) -> Tensor:
    log_p, log_q = discrete_terms(module)
    return (log_q.exp() * (log_p - log_q)).sum()


def discrete_multi(module: nn.Module, samples: int) -> Tensor:
    """E log (1/S) Σ w over every assignment of S samples."""
    log_p, log_q = discrete_terms(module)
    total = torch.zeros((), dtype=torch.float64)
    for values in product(range(3), repeat=samples):
        index = torch.tensor(values)
        bound = (log_p - log_q)[index].logsumexp(0) - math.log(samples)
        total = total + log_q[index].sum().exp() * bound
    return total


@pytest.mark.parametrize(
    "estimator",
    [
        "score(samples=1)",
        "score(samples=3)",
        "score(samples=3, baseline=loo)",
        "score(samples=1, baseline=mean)",
        "score(samples=2, baseline=nvil)",
        "elbo(samples=2, gradient=score)",
        "sum_and_sample(top=1, samples=1)",
        "sum_and_sample(top=2, samples=2)",
        "sum_and_sample(top=3, samples=1)",
    ],
)
def test_discrete_elbo(estimator: str) -> None:
    module = with_estimator(DISCRETE, f"c : {estimator}")
    wanted = discrete_elbo(module)
    if estimator.startswith("sum_and_sample(top=3"):
        got = module.log_prob({"x": torch.tensor([X], dtype=torch.float64)}).sum()
        for name, exact in gradients(module, wanted).items():
            torch.testing.assert_close(gradients(module, module.log_prob({"x": torch.tensor([X]).double()}).sum())[name], exact)
        torch.testing.assert_close(got, wanted)
        return
    if "nvil" in estimator:  # the baseline's own parameters learn something else
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(not name.startswith("baseline"))
        module.named_parameters = without_baseline(module)
    assert_unbiased(module, wanted)


def without_baseline(module: nn.Module) -> Callable[[], list[tuple[str, nn.Parameter]]]:
    found = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    return lambda: found


@pytest.mark.parametrize(
    "estimator", ["score(samples=3, baseline=vimco)", "iwae(samples=2, gradient=score)", "iwae(samples=3, gradient=score)"]
)
def test_discrete_multi_sample(estimator: str) -> None:
    module = with_estimator(DISCRETE, f"c : {estimator}")
    assert_unbiased(module, discrete_multi(module, int(estimator.split("samples=")[1][0])))


# ---- a continuous latent


def grid(samples: int, nodes: int = 40) -> tuple[Tensor, Tensor]:
    """Nodes (N, samples) and weights (N,) of standard normal noise."""
    at, weight = np.polynomial.hermite_e.hermegauss(nodes)
    points = torch.tensor(list(product(at, repeat=samples)), dtype=torch.float64)
    weights = torch.tensor([math.prod(w) for w in product(weight / weight.sum(), repeat=samples)], dtype=torch.float64)
    return points, weights


def continuous_multi(module: nn.Module, samples: int) -> Tensor:
    """E log (1/S) Σ w under the guide, by quadrature; samples=1 is the ELBO."""
    noise, weight = grid(samples)
    z = module.m + module.s * noise
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z) + torch.distributions.Normal(module.a * z, 1.0).log_prob(
        torch.tensor(X, dtype=torch.float64)
    )
    log_w = log_p - torch.distributions.Normal(module.m, module.s).log_prob(z)
    return (weight * (log_w.logsumexp(1) - math.log(samples))).sum()


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("gradient", ["pathwise", "stl", "score"])
def test_continuous_elbo(gradient: str, samples: int) -> None:
    module = with_estimator(CONTINUOUS, f"z : elbo(samples={samples}, gradient={gradient})")
    assert_unbiased(module, continuous_multi(module, 1))


@pytest.mark.parametrize("gradient", ["pathwise", "dreg", "score"])
def test_continuous_multi_sample(gradient: str) -> None:
    module = with_estimator(CONTINUOUS, f"z : iwae(samples=2, gradient={gradient})")
    assert_unbiased(module, continuous_multi(module, 2))


def test_dreg_has_less_variance_than_pathwise() -> None:
    """At the true posterior the weights are constant, and so is the doubly reparameterised gradient of the guide."""
    module = with_estimator(CONTINUOUS, "z : iwae(samples=5, gradient=dreg)")
    with torch.no_grad():
        a = float(module.a)
        module.m.fill_(a * X / (1 + a * a))
        module.s = torch.tensor((1 + a * a) ** -0.5, dtype=torch.float64)
    batch = {"x": torch.full((50,), X, dtype=torch.float64)}
    found = gradients(module, module.log_prob(batch).mean())
    assert float(found["m"].abs()) < 1e-12
    exact = torch.distributions.Normal(0.0, math.sqrt(1 + a * a)).log_prob(torch.tensor(X, dtype=torch.float64))
    torch.testing.assert_close(module.log_prob(batch), exact.expand(50))


def test_bounds_tighten() -> None:
    """ELBO < IWAE-5 < IWAE-50 < log p."""
    means = []
    torch.manual_seed(0)
    for line in ("elbo(samples=1)", "iwae(samples=5)", "iwae(samples=50)"):
        module = with_estimator(CONTINUOUS, f"z : {line}")
        with torch.no_grad():
            means.append(float(module.log_prob({"x": torch.full((DRAWS,), X, dtype=torch.float64)}).mean()))
    a = module.a.item()
    exact = float(torch.distributions.Normal(0.0, math.sqrt(1 + a * a)).log_prob(torch.tensor(X)))
    assert means[0] < means[1] < means[2] < exact + 0.01
    assert exact - means[2] < 0.02


# ---- many samples, for evaluation


@pytest.mark.parametrize("line", ["elbo(samples=1)", "iwae(samples=3)", "elbo(samples=2, gradient=score)"])
def test_weights_average_to_the_probability(line: str) -> None:
    """E w = p(x), whatever the estimator that trains; the reported standard error covers the gap."""
    module = with_estimator(CONTINUOUS, f"z : {line}")
    a = module.a.item()
    exact = torch.distributions.Normal(0.0, math.sqrt(1 + a * a)).log_prob(torch.tensor(X, dtype=torch.float64))
    torch.manual_seed(0)
    batch = {"x": torch.full((3,), X, dtype=torch.float64)}
    found, variance = estimate(module, batch, 3, Estimator("iwae", DRAWS))
    assert bool(((found - exact).abs() <= DEVIATIONS * variance.sqrt()).all())
    assert bool((variance.sqrt() < 0.02).all())
    mean, variance = estimate(module, batch, 3, Estimator("elbo", DRAWS))
    assert bool(((mean - continuous_multi(module, 1)).abs() <= DEVIATIONS * variance.sqrt()).all())


@pytest.mark.parametrize("kind", [log_of_mean, mean_of_logs])
def test_chunks_do_not_matter(kind: Callable) -> None:
    weights = torch.randn(10, 4, dtype=torch.float64)
    whole, pieces = kind([weights]), kind(list(weights.split(3)))
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other)
    if kind is mean_of_logs:
        torch.testing.assert_close(whole[1], weights.var(0) / 10)


def test_weights_of_a_guided_sum() -> None:
    """Enumerated under its guide, the bound needs no draws; weighed, a sampled latent averages to the exact probability."""
    module = module_of(DISCRETE)
    batch = {"x": torch.tensor([X], dtype=torch.float64)}
    torch.testing.assert_close(module.log_prob(batch).squeeze(), discrete_elbo(module))
    exact = discrete_terms(module)[0].logsumexp(0)
    torch.testing.assert_close(module.log_weights(batch, 2), exact.detach().expand(2, 1))
    module = with_estimator(DISCRETE, "c : score(samples=2)")
    torch.manual_seed(0)
    found, variance = estimate(module, batch, 1, Estimator("iwae", DRAWS))
    assert abs(found.item() - exact.item()) <= DEVIATIONS * math.sqrt(variance.item())


@pytest.mark.parametrize("text", ["iwae", "iwae(0)", "mean(3)", "iwae(5) and more"])
def test_estimators_that_are_none(text: str) -> None:
    with pytest.raises(OptionError):
        read_estimator(text)
