"""Each pair of the table against quadrature of its joint density; closed forms from the textbook; what the plan says."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import vispec
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.build import build

DATA, SPECS = Path(__file__).parent / "data", Path(__file__).parents[2] / "specs"

HEAD = "plate n:\n    given size : count\n    latent {latent}\n    plate i:\n        partial x : {reader}\n"
POSITIVE = "z : positive ~ Gamma(2.5, 1.5)"
PAIRS = [
    ("z : unit ~ Beta(2.5, 1.5)", "bit ~ Bernoulli(z)", [1.0, 0.0, 1.0]),
    ("z : unit ~ Beta(2.5, 1.5)", "count ~ Binomial(size, z)", [3.0, 1.0, 4.0]),
    ("z : unit ~ Beta(2.5, 1.5)", "count ~ Geometric(z)", [0.0, 2.0, 1.0]),
    ("z : unit ~ Beta(2.5, 4.5)", "count ~ NegativeBinomial(1.5, z)", [0.0, 2.0, 5.0]),
    (POSITIVE, "count ~ Poisson(2 * z)", [3.0, 0.0, 2.0]),
    (POSITIVE, "positive ~ Exponential(z / 3)", [0.4, 2.0, 1.0]),
    (POSITIVE, "positive ~ Gamma(1.7, 2 * z)", [0.4, 2.0, 1.0]),
    (POSITIVE, "real ~ Normal(0.5, 1 / sqrt(2 * z))", [-1.0, 0.3, 1.2]),
    (POSITIVE, "positive ~ LogNormal(0.5, 1 / sqrt(z))", [0.4, 2.0, 1.0]),
    (POSITIVE, "positive ~ HalfNormal(2 / sqrt(z))", [0.4, 2.0, 1.0]),
    ("z : positive ~ InverseGamma(4.5, 1.5)", "real ~ Normal(0.5, sqrt(z))", [-1.0, 0.3, 1.2]),
    ("z : positive ~ Exponential(1.5)", "count ~ Poisson(z)", [3.0, 0.0, 2.0]),
    ("z : positive ~ Chi2(3)", "count ~ Poisson(z)", [3.0, 0.0, 2.0]),
]


@pytest.mark.parametrize(("latent", "reader", "x"), PAIRS, ids=[f"{a.split(' ~ ')[1]} {b}" for a, b, _ in PAIRS])
def test_a_pair_is_the_integral_of_its_joint(latent: str, reader: str, x: list[float]) -> None:
    built = build(Source("pair.vispec", HEAD.format(latent=latent, reader=reader)), {})
    module: Any = built.module.double()
    seen = torch.tensor([[True, True, True, False]])
    values = torch.tensor([[*x, 0.0]], dtype=torch.float64)
    batch = {"size": values.new_tensor([4.0]), "x": values, "x_observed": seen, "x_len": torch.tensor([4])}
    prior, law = (density(text.split(" ~ ")[1]) for text in (latent, reader))
    z, weights = nodes(latent.split()[2])

    def joint(z: torch.Tensor) -> torch.Tensor:
        return prior(z, z) + sum(law(torch.tensor(each, dtype=torch.float64), z) for each in x)

    terms = joint(z) + weights
    share = (terms - terms.logsumexp(0)).exp()
    mean = (share * z).sum()
    told = module.posterior(batch)["z"]
    assert module.log_prob(batch).item() == pytest.approx(terms.logsumexp(0).item(), rel=1e-9)
    assert told["mean"].item() == pytest.approx(mean.item(), rel=1e-7)
    assert told["sd"].item() == pytest.approx((share * (z - mean).square()).sum().sqrt().item(), rel=1e-6)
    if "LogNormal" not in reader:  # which has no mean over a posterior of its scale
        expected = (share * expectation(reader.split(" ~ ")[1], z)).sum().item()
        predicted = module.predict(batch)["x"]
        predicted = predicted[0, 3, 1] if reader.startswith("bit") else predicted[0, 3]
        assert predicted.item() == pytest.approx(expected, rel=1e-6)


def nodes(domain: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and log-weights of a trapezium rule that is even in the log-odds, or in the logarithm."""
    u, step = torch.linspace(-60, 60, 24_001, dtype=torch.float64), 120 / 24_000
    if domain == "unit":
        u = u / 3
        return u.sigmoid(), torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) + math.log(step / 3)
    u = u / 3
    return u.exp(), u + math.log(step / 3)


