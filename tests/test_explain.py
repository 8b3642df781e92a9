"""Derivations: the formulas of known models, and that every spec has one in both notations."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from explained import densities

from vispec.cli.commands.explain import ENTRY
from vispec.diagnostics import SpecError
from vispec.explain.explain import Explanation, explain
from vispec.explain.formula import Writer, law_alone
from vispec.explain.show import show_explanation
from vispec.face.model import load
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

MARKS = (r"\textasciicircum", r"\textbar", r"\textasciitilde")  # in words
SPECS = sorted(Path(__file__).parents[1].joinpath("specs").glob("*.vispec"))


def spec(name: str) -> Path:
    return next(path for path in SPECS if path.stem == name)


def derived(name: str, latex: bool = False) -> Explanation:
    model = check_model(parse(Source.read(spec(name))))
    return explain(model, plan_model(model), latex)


def told(explanation: Explanation, heading: str) -> str:
    """The formula of a section."""
    (formula,) = next(section for section in explanation.sections if section.heading == heading).formulas
    return formula


def objective(name: str, latex: bool = False) -> str:
    return told(derived(name, latex), "Objective")


def section(name: str, heading: str):
    return next(section for section in derived(name).sections if section.heading.startswith(heading))


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("mixture", "log p(x) = log Σ_{c} p(c) · p(x | c)"),
        ("ibm1", "log p(x | y) = Σ_i log Σ_{a[i]} p(a[i]) · p(x[i] | y[a[i]])"),
        ("hmm", "log p(x) = log Σ_{c[*]} ∏_t [p(c[t] | c[t−1]) · p(x[t] | c[t])]"),
        ("regression", "log p(x | y) = log Normal(x | f(y))"),
        ("parser", "log p(head | y) = log DependencyTree(head | score(y[*]))"),
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


@pytest.mark.parametrize(
    ("name", "formula", "words"),
    [
        ("classify", "∇ log p(x | y) = ∇ log Categorical(x | f(y))", "Nothing is hidden, so there is no average."),
        ("language_model", "∇ log p(x) = Σ_i ∇ log p(x[i] | x[<i])", "Nothing is hidden, so there is no average."),
        ("mixture", "∇ log p(x) = E_{p(c | x)}[∇ log p(c) + ∇ log p(x | c)]", "averaged over the posterior."),
        ("ibm1", "∇ log p(x | y) = E_{p(a | y, x)}[Σ_i ∇ log p(x[i] | y[a[i]])]", "averaged over the posterior."),
        (
            "ss_vae",
            "∇ log p(y, x) ≈ E_{q(y | x), q(z | x, y)}[∇ log p(x | z, y)]",
            "The guide of z learns through its draws, which are smooth in its parameters. "
            "The guide of y learns by all its probabilities.",
        ),
        (
            "gaussian_mixture_vae",
            "∇ log p(x) ≈ E_{q(z | x), p(c | z, x)}[∇ log p(c) + ∇ log p(z | c) + ∇ log p(x | z)]",
            "The guide stands in the posterior's place.",
        ),
        (
            "rationale_score",
            "∇ log p(x | y) ≈ E_{p(f[i] | y[i])}[∇ log p(x | y[*], f[*])]",
            "The law of f learns by ∇ log p of each draw, times what the draw is worth.",
        ),
        ("iwae", "∇ log p(x) ≈ E_{q(z | x)}[Σ_s w[s] ∇ log p(x | z)]", "weights w[s] in proportion to p / q, of sum 1."),
        (
            "helmholtz",
            "∇ log p(x) ≈ E_{q(low | x), q(top | low)}[∇ log p(top) + ∇ log p(low | top) + ∇ log p(x | low)]",
            "The guide of top, low learns from draws of the model itself.",
        ),
        (
            "mixture_priors",
            "∇ log p(x, share, μ, σ) = E_{p(c | share, μ, σ, x)}[∇ log p(share) + Σ_k [∇ log p(μ[k]) + ∇ log p(σ[k])] "
            "+ Σ_n [∇ log p(c | share) + ∇ log p(x | μ[c], σ[c])]]",
            "averaged over the posterior.",
        ),
    ],
)
def test_gradient(name: str, formula: str, words: str):
    assert told(derived(name), "Gradient") == formula
    assert words in section(name, "Gradient").prose


def test_what_is_fixed_has_no_gradient():
    text = "param m : real = 0\nparam s : positive\nplate n:\n    latent   z : real ~ Normal(m, 1)\n"
    text += "    observed x : real ~ Normal(z, s)\nguide:\n    z ~ Normal(0.5 * x, 0.7)\nfit:\n    fixed : {}\n"
    q = "∇ log p(x) ≈ E_{q(z | x)}"
    assert gradient_of(text.format("m")) == f"{q}[∇ log p(x | z)]"
    assert gradient_of(text.format("s")) == f"{q}[∇ log p(z)]"
    assert gradient_of(text.format("m, s")) is None


def gradient_of(text: str) -> str | None:
    model = check_model(parse(Source("m.vispec", text)))
    sections = explain(model, plan_model(model)).sections
    return next((section.formulas[0] for section in sections if section.heading == "Gradient"), None)


SHARED = """\
latent mu  : real     ~ Normal(0, 5)
latent tau : positive ~ HalfCauchy(mu^2 + 1)
plate k[3]:
    latent w : real ~ Normal(mu, 1)
