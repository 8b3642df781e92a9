"""Random models with drawn latents: each cell of a latent has one number of noise, whatever is computed from it.

A draw that differs along an axis of what is summed beside it would be other numbers for each of its values."""

import math

import pytest
import torch

from tests.random.sampled import sampled_spec
from vispec.model.model import Model
from vispec.model.walk import is_read
from vispec.plan.estimate import law_reads
from vispec.source import Source
from vispec.verify.bounds.recorder import Recorder
from vispec.verify.build import build, randomise
from vispec.verify.data import random_batch
from vispec.verify.oracle.row import in_data

ROWS = 3


def cells(model: Model, name: str, batch: dict[str, torch.Tensor]) -> int:
    """How many elements a latent has in a batch, padding counted in."""
    sizes = [1]
    for plate in (model.plate[each] for each in model.variable[name].plates):
        lengths = batch.get(plate.length_key)
        sizes.append(ROWS if plate.data else int(plate.size or 0) if lengths is None else int(lengths.max()))
    return math.prod(sizes)


def needed(model: Model) -> set[str]:
    """What the data depend on, or a chain that reads itself, or what all rows share and a law reads: nothing else is drawn."""
    found = {v.name for v in model.variables if v.name in law_reads(v.law, model)}
    found |= {v.name for v in model.variables if not in_data(model, v.plates) and is_read(model, v.name)}
    pending = [*found, *(v.name for v in model.variables if v.role in ("observed", "partial"))]
    while pending:
        more = law_reads(model.variable[pending.pop()].law, model) - found
        found |= more
        pending += more
    return found


@pytest.mark.parametrize("seed", range(100))
def test_each_cell_has_its_noise(seed: int) -> None:
    text = sampled_spec(seed, plain=seed % 2 == 0)
    built = build(Source("drawn.vispec", text), {})
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator)
    batch = random_batch(built.model, built.sizes, ROWS, generator)
    with Recorder() as recorder:
        built.module.log_prob(batch)
    model = built.model
    drawn = [v.name for v in model.variables if v.role == "latent" and not v.type.discrete and v.name not in model.integrated]
    expected = sum(cells(model, name, batch) for name in drawn if name in needed(model))
    assert sum(noise.numel() for noise in recorder.noise) == expected, text


def test_everything_is_drawn() -> None:
    texts = "\n".join(sampled_spec(seed) for seed in range(200))
    for word in ("guide:", "chain ", "latent e", "Bernoulli(", "Categorical(", "partial ", "[3]:", "sigmoid(", "exp("):
        assert word in texts
