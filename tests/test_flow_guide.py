"""Guides that are flows: their density against quadrature and Jacobians, and the bounds of models that have one."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch import distributions as dist

from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.kernels.draws.autoregressive import AutoregressiveLayer, AutoregressiveLayers
from vispec.source import Source
from vispec.train.scores.moments import moments


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small are slower on several; parameters start alike each time."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def shaken(module: nn.Module, scale: float = 0.4) -> nn.Module:
    """With parameters away from their start, in float64."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module.double()


def module_of(text: str, **sizes: int) -> nn.Module:
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), sizes), space)
    return shaken(space["Model"]())


# ---- the layers


def inverse(layer: AutoregressiveLayer, y: Tensor, context: Tensor | None) -> Tensor:
    """x (N, D) with layer(x) = y, by bisection of one number after the other."""
    x = torch.zeros_like(y)
    for place in range(y.shape[-1]):
        low, high = torch.full_like(y[:, 0], -100.0), torch.full_like(y[:, 0], 100.0)
        for _ in range(60):
            x[:, place] = (low + high) / 2
            above = layer(x, context)[0][:, place] > y[:, place]
            low, high = torch.where(above, low, x[:, place]), torch.where(above, x[:, place], high)
    return x


@torch.no_grad()
@pytest.mark.parametrize("told", [0, 3])
def test_the_density_integrates_to_one(told: int):
    """Over a grid of values in two dimensions, each traced back to its base draw by bisection."""
    layers = shaken(AutoregressiveLayers(2, layers=2, hidden=5, context=told))
    step = 0.2
    line = torch.arange(-9, 9, step, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    context = torch.tensor([0.4, -1.0, 0.7], dtype=torch.float64) if told else None
    base = z
    for layer in reversed(layers.layers):
        base = inverse(layer, base, context).flip(-1)
    again, gain = layers(base, context)
    assert torch.allclose(again, z, atol=1e-9)
    density = (dist.Normal(0.3, 0.8).log_prob(base).sum(-1) - gain).exp()
    edge = density.unflatten(0, (len(line), -1))
    assert float(torch.stack([edge[0].max(), edge[-1].max(), edge[:, 0].max(), edge[:, -1].max()]).max()) < 1e-7
    assert float(density.sum() * step**2) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("told", [0, 3])
def test_the_gain_is_the_log_determinant(size: int, told: int):
    layers = shaken(AutoregressiveLayers(size, layers=3, hidden=7, context=told))
    context = torch.randn(3, dtype=torch.float64) if told else None
    for x in 2 * torch.randn(5, size, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(lambda e: layers(e, context)[0], x)
        determinant = torch.linalg.slogdet(jacobian)  # type: ignore[arg-type]
        assert torch.allclose(layers(x, context)[1], determinant.logabsdet, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_number_depends_on_the_context(size: int):
    layers = shaken(AutoregressiveLayers(size, layers=1, hidden=6, context=2))
    x, context = torch.zeros(size, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda c: layers(x, c)[0], context)
    assert bool((jacobian.abs().sum(-1) > 1e-6).all())  # type: ignore[union-attr]


# ---- in models

MODEL = """
size Z = {size}
net decode(z: real[Z]) -> (loc: real[2], scale: positive[2]) = mlp([6], activation=tanh)
net encode(x: real[2]) -> (loc: real[Z], scale: positive[Z]{heads}) = mlp([6], activation=tanh)
plate n:
    latent   z : real[Z] ~ Normal(0.5, 1.5)
    observed x : real[2] ~ Normal(decode(z))
guide:
    z ~ Flow(encode(x), layers=2, hidden=5)
infer:
    z : {estimator}
"""


def model(size: int = 2, told: bool = True, estimator: str = "elbo(samples=1)") -> nn.Module:
    return module_of(MODEL.format(size=size, heads=", context: real[3]" if told else "", estimator=estimator))


def guide_of(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """loc, scale and context of the guide for data (*B, 2)."""
    loc, raw, *rest = module.encode(x)
    return loc, nn.functional.softplus(raw), rest[0] if rest else None


def carried(module: nn.Module, x: Tensor, noise: Tensor) -> Tensor:
    """The latent for this noise."""
    loc, scale, context = guide_of(module, x)
    return module.z_flow(loc + scale * noise, context)[0]


def log_q(module: nn.Module, x: Tensor, noise: Tensor) -> Tensor:
    """log q of one row's draw (): noise, and the Jacobian of all that it goes through."""
    jacobian = torch.autograd.functional.jacobian(lambda e: carried(module, x, e), noise, create_graph=True)
    return dist.Normal(0.0, 1.0).log_prob(noise).sum() - torch.linalg.slogdet(jacobian).logabsdet  # type: ignore[arg-type]


def log_joint(module: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z) (*B)."""
    loc, raw = module.decode(z)
    prior = dist.Normal(0.5, 1.5).log_prob(z).sum(-1)
    return prior + dist.Normal(loc, nn.functional.softplus(raw)).log_prob(x).sum(-1)


def data(rows: int = 3) -> Tensor:
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def noise_of(seed: int, *shape: int) -> Tensor:
    torch.manual_seed(seed)
    return torch.empty(shape, dtype=torch.float64).normal_()


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_bound_at_its_own_draw(size: int, told: bool):
    """Values and the gradient of every parameter, against the Jacobian of the whole draw by autograd."""
    module, x = model(size, told), data()
    noise = noise_of(0, 3, size)
    torch.manual_seed(0)
    found = module.log_prob({"x": x})
    rows = zip(x, noise, strict=True)
    expected = torch.stack([log_joint(module, row, carried(module, row, e)) - log_q(module, row, e) for row, e in rows])
    assert torch.allclose(found, expected, atol=1e-10)
    parameters = list(module.parameters())
    gradients = (torch.autograd.grad(v.sum(), parameters, allow_unused=True, materialize_grads=True) for v in (found, expected))
    for got, wanted in zip(*gradients, strict=True):
        assert torch.allclose(got, wanted, atol=1e-9)


def test_the_gradient_by_finite_differences():
    module, batch, step = model(), {"x": data()}, 1e-5
    parameters = list(module.parameters())

    def loss() -> Tensor:
        torch.manual_seed(1)
        return module.loss(batch, 3)

    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
    generator = torch.Generator().manual_seed(2)
    for _ in range(5):
        way = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
        values = []
        for sign in (1, -2):
            with torch.no_grad():
                for parameter, d in zip(parameters, way, strict=True):
                    parameter.add_(sign * step * d)
            values.append(float(loss().detach()))
        with torch.no_grad():
            for parameter, d in zip(parameters, way, strict=True):
                parameter.add_(step * d)
        slope = sum(float((g * d).sum()) for g, d in zip(gradients, way, strict=True))
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-6, abs=1e-6)


def hermite(size: int, nodes: int = 60) -> tuple[Tensor, Tensor]:
    """Nodes (N, size) and weights (N) of the standard normal law."""
    at, weight = np.polynomial.hermite_e.hermegauss(nodes)
    points, weights = torch.from_numpy(at), torch.from_numpy(weight / math.sqrt(2 * math.pi))
    if size == 1:
        return points[:, None], weights
    return torch.cartesian_prod(points, points), torch.cartesian_prod(weights, weights).prod(-1)


def batched_log_q(module: nn.Module, x: Tensor, noise: Tensor) -> Tensor:
    """log q (N) of draws for noise (N, D), by the Jacobian of each."""
    one = torch.func.vmap(torch.func.jacrev(lambda e: carried(module, x, e)))
    return dist.Normal(0.0, 1.0).log_prob(noise).sum(-1) - torch.linalg.slogdet(one(noise)).logabsdet


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 2])
def test_the_bound_is_unbiased(size: int):
    """The mean of 20,000 draws, against Gauss–Hermite quadrature of the bound's definition."""
    module, (x, *_) = model(size), data()
    points, weights = hermite(size)
    terms = log_joint(module, x, carried(module, x, points)) - batched_log_q(module, x, points)
    expected = float((weights * terms).sum())
    torch.manual_seed(4)
    found = module.log_prob({"x": x.expand(20_000, 2)})
    assert abs(float(found.mean()) - expected) < 4 * float(found.std()) / math.sqrt(20_000)


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 2])
def test_importance_weights_average_to_the_evidence(size: int):
    module, (x, *_) = model(size), data()
    for parameter in module.parameters():
        parameter.mul_(0.3)
    module.encode.out.bias[size : 2 * size] = 2.5  # a wide guide, whose weights have a small variance
    points, weights = hermite(size)
    z = 0.5 + 1.5 * points  # draws of the prior
    likelihood = log_joint(module, x, z) - dist.Normal(0.5, 1.5).log_prob(z).sum(-1)
    evidence = float((weights * likelihood.exp()).sum())
    torch.manual_seed(6)
    found = module.log_weights({"x": x[None]}, 100_000)[:, 0].exp()
    assert abs(float(found.mean()) - evidence) < 4 * float(found.std()) / math.sqrt(100_000)
    assert float(found.log().mean()) < math.log(evidence)


@torch.no_grad()
def test_importance_weighted_bound():
    module, x = model(estimator="iwae(samples=4)"), data()
    noise = noise_of(7, 4, 3, 2)
    torch.manual_seed(7)
    found = module.log_prob({"x": x})
    z = carried(module, x, noise)
    densities = torch.stack([batched_log_q(module, x[i], noise[:, i]) for i in range(3)], 1)
    expected = torch.logsumexp(log_joint(module, x, z) - densities, 0) - math.log(4)
    assert torch.allclose(found, expected, atol=1e-10)


@torch.no_grad()
def test_moments_are_those_of_the_flow():
    module, (x, *_) = model(), data()
    assert not hasattr(module, "posterior")  # a flow has no parameters to report
    points, weights = hermite(2)
    z = carried(module, x, points)
    mean = (weights[:, None] * z).sum(0)
    sd = (weights[:, None] * (z - mean).square()).sum(0).sqrt()
    torch.manual_seed(8)
    found = moments(module, {"x": x[None]}, 1, 100_000)["z"]
    assert torch.allclose(found["mean"][0], mean, atol=0.02 * float(sd.max()))
    assert torch.allclose(found["sd"][0], sd, rtol=0.02)


MIXED = """
size Z = 2
net decode(z: real[Z], w: real) -> (loc: real, scale: positive) = mlp([6], activation=tanh)
net encode(x: real, c: bit) -> (loc: real[Z], scale: positive[Z], context: real[3]) = mlp([6], activation=tanh)
net code(x: real*) -> unit = mean |> mlp([5])
net more(z: real[Z]) -> (loc: real, scale: positive) = mlp([5], activation=tanh)
plate n:
    latent c : bit ~ Bernoulli(0.7)
    plate k[3]:
        latent   z : real[Z] ~ Normal(c, 1)
        latent   w : real ~ Normal(0, 1)
        observed x : real ~ Normal(decode(z, w))
guide:
    c ~ Bernoulli(code(x[*]))
    z ~ Flow(encode(x, c), layers=1, hidden=5)
    w ~ Normal(more(z))
infer:
    z : elbo(samples=2)
    w : elbo(samples=2)
"""


@torch.no_grad()
def test_inside_a_sum_a_plate_and_beside_another_latent():
    """z given each value of a guided c, in a plate within the row, read by the guide of w: the draws are read off the nets."""
    module = module_of(MIXED)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    seen: dict[str, tuple[Tensor, ...]] = {}
    for name in ("z_flow", "decode"):
        getattr(module, name).register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args}))
    torch.manual_seed(2)
    found = module.log_prob({"x": x})
    base, context = seen["z_flow"]
    z, w = seen["decode"]
    assert z.shape == base.shape == (2, 4, 3, 2, 2)  # samples, rows, k, values of c, Z
    loc, raw = (each.unflatten(-1, (-1,)) for each in module.more(z))
    q_w = dist.Normal(loc.reshape(w.shape), nn.functional.softplus(raw).reshape(w.shape))
    x_loc, x_raw = module.decode(z, w)
    values = torch.arange(2, dtype=torch.float64)
    encoded = module.encode(x[..., None], values.expand(4, 3, 2))
    q_base = dist.Normal(encoded[0], nn.functional.softplus(encoded[1])).log_prob(base).sum(-1)
    one = torch.func.vmap(torch.func.jacrev(lambda e, h: module.z_flow(e, h)[0]))
    told = context.expand(*base.shape[:-1], 3).reshape(-1, 3)
    gain = torch.linalg.slogdet(one(base.reshape(-1, 2), told)).logabsdet.reshape(q_base.shape)
    terms = dist.Normal(values[:, None], 1.0).log_prob(z).sum(-1) - (q_base - gain)
    terms = terms + dist.Normal(x_loc, nn.functional.softplus(x_raw)).log_prob(x[..., None])
    terms = terms - dist.kl_divergence(q_w, dist.Normal(0.0, 1.0))
    code = torch.sigmoid(module.code(x))
    q_c = torch.stack([1 - code, code], -1)
    p_c = torch.tensor([0.3, 0.7], dtype=torch.float64)
    expected = (q_c * (p_c.log() - q_c.log() + terms.sum(2))).sum(-1).mean(0)
    assert torch.allclose(found, expected, atol=1e-10)