def density(text: str):
    """log density(value, z) of a law as torch has it."""
    name, args = text[:-1].split("(", 1)

    def log_prob(value: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        found = law(name, args, z)
        if isinstance(
            found, torch.distributions.Geometric | torch.distributions.Binomial | torch.distributions.NegativeBinomial
        ):
            return found.log_prob(value.expand(z.shape))
        return found.log_prob(value)

    return log_prob


def law(name: str, args: str, z: torch.Tensor) -> torch.distributions.Distribution:
    values = eval(f"[{args}]", {"z": z, "size": 4.0, "sqrt": torch.sqrt})
    values = [torch.as_tensor(each, dtype=torch.float64) for each in values]
    family = getattr(torch.distributions, name)
    if name in ("Bernoulli", "Geometric"):
        return family(probs=values[0], validate_args=False)
    if name in ("Binomial", "NegativeBinomial"):
        return family(values[0], probs=values[1], validate_args=False)
    return family(*values, validate_args=False)


def expectation(text: str, z: torch.Tensor) -> torch.Tensor:
    name, args = text[:-1].split("(", 1)
    return law(name, args, z).mean.expand(z.shape)


def test_dirichlet_and_multinomial_are_polya() -> None:
    text = """size K = 3
param prior : positive[K]
plate n:
    given many : count
    latent theta : simplex[K] ~ Dirichlet(prior)
    observed x : count[K] ~ Multinomial(many, theta)
    plate i:
        partial y : category[K] ~ Categorical(theta)
"""
    module: Any = build(Source("polya.vispec", text), {}).module.double()
    a = [0.4, 1.5, 2.2]
    module.prior = torch.tensor(a, dtype=torch.float64)
    batch = {
        "many": torch.tensor([7.0]).double(),
        "x": torch.tensor([[4.0, 0.0, 3.0]]).double(),
        "y": torch.tensor([[2, 0, 1]]),
        "y_observed": torch.tensor([[True, True, False]]),
        "y_len": torch.tensor([3]),
    }
    counts, seen = [4, 0, 3], [5, 0, 4]
    expected = math.lgamma(8) - sum(math.lgamma(each + 1) for each in counts)
    expected += math.lgamma(sum(a)) - math.lgamma(sum(a) + sum(seen))
    expected += sum(math.lgamma(p + n) - math.lgamma(p) for p, n in zip(a, seen, strict=True))
    assert module.log_prob(batch).item() == pytest.approx(expected, rel=1e-10)
    shares = [(p + n) / (sum(a) + sum(seen)) for p, n in zip(a, seen, strict=True)]
    assert module.posterior(batch)["theta"]["mean"][0].tolist() == pytest.approx(shares)
    assert module.predict(batch)["y"][0, 2].tolist() == pytest.approx(shares)


def beta_binomial(a: float, b: float, size: int, x: int) -> float:
    log_beta = lambda p, q: math.lgamma(p) + math.lgamma(q) - math.lgamma(p + q)  # noqa: E731
    return math.log(math.comb(size, x)) + log_beta(a + x, b + size - x) - log_beta(a, b)


def fit(folder: Path, table: str):
    return vispec.load(SPECS / "herds.vispec").fit(DATA / f"{table}.csv", out=folder / "run", verify=False, quiet=True)


def test_herds(tmp_path: Path) -> None:
    """A default fit ends at the maximum, of which the closed form tells the value."""
    run = fit(tmp_path, "herds")
    module: Any = run.module
    a, b = float(module.a), float(module.b)
    rows = [tuple(map(int, line.split(","))) for line in (DATA / "herds.csv").read_text().split()[1:]]

    def value(a: float, b: float) -> float:
        return sum(beta_binomial(a, b, *row) for row in rows)

    assert run.score(DATA / "herds.csv").log_prob == pytest.approx(value(a, b), abs=1e-4)
    assert value(a, b) >= max(value(a * up, b * down) for up in (0.98, 1, 1.02) for down in (0.98, 1, 1.02)) - 1e-9


def test_cbpp(tmp_path: Path) -> None:
    """Contagious bovine pleuropneumonia in 56 herds and periods, as lme4 bundles it."""
    run = fit(tmp_path, "cbpp")
    assert run.score(DATA / "cbpp.csv").log_prob == pytest.approx(-94.4183958310, abs=1e-3)
    module: Any = run.module
    assert float(module.a) == pytest.approx(0.834059, rel=1e-3)
    assert float(module.b) == pytest.approx(6.393907, rel=1e-3)


def reason(text: str, name: str) -> str:
    """Why a plan holds a latent as it does."""
    plan = plan_model(check_model(parse(Source("spec.vispec", text)), {}))
    return next(row.because for row in plan.rows if row.variable == name)


@pytest.mark.parametrize(
    ("latent", "reader", "why"),
    [
        ("z : unit ~ Beta(2, 1)", "count ~ Binomial(size, z)", "conjugate: Beta of Binomial"),
        ("z : unit ~ Beta(2, 1)", "count ~ Binomial(size, z * z)", "the probability of Binomial is not z itself"),
        ("z : positive ~ Gamma(2, 1)", "count ~ Poisson(z + 1)", "the rate of Poisson is no multiple of a power of z"),
        ("z : positive ~ Gamma(2, 1)", "real ~ Normal(0, z)", "Gamma is not conjugate to Normal with scale z"),
        ("z : positive ~ Gamma(2, 1)", "positive ~ Gamma(z, 1)", "a parameter of Gamma reads it"),
        ("z : positive ~ Gamma(2, 1)", "positive ~ Weibull(z, 1)", "Weibull of z is in no conjugate pair"),
    ],
)
def test_the_plan_says_why(latent: str, reader: str, why: str) -> None:
    assert why in reason(HEAD.format(latent=latent, reader=reader), "z")


def test_a_latent_reader_leaves_it_to_its_guide() -> None:
    text = """size K = 2
plate k[K]:
    param rate : positive
plate n:
    latent theta : simplex[K] ~ Dirichlet(1)
    plate i:
        latent c : index[k] ~ Categorical(theta)
        observed x : count ~ Poisson(rate[c])
"""
    assert "its reader `c` is no data" in reason(text, "theta")


def test_a_written_guide_or_estimator_wins() -> None:
    text = HEAD.format(latent="z : unit ~ Beta(2, 1)", reader="bit ~ Bernoulli(z)")
    assert "conjugate" not in reason(f"{text}infer:\n    z : elbo(samples=2)\n", "z")
    assert "conjugate" not in reason(f"param a : positive\n{text}guide:\n    z ~ Beta(a, a)\n", "z")


def test_exact_is_refused_with_the_reason() -> None:
    text = HEAD.format(latent="z : positive ~ Gamma(2, 1)", reader="real ~ Normal(0, z)") + "infer:\n    z : exact\n"
    with pytest.raises(SpecError, match="Gamma is not conjugate to Normal with scale z"):
        reason(text, "z")


def test_what_the_mean_alone_is_known_of_has_no_other_rule() -> None:
    built = build(Source("pair.vispec", HEAD.format(latent="z : unit ~ Beta(2, 1)", reader="count ~ Binomial(size, z)")), {})
    batch = {
        "size": torch.tensor([4.0]),
        "x": torch.tensor([[0.0]]),
        "x_observed": torch.tensor([[False]]),
        "x_len": torch.tensor([1]),
    }
    module: Any = built.module
    with pytest.raises(ValueError, match="its mean alone is known"):
        module.predict({name: each.double() if name in ("size", "x") else each for name, each in batch.items()}, rule="median")
