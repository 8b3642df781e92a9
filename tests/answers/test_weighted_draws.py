"""Posteriors by weighted draws: against sums, on specs drawn at random and by hand, and what the command says of them."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vispec.compile import class_of, compile_draws
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.scores.weighed import Weights, averaged, chosen
from vispec.verify.build import Built, build, load, randomise
from vispec.verify.generate import spec_texts
from vispec.verify.trial import small_batch

ROWS, SAMPLES = 3, 8000
RANDOM = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def made(text: str, seed: int) -> tuple[Built, dict[str, Tensor]]:
    built = build(Source("random.vispec", text), {})
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator)
    batch, _ = small_batch(built, ROWS, generator, 3_000)
    return built, batch


def drawing(built: Built, text: str) -> nn.Module:
    """The module that tells weighted draws, with the parameters of another."""
    emitted = compile_draws(check_model(parse(Source("random.vispec", text)), built.sizes), built.sizes)
    found = load(emitted, class_of(emitted))
    known = found.state_dict()
    found.load_state_dict({name: value for name, value in built.module.state_dict().items() if name in known}, strict=False)
    return found


def drawn_from_sums(text: str) -> bool:
    """Whether a law that something is drawn from reads what is summed, which no score suits."""
    try:
        plan_model(check_model(parse(Source("random.vispec", text)), {}))
    except SpecError as error:
        return {each.code for each in error.diagnostics} == {"V714"}
    return False


def parameter(built: Built, name: str) -> Tensor:
    found = getattr(built.module, name)
    assert isinstance(found, Tensor)
    return found


def check_close(told: Mapping[str, object], exact: Mapping[str, Tensor], effective: Tensor) -> None:
    """Probabilities within six standard errors of what they estimate."""
    for name, p in exact.items():
        found = told[name]
        assert isinstance(found, Tensor)
        n = effective.reshape(-1, *[1] * (p.dim() - 1))
        error = 6 * (p * (1 - p) / n).clamp(min=0).sqrt() + 15 / n
        inside = p.sum(-1, keepdim=True) > 0.5  # elements that rows have
        assert (((found - p).abs() < error) | ~inside).all(), (name, found, p)


@settings(RANDOM, max_examples=12)
@given(text=spec_texts(), seed=st.integers(0, 2**20), some=st.integers(1, 7))
def test_random_models_agree_with_sums(text: str, seed: int, some: int) -> None:
    """All latents summed, and some of them drawn from their own laws: the others are summed beside the draws."""
    summed, batch = made(text, seed)
    latents = [v.name for v in summed.model.variables if v.role in ("latent", "partial") and v.type.domain != "tree"]
    assume(latents)
    drawn = [name for i, name in enumerate(latents) if some >> (i % 3) & 1] or latents
    other = text + "\ninfer:\n" + "".join(f"    {name} : score(samples=2)\n" for name in drawn)
    torch.manual_seed(seed)
    assume(not drawn_from_sums(other))
    module = drawing(summed, other)
    exact = summed.module.posterior(batch)
    told, effective = averaged(module, batch, ROWS, SAMPLES)
    keep = (effective > 300) & torch.isfinite(summed.module.log_prob(batch))
    if keep.any():
        found: dict[str, Any] = dict(told)
        check_close({name: found[name][keep] for name in exact}, {name: p[keep] for name, p in exact.items()}, effective[keep])


HEAD = """
size K = 3
param pi : simplex[K]
plate k[K]:
    param mu : real
    param guess : simplex[K]
    param move : simplex[K]
net enc(x: real) -> simplex[K] = linear(K)
net bit(x: real) -> unit = linear(1)
net at(x: real, c: index[k]) -> real = linear(4)
net of(x: real) -> real = linear(4)
"""
CHOICE = "plate n:\n    latent c : index[k] ~ Categorical(pi)\n    observed x : real ~ Normal(mu[c], 1)\n"
BITS = """plate n:
    plate i[4]:
        latent b : bit ~ Bernoulli(pi[0])
    observed x : real ~ Normal(sum(b[*]), 1)
"""
CHAIN = """plate n:
    chain t:
        latent c : index[k] ~ Categorical(pi) then Categorical(move[c[t-1]])
        observed x : real ~ Normal(mu[c], 1)
"""
BETWEEN = """plate n:
    latent c : index[k] ~ Categorical(pi)
    latent z : real ~ Normal(mu[c], 1)
    observed x : real ~ Normal(z, 0.5)
