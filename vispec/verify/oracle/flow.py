"""Guides that are flows: the layers are the module's, as a map from vectors to vectors; the density is by its Jacobian."""

import torch
from torch import Tensor

from vispec.model import model as m
from vispec.verify.oracle.densities import torch_family
from vispec.verify.oracle.expressions import Scene, evaluate
from vispec.verify.oracle.row import Place


def carried(law: m.Flow, start: Tensor, at: Place, scene: Scene) -> tuple[Tensor, Tensor]:
    """What a draw of the base (D) becomes (D), and log q of it (): log q of the draw − log |det ∂ value / ∂ draw|."""
    layers = getattr(scene.module, law.attribute)
    told = () if law.context is None else (evaluate(law.context, at, scene),)

    def value(x: Tensor) -> Tensor:
        return layers(x, *told)[0]

    slope = torch.autograd.functional.jacobian(value, start, create_graph=True)
    assert isinstance(slope, Tensor)
    base = torch_family(law.base, at, scene).log_prob(start).sum()
    return value(start), base - torch.linalg.slogdet(slope).logabsdet
