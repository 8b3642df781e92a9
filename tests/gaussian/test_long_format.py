"""Random models in long format: log p, gradients, posterior moments and whatever else `verify` compares, against an integral by
the gradient and the Hessian of the joint density, in which no recogniser takes part."""

import re

import pytest
import torch

from tests.gaussian.long_format import long_spec
from vispec.compile import compile_spec
from vispec.source import Source
from vispec.verify.verify import verify

CROSSED = """size P = {p}
size S = {s}
param s : positive
plate dish[P]:
    latent u : real ~ Normal(0, 1)
plate batch[S]:
    latent v : real ~ Normal(0, 1)
plate n:
    given d : index[dish]
    given k : index[batch]
    observed x : real ~ Normal(u[d] + v[k], s)
infer:
    u : exact
    v : exact
"""


@pytest.mark.parametrize("seed", range(24))
def test_they_agree(seed: int):
    found = verify(Source("drawn.vispec", long_spec(seed)), seed=seed, rows=3)
    wrong = [each for each in found.checks if each.failure or (each.error is not None and not each.error <= each.tolerance)]
    assert not wrong
    assert {"log-probability", "gradient"} <= {check.name for check in found.checks if check.error is not None}


@pytest.mark.parametrize(("p", "s", "of"), [(50, 3, "S"), (3, 50, "P")])
def test_only_those_of_the_smaller_plate_are_integrated_together(p: int, s: int, of: str):
    module = compile_spec(Source("crossed.vispec", CROSSED.format(p=p, s=s)), only=["log_prob"])
    assert re.findall(r"\beliminate\(\w+, size=self\.(\w)\)", module) == [of]
    assert "torch.arange(self.P" not in module  # nothing is compared with all elements


def test_many_groups_of_few_rows_take_no_room_for_pairs():
    """20,000 groups, of which no row ever meets the numbers of another: a dense matrix would have 3.2 GB."""
    text = "size P = 20000\nparam s : positive\nplate g[P]:\n    latent u : real[2] ~ Normal(0, 1)\nplate n:\n"
    text += "    given k : index[g]\n    given y : real\n    observed x : real ~ Normal(u[k][0] + y * u[k][1], s)\n"
    scope: dict = {"__name__": "many"}
    exec(compile_spec(Source("many.vispec", text + "infer:\n    u : exact\n")), scope)
    module = next(v for v in scope.values() if isinstance(v, type) and v.__module__ == "many" and hasattr(v, "log_prob"))()
    chance = torch.Generator().manual_seed(0)
    k = torch.arange(20_000).repeat(2)
    rows = {"k": k[None], "k_len": torch.tensor([40_000])}
    rows |= {name: torch.randn(1, 40_000, generator=chance) for name in ("x", "y")}
    s = torch.nn.functional.softplus(module.raw_s).detach().double()
    x, y = (rows[name].double().view(2, 20_000).T for name in ("x", "y"))
    read = torch.stack([torch.ones_like(y), y], -1)
    covariance = read @ read.mT + s**2 * torch.eye(2, dtype=torch.double)
    exact = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.double), covariance).log_prob(x).sum()
    assert float(module.log_prob(rows).detach()) == pytest.approx(float(exact), rel=1e-6)
