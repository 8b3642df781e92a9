"""Sums over the tail of a density beyond its mode.

In the right variable the logarithm of a density is concave: from where the tail begins it drops by D(s) at distance s, D convex
and increasing from D(0) = 0. So exp(-D) falls from 1 to nothing in one sweep, and Gauss's rule on four stretches up to D = 45
(exp(-45) is 3e-20) has all digits of its integral."""

from functools import cache

import torch
from torch import Tensor

NODES = 32  # in each of 4 stretches


def newton_length(drop, length: Tensor) -> Tensor:
    """Where `drop(s)`, which gives D(s) and D'(s), is about 45: by Newton's steps from `length`, beyond which D is convex."""
    for _ in range(12):
        value, slope = drop(length)
        length = length - (value - 45) / slope
    return length


@cache
def gauss_legendre(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights (128) of four equal stretches of [0, 1], by the eigenvectors of Golub and Welsch (1969)."""
    n = torch.arange(1, NODES, dtype=torch.double)
    beside = n / (4 * n * n - 1).sqrt()
    places, vectors = torch.linalg.eigh(torch.diag(beside, -1) + torch.diag(beside, 1))
    offsets = torch.arange(4, dtype=torch.double)[:, None]
    nodes = (offsets + 0.5 * (1 + places)) / 4
    return nodes.flatten().to(device), (vectors[0].square() / 4).repeat(4).to(device)
