"""Missing vectors are predicted whole: by the means and the draws of laws that are no product of laws of numbers."""

from pathlib import Path

import numpy as np
import pytest

import vispec

MIXTURE = """
size K = 2
size D = 2
param pi : simplex[K]
plate k[K]:
    param mu : real[D]
    param L  : cholesky[D]
plate n:
    latent  c : index[k] ~ Categorical(pi)
    partial x : real[D]  ~ MultivariateNormal(mu[c], L[c])
    partial y : real     ~ Normal(mu[c, 0], 1)
"""
PI, MU = np.array([0.25, 0.75]), np.array([[0.0, 10.0], [4.0, 20.0]])
L = np.array([[[1.0, 0.0], [0.5, 2.0]], [[0.5, 0.0], [-1.0, 1.0]]])


def fitted() -> vispec.Run:
    model = vispec.load(MIXTURE)
    return model.at([{"x": [0.0, 10.0], "y": 0.0}, {"x": None, "y": None}], {"pi": PI, "mu": MU, "L": L})


def test_a_vector_is_predicted_by_the_mean_and_the_draws_of_its_law() -> None:
    run = fitted()
    assert run.predict([{"x": None, "y": None}], "mean")[0]["x"] == pytest.approx(PI @ MU)
    p = PI * np.exp(-0.5 * (1.0 - MU[:, 0]) ** 2)
    p /= p.sum()
    assert run.predict([{"x": None, "y": 1.0}], "mean")[0]["x"] == pytest.approx(p @ MU)
    drawn = np.array(run.predict([{"x": None, "y": None}], "sample(4000)", seed=1)[0]["x"])
    assert drawn.shape == (4000, 2)
    centred = MU - PI @ MU
    covariance = np.einsum("k,kij->ij", PI, L @ L.transpose(0, 2, 1)) + np.einsum("k,ki,kj->ij", PI, centred, centred)
    np.testing.assert_allclose(drawn.mean(0), PI @ MU, atol=4 * np.sqrt(covariance.diagonal().max() / 4000))
    np.testing.assert_allclose(np.cov(drawn.T), covariance, rtol=0.15)


def test_quantiles_are_columns_by_variable_and_level() -> None:
    found = fitted().predict([{"x": None, "y": None}], "quantiles(.1, .025)", samples=200)[0]
    assert list(found) == ["x_q10", "x_q025", "y_q10", "y_q025"]
    assert found["y_q025"] < found["y_q10"]


def test_a_part_of_a_simplex_is_predicted_by_its_share(tmp_path: Path) -> None:
    model = vispec.load("param a : positive[3]\nplate n:\n    partial p : simplex[3] ~ Dirichlet(a)\n")
    run = model.at([{"p": [0.2, 0.3, 0.5]}, {"p": None}], {"a": [1.0, 2.0, 5.0]})
    assert run.predict([{"p": None}], "mean")[0]["p"] == pytest.approx([0.125, 0.25, 0.625])
    assert sum(run.predict([{"p": None}], "sample")[0]["p"]) == pytest.approx(1.0)
