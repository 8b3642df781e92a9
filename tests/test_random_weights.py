"""Priors over a net's weights: of the whole net, and of its layers one by one."""

import pytest
import torch
from torch import distributions as dist
from torch import nn

from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.kernels.layers.bayesian import RandomLinear, RandomOneHotLinear
from vispec.source import Source
from vispec.verify.build import load
from vispec.verify.verify import verify

LAYERS = """
size D
size E
net f(x: real[D], y: real[E]) -> real = (mlp([5, 4]) ~ Normal(0, 0.5)) |> linear(3) |> (residual ~ Normal(1, 2)){whole}
plate n:
    given    x : real[D]
    given    y : real[E]
    observed z : real ~ Normal(f(x, y), 1)
"""
OF_MLP = {"f.from_x": (0.0, 0.5), "f.from_y": (0.0, 0.5), "f.mlp.1": (0.0, 0.5)}
OF_RESIDUAL = {"f.residual.0": (1.0, 2.0), "f.residual.2": (1.0, 2.0)}
OF_NET = {"f.linear": (0.0, 1.0), "f.out": (0.0, 1.0)}
RANDOM = {"": OF_MLP | OF_RESIDUAL, " ~ Normal(0, 1)": OF_MLP | OF_RESIDUAL | OF_NET}

ONE_CALL = "plate n:\n    {given}\n    observed z : real ~ Normal(f({args}), 1)\n"
SPECS = {
    "layers and the net": LAYERS.format(whole=" ~ Normal(0, 1)"),
    "two inputs": "size D\nnet f(x: real[D], y: bit) -> real = mlp([5]) ~ Normal(-1, 0.5)\n"
    + ONE_CALL.format(given="given x : real[D]\n    given y : bit", args="x, y"),
    "category": "net f(x: real, c: category[3]) -> real = linear(5) ~ Normal(0, 1)\n"
    + ONE_CALL.format(given="given x : real\n    given c : category[3]", args="x, c"),
    "tokens": "vocab V\nnet f(v: token[V], w: token[V]) -> real = (mlp([5]) ~ Normal(0, 1)) |> dropout(0.1)\n"
    + ONE_CALL.format(given="given v : token[V]\n    given w : token[V]", args="v, w"),
    "behind a bag": """
vocab V
net f(w: token[V]*, a: real) -> (loc: real, scale: positive) = bow |> (mlp([5]) ~ Normal(0, 1))
plate n:
    given a : real
    plate i:
        given w : token[V]
    observed z : real ~ Normal(f(w[*], a))
""",
    "behind a mean of what is chosen": """
vocab V
net f(w: token[V]*) -> real = embed(3) |> mean |> (mlp([5], activation=tanh) ~ Normal(0, 1))
plate n:
    plate i:
        given w : token[V]
        given m : bit
    observed z : real ~ Normal(f(w[*] where m[*]), 1)
""",
    "heads of a latent": """
size D
param pi : simplex[3]
net f(x: real[D]) -> real[3] = mlp([5]) |> (linear(4) ~ Normal(0, 1))
plate n:
    plate i:
        given    x : real[D]
        latent   c : category[3] ~ Categorical(pi)
        observed z : real ~ Normal(f(x)[c], 1)
""",
    "with another latent": "latent noise : positive ~ Gamma(6, 6)\n"
    "net f(x: real) -> real = mlp([5]) |> (linear(4) ~ Normal(0, 1))\n"
    "plate n:\n    given x : real\n    observed z : real ~ Normal(f(x), noise)\n",
}


def layered(whole: str) -> nn.Module:
    return load(compile_spec(Source("a.vispec", LAYERS.format(whole=whole)), {"D": 3, "E": 2}), "A")


@pytest.mark.parametrize("name", SPECS)
def test_brute_force_agrees(name: str) -> None:
    report = verify(Source("a.vispec", SPECS[name]))
    assert not [check for check in report.checks if check.differs]
    assert {check.name for check in report.checks if not check.skipped} >= {"shared: log p - log q", "bound, mean over draws"}


def kl_by_hand(module: nn.Module, layers: dict[str, tuple[float, float]]) -> torch.Tensor:
    """Of the named layers' weights and biases, by torch.distributions."""
    total = torch.zeros((), dtype=torch.float64)
    for layer, (loc, scale) in layers.items():
        own = dict(module.get_submodule(layer).named_parameters())
        for name in {"weight", "bias"} & own.keys():
            guide = dist.Normal(own[name], nn.functional.softplus(own[f"raw_{name}_scale"]))
            total = total + dist.kl_divergence(guide, dist.Normal(torch.tensor(loc).double(), scale)).sum()
    return total


@pytest.mark.parametrize("whole", RANDOM)
def test_the_divergence_is_that_of_the_layers_with_a_prior_alone_and_is_not_scaled(whole: str) -> None:
    torch.manual_seed(0)
    module = layered(whole)
    for parameter in module.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    kl = kl_by_hand(module, RANDOM[whole])
    torch.testing.assert_close(-module.shared()[-1], kl, rtol=1e-12, atol=0)
    batch = {"x": torch.randn(4, 3).double(), "y": torch.randn(4, 2).double(), "z": torch.randn(4).double()}
    for num_data in (4, 400):
        torch.manual_seed(1)
        rows = module.log_prob(batch).sum()
        torch.manual_seed(1)
        torch.testing.assert_close(module.loss(batch, num_data), kl - num_data / 4 * rows, rtol=1e-12, atol=0)