@torch.no_grad()
def test_a_guide_that_reads_a_flow_is_told_at_its_centre():
    """The parameters of w's guide, where z is what the layers make of the base's location."""
    text = """
size D
net encode(x: real[D]) -> (loc: real[D], scale: positive[D]) = mlp([6])
net more(z: real[D]) -> (loc: real, scale: positive) = mlp([5])
net decode(z: real[D], w: real) -> real[D] = mlp([6])
plate n:
    latent   z : real[D] ~ Normal(0, 1)
    latent   w : real ~ Normal(0, 1)
    observed x : real[D] ~ Normal(decode(z, w), 1)
guide:
    z ~ Flow(encode(x), hidden=4)
    w ~ Normal(more(z))
"""
    space: dict = {}
    exec(compile_spec(Source("model.vispec", text), {}), space)
    module = shaken(space["Model"](D=3))
    x = torch.randn(5, 3, dtype=torch.float64)
    found = module.posterior({"x": x})
    assert set(found) == {"w"}
    assert torch.allclose(found["w"]["loc"], module.more(module.z_flow(module.encode(x)[0])[0])[0].squeeze(-1))
    assert module.draws({"x": x}, 7)["z"].shape == (7, 5, 3)
    assert module.sample(4)["x"].shape == (4, 3)


