"""Random plated contractions: sums over finite latents of products of tables, where latents and tables stand in plates.

`random_contraction` gives one as named tables, with brute force over all joint values; contraction_specs.py writes a spec."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from random import Random

import torch
from torch import Tensor


@dataclass(frozen=True)
class Latent:
    """One value out of `card` for each combination of elements of its plates."""

    name: str
    card: int
    plates: tuple[str, ...]


@dataclass(frozen=True)
class Factor:
    """A table of logs, float64, with an axis for each of its plates, then one for each latent that it reads.

    All plates of its latents are among its own. own: the plates whose elements have different tables. child: the latent whose
    law this is, the last of `latents`; None for a factor of something observed."""

    name: str
    plates: tuple[str, ...]
    latents: tuple[str, ...]
    table: Tensor
    own: tuple[str, ...]
    child: str | None = None


@dataclass(frozen=True)
class Contraction:
    """plates: how many elements each has, in the order of their names, which is no order of nesting."""

    seed: int
    plates: Mapping[str, int]
    latents: tuple[Latent, ...]
    factors: tuple[Factor, ...]

    @property
    def latent(self) -> Mapping[str, Latent]:
        return {latent.name: latent for latent in self.latents}

    @property
    def assignments(self) -> int:
        return math.prod(v.card ** math.prod(self.plates[p] for p in v.plates) for v in self.latents)


# ---- the abstract form


def places(contraction: Contraction, plates: tuple[str, ...]) -> Iterator[dict[str, int]]:
    for index in product(*(range(contraction.plates[plate]) for plate in plates)):
        yield dict(zip(plates, index, strict=True))


def cells_of(contraction: Contraction) -> list[tuple[str, tuple[int, ...]]]:
    """Each latent at each element of its plates."""
    return [(v.name, tuple(at.values())) for v in contraction.latents for at in places(contraction, v.plates)]


def log_joint(contraction: Contraction) -> Tensor:
    """log of the product of all factors, with one axis for each cell, in the order of `cells_of`."""
    cells = cells_of(contraction)
    total = torch.zeros([contraction.latent[name].card for name, _ in cells], dtype=torch.float64)
    for factor in contraction.factors:
        for at in places(contraction, factor.plates):
            read = [(v, tuple(at[p] for p in contraction.latent[v].plates)) for v in factor.latents]
            table = factor.table[tuple(at.values())]
            order = sorted(range(len(read)), key=lambda i: cells.index(read[i]))
            sizes = iter(table.permute(order).shape)
            total = total + table.permute(order).reshape([next(sizes) if cell in read else 1 for cell in cells])
    return total


def log_sum(contraction: Contraction) -> Tensor:
    """log Σ over every joint value, a scalar, differentiable in the tables."""
    return log_joint(contraction).reshape(-1).logsumexp(0)


def marginals(contraction: Contraction) -> dict[tuple[str, tuple[int, ...]], Tensor]:
    """Of each cell, the probability of each of its values, (card,)."""
    joint = log_joint(contraction)
    mass = (joint - log_sum(contraction)).exp()
    return {
        cell: mass.movedim(i, 0).flatten(1).sum(1) if mass.ndim > 1 else mass for i, cell in enumerate(cells_of(contraction))
    }


# ---- drawn at random


def random_contraction(seed: int, limit: int = 20_000, latents: int = 6, factors: int = 4, plates: int = 3) -> Contraction:
    """Up to so many latents, each with a law, up to so many factors beside the laws, in up to so many plates; the latents have
    at most `limit` joint values. Plates nest, cross or have nothing in common, by which of them stand together."""
    rng, generator = Random(seed), torch.Generator().manual_seed(seed)
    names = [f"p{i}" for i in range(rng.randint(0, plates))]
    sizes = {name: rng.choice((2, 2, 3)) for name in names}
    found: list[Latent] = []
    made: list[Factor] = []
    for i in range(rng.randint(1, latents)):
        stands = _some(rng, names, 2)
        latent = Latent(f"z{i}", rng.choice((2, 2, 3)), stands)
        if Contraction(seed, sizes, (*found, latent), ()).assignments > limit:
            continue
        parents = _readable(rng, found, stands, 2)
        found.append(latent)
        made.append(_factor(f"law{i}", stands, (*parents, latent), sizes, rng, generator, latent.name))
    for i in range(rng.randint(1, factors)):
        stands = _some(rng, names, 3)
        made.append(_factor(f"f{i}", stands, _readable(rng, found, stands, 3), sizes, rng, generator, None))
    return Contraction(seed, sizes, tuple(found), tuple(made))


def _some(rng: Random, names: list[str], most: int) -> tuple[str, ...]:
    return tuple(sorted(rng.sample(names, rng.randint(0, min(most, len(names))))))


def _readable(rng: Random, latents: list[Latent], stands: tuple[str, ...], most: int) -> tuple[Latent, ...]:
    """Some latents that have one value for each element here."""
    there = [v for v in latents if set(v.plates) <= set(stands)]
    return tuple(rng.sample(there, rng.randint(min(1, len(there)), min(most, len(there)))))


def _factor(
    name: str,
    stands: tuple[str, ...],
    latents: tuple[Latent, ...],
    sizes: Mapping[str, int],
    rng: Random,
    generator: torch.Generator,
    child: str | None,
) -> Factor:
    """Logs of a table, which differs between elements of most of its plates. A law sums to 1 over its child."""
    own = tuple(p for p in stands if rng.random() < 0.7)
    logits = torch.randn([sizes[p] if p in own else 1 for p in stands] + [v.card for v in latents], generator=generator)
    table = logits.double().log_softmax(-1) if child else torch.nn.functional.logsigmoid(logits.double())
    whole = table.expand([sizes[p] for p in stands] + [v.card for v in latents])
    return Factor(name, stands, tuple(v.name for v in latents), whole.clone(), own, child)
