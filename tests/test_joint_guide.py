"""Guides over all shared latents at once: their densities, the maps to each domain, and posteriors that they can represent."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.kernels.draws.joint_guide import AutoregressiveFlow, FullRankGaussian, LowRankGaussian
from vispec.plan.guides import JOINT_DOMAINS
from vispec.source import Source
from vispec.train.scores.moments import moments

FAMILIES = ("full_rank", "low_rank, rank=2", "flow, layers=2, hidden=16")


def module_of(text: str, **sizes: int) -> nn.Module:
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), sizes), space)
    return space["Model"]().double()


def shaken(guide: nn.Module, scale: float = 0.5) -> nn.Module:
    """With parameters away from their start."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return guide.double()


def density_by_jacobian(guide: nn.Module, noise: Tensor) -> Tensor:
    """log N(noise) − log |det ∂ value / ∂ noise|."""
    jacobian = torch.autograd.functional.jacobian(lambda e: guide(e)[0], noise)
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum()
    return standard - torch.linalg.slogdet(jacobian).logabsdet  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_flow_knows_its_density(size: int, layers: int):
    guide = shaken(AutoregressiveFlow(size, layers, hidden=7))
    torch.manual_seed(0)
    for noise in 2 * torch.randn(5, size, dtype=torch.float64):
        assert torch.allclose(guide(noise)[1], density_by_jacobian(guide, noise), atol=1e-10)


def test_a_flow_of_one_number_integrates_to_one_and_is_increasing():
    guide = shaken(AutoregressiveFlow(1, layers=2, hidden=4), 1.0)
    noise = torch.linspace(-9, 9, 200_001, dtype=torch.float64)[:, None]
    value, log_q = guide(noise)
    assert bool((value.diff(dim=0) > 0).all())
    assert float(torch.trapezoid(log_q.exp(), value[:, 0]).detach()) == pytest.approx(1, abs=1e-6)


def test_a_full_rank_gaussian_is_one():
    guide = shaken(FullRankGaussian(4))
    factor = guide.below.tril(-1) + guide.log_diagonal.exp().diag()
    law = torch.distributions.MultivariateNormal(guide.loc, scale_tril=factor)
    value, log_q = guide(torch.randn(3, 2, 4, dtype=torch.float64))
    assert torch.allclose(log_q, law.log_prob(value), atol=1e-10)


def test_a_low_rank_gaussian_is_one():
    guide = shaken(LowRankGaussian(4, rank=2))
    covariance = guide.directions @ guide.directions.T + nn.functional.softplus(guide.raw_scale).square().diag()
    law = torch.distributions.MultivariateNormal(guide.loc, covariance)
    torch.manual_seed(0)
    value, log_q = guide(torch.randn(200_000, guide.noise, dtype=torch.float64))
    assert torch.allclose(log_q, law.log_prob(value), atol=1e-9)
    assert torch.allclose(value.T.cov(), covariance, atol=0.05)


# ---- in models

DOMAINS = """
latent r : real[2] ~ Normal(0, 1)
latent p : positive ~ Gamma(2, 2)
latent u : unit ~ Beta(2, 3)
latent s : simplex[3] ~ Dirichlet(2)
plate k[2]:
    latent w : real ~ Normal(0, 1)
    latent v : simplex[2] ~ Dirichlet(1)
plate n:
    given    c : index[k]
    observed x : real ~ Normal(r[0] + p * u + s[1] + w[c] + v[c][0], 1)
guide:
    auto({family})
"""