def test_annealing_weighs_the_whole_divergence():
    text = MODEL.format(size=2, heads="", estimator="elbo(samples=1)") + "fit:\n    anneal : kl from 0 to 1 over 9 steps\n"
    module, x = module_of(text), data()
    values = []
    for weight in (0.0, 0.5, 1.0):
        module.kl_weight = weight
        torch.manual_seed(0)
        values.append(module.log_prob({"x": x}).detach())
    assert torch.allclose(values[1], (values[0] + values[2]) / 2)
    assert not torch.allclose(values[0], values[2])


LATENT = """
size K = 2
net encode(x: real[2]) -> (loc: real[2], scale: positive[2]) = mlp([6])
{before}
plate n:
    {role} z : {type} ~ {law}
    {more}
    observed x : real[2] ~ Normal(0 * {read}, 1)
guide:
    z ~ {guide}
{after}
"""


def refusal(**parts: str) -> set[str]:
    """The codes of what is wrong, warnings aside."""
    usual = {"before": "", "role": "latent", "type": "real[2]", "law": "Normal(0, 1)", "more": "", "read": "z"}
    usual |= {"guide": "Flow(encode(x))", "after": ""}
    text = "\n".join(line for line in LATENT.format(**usual | parts).splitlines() if line.strip())
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", text + "\n"), {})
    return {d.code for d in caught.value.diagnostics if not d.code.startswith("V19")}


