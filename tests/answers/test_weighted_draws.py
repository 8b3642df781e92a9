"""Posteriors by weighted draws: against sums, on specs drawn at random and by hand, and what the command says of them."""

from collections.abc import Mapping

import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vispec.compile import class_of, compile_draws
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.scores.weighed import averaged
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
    found.load_state_dict({name: value for name, value in built.module.state_dict().items() if name in known})
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


@settings(RANDOM, max_examples=25)
@given(text=spec_texts(), seed=st.integers(0, 2**20), some=st.integers(1, 7))
def test_random_models_agree_with_sums(text: str, seed: int, some: int) -> None:
    """All latents summed, and some of them drawn from their own laws: the others are summed beside the draws."""
    summed, batch = made(text, seed)
    latents = [v.name for v in summed.model.variables if v.role in ("latent", "partial") and v.type.domain != "tree"]
    assume(latents)
    drawn = [name for i, name in enumerate(latents) if some >> (i % 3) & 1] or latents
    other = text + "\ninfer:\n" + "".join(f"    {name} : score(samples=2)\n" for name in drawn)
    torch.manual_seed(seed)
    try:
        module = drawing(summed, other)
    except SpecError as error:  # a law reads what is summed
        assert {each.code for each in error.diagnostics} == {"V714"}
        return
    exact = summed.module.posterior(batch)
    told, effective = averaged(module, batch, ROWS, SAMPLES)
    keep = (effective > 300) & torch.isfinite(summed.module.log_prob(batch))
    if keep.any():
        check_close(
            {n: v[keep] for n, v in told.items() if n in exact}, {n: p[keep] for n, p in exact.items()}, effective[keep]
        )
