"""First mistakes of people who come from BUGS, Stan, R and Python: what they are told, and that it is so."""

import pytest

from vispec.catalog import distributions
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.model.laws.elsewhere import KNOWN, NOTES, OTHERS, meant
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse

ROW = "plate n:\n    given x : real\n    observed y : real ~ "
OCCUPANCY = (
    "plate s:\n    latent z : bit ~ Bernoulli(0.5)\n    plate v:\n        observed y : bit ~ Bernoulli(0.3) if z else {}\n"
)
CASES = {
    "dnorm": ("param m : real\n" + ROW + "dnorm(m, 1)\n", "V403", "`Normal(mean, deviation)`, as R's dnorm; that of BUGS"),
    "dunif": ("param m : real\n" + ROW + "dunif(m, 1)\n", "V403", "it is called `Uniform("),
    "rbern": ("plate n:\n    observed y : bit ~ rbern(0.5)\n", "V403", "it is called `Bernoulli("),
    "student_t": (ROW + "student_t(3, 0, 1)\n", "V403", "it is called `StudentT(df, loc, scale)`"),
    "normal": (ROW + "normal(0, 1)\n", "V403", "it is called `Normal(loc, scale)`"),
    "prior": ("param m : real ~ Normal(0, 1)\n" + ROW + "Normal(m, 1)\n", "V015", "what has a prior is a latent: `latent m"),
    "product": (
        "size D = 2\nparam w : real[D]\nplate n:\n    given x : real[D]\n    observed y : real ~ Normal(w * x, 1)\n",
        "V409",
        "`dot(w, x)`",
    ),
    "matmul": (
        "param w : real[2]\nplate n:\n    given x : real[2]\n    observed y : real ~ Normal(w @ x, 1)\n",
        "V002",
        "`dot(w, x)`",
    ),
    "then": (
        "param a : positive\nplate n:\n    given z : bit\n    observed y : count ~ Poisson(if z == 0 then a else 1)\n",
        "V019",
        "`a if condition else b`",
    ),
    "where": (
        "param a : positive\nplate n:\n    given z : bit\n    observed y : count ~ Poisson(where(z == 0, a, 1))\n",
        "V312",
        "`a if condition else b`",
    ),
    "series": (
        "latent c : index[year] ~ Uniform()\nplate year:\n    observed y : count ~ Poisson(2 if year < c else 1)\n",
        "V307",
        "give the plate a size: `size T`, and `plate year[T]:`",
    ),
    "rows in order": (
        "param a : positive\nplate year:\n    observed y : count ~ Poisson(a * year)\n",
        "V211",
        "give the plate a size: `size T`, and `plate year[T]:`",
    ),
    "mixture": (
        "plate n:\n    latent z : bit ~ Bernoulli(0.5)\n    observed y : real ~ z * Normal(0, 1) + (1 - z) * Normal(3, 1)\n",
        "V319",
        "`Normal(...) if z else Normal(...)`",
    ),
    "count": (
        "plate n:\n    latent c : count ~ Poisson(3)\n    observed y : count ~ Binomial(c, 0.5)\n",
        "V709",
        "`latent c : index[v] ~ Categorical(softmax(w[*]))`",
    ),
    "lagged": (
        "chain t[9]:\n    observed z : bit ~ Bernoulli(0.5)\n    let prev = z[t-1]\n    observed y : real ~ Normal(prev, 1)\n",
        "V207",
        "`let prev = 0 then ...`",
    ),
    "int": ("plate n:\n    observed y : int ~ Poisson(3)\n", "V301", "a whole number is `count`"),
    "float": ("plate n:\n    observed y : float ~ Normal(0, 1)\n", "V301", "a number is `real`"),
    "ordered": ("plate n:\n    observed y : ordered[3] ~ Normal(0, 1)\n", "V410", "no law is on ordered vectors"),
    "compared": (
        "plate n:\n    observed c : category[4] ~ Uniform()\n    observed y : bit ~ Bernoulli(0.9 if c < 2 else 0.1)\n",
        "V310",
        "`index[p]`",
    ),
    "no law": (
        "net f(x: real) -> (loc: real, scale: positive) = mlp([3])\n" + ROW + "f(x)\n",
        "V404",
        "write `Normal(f(...))`",
    ),
    "a value": (ROW + "2 * x\n", "V404", "write `Normal(loc, scale)`"),
    "a label": (OCCUPANCY.format("0"), "V404", "`Bernoulli(probs)`, `Exactly(...)` for what is that value for sure"),
    "another zero": (OCCUPANCY.format("Poisson(0)"), "V410", "`Bernoulli(0)` is 0 for sure"),
    "a share": (
        "param zero : unit\nparam rate : positive\nplate n:\n"
        "    observed x : bit ~ Bernoulli((zero - exp(-rate)) / (1 - exp(-rate)))\n",
        "V408",
        "write `unit(...)` around it if it surely is: that is checked, and changes nothing",
    ),
    "a root": (ROW + "Normal(0, sqrt(abs(x)))\n", "V309", "`positive(...)` around it says that it surely is"),
    "relaxed": (
        "plate k[3]:\n    param m : real\nplate n:\n    latent c : index[k] ~ Uniform()\n"
        "    observed x : real ~ Normal(m[c], 1)\ninfer:\n    c : relaxed(temperature=0.5)\n",
        "V714",
        "write one, or use `score`",
    ),
    "a whole law": (
        "net f(x: real) -> (loc: real, scale: positive) = mlp([3])\nplate n:\n    given x : real\n    let h = f(x)\n"
        "    observed y : real ~ Normal(h, 1)\n",
        "V506",
        "name one: `f(...).loc`",
    ),
    "greek": ("param λ : positive\nplate n:\n    observed x : count ~ Poisson(λ)\n", "V002", "names are made of plain letters"),
    "broken behind": (ROW.rstrip() + "\n        Normal(x, 1)\n", "V018", "begin that line with `~`, indented"),
    "broken net": ("net f(x: real) -> real = linear(2) |>\n    mlp([2])\n", "V018", "begin that line with `|>`, indented"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_they_are_told(case):
    text, code, help = CASES[case]
    with pytest.raises(SpecError) as caught:
        plan_model(check_model(parse(Source("m.vispec", text))))
    found = [d for d in caught.value.diagnostics if d.code == code]
    assert not case.startswith("broken") or len(caught.value.diagnostics) == 1  # the next line is not told of, too
    assert found
    assert help in (found[0].help or "")


ANSWERS = (
    OCCUPANCY.format("Bernoulli(0)"),
    OCCUPANCY.format("Exactly(0)"),
    OCCUPANCY.format("Zero()"),
    "latent m : real ~ Normal(0, 1)\n" + ROW + "Normal(m, 1)\ninfer:\n    m : map()\n",
    "size D = 2\nparam w : real[D]\nplate n:\n    given x : real[D]\n    observed y : real ~ Normal(dot(w, x), 1)\n",
    "plate n:\n    latent z : bit ~ Bernoulli(0.5)\n    observed y : real ~ Normal(0, 1) if z else Normal(3, 1)\n",
    "param rate : positive\nplate v[50]:\n    let w = v * log(rate) - lgamma(v + 1)\n"
    "plate n:\n    latent c : index[v] ~ Categorical(softmax(w[*]))\n    observed y : count ~ Binomial(c, 0.5)\n",
    "plate n:\n    chain t:\n        observed z : bit ~ Bernoulli(0.5)\n        let prev = 0 then z[t-1]\n"
    "        observed y : real ~ Normal(prev, 1)\n",
    "plate p[4]\nplate n:\n    observed c : index[p] ~ Uniform()\n    observed y : bit ~ Bernoulli(0.9 if c < 2 else 0.1)\n",
    ROW + "Normal(Phi(x) + floor(x) + sign(x) + round(x) + sin(x) + cos(x) + erf(x) + lgamma(abs(x) + 1), 1)\n",
    "latent s : positive ~ Uniform(0, 10)\nplate n:\n    observed y : real ~ Normal(0, s)\n",  # BUGS' prior of a scale
    "plate n:\n    chain k[3]:\n        latent gap : positive ~ Exponential(1)\n        let mu = sum(gap[<k])\n"
    "        observed x : real ~ Normal(mu, 1)\n",
    "param below : real[3]\nplate n:\n    plate j[3]:\n        latent z : bit ~ Bernoulli(0.5)\n"
    "        observed x : real ~ Normal(z[j] + below[j], 1)\n",  # a plate's own number
    "param p : real\nplate n:\n    observed x : bit ~ Bernoulli(min([max([p, 0]), 1]))\n",
    "param v : real\n" + ROW + "Normal(0, max([v, 1e-6]))\n",
    "size K = 3\nparam cuts : ordered[K - 1]\n" + ROW.replace("real ~ ", "category[K] ~ ") + "Categorical(ordinal(x, cuts))\n",
)


@pytest.mark.parametrize("text", ANSWERS)
def test_what_they_are_told_compiles(text):
    plan_model(check_model(parse(Source("m.vispec", text))))


def test_laws_of_other_languages_are_those_of_the_catalog():
    known = distributions()
    assert set(OTHERS) <= set(known)
    usage = {name: f"{name}()" for name in known}
    assert len(KNOWN) == sum(len(others.split()) for others in OTHERS.values())
    for name in (*KNOWN, *NOTES, *(f"d{other}" for other in KNOWN), *(f"{other}_lpdf" for other in KNOWN)):
        assert meant(name, usage)
    assert meant("nosuch", usage) is None


BLOCKS = """\
size N = 40
plate i[N]:
    param logit : real
plate graph:
    plate i:
        latent z : bit ~ Bernoulli(0.5)
    plate pair:
        given    a : index[i]
        given    b : index[i]
        observed y : bit ~ Bernoulli(0.9 if z[a] == z[b] else 0.2)
"""
GUIDE = "guide:\n    z ~ Bernoulli(sigmoid(logit))\n"


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        plan_model(check_model(parse(Source("m.vispec", text))))
    (found,) = caught.value.diagnostics
    return found.help or ""


def test_a_guide_that_is_there_is_not_asked_for():
    """What helps then is to draw from it; and how large the sum is, is said either way."""
    without, guided = refusal(BLOCKS.replace("    param logit : real\n", "    param other : real\n")), refusal(BLOCKS + GUIDE)
    assert "give `z` a guide" in without
    assert "a guide, or" not in guided
    assert "`z : score(samples=8)` in `infer:`" in guided
    assert "10^12 terms" in without
    assert "10^12 terms" in guided
    plan_model(check_model(parse(Source("m.vispec", BLOCKS + GUIDE + "infer:\n    z : score(samples=8)\n"))))
