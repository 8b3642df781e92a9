"""Derivations: the formulas of known models, and that every spec has one in both notations."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.commands.explain import ENTRY
from vispec.diagnostics import SpecError
from vispec.explain.explain import Explanation, explain
from vispec.explain.show import show_explanation
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

SPECS = sorted(Path(__file__).parents[1].joinpath("specs").glob("*.vispec"))


def spec(name: str) -> Path:
    return next(path for path in SPECS if path.stem == name)


def derived(name: str, latex: bool = False) -> Explanation:
    model = check_model(parse(Source.read(spec(name))))
    return explain(model, plan_model(model), latex)


def objective(name: str, latex: bool = False) -> str:
    (formula,) = derived(name, latex).sections[-1].formulas
    return formula


def section(name: str, heading: str):
    return next(section for section in derived(name).sections if section.heading.startswith(heading))


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("mixture", "log p(x) = log Σ_{c} p(c) · p(x | c)"),
        ("ibm1", "log p(x | y) = Σ_i log Σ_{a[i]} p(a[i]) · p(x[i] | y[a[i]])"),
        ("hmm", "log p(x) = log Σ_{c[*]} ∏_t [p(c[t] | c[t−1]) · p(x[t] | c[t])]"),
        ("regression", "log p(x | y) = log p(x | y)"),
        ("annotators", "log p(label) = log Σ_{truth} p(truth) · ∏_annotator p(label[annotator] | truth)"),
        ("sentence_vae", "log p(x) ≥ E_{q(z | x[*])}[−KL(q(z | x[*]) ‖ p(z)) + Σ_i log p(x[i] | z, x[<i])]"),
        (
            "ss_vae",
            "log p(y, x) ≥ Σ_{y} q(y | x) "
            "[E_{q(z | x, y)}[log p(y) − KL(q(z | x, y) ‖ p(z)) + log p(x | z, y)] − log q(y | x)]",
        ),
    ],
)
def test_objective(name: str, formula: str):
    assert objective(name) == formula


def test_objective_in_latex():
    assert objective("ibm1", latex=True) == r"\log p(x \mid y) = \sum_{i} \log \sum_{a_{i}} p(a_{i})\, p(x_{i} \mid y_{a_{i}})"


def test_joint_keeps_shared_latents_outside_the_rows():
    model = check_model(parse(Source.read(spec("lda"))))
    (joint,) = explain(model).sections[1].formulas
    assert joint == ("p(φ, θ, topic, w) = ∏_k p(φ[k]) · ∏_doc [p(θ) · ∏_n [p(topic[n] | θ) · p(w[n] | φ[topic[n]])]]")


def test_marginal_counts_its_terms():
    assert "|y|^|x| terms" in section("ibm1", "Marginal").prose
    assert "K^|x| terms" in section("hmm", "Marginal").prose


def test_chain_is_explained_by_its_recursion():
    step = section("hmm", "Step 1")
    assert step.heading == "Step 1: sum over all sequences of c along t"
    assert step.formulas[1] == "α(c[t]) = Σ_{c[t−1]} α(c[t−1]) · p(c[t] | c[t−1]) · p(x[t] | c[t])"


def test_missing_leaves_are_said_to_drop_out():
    assert "Missing cells of label drop out" in section("annotators", "Objective").prose


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_spec_has_a_joint_in_both_notations(path: Path):
    model = check_model(parse(Source.read(path)))
    try:
        plan = plan_model(model)
    except SpecError:
        plan = None  # the derivation then ends with the marginal
    text, tex = (show_explanation(explain(model, plan, latex)) for latex in (False, True))
    assert text.startswith(model.name)
    laws = [line for line in explain(model, plan).sections[0].formulas if " ∼ " in line and "(guide)" not in line]
    assert len(laws) == sum(variable.law is not None for variable in model.variables)
    assert not set(tex) & set("Σ∏∫∼−≥‖")
    assert tex.count("{") == tex.count("}")
    assert tex.count(r"\begin{align*}") == tex.count(r"\end{align*}") == len(explain(model, plan).sections)


def test_command_prints_json():
    result = CliRunner().invoke(ENTRY.command, [str(spec("mixture")), "--json"])
    found = json.loads(result.output)
    assert result.exit_code == 0
    assert [section["heading"] for section in found["sections"]] == [
        "Model",
        "Joint",
        "Marginal",
        "Step 1: sum out c",
        "Objective",
    ]


def test_a_refused_plan_still_shows_the_marginal(tmp_path: Path):
    path = tmp_path / "refused.vispec"
    path.write_text(
        "plate n:\n    plate i:\n        latent f : bit ~ Bernoulli(0.5)\n"
        "    observed x : real ~ Normal(total(f[*]), 1)\n"
        "net total(f: bit*) -> real = linear(3) |> mean\n"
    )
    result = CliRunner().invoke(ENTRY.command, [str(path)])
    assert result.exit_code in (0, 1)
    assert "log p(x) = log Σ_f p(f, x)" in result.output


def test_automatic_guides_stand_in_the_objective():
    """What is drawn is drawn from its guide, one density where several latents have one guide."""
    text = """
latent mu  : real     ~ Normal(0, 5)
latent tau : positive ~ HalfCauchy(5)
plate n:
    latent   z : real ~ Normal(0, 1)
    observed x : real ~ Normal(mu + tau * z, 1)
guide:
    auto({family})
"""
    for family, q in (("flow", "E_{q(μ, τ), q(z | μ, τ, x)}"), ("mean_field", "E_{q(μ), q(τ | μ), q(z | x)}")):
        source = Source("m.vispec", text.format(family=family))
        model = check_model(parse(source), {})
        shown = show_explanation(explain(model, plan_model(model)))
        assert q in shown, shown
        assert "taken off once for all" in shown
