"""Names around a loop: what its first step and its later ones put out may stand before it, and is read behind it too."""

import torch
from torch.distributions import Normal

from tests.torch.test_generation import built

WALK = """
plate n:
    chain t[3]:
        latent z : real ~ Normal(1, 2 * s) then Normal(1, 3 * r)
        observed x : real ~ Normal(z, 1)
param s : positive
param r : positive
guide:
    z ~ Normal(0, 2 * s) then Normal(z[t-1], 3 * r)
"""


def test_scales_of_the_steps_are_two() -> None:
    """The weight of the draw, by hand at the same noise."""
    module, x = built(WALK), torch.randn(5, 3, dtype=torch.float64)
    torch.manual_seed(0)
    found = module.log_prob({"x": x})
    torch.manual_seed(0)
    noise = torch.stack([torch.randn(5, dtype=torch.float64) for _ in range(3)], 1)
    scale = torch.stack([2 * module.s, 3 * module.r, 3 * module.r])
    z = (scale * noise).cumsum(1)
    before = torch.nn.functional.pad(z, (1, 0))[:, :3]
    kl = torch.distributions.kl_divergence(Normal(before, scale), Normal(1.0, scale))
    torch.testing.assert_close(found, (Normal(z, 1.0).log_prob(x) - kl).sum(1))
