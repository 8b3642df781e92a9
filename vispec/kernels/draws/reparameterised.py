"""The doubly reparameterised gradient of the importance-weighted bound (Tucker et al. 2019).

With log q at parameters that carry no gradient, the guide learns through its draws alone, and the gradient of a draw has the
weight of its sample squared: Σ_s w̃_s² ∇_z log w_s dz/dφ, while the model's own parameters see Σ_s w̃_s ∇ log w_s.
"""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.logsum import gradient_alone, log_sum_exp


class WeighedByShare(torch.autograd.Function):
    """Draws z (S, B, ...) as they are; their gradient times each sample's share, which `shares` holds by the backward pass."""

    @staticmethod
    def forward(ctx, z, shares):
        ctx.shares = shares
        return z.view_as(z)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        share = ctx.shares[-1]
        return grad * share.reshape(*share.shape, *[1] * (grad.dim() - 2)), None


def through_the_draw(log_q: Tensor) -> Tensor:
    """log q, of which the gradient leaves the guide's parameters out, so that it has no derivative of its own."""
    return log_q.detach() + gradient_alone(log_q)


def dreg_bound(weight: Tensor, shares: list[Tensor]) -> Tensor:
    """log (1/S) Σ_s exp w_s (B,) of log-weights (S, B); tells the draws their shares w̃."""
    samples = weight.movedim(0, -1)
    shares.append(softmax_or_zero(samples.detach()).movedim(-1, 0))
    return log_sum_exp(samples) - torch.log(weight.new_tensor(len(weight)))


def softmax_or_zero(x: Tensor) -> Tensor:
    """Over the last dimension; 0 where everything is -inf."""
    top = x.amax(-1, keepdim=True)
    return torch.where(top == -torch.inf, 0.0, x.softmax(-1))


def no_shares() -> list[Tensor]:
    """Of the samples in the bound, which tells them."""
    return []


def weighed_by_share(z: Tensor, shares: list[Tensor]) -> Tensor:
    """Draws z (S, B, ...) as they are, their gradient times each sample's share."""
    return WeighedByShare.apply(z, shares)


def telling_shares(weight: Tensor, shares: list[Tensor]) -> Tensor:
    """Log-weights (S, B) as they are; tells the draws their shares w̃ in the bound."""
    shares.append(softmax_or_zero(weight.detach().movedim(0, -1)).movedim(-1, 0))
    return weight
