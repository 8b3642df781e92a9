"""A plated contraction as a spec: a parameter for each table, a latent for each sum, a bit seen as 1 for each factor."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import Tensor

from tests.random.contractions import Contraction, Factor


@dataclass(frozen=True)
class Written:
    """values: of each parameter, as it is read. axes: its plates, in the order in which they are opened around it.

    batch: one row, of which log p is the contraction's log-sum. order: for each latent, its plates in the posterior."""

    text: str
    values: Mapping[str, Tensor]
    axes: Mapping[str, tuple[str, ...]]
    batch: Mapping[str, Tensor]
    order: Mapping[str, tuple[str, ...]]


def written(contraction: Contraction, seed: int, spelling: str = "index", data: bool = True) -> Written:
    """spelling: `index` for latents that are elements of a plate of values, `category` for labels, `mixed`. data: inside a data
    plate; else all plates have sizes, and there is one row."""
    return Writer(contraction, Random(seed), spelling, data).written()


class Writer:
    """The values of latent z are elements of plate `of_z` of size `K_z`. Tables stand in such plates and in the contraction's
    own, opened around them in any order."""

    def __init__(self, contraction: Contraction, rng: Random, spelling: str, data: bool):
        self.contraction, self.rng, self.data = contraction, rng, data
        drawn = {"index": 1.0, "category": 0.0, "mixed": 0.5}[spelling]
        self.index = {v.name: rng.random() < drawn for v in contraction.latents}
        self.params: list[str] = []
        self.values: dict[str, Tensor] = {}
        self.axes: dict[str, tuple[str, ...]] = {}

    def written(self) -> Written:
        factors, sizes = self.contraction.factors, self.contraction.plates
        orders = {plates: self.shuffled(plates) for plates in dict.fromkeys(f.plates for f in factors)}
        body: list[str] = []
        for plates, order in orders.items():
            body += nested(order, [self.statement(factor) for factor in factors if factor.plates == plates])
        heads = [f"plate of_{v.name}[K_{v.name}]:\n    param unread_{v.name} : real" for v in self.contraction.latents]
        heads += [f"plate {plate}[{size}]:\n    param unread_{plate} : real" for plate, size in sizes.items()]
        lines = [f"size K_{v.name} = {v.card}" for v in self.contraction.latents]
        lines += [*self.shuffled(heads), *self.params, *(nested(("row",), body) if self.data else body)]
        rows = [1] if self.data else []
        batch = {f.name: torch.ones([*rows, *(sizes[p] for p in orders[f.plates])]).double() for f in factors if not f.child}
        places = {f.child: orders[f.plates] for f in factors if f.child}
        return Written("\n".join(lines) + "\n", self.values, self.axes, batch, places)

    def shuffled(self, items):
        return tuple(self.rng.sample(items, len(items)))

    def statement(self, factor: Factor) -> str:
        """A latent with its law, or an observed bit that is 1 with the probability that the table says."""
        if factor.child is None:
            return f"observed {factor.name} : bit ~ Bernoulli({self.table(factor, factor.latents, 'unit')})"
        kind = f"index[of_{factor.child}]" if self.index[factor.child] else f"category[K_{factor.child}]"
        read = self.table(factor, factor.latents[:-1], f"simplex[K_{factor.child}]")
        return f"latent {factor.child} : {kind} ~ Categorical({read})"

    def table(self, factor: Factor, parents: tuple[str, ...], kind: str) -> str:
        """Declares the parameter with its plates in any order; the reading of it, with an index for each plate of values."""
        axes = (*factor.plates, *(f"of_{v}" for v in parents))
        plates = self.shuffled([plate for plate in axes if plate in factor.own or plate.startswith("of_")])
        first = tuple(slice(None) if plate in plates else 0 for plate in axes)
        left = [plate for plate in axes if plate in plates]
        value = factor.table[first].exp()
        rest = range(len(plates), value.ndim)  # of a law, the values of its child
        name = f"t_{factor.name}"
        self.axes[name] = plates
        self.values[name] = value.permute([*(left.index(plate) for plate in plates), *rest])
        self.params += nested(plates, [f"param {name} : {kind}"])
        indices = [plate.removeprefix("of_") for plate in plates if plate.startswith("of_")]
        return f"{name}[{', '.join(indices)}]" if indices else name


def read_back(contraction: Contraction, spec: Written, values: Mapping[str, Tensor]) -> Contraction:
    """The contraction with its tables made of the parameters' values, so that its log-sum is differentiable in them."""
    factors = []
    for factor in contraction.factors:
        value, plates = values[f"t_{factor.name}"], spec.axes[f"t_{factor.name}"]
        axes = (*factor.plates, *(f"of_{v}" for v in factor.latents if v != factor.child))
        rest = range(len(plates), value.ndim)
        value = value.permute([*(plates.index(plate) for plate in axes if plate in plates), *rest])
        shape = [size if plate in plates else 1 for plate, size in zip(axes, factor.table.shape, strict=False)]
        tail = factor.table.shape[len(axes) :]
        factors.append(replace(factor, table=value.reshape([*shape, *tail]).log().expand(factor.table.shape)))
    return replace(contraction, factors=tuple(factors))


def nested(plates: tuple[str, ...], statements: list[str]) -> list[str]:
    """Statements inside plates that are opened one in the other."""
    heads = [f"{'    ' * depth}plate {plate}:" for depth, plate in enumerate(plates)]
    return [*heads, *(f"{'    ' * len(plates)}{line}" for text in statements for line in text.split("\n"))]
