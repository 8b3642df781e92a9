"""Random models with Gaussian latents: log p, gradients, posterior moments and whatever else `verify` compares, against an
integral by the gradient and the Hessian of the joint density, in which no recogniser takes part."""

import pytest

from tests.gaussian.drawn import gaussian_spec
from vispec.source import Source
from vispec.verify.verify import verify

SEEDS = [*(seed for seed in range(44) if seed not in (5, 8, 18, 26, 28, 32, 43)), 116]
"""Of 5 and 26 the text is ambiguous; the others would have an integral for each joint value of labels along a plate, and are
refused."""


@pytest.mark.parametrize("seed", SEEDS)
def test_they_agree(seed: int):
    source = Source("drawn.vispec", gaussian_spec(seed) + "\n")
    found = verify(source, seed=seed, rows=3)
    wrong = [
        check for check in found.checks if check.failure or (check.error is not None and not check.error <= check.tolerance)
    ]
    assert not wrong
    compared = {check.name for check in found.checks if check.error is not None}
    assert {"log-probability", "gradient"} <= compared


INDEXED = {
    "an entry, by all": "plate n:\n    latent z : real[2] ~ Normal(0, 1)\n    observed x : real[2] ~ Normal(z[1], s)\n",
    "an entry and its own": "plate n:\n    latent z : real[2] ~ Normal(0, 1)\n    observed x : real[2] ~ Normal(z + z[1], s)\n",
    "an entry, in one of a vector's means": """\
param L : cholesky[2]
plate n:
    latent z : real[2] ~ Normal(0, 1)
    observed x : real[2] ~ MultivariateNormal([0.7 * z[1], s], L)
""",
    "an entry of another vector": """\
plate n:
    latent z : real[2] ~ Normal(0, s)
    latent w : real[2] ~ Normal(0, 1)
    observed x : real[2] ~ Normal(w + z[0], 0.8)
""",
    "a friend's": """\
plate n:
    plate p[3]:
        latent u : real ~ Normal(0, 1)
        given friend : index[p]
        observed x : real ~ Normal(u[friend], s)
""",
    "a friend's, and its own of another": """\
plate n:
    plate p[3]:
        latent u : real ~ Normal(0, 1)
        latent w : real ~ Normal(0, 1)
        given friend : index[p]
        observed x : real ~ Normal(u[friend] + w, s)
""",
}
"""What stands along an axis reads others there than its own, so that several may read the same."""


@pytest.mark.parametrize("text", INDEXED.values(), ids=INDEXED)
def test_elements_read_others_of_their_axis(text: str):
    found = verify(Source("drawn.vispec", f"param s : positive\n{text}"), seed=1, rows=3)
    errors = {check.name: check for check in found.checks if check.error is not None}
    assert {"log-probability", "gradient"} <= errors.keys()
    assert all(check.error is not None and check.error <= check.tolerance for check in errors.values())


def test_latents_that_no_data_reach():
    """Their posterior is the same in all rows and differs by label: products of which one factor is not written by row."""
    text = """\
param s : positive
plate m[2]:
    param scale : positive
    param share : real
plate n:
    latent c : index[m] ~ Categorical([0.3, 0.7])
    latent z : real ~ Normal(1.5, s)
    latent u : real ~ Normal(z, scale[c])
    partial x : real ~ Normal(share[c], 0.8)
"""
    found = verify(Source("drawn.vispec", text), seed=1, rows=3)
    assert {"posterior moments"} <= {check.name for check in found.checks if check.error is not None}
    assert all(check.error is None or check.error <= check.tolerance for check in found.checks)
