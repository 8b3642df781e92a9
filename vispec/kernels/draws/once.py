"""Draws whose own gradient torch knows, but not the gradient of that, and gives as 0 without a word."""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative


class Once(torch.autograd.Function):
    """A draw as it is, with a first derivative only."""

    @staticmethod
    def forward(ctx, draw):
        return draw.view_as(draw)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        return grad


def differentiable_once(draw: Tensor) -> Tensor:
    """A draw by torch's Dirichlet or Beta, which raises where a second derivative is asked for."""
    return Once.apply(draw)