plate n:
    latent   z : real ~ Normal(0, 1)
    observed x : real ~ Normal(mu + tau * z + sum(w[*]), 1)
infer:
    z : elbo(samples=1)
"""
ROW = "−KL(q(z | x) ‖ p(z)) + log p(x | μ, τ, z, w[*])"


def of_text(text: str, latex: bool = False) -> str:
    model = check_model(parse(Source("m.vispec", text)))
    return told(explain(model, plan_model(model), latex), "Objective")


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        (
            "latent mu : real ~ Normal(0, 1)\nplate n:\n    observed x : real ~ Normal(mu, 1)\n",
            "log p(x) ≥ E_{q(μ)}[Σ_n log p(x | μ)] − KL(q(μ) ‖ p(μ))",
        ),
        (
            SHARED,
            f"log p(x) ≥ E_{{q(μ), q(τ | μ), q(w[k] | μ, τ)}}[Σ_n E_{{q(z | x)}}[{ROW}] − KL(q(μ) ‖ p(μ)) "
            "− KL(q(τ | μ) ‖ p(τ | μ)) − Σ_k KL(q(w[k] | μ, τ) ‖ p(w[k] | μ))]",
        ),
        (
            SHARED + "infer:\n    mu : map()\n",
            f"log p(x, μ) ≥ E_{{q(τ), q(w[k] | τ)}}[Σ_n E_{{q(z | x)}}[{ROW}] − KL(q(τ) ‖ p(τ | μ)) "
            "− Σ_k KL(q(w[k] | τ) ‖ p(w[k] | μ))] + log p(μ)",
        ),
        (
            "latent mu : real ~ Normal(0, 1)\nplate n:\n    observed x : real ~ Normal(mu, 1)\ninfer:\n    mu : map()\n",
            "log p(x, μ) = Σ_n log p(x | μ) + log p(μ)",
        ),
    ],
)
def test_what_rows_share_is_taken_off(text: str, formula: str):
    """A bound without its divergence would be above what it bounds, with the guide a point at the maximum."""
    assert of_text(text) == formula
    tex = of_text(text, latex=True)
    assert tex.count(r"\mathrm{KL}") == formula.count("KL(")
    assert tex.count("[") == tex.count("]")


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shared_latents_have_their_prior_in_the_objective(path: Path):
    model = check_model(parse(Source.read(path)))
    plan = plan_model(model)
    formula = told(explain(model, plan), "Objective")
    writer = Writer.of(plan.model)
    for name in (*map(writer.notation.own, plan.shared_latents), *plan.bayesian_nets):
        density = re.escape(f"p({name}") + r"[ )]"
        assert re.search(rf"(‖ |· |log |∏_\w+ ){density}", formula), (name, formula)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_each_law_stands_once_in_its_plates(path: Path):
    """In the joint and in the objective; and of what is summed or drawn nothing stands outside its sum or expectation."""
    model = check_model(parse(Source.read(path)))
    plan = plan_model(model)
    notation = Writer.of(plan.model).notation
    data = {plate.name for plate in plan.model.plates if plate.data}
    masked = {t.variable for t in plan.treatments.values() if t.kind == "masked"}
    points = {name for name in plan.shared_latents if plan.row.draws.way(name).point}
    unguided = {t.variable for t in plan.treatments.values() if t.kind == "draw"} - {g.name for g in plan.model.guide}
    writer, explanation = Writer.of(plan.model), explain(model, plan)
    if law_alone(writer) is not None:
        return  # one law, and nothing else
    joint, last = (told(explanation, heading) for heading in ("Joint", "Objective"))
    for formula, left_out in ((joint, set()), (last, masked)):
        found = densities(formula)
        for variable in plan.model.variables:
            name = notation.name(variable.name)
            laws = [each for each in found if each.name == name and each.letter == "p"]
            if variable.law is None or variable.name in left_out or (left_out is masked and variable.name in unguided - points):
                continue
            assert len(laws) == 1, (name, formula)
            plates = {notation.name(p) for p in variable.plates if p not in data}
            assert {*laws[0].plates} - {notation.name(p) for p in data} == plates, (name, formula)
            if formula is joint or variable.role != "latent" or variable.name in plan.shared_latents:
                continue  # a divergence binds its own
            assert name in laws[0].bound, (name, laws[0].bound, formula)


def test_a_reader_of_formulas_sees_what_is_wrong():
    (one,) = densities("log p(x) = log p(x | μ)")
    assert (one.letter, one.name, one.plates, one.bound) == ("p", "x", (), frozenset())
    first, second = densities("log p(x) = log Σ_{c} p(c) · ∏_i p(x[i] | c)")
    assert (first.plates, second.plates, second.at) == ((), ("i",), "i")
    assert first.bound == second.bound == {"c"}
    wrong = densities("log p(x) = log Σ_{c} ∏_i [p(x[i] | c) · p(c)]")
    assert wrong[1].plates == ("i",)  # c once for each i
    pointing = densities("log p(w) = Σ_k log Σ_{c[k]} p(c[k]) · ∏_{m: e[m] = k} p(w[m] | c[e[m]])")
    assert [each.plates for each in pointing] == [("k",), ("m",)]
    free = densities("log p(x) ≥ E_{q(z)}[log p(x | z)] + log p(z)")
    assert [each.bound for each in free] == [{"z"}, frozenset()]


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


@pytest.mark.parametrize(
    ("order", "formula"),
    [
        (1, "α(c[t]) = Σ_{c[t−1]} α(c[t−1]) · p(c[t] | c[t−1]) · p(x[t] | c[t])"),
        (2, "α(c[t], c[t−1]) = Σ_{c[t−2]} α(c[t−1], c[t−2]) · p(c[t] | c[t−1], c[t−2]) · p(x[t] | c[t])"),
    ],
)
def test_recursion_of_each_order(order: int, formula: str):
    back = ", ".join(f"c[t-{lag}]" for lag in range(1, order + 1))
    first = "Categorical(init) then " + ("Categorical(second[c[t-1]]) then " if order == 2 else "")
    text = (
        "size K = 3\nparam init : simplex[K]\nplate k[K]:\n    param second : simplex[K]\n    param m : real\n"
        f"    {'plate j[K]:' if order == 2 else 'plate one[1]:'}\n        param trans : simplex[K]\n"
        "plate n:\n    chain t:\n"
        f"        latent c : category[K] ~ {first}Categorical(trans[{back}{', 0' if order == 1 else ''}])\n"
        "        observed x : real ~ Normal(m[c], 1)\n"
    )
    model = check_model(parse(Source("m.vispec", text)))
    step = next(each for each in explain(model, plan_model(model)).sections if "sequences" in each.heading)
    assert step.formulas[1] == formula


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_recursions_are_closed(path: Path):
    """What is read at an element of a chain on the right is summed there, or stands on the left."""
    model = check_model(parse(Source.read(path)))
    sections = explain(model, plan_model(model)).sections
    hidden = {Writer.of(model).notation.name(v.name) for v in model.variables if v.role == "latent"}
    for formula in (f for section in sections for f in section.formulas if f.startswith("α(")):
        left, _, right = formula.partition(" = ")
        summed, _, rest = right.partition("} ")
        read = {each for each in re.findall(r"(\w+)(?=\[)", rest) if each in hidden}
        mentions = {m for name in read for m in re.findall(rf"\b{name}\[\w+(?:−\d)?\]", rest)}
        assert mentions <= set(re.findall(r"\w+\[\w+(?:−\d)?\]", left + summed)), formula


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
    assert tex.isascii()
    prose = re.sub(r"\\begin\{align\*\}.*?\\end\{align\*\}|\$[^$]*\$", "", tex, flags=re.DOTALL)
    assert {*re.findall(r"\\[a-z]+", prose)} <= {r"\section", r"\paragraph", *MARKS}
    assert tex.count("{") == tex.count("}")
    assert (
        tex.count(r"\begin{align*}")
        == tex.count(r"\end{align*}")
        == sum(bool(section.formulas) for section in explain(model, plan).sections)
    )


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
        "Gradient",
        "Cost",
    ]


def test_only_some_sections():
    result = CliRunner().invoke(ENTRY.command, [str(spec("mixture")), "--only", "step, gradient"])
    assert result.exit_code == 0
    assert re.findall(r"^\w.*", result.stdout, re.M) == ["Step 1: sum out c", "Gradient"]
    assert load(spec("mixture")).explain(only=["step", "gradient"]) == result.stdout
    refused = CliRunner().invoke(ENTRY.command, [str(spec("classify")), "--only", "marginal"])
    assert refused.exit_code == 2
    assert "no section `marginal`; it has model, joint, objective, gradient, cost" in " ".join(refused.stderr.split())


def test_products_of_given_laws_are_no_steps():
    """A step is shown where it sums something, or multiplies what has been summed."""
    assert [s.heading for s in derived("language_model").sections if s.heading.startswith("Step")] == []
    steps = [s.heading for s in derived("ibm1").sections if s.heading.startswith("Step")]
    assert steps == ["Step 1: sum out a", "Step 2: multiply over i"]


def test_an_exact_sum_says_where_it_ends():
    text = spec("rationale").read_text().split("infer:")[0] + "infer:\n    f : exact up to 2^6 else score(samples=8)\n"
    model = check_model(parse(Source("m.vispec", text)))
    prose = next(s.prose for s in explain(model, plan_model(model)).sections if s.heading == "Objective")
    assert prose.startswith("Exact for rows of up to 64 joint values of f, for longer ones a bound by score(samples=8).")


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
infer:
    z : elbo(samples=1)
"""
    for family, q in (
        ("flow", "E_{q(μ, τ)}[Σ_n E_{q(z | μ, τ, x)}["),
        ("mean_field", "E_{q(μ), q(τ | μ)}[Σ_n E_{q(z | x)}["),
    ):
        source = Source("m.vispec", text.format(family=family))
        model = check_model(parse(source), {})
        shown = " ".join(show_explanation(explain(model, plan_model(model))).split())
        assert q in shown, shown
        assert "taken off once for all" in shown