def raw_numbers(module: nn.Module, shared: tuple[Tensor, ...]) -> Tensor:
    """The unconstrained numbers that give one draw of DOMAINS back: the inverse of each map, written here."""
    r, p, u, s, w, v = shared
    logs = s.log()
    parts = [
        r,
        p.log()[None],
        torch.logit(u)[None],
        logs[:-1] - logs[-1],
        w,
        v[:, 0].log() - v[:, 1].log(),
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_domain_has_its_density(family: str):
    """log p − log q of what rows share, against the guide's density in ℝᴰ and the Jacobian of all maps by autograd."""
    assert {"real", "positive", "unit", "simplex"} == JOINT_DOMAINS
    module = module_of(DOMAINS.format(family=family))
    shaken(module.joint_guide)
    torch.manual_seed(1)
    *shared, ratio = (part.detach() for part in module.shared())
    r, p, u, s, w, _ = shared
    torch.manual_seed(1)
    raw, log_q = module.joint_guide(torch.empty(module.joint_guide.noise, dtype=torch.float64).normal_())
    assert torch.allclose(raw_numbers(module, tuple(shared)), raw, atol=1e-8)
    law, two, three = torch.distributions, torch.tensor(2.0).double(), torch.tensor(3.0).double()
    log_p = law.Normal(0 * two, 0.5 * two).log_prob(torch.cat([r, w])).sum()
    log_p = log_p + law.Gamma(two, two).log_prob(p) + law.Beta(two, three).log_prob(u)
    log_p = log_p + law.Dirichlet(two.expand(3)).log_prob(s)  # and Dirichlet(1, 1) is flat: 0
    assert float(ratio) == pytest.approx(float(log_p - log_q.detach() + log_jacobian(raw.detach())), abs=1e-8)


def log_jacobian(raw: Tensor) -> Tensor:
    """log |∂ (p, u, s_1, s_2, v_11, v_21) / ∂ raw|, of maps written here with torch's own transforms."""

    def put(x: Tensor) -> Tensor:
        s = torch.cat([x[4:6], torch.zeros(1)]).softmax(0)[:2]
        v = torch.sigmoid(x[8:10])
        return torch.cat([x[:2], x[2:3].exp(), torch.sigmoid(x[3:4]), s, x[6:8], v])

    return torch.linalg.slogdet(torch.autograd.functional.jacobian(put, raw)).logabsdet  # type: ignore[arg-type]


LINEAR = """
latent a : real ~ Normal(0, 3)
latent b : real ~ Normal(0, 3)
plate n:
    given    t : real
    let line = a + b * t
    observed x : real ~ Normal(line, 1)
guide:
    auto({family})
infer:
    a : elbo(samples=8)
    b : elbo(samples=8)
"""


def linear_data() -> dict[str, Tensor]:
    t = torch.linspace(1, 3, 12, dtype=torch.float64)
    return {"t": t, "x": 0.5 - 0.8 * t + torch.sin(9 * t)}


def linear_posterior(data: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and covariance of (a, b)."""
    design = torch.stack([torch.ones_like(data["t"]), data["t"]], -1)
    covariance = torch.linalg.inv(design.T @ design + torch.eye(2).double() / 9)
    return covariance @ design.T @ data["x"], covariance


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fitted(module: nn.Module, data: dict[str, Tensor], steps: int, rate: float) -> nn.Module:
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        optimizer.zero_grad()
        module.loss(data, len(data["x"])).backward()
        optimizer.step()
        schedule.step()
    return module


@pytest.mark.parametrize("family", FAMILIES)
def test_correlated_weights(family: str):
    """Intercept and slope are correlated by −0.94: a mean-field guide would make both a third as wide."""
    data = linear_data()
    module = fitted(module_of(LINEAR.format(family=family)), data, 500, 5e-2)
    mean, covariance = linear_posterior(data)
    torch.manual_seed(1)
    drawn = module.draws(data, 40_000)
    found = torch.stack([drawn["a"], drawn["b"]])
    assert torch.allclose(found.mean(1), mean, atol=0.1)
    assert torch.allclose(found.cov(), covariance, rtol=0.1)
    line = found[0][:, None] + found[1][:, None] * data["t"]
    assert torch.equal(drawn["line"], line)


def test_moments_are_those_of_the_draws():
    """Means and standard deviations of so many draws, in several chunks."""
    data = linear_data()
    module = module_of(LINEAR.format(family="full_rank"))
    torch.manual_seed(0)
    found = moments(module, data, 12, 20_000)
    start = math.exp(-2.3)  # standard deviation of a guide that has not been fitted
    assert float(found["a"]["mean"]) == pytest.approx(0, abs=0.03 * start)
    assert float(found["a"]["sd"]) == pytest.approx(start, rel=0.03)
    assert found["line"]["sd"].shape == (12,)
    assert torch.allclose(found["line"]["sd"], start * (1 + data["t"].square()).sqrt(), rtol=0.03)


SCHOOLS = """
latent mu  : real     ~ Normal(0, 5)
latent tau : positive ~ HalfCauchy(5)
plate school:
    given  sigma : positive
    latent eta   : real ~ Normal(0, 1)
    let theta = mu + tau * eta
    observed y : real ~ Normal(theta, sigma)
guide:
    auto(flow)
    eta ~ Normal(tau * (y - mu) / (sigma^2 + tau^2), sigma / sqrt(sigma^2 + tau^2))
infer:
    mu  : elbo(samples=32)
    tau : elbo(samples=32)
    eta : elbo(samples=32)
"""
SCHOOLS_REFERENCE = {  # mean and standard deviation of 10,000 reference draws (posteriordb, eight_schools_noncentered)
    "mu": (4.41, 3.31),
    "tau": (3.60, 3.20),
    "theta": ((6.15, 4.94, 3.91, 4.80, 3.61, 4.05, 6.32, 4.88), (5.62, 4.65, 5.28, 4.77, 4.61, 4.80, 5.00, 5.32)),
}


def test_eight_schools():
    """All ten posterior means and deviations within 0.15 reference deviations; eta's guide is its exact conditional."""
    data = {
        "y": torch.tensor([28.0, 8, -3, 7, -1, 1, 18, 12]).double(),
        "sigma": torch.tensor([15.0, 10, 16, 11, 9, 11, 10, 18]).double(),
    }
    module = module_of(SCHOOLS)
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for step in range(2000):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 2000)
        optimizer.zero_grad()
        module.loss(data, 8).backward()
        optimizer.step()
    found = moments(module, data, 8, 100_000)
    for name, (mean, sd) in SCHOOLS_REFERENCE.items():
        mean, sd = (torch.tensor(each).double() for each in (mean, sd))
        assert bool(((found[name]["mean"] - mean).abs() <= 0.15 * sd).all()), name
        assert bool(((found[name]["sd"] - sd).abs() <= 0.15 * sd).all()), name


def test_symbolic_sizes_and_annealing():
    """Sizes that the constructor learns; the weight of an annealed divergence is on log p and log q alike."""
    text = """
size D
size K
latent w : real[D] ~ Normal(0, 1)
plate k[K]:
    latent s : simplex[K] ~ Dirichlet(1)
plate n:
    given    t : real[D]
    given    c : index[k]
    observed x : category[K] ~ Categorical(s[c])
    observed y : real ~ Normal(dot(w, t), 1)
guide:
    auto(full_rank)
fit:
    anneal : kl from 0 to 1 over 10 steps
"""
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), {}), space)
    module = space["Model"](D=3, K=4)
    assert module.joint_guide.noise == 3 + 4 * 3
    module.kl_weight = 0.5
    torch.manual_seed(0)
    half = module.shared()
    module.kl_weight = 1.0
    torch.manual_seed(0)
    full = module.shared()
    assert half[1].shape == (4, 4)
    assert torch.allclose(half[1].sum(-1), torch.ones(4))
    assert torch.allclose(2 * half[-1], full[-1])


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("a : elbo(samples=2, gradient=stl)", "V714"),
        ("a : iwae(samples=2)", "V714"),
    ],
)
def test_what_a_joint_guide_cannot_do(lines: str, code: str):
    text = LINEAR.format(family="flow").split("infer:")[0] + f"infer:\n    {lines}\n"
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", text), {})
    assert code in {d.code for d in caught.value.diagnostics}


def test_a_latent_with_its_own_guide_or_point_stays_out():
    text = LINEAR.format(family="full_rank").replace("guide:\n", "guide:\n    b ~ Normal(0, 1)\n")
    module = module_of(text)
    assert module.joint_guide.noise == 1
    point = LINEAR.format(family="full_rank").replace("b : elbo(samples=8)", "b : map()")
    assert module_of(point).joint_guide.noise == 1
