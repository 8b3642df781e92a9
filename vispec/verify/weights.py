"""Nets whose weights have a prior: the Gaussian guides of their weights, and brute force through such a net."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch import distributions as dist
from torch.nn import functional as F

from vispec.model import model as m
from vispec.verify.build import Built
from vispec.verify.errors import NotCheckedError
from vispec.verify.nets import softplus


@dataclass(frozen=True)
class RandomLayer:
    """A linear map whose weights and biases have the guides N(mean, softplus(raw)²) and the prior N(loc, scale²)."""

    layer: nn.Module
    loc: float
    scale: float

    @property
    def guides(self) -> tuple[dist.Normal, dist.Normal]:
        """Of the weight matrix and of the bias."""
        one = self.layer
        weight, bias = (
            dist.Normal(one.get_parameter(name), softplus(one.get_parameter(f"raw_{name}_scale")), validate_args=False)
            for name in ("weight", "bias")
        )
        return weight, bias


def random_layers(built: Built) -> list[RandomLayer]:
    """The layers of every net that has a prior, in the order in which their net holds them."""
    found = []
    for net in built.model.nets:
        if net.prior is None:
            continue
        loc, scale = prior_of(net)
        whole: nn.Module = getattr(built.module, net.name)
        inner = [layer for layer in whole.modules() if hasattr(layer, "raw_weight_scale")]
        inside = sum(p.numel() for layer in inner for p in layer.parameters(recurse=False))
        if inside != sum(p.numel() for p in whole.parameters()):
            raise NotCheckedError(f"weights of `{net.name}` that no linear layer holds")
        found += [RandomLayer(layer, loc, scale) for layer in inner]
    return found


def prior_of(net: m.Net) -> tuple[float, float]:
    """Mean and deviation of every weight."""
    values = dict(net.prior.args) if isinstance(net.prior, m.Draw) else {}
    if not isinstance(net.prior, m.Draw) or net.prior.distribution != "Normal":
        raise NotCheckedError(f"the prior of the weights of `{net.name}`")
    loc, scale = values["loc"], values["scale"]
    if not isinstance(loc, m.Const) or not isinstance(scale, m.Const):
        raise NotCheckedError(f"the prior of the weights of `{net.name}`, which is computed")
    return float(loc.value), float(scale.value)


def divergence_of_weights(built: Built) -> Tensor:
    """KL(guide ‖ prior) of all random weights, ()."""
    total = torch.zeros((), dtype=torch.float64)
    for random in random_layers(built):
        for guide in random.guides:
            total = total + dist.kl_divergence(guide, dist.Normal(random.loc, random.scale).expand(guide.batch_shape)).sum()
    return total


@contextmanager
def drawn_weights(built: Built) -> Iterator[None]:
    """Within, one draw of every random weight, the same for whatever the nets are asked."""
    drawn = {id(random.layer): tuple(guide.sample() for guide in random.guides) for random in random_layers(built)}
    with _forward(built, lambda layer, x: F.linear(x, *drawn[id(layer)])):
        yield


@contextmanager
def weights_with_noise(built: Built, noise: Mapping[int, Tensor]) -> Iterator[None]:
    """Within, the output of each random layer is the Normal that its weights make of it, at this noise, by id of the layer."""
    guides = {id(random.layer): random.guides for random in random_layers(built)}

    def forward(layer: nn.Module, x: Tensor) -> Tensor:
        weight, bias = guides[id(layer)]
        mean = (weight.loc * x).sum(-1) + bias.loc
        variance = (weight.variance * x.square()).sum(-1) + bias.variance
        return mean + variance.sqrt() * noise[id(layer)]

    with _forward(built, forward):
        yield


@contextmanager
def _forward(built: Built, forward: Callable[[nn.Module, Tensor], Tensor]) -> Iterator[None]:
    layers = [random.layer for random in random_layers(built)]
    for layer in layers:
        layer.forward = partial(forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
