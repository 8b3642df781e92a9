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
from vispec.diagnostics import SpecError
from vispec.kernels.draws.kl import kl_bernoulli, kl_categorical
from vispec.source import Source
from vispec.train.errors import OptionError
from vispec.train.scores.weights import Estimator, estimate, log_of_mean, mean_of_logs, read_estimator
from vispec.train.setup.settings import Anneal, Settings

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
        "score(samples=3, baseline=none)",
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


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("score(samples=3)", "score(samples=3, baseline=loo)"),
        ("elbo(samples=3)", "score(samples=3, baseline=loo)"),
        ("score(samples=1)", "score(samples=1, baseline=none)"),
        ("iwae(samples=3)", "score(samples=3, baseline=vimco)"),
    ],
)
def test_of_several_draws_each_has_the_others_for_a_baseline(said: str, same: str) -> None:
    found = []
    for each in (said, same):
        module = with_estimator(DISCRETE, f"c : {each}")
        torch.manual_seed(0)
        value = module.log_prob({"x": torch.full((20,), X, dtype=torch.float64)}).sum()
        found.append(torch.cat([g.flatten() for g in gradients(module, value).values()]))
    torch.testing.assert_close(*found)


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


def test_weights_of_draws_from_the_prior() -> None:
    """Where nothing guides, a weight is the probability of the data at the draw."""
    module = module_of(CONTINUOUS.split("guide:")[0] + "infer:\n    z : mc(samples=4)\n")
    exact = torch.distributions.Normal(0.0, math.sqrt(1 + module.a.item() ** 2)).log_prob(torch.tensor(X, dtype=torch.float64))
    batch = {"x": torch.full((3,), X, dtype=torch.float64)}
    torch.manual_seed(0)
    found, variance = estimate(module, batch, 3, Estimator("iwae", DRAWS))
    assert bool(((found - exact).abs() <= DEVIATIONS * variance.sqrt()).all())


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


# ---- chains and ragged plates

CHAIN = """
param a : real
param b : real
param s : positive
plate n:
    chain t:
        latent   z : real ~ Normal(0, 1) then Normal(a * z[t-1], 1)
        observed x : real ~ Normal(z, 1)
guide:
    z ~ Normal(b * x, s) then Normal(b * x + a * z[t-1], s)
"""


def chain_log_prob(a: float, x: Tensor) -> Tensor:
    """log p of one sequence (T,): x is Gaussian with covariance A A^T + I, z = A noise."""
    steps = torch.arange(len(x))
    lag = steps[:, None] - steps
    powers = torch.where(lag >= 0, torch.tensor(a, dtype=torch.float64) ** lag.clamp(min=0), 0.0)
    cov = powers @ powers.T + torch.eye(len(x), dtype=torch.float64)
    return torch.distributions.MultivariateNormal(torch.zeros(len(x), dtype=torch.float64), cov).log_prob(x)


def test_draws_along_a_chain() -> None:
    """Weights average to the exact probability, whatever stands past the end; the analytic and the drawn divergence agree."""
    module = module_of(CHAIN)
    x = torch.tensor([[0.3, -1.0, 0.8], [1.2, 55.0, -99.0]], dtype=torch.float64)
    batch = {"x": x, "x_len": torch.tensor([3, 1])}
    exact = torch.stack([chain_log_prob(module.a.item(), row[:size]) for row, size in zip(x, (3, 1), strict=True)])
    torch.manual_seed(0)
    found, variance = estimate(module, batch, 2, Estimator("iwae", 4 * DRAWS))
    assert bool(((found - exact).abs() <= DEVIATIONS * variance.sqrt()).all())
    mean, variance = estimate(module, batch, 2, Estimator("elbo", DRAWS))
    many = {"x": x.repeat(DRAWS, 1), "x_len": torch.tensor([3, 1]).repeat(DRAWS)}
    own = module.log_prob(many).detach().view(DRAWS, 2)
    error = (variance + own.var(0) / DRAWS).sqrt()
    assert bool(((mean - own.mean(0)).abs() <= DEVIATIONS * error).all())


@pytest.mark.parametrize("gradient", ["pathwise", "stl", "score"])
def test_chain_gradients(gradient: str) -> None:
    """Against the gradient of the mean divergence in closed form: the ELBO of a linear Gaussian chain, by moments."""
    module = with_estimator(CHAIN, f"z : elbo(samples=1, gradient={gradient})")
    x = torch.tensor([[0.3, -1.0]], dtype=torch.float64)
    assert_unbiased(module, chain_elbo(module, x[0]), {"x": x, "x_len": torch.tensor([2])})