@pytest.mark.parametrize(
    "estimator",
    [
        "elbo(samples=1, gradient=stl)",
        "elbo(samples=1, gradient=score)",
        "iwae(samples=2, gradient=dreg)",
        "score(samples=8)",
        "mc(samples=2)",
        "wake_sleep()",
    ],
)
def test_estimators_that_need_more_than_draws(estimator: str):
    assert "V714" in refusal(after=f"infer:\n    z : {estimator}")


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"role": "partial"}, "V714"),
        ({"after": "fit:\n    free_bits : 1"}, "V714"),
        ({"type": "real", "read": "[z, z]", "guide": "Flow(0, 1)"}, "V414"),
        ({"type": "positive[2]", "law": "Gamma(2, 2)"}, "V410"),
        ({"type": "real[2, 2]", "read": "z[0]", "guide": "Flow(0, 1)"}, "V410"),
        ({"law": "Flow(0, 1)"}, "V403"),
        ({"guide": "Flow(encode(x), layers=0)"}, "V607"),
        ({"guide": "Flow(encode(x), layers=2, layers=3)"}, "V407"),
        ({"guide": "Flow(encode(x), width=3)"}, "V405"),
        ({"guide": "Flow(0)"}, "V406"),
        ({"guide": "Flow(0, -1)"}, "V408"),
        ({"guide": "Flow(0, 1, x[0])"}, "V409"),
        ({"guide": "Flow(0, 1, x, x)"}, "V405"),
        ({"guide": "Flow(x, 1) if x[0] > 0 else Normal(0, 1)"}, "V403"),
    ],
)
def test_what_is_no_flow(parts: dict[str, str], code: str):
    assert code in refusal(**parts)