"""
ITS = BETWEEN.replace("    latent z : real ~ Normal(mu[c], 1)\n", "").replace("Normal(z, 0.5)", "Normal(mu[c], sqrt(1.25))")
GUESS = "guide:\n    c ~ Categorical(enc(x))\n"
CASES = {
    "drawn from its law": (CHOICE, "infer:\n    c : score(samples=2, baseline=loo)\n", CHOICE),
    "a guide": (CHOICE, f"{GUESS}infer:\n    c : score(samples=2, baseline=nvil)\n", CHOICE),
    "relaxed": (CHOICE, f"{GUESS}infer:\n    c : relaxed(temperature=0.5)\n", CHOICE),
    "sum_and_sample": (CHOICE, f"{GUESS}infer:\n    c : sum_and_sample(top=1, samples=1)\n", CHOICE),
    "wake_sleep": (CHOICE, f"{GUESS}infer:\n    c : wake_sleep()\n", CHOICE),
    "partial": (
        CHOICE.replace("latent", "partial"),
        f"{GUESS}infer:\n    c : score(samples=2)\n",
        CHOICE.replace("latent", "partial"),
    ),
    "bits in a plate": (BITS, "guide:\n    b ~ Bernoulli(bit(x))\ninfer:\n    b : relaxed()\n", BITS),
    "a chain": (CHAIN, "infer:\n    c : score(samples=2)\n", CHAIN),
    "a chain's guide": (CHAIN, f"{GUESS}infer:\n    c : score(samples=2)\n", CHAIN),
    "a number beside": (BETWEEN, f"{GUESS}    z ~ Normal(at(x, c), 1.5)\ninfer:\n    c : score(samples=2)\n", ITS),
    "a number beside a sum": (BETWEEN, "guide:\n    z ~ Normal(of(x), 1.5)\n", ITS),
    "guides that read what is summed": (BETWEEN, f"{GUESS}    z ~ Normal(at(x, c), 1.5)\n", ITS),
    "a number from its law": (BETWEEN, "infer:\n    z : mc(samples=3)\n    c : score(samples=3)\n", ITS),
    "exact for some": (BITS, "infer:\n    b : exact up to 4 else score(samples=2)\n", BITS),
}


@pytest.mark.parametrize("name", CASES)
def test_each_kind_agrees_with_sums(name: str) -> None:
    plates, drawn, other = CASES[name]
    summed, batch = made(HEAD + other, 3)
    torch.manual_seed(0)
    module = drawing(summed, HEAD + plates + drawn)
    told, effective = averaged(module, batch, ROWS, 4 * SAMPLES)
    assert (effective > 500).all()
    check_close(told, summed.module.posterior(batch), effective)
    if "z" in told:  # by quadrature
        check_number(summed, batch, told["z"], effective)


def check_number(built: Built, batch: dict[str, Tensor], told: object, effective: Tensor) -> None:
    """Mean and standard deviation of z, a mixture of normals by the posterior of c."""
    assert isinstance(told, dict)
    p = built.module.posterior(batch)["c"]
    middle = (parameter(built, "mu") + batch["x"][:, None] / 0.25) / 5
    mean = (p * middle).sum(-1)
    sd = (0.2 + (p * (middle - mean[:, None]).square()).sum(-1)).sqrt()
    assert ((told["mean"] - mean).abs() < 6 * sd / effective.sqrt()).all()
    assert ((told["sd"] / sd).log().abs() < 8 / effective.sqrt()).all()


@pytest.mark.parametrize("name", ["a guide", "a number beside a sum"])
def test_a_draw_is_by_the_posterior(name: str) -> None:
    """Many equal rows: each has one of its draws, by their weights; the mode is the same in all."""
    plates, drawn, other = CASES[name]
    summed, batch = made(HEAD + other, 3)
    module = drawing(summed, HEAD + plates + drawn)
    many = {key: value[:1].expand(4000, *value.shape[1:]) for key, value in batch.items()}
    torch.manual_seed(0)
    found, _ = chosen(module, many, 4000, 300, "sample")
    p = summed.module.posterior(batch)["c"][0]
    share = torch.stack([(found["c"] == value).double().mean() for value in range(3)])
    assert ((share - p).abs() < 5 * (p * (1 - p) / 4000).sqrt() + 0.005).all()
    best, _ = chosen(module, batch, ROWS, SAMPLES, "mode")
    if "z" not in best:
        assert torch.equal(best["c"], summed.module.posterior(batch, "mode")["c"])
        return
    middle = (parameter(summed, "mu") + batch["x"][:, None] / 0.25) / 5  # where p(z | c, x) is highest, alike for each c
    mode = summed.module.posterior(batch)["c"].argmax(-1)
    assert torch.equal(best["c"], mode)
    assert ((best["z"] - middle.gather(1, mode[:, None]).squeeze(1)).abs() < 0.1).all()


def test_impossible_rows_are_told_as_such() -> None:
    """No draw has a positive weight: there are no effective samples, and no numbers."""
    weights = Weights.none(2, torch.device("cpu"))
    weights.take(torch.tensor([[-torch.inf, 0.0], [-torch.inf, -1.0]]).double())
    weights.take(torch.tensor([[-torch.inf, 2.0], [-torch.inf, -torch.inf]]).double())
    w = torch.tensor([1.0, math.exp(-1), math.exp(2)]).double()
    assert weights.effective.tolist() == pytest.approx([0.0, (w.sum() ** 2 / (w**2).sum()).item()])