def chain_elbo(module: nn.Module, x: Tensor) -> Tensor:
    """The ELBO of a sequence of two: E log p(x, z) plus the guide's entropy."""
    a, b, s = module.a, module.b, module.s
    mean1, var1 = b * x[0], s.square()
    mean2, var2 = b * x[1] + a * mean1, s.square() * (1 + a.square())
    square = [mean1.square() + var1, (b * x[1]).square() + s.square()]  # of z1, and of z2 - a z1
    errors = [(x[0] - mean1).square() + var1, (x[1] - mean2).square() + var2]
    log_p = -0.5 * (sum(square) + sum(errors)) - 2 * math.log(2 * math.pi)
    return log_p + 2 * (s.log() + 0.5 * math.log(2 * math.pi * math.e))


RAGGED = """
param a : real
param m : real
param s : positive
plate n:
    plate i:
        latent   u : real ~ Normal(0, 1)
        latent   f : bit ~ Bernoulli(0.3)
        observed x : real ~ Normal(a * u + f, 1)
guide:
    u ~ Normal(m, s)
"""


def ragged_elbo(module: nn.Module, x: Tensor) -> Tensor:
    """Of one element, the bit summed out inside the expectation over u, by quadrature."""
    noise, weight = grid(1)
    u = module.m + module.s * noise  # (N, 1)
    bits = torch.tensor([0.0, 1.0], dtype=torch.float64)
    log_x = torch.distributions.Normal(module.a * u + bits, 1.0).log_prob(x) + torch.tensor([0.7, 0.3]).double().log()
    normal = torch.distributions.Normal
    log_w = log_x.logsumexp(1) + (normal(0.0, 1.0).log_prob(u) - normal(module.m, module.s).log_prob(u)).squeeze(1)
    return (weight * log_w).sum()


@pytest.mark.parametrize("gradient", ["pathwise", "stl", "score"])
def test_exact_inside_a_ragged_plate(gradient: str) -> None:
    module = with_estimator(RAGGED, f"u : elbo(samples=2, gradient={gradient})")
    x = torch.tensor([[0.4, -0.9, 33.0]], dtype=torch.float64)
    wanted = ragged_elbo(module, x[0, 0]) + ragged_elbo(module, x[0, 1])
    assert_unbiased(module, wanted, {"x": x, "x_len": torch.tensor([2])})
    empty = {"x": x, "x_len": torch.tensor([0])}
    assert module.log_prob(empty).item() == 0.0


def test_multi_sample_bound_of_a_ragged_row() -> None:
    """The mean weight is that of the whole row: samples of its elements are paired, not averaged one by one."""
    module = with_estimator(RAGGED, "u : iwae(samples=3)")
    x = torch.tensor([[0.4, -0.9, 33.0]], dtype=torch.float64)
    batch = {"x": x, "x_len": torch.tensor([2])}
    torch.manual_seed(0)
    bound = module.log_prob(batch)
    torch.manual_seed(0)
    u = module.m + module.s * torch.empty(3, 1, 3, dtype=torch.float64).normal_()
    normal = torch.distributions.Normal
    log_x = torch.stack(
        [math.log(p) + normal(module.a * u + bit, 1.0).log_prob(x) for bit, p in ((0, 0.7), (1, 0.3))]
    ).logsumexp(0)
    log_w = (log_x + normal(0.0, 1.0).log_prob(u) - normal(module.m, module.s).log_prob(u))[..., :2].sum(-1)
    torch.testing.assert_close(bound, log_w.logsumexp(0) - math.log(3))


# ---- partial variables, global ones, and what cannot be


PARTIAL = DISCRETE.replace("latent   c", "partial  c")


def test_score_keeps_what_is_seen() -> None:
    """A seen cell is scored exactly and adds no draw; a missing one is estimated."""
    module = with_estimator(PARTIAL, "c : score(samples=2, baseline=loo)")
    x = torch.tensor([X], dtype=torch.float64)
    log_p, _ = discrete_terms(module)
    seen = {"x": x, "c": torch.tensor([2]), "c_observed": torch.tensor([True])}
    torch.testing.assert_close(module.log_prob(seen).squeeze(), log_p[2])
    assert gradients(module, module.log_prob(seen).sum())["raw_guess"].abs().max() == 0
    missing = {"x": x, "c": torch.tensor([0]), "c_observed": torch.tensor([False])}
    assert_unbiased(module, discrete_elbo(module), missing)


