"""Latents whose law has masses beside a density: where draws may pass a gradient, and where that would be wrong in silence."""

import math

import pytest
import torch
from torch import Tensor, nn

from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.distributions.unit.hard_kumaraswamy import hard_kumaraswamy_log_prob
from vispec.source import Source

DRAWS, PARTS, DEVIATIONS = 40_000, 40, 4.0

GATE = """
param a : positive
param b : positive
param slope : real
plate n:
    latent   f : unit ~ HardKumaraswamy({prior})
    observed x : real ~ Normal(slope * f, 1)
"""
OWN = GATE.format(prior="a, b")
GUIDED = GATE.format(prior="0.7, 1.2") + "guide:\n    f ~ HardKumaraswamy(a, b)\n"
X = 0.7


def module_of(text: str) -> nn.Module:
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), {}), space)
    module = space["Model"]().double()
    with torch.no_grad():
        module.a, module.b = torch.tensor(0.8).double(), torch.tensor(1.3).double()
        module.slope.fill_(1.5)
    return module


def values() -> tuple[Tensor, Tensor]:
    """Points of [0, 1] and their measure: small cells, and the two ends with measure 1."""
    inside = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return torch.cat((inside, ends)), torch.cat((torch.full_like(inside, 1e-5), torch.ones_like(ends)))


def exact_bound(module: nn.Module, guided: bool) -> Tensor:
    """E_q[log p(x, f) − log q(f)] by numerical integration; without a guide, q is f's own law."""
    f, weight = values()
    log_q = hard_kumaraswamy_log_prob(f, module.a, module.b)
    log_x = -0.5 * (X - module.slope * f).square() - 0.5 * math.log(2 * math.pi)
    prior = [torch.tensor(v).double() for v in (0.7, 1.2)]
    ratio = hard_kumaraswamy_log_prob(f, *prior) - log_q if guided else 0.0
    return (weight * log_q.exp() * (log_x + ratio)).sum()


@pytest.mark.parametrize(
    ("text", "guided"),
    [
        (OWN + "infer:\n    f : mc(samples=1)\n", False),
        (OWN + "infer:\n    f : score(samples=1)\n", False),
        (GUIDED + "infer:\n    f : elbo(samples=1, gradient=score)\n", True),
        (GUIDED + "infer:\n    f : score(samples=4, baseline=loo)\n", True),
    ],
)
def test_gradients_are_those_of_the_integral(text: str, guided: bool):
    module = module_of(text)
    named = list(module.parameters())
    expected = exact_bound(module, guided)
    wanted = torch.stack(torch.autograd.grad(expected, named))
    torch.manual_seed(0)
    batch = {"x": torch.full((DRAWS // PARTS,), X, dtype=torch.float64)}
    found, bounds = [], []
    for _ in range(PARTS):
        bound = module.log_prob(batch).mean()
        bounds.append(bound.detach())
        found.append(torch.stack(torch.autograd.grad(bound, named)))
    for got, exact in ((torch.stack(bounds)[:, None], expected.detach()[None]), (torch.stack(found), wanted)):
        error = got.std(0) / math.sqrt(PARTS) + 1e-5
        assert bool(((got.mean(0) - exact).abs() <= DEVIATIONS * error).all()), (got.mean(0), exact)


@pytest.mark.parametrize("estimator", ["", "elbo(samples=1)", "iwae(samples=2)", "elbo(samples=1, gradient=stl)"])
def test_a_gradient_through_the_draw_of_a_guide_with_masses_is_refused(estimator: str):
    asked = f"infer:\n    f : {estimator}\n" if estimator else ""
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", GUIDED + asked), {})
    assert any(d.code == "V714" and "jumps at 0 and 1" in d.message for d in caught.value.diagnostics)


def test_a_guide_with_masses_needs_a_law_with_masses():
    text = GUIDED.replace("HardKumaraswamy(0.7, 1.2)", "Beta(0.7, 1.2)") + "infer:\n    f : score(samples=2)\n"
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", text), {})
    assert any("its divergence is infinite" in d.primary.text for d in caught.value.diagnostics)


def test_no_automatic_guide_has_masses():
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", OWN), {})
    assert {d.code for d in caught.value.diagnostics} == {"V710"}


def test_the_mean_of_a_sequence_of_vectors_by_the_length_of_each_row():
    text = """
net meaning(word: category[4]) -> real[3] = embed(3)
plate n:
    plate i:
        given y : category[4]
        let v = meaning(y)
    observed x : real[3] ~ Normal(mean(v[*]), 1)
"""
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), {}), space)
    module = space["Model"]().double()
    y = torch.tensor([[1, 2, 3], [3, 0, 0], [0, 0, 0]])
    batch = {"y": y, "y_len": torch.tensor([3, 1, 0]), "x": torch.zeros(3, 3).double()}
    table = module.meaning(torch.arange(4))
    mean = torch.stack([table[1:].mean(0), table[3], torch.zeros(3).double()])
    expected = torch.distributions.Normal(mean, 1.0).log_prob(torch.zeros(3).double()).sum(-1)
    assert torch.allclose(module.log_prob(batch), expected, atol=1e-6)
