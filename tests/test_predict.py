"""`predict`: averages over draws of latents, against sums by hand; missing cells by their posterior."""

import torch

from vispec.compile import compile_spec
from vispec.source import Source

EXPERTS = """
plate n:
    given    x : real
    latent   e : category[3] ~ Categorical(gate(x))
    observed y : real ~ Normal(level[e] * x, 1)
    observed b : bit ~ Bernoulli(chance[e])
    observed c : category[4] ~ Categorical(table[e])
    observed k : count ~ Poisson(rate[e])
plate kind[3]:
    param level  : real
    param chance : unit
    param rate   : positive
    param table  : simplex[4]
net gate(x: real) -> simplex[3] = mlp([4])
"""

TAGS = """
vocab W
size K = 3
param init : simplex[K]
plate k[K]:
    param move : simplex[K]
    param emit : simplex[W]
plate s:
    chain t:
        partial  c : index[k] ~ Categorical(init) then Categorical(move[c[t-1]])
        observed x : token[W] ~ Categorical(emit[c])
"""


def built(text: str, **sizes: int) -> torch.nn.Module:
    """The module of a spec, with random parameters."""
    names: dict[str, type[torch.nn.Module]] = {}
    exec(compile_spec(Source("model.vispec", text)), names)
    torch.manual_seed(1)
    module = names["Model"](**sizes)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def test_a_mean_is_that_over_the_latents() -> None:
    module, x = built(EXPERTS), torch.linspace(-2, 2, 5)
    p = module.gate(x).softmax(-1)  # (n, e)
    found = module.predict({"x": x.repeat(4000)}, samples=5)
    expected = {"y": p @ module.level * x, "b": p @ module.chance, "c": p @ module.table, "k": p @ module.rate}
    for name, value in expected.items():
        torch.testing.assert_close(found[name].unflatten(0, (4000, 5)).mean(0), value, rtol=0.05, atol=0.05)


def test_a_mode_is_the_likeliest_under_the_mean() -> None:
    module, x = built(EXPERTS), torch.linspace(-2, 2, 50)
    torch.manual_seed(0)
    mean = module.predict({"x": x}, samples=7)
    torch.manual_seed(0)
    mode = module.predict({"x": x}, "mode", samples=7)
    assert mode["c"].equal(mean["c"].argmax(-1))
    assert mode["b"].equal((mean["b"] > 0.5).float())
    assert mode["k"].equal(mean["k"].round())
    assert mode["y"].equal(mean["y"])


def test_a_sample_is_one_draw_of_all() -> None:
    found = built(EXPERTS).predict({"x": torch.zeros(50)}, "sample")
    assert found["c"].shape == (50,)
    assert set(found["b"].unique().tolist()) <= {0.0, 1.0}


def test_missing_cells_are_told_by_what_is_seen() -> None:
    module = built(TAGS, W=5)
    seen = torch.tensor([[True, False, False], [False, False, False]])
    batch = {
        "x": torch.tensor([[0, 3, 1], [2, 2, 0]]), "c": torch.tensor([[2, 0, 0], [0, 0, 0]]), "c_observed": seen,
        "x_len": torch.tensor([3, 2]), "c_len": torch.tensor([3, 2]),
    }  # fmt: skip
    assert module.predict(batch, "mode")["c"].equal(module.posterior(batch, "mode")["c"])
    torch.testing.assert_close(module.predict(batch)["c"], module.posterior(batch, "marginals")["c"])
    assert module.predict(batch, "mode")["c"][0, 0] == 2
    assert list(module.predict(batch)) == ["c"]
