"""Emitted modules in float32 at large counts and concentrations: what they compute of their parameters keeps its digits too."""

import pytest
import torch
from mpmath import mp, mpf
from references import REFERENCES

from vispec.compile import compile_spec
from vispec.source import Source

COUNTS = """
param p : unit
plate n:
    given m : {kind}
    observed y : count ~ {law}
"""
LAWS = {
    "Binomial(m, p)": [1000100.0, 998000.0],
    "NegativeBinomial(m, p)": [1254000.0, 1248000.0],
    "Poisson(m)": [5000000.0, 5006000.0],
}


def module_of(text: str) -> torch.nn.Module:
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), {}), space)
    return space["Model"]()


@pytest.mark.parametrize("law", LAWS)
def test_counts_of_millions(law: str) -> None:
    module, name = (
        module_of(COUNTS.format(law=law, kind="count" if law.startswith("Binomial") else "positive")),
        law.split("(")[0],
    )
    with torch.no_grad():
        module.raw_p.fill_(-1.3862944)
    y, m = torch.tensor(LAWS[law]), torch.full((2,), 5e6)
    found = module.log_prob({"y": y, "m": m})
    params = [mpf(5e6), mpf(module.raw_p.item())][: 1 if name == "Poisson" else 2]
    for got, value in zip(found, y, strict=True):
        wanted = REFERENCES[name](mpf(value.item()), *params)
        assert abs(got.item() - wanted) <= 1e-6 * abs(wanted)
        assert abs(wanted) < 30  # a term of 1e7 is all but cancelled


def test_a_multinomial_of_millions() -> None:
    text = "param q : simplex[3]\nplate n:\n    given m : count\n    observed y : count[3] ~ Multinomial(m, q)\n"
    module = module_of(text)
    with torch.no_grad():
        module.raw_q.copy_(torch.tensor([0.3, -0.7, 0.1]))
    norm = mp.fsum(mp.exp(mpf(x)) for x in module.raw_q.tolist())
    y = torch.tensor([round(3e6 * float(mp.exp(mpf(x)) / norm)) + 0.0 for x in module.raw_q.tolist()])
    found = module.log_prob({"y": y[None], "m": y.double().sum().float()[None]})
    counts, logits = ([mpf(x) for x in each.tolist()] for each in (y, module.raw_q))
    wanted = REFERENCES["Multinomial"](counts, mp.fsum(counts), logits)
    assert abs(found.item() - wanted) <= 1e-6 * abs(wanted)


@pytest.mark.parametrize(
    ("kind", "prior", "guide", "held"),
    [
        ("positive", "Gamma(100000, 200)", "Gamma(a, b)", {"a": 100200.0, "b": 200.3}),
        ("unit", "Beta(200000, 300000)", "Beta(a, b)", {"a": 201000.0, "b": 300500.0}),
        ("simplex[3]", "Dirichlet(100000)", "Dirichlet(c)", {"c": [100300.0, 99800.0, 100100.0]}),
    ],
)
def test_divergences_at_large_concentrations(kind: str, prior: str, guide: str, held: dict) -> None:
    """Of a latent that x reads times 0: log p is that of x less the divergence, without noise."""
    read = "z[0]" if "[" in kind else "z"
    params = "".join(f"param {name} : positive{'[3]' if isinstance(v, list) else ''}\n" for name, v in held.items())
    plate = f"plate n:\n    latent z : {kind} ~ {prior}\n    observed x : real ~ Normal(0 * {read}, 1)\n"
    module = module_of(f"{params}{plate}guide:\n    z ~ {guide}\n")
    with torch.no_grad():
        for name, value in held.items():
            getattr(module, f"raw_{name}").copy_(torch.tensor(value))  # softplus leaves numbers above 20 as they are
    batch = {"x": torch.zeros(2)}
    single = module.log_prob(batch)
    double = module.double().log_prob({"x": batch["x"].double()})
    assert single.dtype == torch.float32
    assert (double + 0.9189385332046727 < -1e-3).all()
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-6)