@pytest.mark.parametrize("whole", RANDOM)
def test_a_layer_without_a_prior_has_a_point_estimate(whole: str) -> None:
    module = layered(whole)
    random = {name.rpartition(".")[0] for name, _ in module.named_parameters() if "raw_" in name}
    assert random == RANDOM[whole].keys()
    assert {name for name, layer in module.named_modules() if type(layer) is nn.Linear} == OF_NET.keys() - RANDOM[whole].keys()


@pytest.mark.parametrize("kind", ["bias", "no bias", "index", "relaxed"])
def test_outputs_are_distributed_as_by_drawn_weights(kind: str) -> None:
    torch.manual_seed(0)
    lookup = kind in ("index", "relaxed")
    layer = RandomOneHotLinear(3, 2, 0.0, 1.0) if lookup else RandomLinear(3, 2, 0.0, 1.0, bias=kind == "bias")
    for parameter in layer.double().parameters():
        parameter.data.normal_()
    inputs = {"relaxed": [0.2, 0.0, 0.8], "index": [0.0, 0.0, 1.0]}
    x = torch.tensor(inputs.get(kind, [0.5, -1.0, 2.0])).double()
    count = 200_000
    with torch.no_grad():
        found = layer(torch.tensor(2).expand(count) if kind == "index" else x.expand(count, 3))
        own = {name: p for name, p in layer.named_parameters() if not name.startswith("raw_")}
        scales = {name: nn.functional.softplus(layer.get_parameter(f"raw_{name}_scale")) for name in own}
        drawn = {name: dist.Normal(p, scales[name]).sample((count,)) for name, p in own.items()}
        weight = drawn["weight"].mT if lookup else drawn["weight"]
        expected = weight @ x + drawn.get("bias", 0.0)
    deviation = expected.std(0)
    assert ((found.mean(0) - expected.mean(0)).abs() < 6 * deviation / count**0.5).all()
    assert ((found.std(0) / deviation - 1).abs() < 6 / count**0.5).all()


def test_an_input_of_zeros_has_finite_gradients() -> None:
    layer = RandomLinear(3, 2, 0.0, 1.0, bias=False)
    found = layer(torch.zeros(1, 3))
    found.sum().backward()
    assert found.abs().max() < 1e-15
    assert all(bool(parameter.grad.isfinite().all()) for parameter in layer.parameters())


ROW = "plate n:\n    given x : real\n    observed z : real ~ Normal(f(x), 1)\n"
BAG = "vocab V\n{net}\nplate n:\n    plate i:\n        given w : token[V]\n    observed z : real ~ Normal(f(w[*]), 1)\n"
MIXED = "param pi : simplex[3]\nnet f(x: real{more}) -> real{heads} = mlp([5]) ~ Normal(0, 1)\nplate n:\n"
REFUSED = {
    "not Normal": ("net f(x: real) -> real = (mlp([5]) ~ StudentT(3, 0, 1))\n" + ROW, "StudentT(3, 0, 1)"),
    "not constant": ("param s : positive\nnet f(x: real) -> real = (mlp([5]) ~ Normal(0, s))\n" + ROW, "Normal(0, s)"),
    "no weights": ("net f(x: real) -> real = mlp([5]) |> (dropout ~ Normal(0, 1))\n" + ROW, "Normal(0, 1)"),
    "layernorm": ("net f(x: real) -> real = mlp([5]) |> layernorm ~ Normal(0, 1)\n" + ROW, "layernorm"),
    "embed": (BAG.format(net="net f(w: token[V]*) -> real = (embed(4) ~ Normal(0, 1)) |> mean"), "(embed(4) ~ Normal(0, 1))"),
    "pooled": (
        BAG.format(net="net f(w: token[V]*) -> real = embed(4) |> (linear(5) ~ Normal(0, 1)) |> mean"),
        "(linear(5) ~ Normal(0, 1))",
    ),
    "each value of a latent": (
        MIXED.format(more=", c: category[3]", heads="") + "    given x : real\n"
        "    latent c : category[3] ~ Categorical(pi)\n    observed z : real ~ Normal(f(x, c), 1)\n",
        "f(x, c)",
    ),
    "elements under a latent": (
        MIXED.format(more="", heads="[3]") + "    latent c : category[3] ~ Categorical(pi)\n"
        "    plate i:\n        given x : real\n        observed z : real ~ Normal(f(x)[c], 1)\n",
        "f(x)",
    ),
    "elements of a chain": (
        "param pi : simplex[3]\nplate k[3]:\n    param t : simplex[3]\nnet f(x: real) -> real[3] = mlp([5]) ~ Normal(0, 1)\n"
        "plate n:\n    chain i:\n        given x : real\n"
        "        latent c : index[k] ~ Categorical(pi) then Categorical(t[c[i-1]])\n"
        "        observed z : real ~ Normal(f(x)[c], 1)\n",
        "f(x)",
    ),
    "two calls": (
        MIXED.format(more="", heads="") + "    given x : real\n    given y : real\n    let h = f(y)\n"
        "    observed z : real ~ Normal(f(x) - h, 1)\n",
        "f(y)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_such_prior_is_refused_at_its_place(name: str) -> None:
    spec, text = REFUSED[name]
    with pytest.raises(SpecError) as refused:
        compile_spec(Source("a.vispec", spec), {})
    (found,) = [d for d in refused.value.diagnostics if d.severity == "error"]
    span = found.primary.span
    assert (found.code, spec[span.start : span.end]) == ("V705", text)
    assert found.help


def test_under_a_guide_each_value_of_a_latent_may_have_weights_of_its_own() -> None:
    spec = REFUSED["each value of a latent"][0].replace("param pi", "net q(x: real) -> simplex[3] = mlp([5])\nparam pi")
    report = verify(Source("a.vispec", spec + "guide:\n    c ~ Categorical(q(x))\n"))
    assert not [check for check in report.checks if check.differs]
