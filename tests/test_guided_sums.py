"""Finite latents under guides beside others that are summed out exactly: the exact sum is inside, the expectation outside."""

import torch

from vispec.compile import compile_spec
from vispec.source import Source

TABLES = """
size K = 3
size H = 2
param prior_a : simplex[K]
param q_a     : simplex[K]
param q_c     : simplex[H]
plate k[K]:
    param prior_b : simplex[H]
    param m       : real
plate h[H]:
    param s       : real
    param prior_c : simplex[H]
"""
MIXED = """
plate n:
    latent a : index[k] ~ Categorical(prior_a)
    latent b : index[h] ~ Categorical(prior_b[a])
    observed x : real ~ Normal(m[a] * s[b], 1)
guide:
    a ~ Categorical(q_a)
"""
NESTED = """
plate n:
    latent a : index[k] ~ Categorical(prior_a)
    plate i:
        latent b : index[h] ~ Categorical(prior_b[a])
        observed x : real ~ Normal(m[a] * s[b], 1)
guide:
    a ~ Categorical(q_a)
"""
TWO = """
plate n:
    latent b : index[h] ~ Categorical(prior_c[0])
    latent a : index[k] ~ Categorical(prior_a)
    latent c : index[h] ~ Categorical(prior_c[b])
    observed x : real ~ Normal(m[a] * s[c] + s[b], 1)
guide:
    a ~ Categorical(q_a)
    c ~ Categorical(q_c)
"""
X = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)


def module_of(text: str) -> torch.nn.Module:
    namespace: dict = {}
    exec(compile_spec(Source("sums.vispec", TABLES + text)), namespace)
    torch.manual_seed(0)
    module = namespace["Sums"]().double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def density(x: torch.Tensor, loc: torch.Tensor) -> torch.Tensor:
    return torch.distributions.Normal(loc, torch.ones((), dtype=torch.float64)).log_prob(x)


def of_mixed(module) -> torch.Tensor:
    """log p(x, a, b) of one observation each, (n, a, b)."""
    return module.prior_b.log() + density(X[:, None, None], module.m[:, None] * module.s)


def test_a_sum_inside_an_expectation() -> None:
    module = module_of(MIXED)
    log_b = of_mixed(module)
    q, inner = module.q_a, log_b.logsumexp(-1) + module.prior_a.log()
    torch.testing.assert_close(module.log_prob({"x": X}), (q * (inner - q.log())).sum(-1))
    found = module.posterior({"x": X})
    torch.testing.assert_close(found["a"], q.expand(3, -1).detach())
    torch.testing.assert_close(found["b"], (q[:, None] * log_b.softmax(-1)).sum(-2).detach())
    mode = module.posterior({"x": X}, query="mode")
    assert mode["a"].tolist() == [int(q.argmax())] * 3
    assert mode["b"].tolist() == log_b[:, int(q.argmax())].argmax(-1).tolist()


def test_sums_in_an_inner_plate() -> None:
    module = module_of(NESTED)
    x, lengths = torch.stack([X, X.flip(0)]), torch.tensor([3, 2])
    batch = {"x": x, "x_len": lengths}
    log_b = module.prior_b.log() + density(x[..., None, None], module.m[:, None] * module.s)  # (n, i, a, b)
    inside = (torch.arange(3) < lengths[:, None])[..., None]
    inner = torch.where(inside, log_b.logsumexp(-1), 0.0).sum(1) + module.prior_a.log()
    torch.testing.assert_close(module.log_prob(batch), (module.q_a * (inner - module.q_a.log())).sum(-1))
    expected = torch.where(inside, (module.q_a[:, None] * log_b.softmax(-1)).sum(-2), 0.0)
    torch.testing.assert_close(module.posterior(batch)["b"], expected.detach())


def test_two_under_guides_and_one_that_is_not() -> None:
    module = module_of(TWO)
    log_c = module.prior_c.log()
    loc = module.m[:, None, None] * module.s[:, None] + module.s  # (a, c, b)
    joint = module.prior_a.log()[:, None, None] + log_c.T[None] + log_c[0] + density(X[:, None, None, None], loc)
    q = module.q_a[:, None] * module.q_c
    torch.testing.assert_close(module.log_prob({"x": X}), (q * (joint.logsumexp(-1) - q.log())).sum((-2, -1)))
    found = module.posterior({"x": X})
    torch.testing.assert_close(found["a"], module.q_a.expand(3, -1).detach())
    torch.testing.assert_close(found["c"], module.q_c.expand(3, -1).detach())
    torch.testing.assert_close(found["b"], (q[..., None] * joint.softmax(-1)).sum((1, 2)).detach())
