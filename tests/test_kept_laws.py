"""Guides along a chain whose nets drop features at random: draws are scored under the very laws that drew them."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vispec.compile import compile_spec
from vispec.source import Source

DRAWS = 40_000
DEVIATIONS = 4.0

NORMAL = """
net f(before: real, heard: real) -> (loc: real, scale: positive) = mlp([8]) |> dropout(0.5)
param a : real
plate n:
    chain t:
        latent   z : real ~ Normal(0, 1) then Normal({past}, 1)
        observed x : real ~ Normal({mean}, 1)
guide:
    z ~ {guide}
infer:
    z : {infer}
"""
FINITE = """
net f(before: real, heard: real) -> simplex[2] = mlp([8]) |> dropout(0.5)
net g(heard: real) -> simplex[2] = mlp([8]) |> dropout(0.5)
param start : simplex[2]
param mu : real[2]
plate n:
    chain t:
        latent   c : category[2] ~ Categorical(start)
        observed x : real ~ Normal(mu[c], 1)
guide:
    c ~ {first} then Categorical(f(mu[c[t-1]], x))
infer:
    c : score(samples=2, baseline=loo)
"""
GUIDE = "Normal(0.5 * x, 1) then Normal(f(z[t-1], x))"
X = [[0.3, -1.0, 0.8], [1.2, 0.0, 0.0]]
LENGTHS = [3, 1]


def module_of(text: str) -> nn.Module:
    """The emitted module in float64 and in training, its parameters set by a seed, large enough for dropout to matter."""
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), {}), space)
    module = space["Model"]().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def normal(guide: str = GUIDE, infer: str = "elbo(samples=1)", past: str = "a * z[t-1]", mean: str = "z") -> nn.Module:
    return module_of(NORMAL.format(guide=guide, infer=infer, past=past, mean=mean))


def batch_of(x: list[list[float]], lengths: list[int]) -> dict[str, Tensor]:
    return {"x": torch.tensor(x, dtype=torch.float64), "x_len": torch.tensor(lengths)}


def record(net: nn.Module) -> list:
    """What the net returns, call by call."""
    found: list = []
    net.register_forward_hook(lambda _net, _inputs, out: found.append(out))
    return found


INFER = ("elbo(samples=1)", "elbo(samples=2, gradient=score)", "elbo(samples=1, gradient=stl)", "iwae(samples=3)")


@pytest.mark.parametrize("infer", INFER)
def test_a_guide_is_called_once_a_draw(infer: str) -> None:
    module, batch = normal(infer=infer), batch_of(X, LENGTHS)
    calls = record(module.f)
    for method in (lambda: module.log_prob(batch), lambda: module.log_weights(batch, 4), lambda: module.divergences(batch, 4)):
        calls.clear()
        method()
        assert len(calls) == 2  # of three elements the first is drawn from a law without the net


def test_the_divergence_is_that_of_the_law_that_drew() -> None:
    """Where neither the prior nor the data depend on the state, the bound is the laws' divergences and a number."""
    module, batch = normal(past="0 * z[t-1]", mean="0 * z"), batch_of(X, LENGTHS)
    calls = record(module.f)
    found = module.log_prob(batch)
    loc = torch.stack([0.5 * batch["x"][:, 0], *(out[0] for out in calls)], 1)
    scale = torch.stack([torch.ones(2, dtype=torch.float64), *(F.softplus(out[1]) for out in calls)], 1)
    kl = 0.5 * (scale.square() + loc.square() - 1) - scale.log()
    terms = -kl - 0.5 * batch["x"].square() - 0.5 * math.log(2 * math.pi)
    inside = torch.arange(3) < batch["x_len"][:, None]
    torch.testing.assert_close(found, torch.where(inside, terms, 0.0).sum(1))


def log_prob_of(a: float, x: Tensor) -> Tensor:
    """log p of one sequence (T,): x is Gaussian with covariance A A^T + I, z = A noise."""
    steps = torch.arange(len(x))
    lag = steps[:, None] - steps
    powers = torch.where(lag >= 0, torch.tensor(a, dtype=torch.float64) ** lag.clamp(min=0), 0.0)
    cov = powers @ powers.T + torch.eye(len(x), dtype=torch.float64)
    return torch.distributions.MultivariateNormal(torch.zeros(len(x), dtype=torch.float64), cov).log_prob(x)


def assert_average(module: nn.Module, batch: dict[str, Tensor], exact: Tensor) -> None:
    """The importance weights' mean is the probability: only so if they are by the law that drew, whatever was dropped."""
    torch.manual_seed(0)
    rows = {name: value.repeat_interleave(DRAWS, 0) for name, value in batch.items()}
    weights = module.log_weights(rows, 1)[0].view(-1, DRAWS).sub(exact[:, None]).exp()
    error = weights.std(1) / DRAWS**0.5
    assert bool((error < 0.02).all())
    assert bool(((weights.mean(1) - 1).abs() <= DEVIATIONS * error).all()), (weights.mean(1), error)


FAMILIES = (
    "Normal(0.5 * x, 1.2) then Normal(f(z[t-1], x).loc, 1.2)",
    "Normal(0.5 * x, 1.2) then Normal(f(z[t-1], x).loc, 1.2) then Laplace(f(z[t-1] - z[t-2], x).loc, 1)",
    "Laplace(0.5 * x, 1.2) then Normal(0.5 * z[t-1], 1.2) then Normal(f(z[t-1], x).loc, 1.2)",
)


@pytest.mark.parametrize("guide", FAMILIES)
def test_weights_average_to_the_probability(guide: str) -> None:
    module, batch = normal(guide), batch_of(X, LENGTHS)
    a = module.a.item()
    exact = torch.stack([log_prob_of(a, row[:size]) for row, size in zip(batch["x"], LENGTHS, strict=True)])
    assert_average(module, batch, exact)
    short = batch_of([[0.3], [-1.0]], [1, 1])
    assert_average(module, short, torch.stack([log_prob_of(a, row) for row in short["x"]]))
    loss = module.loss(short, 2)
    loss.backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in module.parameters())


@pytest.mark.parametrize("first", ["Uniform()", "Categorical(start)", "Categorical(g(x))"])
def test_weights_of_finite_draws_average_to_the_probability(first: str) -> None:
    module, batch = module_of(FINITE.format(first=first)), batch_of(X, LENGTHS)
    joint = module.start.log() - 0.5 * (batch["x"][..., None] - module.mu).square() - 0.5 * math.log(2 * math.pi)
    each = joint.logsumexp(-1)
    exact = torch.where(torch.arange(3) < batch["x_len"][:, None], each, 0.0).sum(1).detach()
    assert_average(module, batch, exact)