@pytest.mark.parametrize("line", ["elbo(samples=1)", "elbo(samples=2, gradient=stl)", "elbo(samples=1, gradient=score)"])
def test_continuous_partial(line: str) -> None:
    module = with_estimator(CONTINUOUS.replace("latent   z", "partial  z"), f"z : {line}")
    x, z = torch.tensor([X], dtype=torch.float64), torch.tensor([-0.4], dtype=torch.float64)
    normal = torch.distributions.Normal
    seen = {"x": x, "z": z, "z_observed": torch.tensor([True])}
    expected = normal(0.0, 1.0).log_prob(z) + normal(module.a * z, 1.0).log_prob(x)
    torch.testing.assert_close(module.log_prob(seen), expected)
    missing = seen | {"z_observed": torch.tensor([False])}
    assert_unbiased(module, continuous_multi(module, 1), missing)


BOTTOM_UP = """
param a : real
param m : real
param s : positive
plate n:
    latent   top : real ~ Normal(0, 1)
    latent   low : real ~ Normal(a * top, 1)
    observed x   : real ~ Normal(low, 1)
guide:
    low ~ Normal(m * x, s)
    top ~ Normal(m * low, s)
"""


def test_guide_against_the_order_of_the_model() -> None:
    """The divergence of `low` from its prior is not in closed form here: that prior reads `top`, which is drawn from `low`."""
    module = module_of(BOTTOM_UP)
    noise, weight = grid(2, 20)
    normal = torch.distributions.Normal
    low = module.m * X + module.s * noise[:, 0]
    top = module.m * low + module.s * noise[:, 1]
    log_p = (
        normal(0.0, 1.0).log_prob(top)
        + normal(module.a * top, 1.0).log_prob(low)
        + normal(low, 1.0).log_prob(torch.tensor(X).double())
    )
    log_q = normal(module.m * X, module.s).log_prob(low) + normal(module.m * low, module.s).log_prob(top)
    assert_unbiased(module, (weight * (log_p - log_q)).sum())


MIXED_PRIOR = """
size K = 2
plate k[K]:
    param mu : real
param m : real
param s : positive
plate n:
    latent   c : index[k] ~ Uniform()
    latent   z : real ~ Normal(mu[c], 1)
    observed x : real ~ Normal(z, 1)
guide:
    z ~ Normal(m, s)
"""


def test_mixture_prior_is_summed_inside_each_draw() -> None:
    """log Σ_c p(c) p(z | c) at the draw, not a sum of divergences, which would be another and looser bound."""
    module = module_of(MIXED_PRIOR)
    noise, weight = grid(1)
    normal = torch.distributions.Normal
    z = module.m + module.s * noise
    log_prior = normal(module.mu, 1.0).log_prob(z).logsumexp(1) - math.log(2)
    log_w = log_prior + (normal(z, 1.0).log_prob(torch.tensor(X).double()) - normal(module.m, module.s).log_prob(z)).squeeze(1)
    assert_unbiased(module, (weight * log_w).sum())


