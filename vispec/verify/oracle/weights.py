"""Nets whose weights have a prior: the Gaussian guides of their weights, and brute force through such a net."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch import distributions as dist
from torch.nn import functional as F

from vispec.model import model as m
from vispec.named import get
from vispec.verify.build import Built
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.nets import softplus


@dataclass(frozen=True)
class RandomLayer:
    """A linear map whose weights, and biases if any, have the guides N(mean, softplus(raw)²) and the prior N(loc, scale²)."""

    layer: nn.Module
    loc: float
    scale: float

    @property
    def guides(self) -> dict[str, dist.Normal]:
        """Of the weight matrix and of the bias, by name."""
        one = self.layer
        names = [name for name, _ in one.named_parameters() if not name.startswith("raw_")]
        return {
            name: dist.Normal(one.get_parameter(name), softplus(one.get_parameter(f"raw_{name}_scale")), validate_args=False)
            for name in names
        }

    @property
    def is_lookup(self) -> bool:
        """Whether its inputs are integers, and each has its row of the weights."""
        return isinstance(self.layer, nn.Embedding)

    @property
    def width(self) -> int:
        return self.layer.get_parameter("weight").shape[1 if self.is_lookup else 0]

    def inputs(self, x: Tensor) -> Tensor:
        """Integers as one-hot vectors."""
        weight = self.layer.get_parameter("weight")
        return F.one_hot(x, len(weight)).to(weight.dtype) if self.is_lookup and not x.is_floating_point() else x

    def outputs(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, weight.T if self.is_lookup else weight, bias)


def random_layers(built: Built) -> list[RandomLayer]:
    """The layers of every net that have a prior, in the order in which their net runs them."""
    return [layer for net in built.model.nets if net.random for layer in _of_net(net, get(built.module, net.name))]


def _of_net(net: m.Net, whole: nn.Module) -> list[RandomLayer]:
    """Each with the prior of its stage, else that of the net; raises AssertionError where the module has others."""
    found = [(name, layer) for name, layer in whole.named_modules() if hasattr(layer, "raw_weight_scale")]
    priors: list[m.Law] = []
    for stage in net.trunk:
        if (prior := stage.prior or net.prior) is not None and (count := _linear_maps(stage)):
            apart = sum(name.startswith("from_") for name, _ in found[len(priors) :])  # its first map is one for each input
            priors += [prior] * (count + max(apart - 1, 0))
    priors += [] if net.prior is None else [net.prior]
    if len(found) != len(priors) or (net.prior is None) == any(name == "out" for name, _ in found):
        raise AssertionError(f"`{net.name}` has other random layers than those to which its priors belong")
    return [RandomLayer(layer, *_numbers(prior)) for (_, layer), prior in zip(found, priors, strict=True)]


def _linear_maps(stage: m.Stage) -> int:
    """How many a stage consists of, if its input is one."""
    match stage.layer:
        case "linear":
            return 1
        case "mlp":
            sizes = dict(stage.kwargs)["sizes"]
            return len(sizes) if isinstance(sizes, tuple) else 1
        case "residual":
            return 2
        case "dropout":
            return 0
    raise NotCheckedError(f"random weights of layer `{stage.layer}`")


def _numbers(prior: m.Law) -> tuple[float, float]:
    """Mean and deviation of every weight."""
    values = dict(prior.args) if isinstance(prior, m.Draw) and prior.distribution == "Normal" else {}
    loc, scale = values.get("loc"), values.get("scale")
    if not isinstance(loc, m.Const) or not isinstance(scale, m.Const):
        raise NotCheckedError("a prior of weights that is no Normal with numbers")
    return float(loc.value), float(scale.value)


def divergence_of_weights(built: Built) -> Tensor:
    """KL(guide ‖ prior) of all random weights, ()."""
    total = torch.zeros((), dtype=torch.float64)
    for random in random_layers(built):
        for guide in random.guides.values():
            total = total + dist.kl_divergence(guide, dist.Normal(random.loc, random.scale).expand(guide.batch_shape)).sum()
    return total


@contextmanager
def drawn_weights(built: Built) -> Iterator[None]:
    """Within, one draw of every random weight, the same for whatever the nets are asked."""
    layers = random_layers(built)
    drawn = {id(random): {name: guide.sample() for name, guide in random.guides.items()} for random in layers}
    with _forward(layers, lambda random, x: random.outputs(random.inputs(x), **drawn[id(random)])):
        yield


@contextmanager
def weights_with_noise(built: Built, noise: Mapping[int, Tensor]) -> Iterator[None]:
    """Within, the output of each random layer is the Normal that its weights make of it, at this noise, by id of the layer."""
    layers = random_layers(built)
    means = {id(random): {name: guide.loc for name, guide in random.guides.items()} for random in layers}
    variances = {id(random): {name: guide.variance for name, guide in random.guides.items()} for random in layers}

    def forward(random: RandomLayer, x: Tensor) -> Tensor:
        x = random.inputs(x)
        variance = random.outputs(x.square(), **variances[id(random)])
        deviation = torch.where(variance > 0, variance, 1.0).sqrt() * (variance > 0)  # the root has no gradient at 0
        return random.outputs(x, **means[id(random)]) + deviation * noise[id(random.layer)]

    with _forward(layers, forward):
        yield


@contextmanager
def _forward(layers: Sequence[RandomLayer], forward: Callable[[RandomLayer, Tensor], Tensor]) -> Iterator[None]:
    for random in layers:
        random.layer.forward = partial(forward, random)
    try:
        yield
    finally:
        for random in layers:
            del random.layer.forward
