"""Wake–sleep: each phase's mean gradient against enumeration, what the guide converges to, and what the plan says about it."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

DRAWS, PARTS, DEVIATIONS = 40_000, 40, 4.0

LAYERS = """
param chance : unit[2]
net lower(top: bit[2]) -> unit[2] = linear(2)
net decode(low: bit[2]) -> unit[3] = linear(3)
net encode(x: bit[3]) -> unit[2] = linear(2)
net higher(low: bit[2]) -> unit[2] = linear(2)
plate n:
    latent   top : bit[2] ~ Bernoulli(chance)
    latent   low : bit[2] ~ Bernoulli(lower(top))
    observed x   : bit[3] ~ Bernoulli(decode(low))
guide:
    low ~ Bernoulli(encode(x))
    top ~ Bernoulli(higher(low))
infer:
    low : wake_sleep()
    top : wake_sleep()
"""
X = (1.0, 0.0, 1.0)
GUIDE = ("encode", "higher")


def module_of(text: str) -> nn.Module:
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), {}), space)
    module = space["Model"]().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def bits(size: int) -> Tensor:
    return torch.tensor(list(product((0.0, 1.0), repeat=size)), dtype=torch.float64)


def log_bernoulli(logit: Tensor, value: Tensor) -> Tensor:
    return (value * nn.functional.logsigmoid(logit) + (1 - value) * nn.functional.logsigmoid(-logit)).sum(-1)


def log_joint(module: nn.Module, top: Tensor, low: Tensor, x: Tensor) -> Tensor:
    found = log_bernoulli(module.raw_chance, top) + log_bernoulli(module.lower(top), low)
    return found + log_bernoulli(module.decode(low), x)


def log_guide(module: nn.Module, top: Tensor, low: Tensor, x: Tensor) -> Tensor:
    return log_bernoulli(module.encode(x), low) + log_bernoulli(module.higher(low), top)


def objectives(module: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """By enumeration: the bound at X; E_q log p there, q held; E_p log q over all rows that the model may dream, p held."""
    x = torch.tensor(X, dtype=torch.float64)
    codes = bits(4)
    top, low = codes[:, :2], codes[:, 2:]
    log_p, log_q = log_joint(module, top, low, x), log_guide(module, top, low, x)
    dreams = bits(7)
    parts = dreams[:, :2], dreams[:, 2:4], dreams[:, 4:]
    sleep = (log_joint(module, *parts).exp().detach() * log_guide(module, *parts)).sum()
    return (log_q.exp() * (log_p - log_q)).sum(), (log_q.exp().detach() * log_p).sum(), sleep


def gradients(module: nn.Module, value: Tensor) -> dict[str, Tensor]:
    named = dict(module.named_parameters())
    found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), found, strict=True)}


def test_both_phases_have_their_gradient():
    module = module_of(LAYERS)
    bound, wake, sleep = objectives(module)
    waking, sleeping = gradients(module, wake), gradients(module, sleep)
    wanted = torch.cat([(sleeping if name.startswith(GUIDE) else waking)[name].flatten() for name in waking])
    batch = {"x": torch.tensor([X], dtype=torch.float64).expand(DRAWS // PARTS, -1)}
    torch.manual_seed(0)
    values, found = [], []
    for _ in range(PARTS):
        loss = -module.loss(batch, 1)
        values.append(loss.detach()[None])
        found.append(torch.cat([g.flatten() for g in gradients(module, loss).values()]))
    for got, exact in ((torch.stack(values), bound.detach()[None]), (torch.stack(found), wanted)):
        error = got.std(0) / math.sqrt(PARTS) + 1e-12
        assert bool(((got.mean(0) - exact).abs() <= DEVIATIONS * error).all()), (got.mean(0), exact)


CODES = """
param chance : simplex[2]
plate k[2]:
    param rate : unit[2]
net encode(x: bit[2]) -> simplex[2] = mlp([16])
plate n:
    latent   c : index[k] ~ Categorical(chance)
    observed x : bit[2] ~ Bernoulli(rate[c])
guide:
    c ~ Categorical(encode(x))
infer:
    c : wake_sleep()
"""


def test_the_guide_learns_the_posterior():
    """With the model held, the guide that fits dreams best is p(c | x) at every x, also at ones that no data had."""
    module = module_of(CODES)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.startswith("encode"))
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=4e-2)
    torch.manual_seed(0)
    batch = {"x": torch.zeros(1000, 2, dtype=torch.float64)}
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 4e-2 * (1 - step / 150)
        optimizer.zero_grad()
        module.loss(batch, 1000).div(1000).backward()
        optimizer.step()
    x = bits(2)
    prior = module.chance.log()
    logit = torch.logit(module.rate)
    exact = torch.stack([prior[c] + log_bernoulli(logit[c], x) for c in range(2)], -1).softmax(-1)
    assert torch.allclose(module.encode(x).softmax(-1), exact, atol=0.02)


def test_dreams_have_the_lengths_of_the_batch():
    text = """
net tag(before: category[2]) -> simplex[3] = embed(4)
net guess(x: category[3]) -> simplex[2] = embed(4)
plate row:
    plate i:
        latent   c : category[2] ~ Categorical([0.5, 0.5])
        observed x : category[3] ~ Categorical(tag(c))
guide:
    c ~ Categorical(guess(x))
infer:
    c : wake_sleep()
"""
    module = module_of(text)
    batch = {"x": torch.zeros(4000, 5, dtype=torch.long), "x_len": torch.tensor([5, 2]).repeat(2000)}
    torch.manual_seed(0)
    found = module.sleep(batch).detach()
    assert float(found[::2].mean() / found[1::2].mean()) == pytest.approx(5 / 2, rel=0.02)


def test_the_plan_says_that_it_is_biased():
    plan = plan_model(check_model(parse(Source("model.vispec", LAYERS)), {}))
    told = {row.variable: row.because for row in plan.rows}
    assert "biased" in told["low"]
    assert "biased" in told["top"]
    assert plan.combine == "elbo"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("low : wake_sleep()", "low : score(samples=1)", "beside it does not"),
        ("    latent   top : bit[2]", "    partial  top : bit[2]", "has data"),
    ],
)
def test_what_cannot_be_dreamed(old: str, new: str, words: str):
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", LAYERS.replace(old, new)), {})
    assert any(d.code == "V714" and words in d.message for d in caught.value.diagnostics)


def test_what_all_rows_share_is_not_dreamed():
    text = """
latent mu : real ~ Normal(0, 1)
plate n:
    observed x : real ~ Normal(mu, 1)
infer:
    mu : wake_sleep()
"""
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", text), {})
    assert any("a dream is one row" in d.message for d in caught.value.diagnostics)