TWO = CONTINUOUS.replace("plate n:", "plate n:\n    latent   w : real ~ Normal(0, 1)").replace("a * z", "a * z + w")
SCORED = "infer:\n    z : elbo(gradient=score)\n"
REFUSED = {
    "another bound": (f"{TWO}    w ~ Normal(0, s)\ninfer:\n    z : elbo(samples=1)\n    w : iwae(samples=2)\n", "V715"),
    "dreg over draws": (f"{BOTTOM_UP}infer:\n    low : iwae(samples=2)\n    top : iwae(samples=2, gradient=dreg)\n", "V714"),
    "a point for each row": (CONTINUOUS.split("guide:")[0] + "infer:\n    z : map()\n", "V714"),
    "a draw for each value": (MIXED_PRIOR.replace("~ Normal(m, s)", "~ Normal(mu[c], s)") + SCORED, "V714"),
    "a sum over data": (f"{PARTIAL}infer:\n    c : sum_and_sample(top=1, samples=1)\n", "V714"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, code = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        module_of(text)
    assert code in {diagnostic.code for diagnostic in caught.value.diagnostics}


# ---- divergences and relaxed draws

BITS = """
size D = 3
param chance : unit[D]
param guess : unit[D]
param w : real[D]
plate n:
    latent   b : bit[D] ~ Bernoulli(chance)
    observed x : real ~ Normal(dot(w, b), 1)
guide:
    b ~ Bernoulli(guess)
"""


def bits_elbo(module: nn.Module) -> Tensor:
    bits = torch.tensor(list(product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    q, p = (torch.distributions.Bernoulli(probs).log_prob(bits).sum(1) for probs in (module.guess, module.chance))
    log_x = torch.distributions.Normal(bits @ module.w, 1.0).log_prob(torch.tensor(X, dtype=torch.float64))
    return (q.exp() * (log_x + p - q)).sum()


def test_relaxed_is_exact_outside_training_and_nearly_so_when_cold() -> None:
    """In evaluation the draws are bits; in training at a low temperature they are nearly so, and carry a gradient."""
    module = with_estimator(BITS, "b : relaxed(temperature=0.02)")
    batch = {"x": torch.full((DRAWS,), X, dtype=torch.float64)}
    torch.manual_seed(0)
    for mode, slack in ((module.eval(), 0.0), (module.train(), 0.03)):
        found = mode.log_prob(batch).detach()
        error = DEVIATIONS * float(found.std()) / math.sqrt(DRAWS) + slack
        assert abs(float(found.mean()) - float(bits_elbo(module).detach())) <= error
    assert gradients(module, module.log_prob(batch).mean())["raw_guess"].abs().min() > 0


MIXED = """
param pi : simplex[3]
param guess : simplex[3]
plate k[3]:
    param mu : real
net h(c: category[3]) -> real = mlp([4])
plate n:
    latent   c : category[3] ~ Categorical(pi)
    latent   d : category[3] ~ Categorical(pi)
    observed x : real        ~ Normal(mu[c] + h(d), 1)
guide:
    c ~ Categorical(guess)
    d ~ Categorical(guess)
infer:
    c : relaxed(temperature=0.01)
    d : relaxed(temperature=0.01)
"""


def test_relaxed_categories_mix_rows_of_tables_and_inputs_of_nets() -> None:
    module = module_of(MIXED)
    batch = {"x": torch.full((DRAWS,), X, dtype=torch.float64)}
    one = torch.eye(3, dtype=torch.float64)
    mean = module.mu[:, None] + module.h(one)
    log_x = torch.distributions.Normal(mean, 1.0).log_prob(torch.tensor(X, dtype=torch.float64))
    expected = (module.guess[:, None] * module.guess * log_x).sum()
    expected = (expected - 2 * (module.guess * (module.guess / module.pi).log()).sum()).detach()
    torch.manual_seed(0)
    for mode, slack in ((module.eval(), 0.0), (module.train(), 0.03)):
        found = mode.log_prob(batch).detach()
        assert abs(float(found.mean() - expected)) <= DEVIATIONS * float(found.std()) / math.sqrt(DRAWS) + slack
    assert gradients(module, module.log_prob(batch).mean())["raw_guess"].abs().min() > 0


def test_score_of_a_vector_of_bits() -> None:
    assert_unbiased(module := with_estimator(BITS, "b : score(samples=4, baseline=loo)"), bits_elbo(module))


def test_divergences_agree_with_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    q, p = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    bernoulli = torch.distributions.Bernoulli
    expected = torch.distributions.kl_divergence(bernoulli(logits=q), bernoulli(logits=p))
    torch.testing.assert_close(kl_bernoulli(q, p), expected)
    categorical = torch.distributions.Categorical
    expected = torch.distributions.kl_divergence(categorical(logits=q), categorical(logits=p))
    torch.testing.assert_close(kl_categorical(q.log_softmax(-1), p.log_softmax(-1)), expected)
    certain = torch.tensor([0.0, -torch.inf], dtype=torch.float64)
    torch.testing.assert_close(kl_categorical(certain, certain), torch.zeros((), dtype=torch.float64))


# ---- training aids


def objective(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """What a step of training takes of each row."""
    rows = [{name: value[i : i + 1] for name, value in batch.items()} for i in range(len(batch["x"]))]
    return torch.stack([-module.loss(row, 1) for row in rows])


def test_free_bits_hold_in_training_alone() -> None:
    """A divergence below its free nats costs them whole and pulls no parameter."""
    text = CONTINUOUS.replace("a * z", "a + 0 * z")
    free, plain = module_of(f"{text}fit:\n    free_bits : 50\n"), module_of(text)
    batch = {"x": torch.tensor([X], dtype=torch.float64)}
    loc, scale = plain.m.detach(), plain.s.detach()
    divergence = 0.5 * (scale**2 + loc**2 - 1) - scale.log()
    torch.testing.assert_close(free.train().log_prob(batch), plain.log_prob(batch))
    torch.testing.assert_close(objective(free.train(), batch) + 50, plain.log_prob(batch) + divergence)
    assert gradients(free, free.loss(batch, 1))["m"] == 0
    torch.testing.assert_close(free.eval().log_prob(batch), plain.log_prob(batch))


def test_free_bits_need_a_closed_form() -> None:
    with pytest.raises(SpecError):
        module_of(f"{CONTINUOUS}infer:\n    z : iwae(samples=2)\nfit:\n    free_bits : 1\n")


SUPERVISED = "fit:\n    supervise : 3\n"


def test_labels_teach_an_enumerated_guide() -> None:
    """In training a seen cell adds 3 log q of its value; a missing one, and evaluation, nothing."""
    taught, plain = module_of(f"{PARTIAL}{SUPERVISED}"), module_of(PARTIAL)
    batch = {"x": torch.tensor([X, X, X], dtype=torch.float64), "c": torch.tensor([2, 0, 1])}
    batch["c_observed"] = torch.tensor([True, True, False])
    expected = torch.zeros(3, dtype=torch.float64)
    expected[:2] = 3 * taught.guess.log()[[2, 0]]
    torch.testing.assert_close(objective(taught.train(), batch) - plain.log_prob(batch), expected)
    torch.testing.assert_close(taught.eval().log_prob(batch), plain.log_prob(batch))
    assert torch.equal(taught.train().posterior(batch)["c"], plain.posterior(batch)["c"])
    seen = {name: value[:2] for name, value in batch.items()}
    gradient = gradients(taught, -taught.train().loss(seen, 2))["raw_guess"]
    wanted = torch.autograd.grad(3 * taught.guess.log()[[2, 0]].sum(), taught.raw_guess)[0]
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("line", ["elbo(samples=2)", "iwae(samples=3)", "elbo(samples=1, gradient=score)"])
def test_labels_teach_a_drawn_guide(line: str) -> None:
    text = CONTINUOUS.replace("latent   z", "partial  z") + f"infer:\n    z : {line}\n"
    taught, plain = module_of(f"{text}{SUPERVISED}"), module_of(text)
    z = torch.tensor([-0.4], dtype=torch.float64)
    seen = {"x": torch.tensor([X], dtype=torch.float64), "z": z, "z_observed": torch.tensor([True])}
    expected = 3 * torch.distributions.Normal(taught.m, taught.s).log_prob(z)
    torch.testing.assert_close(objective(taught.train(), seen) - plain.log_prob(seen), expected)
    torch.testing.assert_close(taught.eval().log_prob(seen), plain.log_prob(seen))
    missing = seen | {"z_observed": torch.tensor([False])}
    values = []
    for module in (taught.train(), plain):
        torch.manual_seed(3)
        values.append(objective(module, missing))
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("text", [DISCRETE, CONTINUOUS, PARTIAL.replace("guide:\n    c ~ Categorical(guess)\n", "")])
def test_supervision_needs_a_partial_variable_with_a_guide(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        module_of(f"{text}{SUPERVISED}")
    assert [d.code for d in caught.value.diagnostics] == ["V714"]


READS_WHAT_IS_SUMMED = """
param p : unit
net guess(b: bit, x: real) -> unit = mlp([])
plate n:
    latent   b : bit ~ Bernoulli(p)
    partial  c : bit ~ Bernoulli(0.2 if b else 0.6)
    observed x : real ~ Normal(c, 1)
guide:
    b ~ Bernoulli(p)
    c ~ Bernoulli(guess(b, x))
"""


def test_supervision_needs_the_guide_at_the_data() -> None:
    with pytest.raises(SpecError) as caught:
        module_of(f"{READS_WHAT_IS_SUMMED}{SUPERVISED}")
    assert "summed out" in caught.value.diagnostics[0].message


def test_annealing_in_cycles() -> None:
    settings = Settings(anneal=(Anneal(what="kl", start=0, stop=1, over=10, unit="steps"),), cycles=4)
    weights = [settings.anneal[0].value(settings.phase(step, 80), 1) for step in range(80)]
    assert weights == 4 * ([step / 10 for step in range(10)] + [1.0] * 10)
