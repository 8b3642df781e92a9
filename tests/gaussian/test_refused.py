"""What is not integrated, and what is said of it; and latents that all rows share."""

import pytest

from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

ONE = "param s : positive\nplate n:\n    latent z : real ~ Normal(0, 1)\n    observed x : {law}\n"


def because(text: str, name: str = "z") -> str:
    plan = plan_model(check_model(parse(Source("m.vispec", text))))
    return plan.treatments[name].because


@pytest.mark.parametrize(
    ("law", "why"),
    [
        ("real ~ Normal(tanh(z), s)", "not Gaussian: tanh of z"),
        ("real ~ Normal(z * z, s)", "not Gaussian: a product of z"),
        ("real ~ Normal(0, exp(z))", "not Gaussian: a scale that reads z"),
        ("real ~ StudentT(3, z, s)", "not Gaussian: StudentT of z"),
        ("bit ~ Bernoulli(sigmoid(z))", "not Gaussian: "),
        ("real ~ Normal(z, s) if z > 0 else Normal(0, s)", "not Gaussian: "),
    ],
)
def test_the_plan_says_why_a_latent_is_drawn(law: str, why: str):
    assert why in because(ONE.format(law=law))


def test_a_guide_or_an_estimator_wins():
    text = ONE.format(law="real ~ Normal(z, s)")
    assert because(text) == "jointly Gaussian given the rest"
    assert "guide Normal" in because(text + "infer:\n    z : elbo(samples=2)\n")
    assert "guide Normal" in because(text + "guide:\n    z ~ Normal(0, 1)\n")


def test_of_a_product_of_two_one_is_integrated():
    text = "latent w : real[3] ~ Normal(0, 1)\nparam s : positive\nplate n:\n    latent z : real[3] ~ Normal(0, 1)\n"
    text += "    observed x : real ~ Normal(dot(w, z), s)\n"
    assert because(text) == "jointly Gaussian given the rest"
    assert "rows share it" in because(text, "w")


def test_what_asks_for_an_integral_that_there_is_not_is_told_why():
    for law, why in (("Normal(tanh(z), s)", "tanh of z"), ("Normal(exp(z), s)", "exp of z")):
        with pytest.raises(SpecError) as refused:
            because(ONE.format(law=f"real ~ {law}") + "infer:\n    z : exact\n")
        (found,) = refused.value.diagnostics
        assert found.code == "V723"
        assert why in found.message


def test_a_matrix_that_is_too_large_is_refused_with_figures():
    text = "size P = 20000\nsize S = 20000\nparam s : positive\nplate p[P]:\n    latent u : real ~ Normal(0, s)\n"
    text += "plate q[S]:\n    latent v : real ~ Normal(0, s)\nplate n:\n    given i : index[p]\n    given j : index[q]\n"
    text += "    observed x : real ~ Normal(u[i] + v[j], s)\ninfer:\n    u : exact\n    v : exact\n"
    with pytest.raises(SpecError) as refused:
        because(text, "u")
    assert {each.code for each in refused.value.diagnostics} == {"V723"}
    assert "20,000 x 20,000 numbers, 6.4 GB" in refused.value.diagnostics[0].message
    with pytest.raises(SpecError) as refused:
        because(text.replace("P = 20000", "P = 1000000").replace("S = 20000", "S = 8000"), "u")
    assert "1,000,000 x 8,001 numbers, 64.0 GB" in refused.value.diagnostics[0].message