def test_latents_of_all_rows_have_their_own_flow():
    text = "latent z : real[2] ~ Normal(0, 1)\nplate n:\n    observed x : real[2] ~ Normal(z, 1)\nguide:\n    z ~ Flow(0, 1)\n"
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", text), {})
    (found,) = caught.value.diagnostics
    assert found.code == "V714"
    assert "auto(flow)" in str(found.help)


CHAIN = """
plate n:
    chain t:
        latent   z : real[2] ~ Normal(0, 1) then Normal(z[t-1], 1)
        observed x : real[2] ~ Normal(z, 1)
guide:
    z ~ Flow(x, 1, {context})
"""


def test_no_flow_along_its_own_past():
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("model.vispec", CHAIN.format(context="z[t-1]")), {})
    assert "V207" in {d.code for d in caught.value.diagnostics}


@torch.no_grad()
def test_elements_of_a_chain():
    """The draws of a ragged chain, each given the data alone: what pads it counts for nothing."""
    module = module_of(CHAIN.format(context="x"))
    batch = {"x": torch.randn(3, 4, 2, dtype=torch.float64), "x_len": torch.tensor([4, 1, 2])}
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    module.z_flow.register_forward_hook(lambda _, args, out: kept.append((args[0], *out)))
    found = module.log_prob(batch)
    base, z, gain = kept[0]
    for row, length in enumerate([4, 1, 2]):
        total = 0.0
        for t in range(length):
            before = z[row, t - 1] if t else torch.zeros(2)
            total += float(dist.Normal(before, 1.0).log_prob(z[row, t]).sum() + gain[row, t])
            total += float(dist.Normal(z[row, t], 1.0).log_prob(batch["x"][row, t]).sum())
            total -= float(dist.Normal(batch["x"][row, t], 1.0).log_prob(base[row, t]).sum())
        assert float(found[row]) == pytest.approx(total, abs=1e-10)
