"""Densities of vectors whose elements are independent."""

import torch
from torch import Tensor


class NormalVectorLogProb(torch.autograd.Function):
    """Σ_d log N(value_d; loc_d, scale_d²) (*B): value, loc and scale broadcast to (*B, D).

    Instead of four tensors (*B, D) of autograd's, it makes one for the gradient, and one of residuals in units of the scale,
    which it returns too.
    """

    @staticmethod
    def forward(ctx, value, loc, scale):
        residual = value - loc
        fits = scale.shape == residual.shape[residual.dim() - scale.dim() :]  # broadcast_shapes takes its time
        residual = residual.div_(scale) if fits else residual / scale  # (*B, D)
        ctx.save_for_backward(residual, scale)
        ctx.shapes = value.shape, loc.shape, scale.shape
        distance = torch.linalg.vector_norm(residual, dim=-1).square_()
        log_scale = scale.log().expand(*scale.shape[:-1], residual.shape[-1]).sum(-1)
        ctx.set_materialize_grads(False)
        found = distance.mul_(-0.5).sub_(log_scale).sub_(0.9189385332046727 * residual.shape[-1])  # log(2π) / 2
        return found, residual

    @staticmethod
    def backward(ctx, grad, by_residual):
        residual, scale = ctx.saved_tensors
        value_shape, loc_shape, scale_shape = ctx.shapes
        grad = residual.new_zeros(residual.shape[:-1]) if grad is None else grad
        weighted = residual * grad[..., None]  # (*B, D)
        weighted = weighted if by_residual is None else weighted - by_residual
        by_scale = None
        if ctx.needs_input_grad[2]:
            size = scale_shape[-1] if scale_shape else 1
            once = grad[..., None].sum_to_size((*scale_shape[:-1], 1) if scale_shape else ()) * (residual.shape[-1] // size)
            by_scale = (weighted * residual).sum_to_size(scale_shape).sub_(once).div_(scale)
        by_loc = weighted / scale if torch.is_grad_enabled() else weighted.div_(scale)
        by_value = by_loc.neg().sum_to_size(value_shape) if ctx.needs_input_grad[0] else None
        return by_value, by_loc.sum_to_size(loc_shape) if ctx.needs_input_grad[1] else None, by_scale


def standard_normal_vector_log_prob(value: Tensor) -> Tensor:
    """Σ_d log N(value_d; 0, 1): (*B, D) → (*B)."""
    return value.square().sum(-1) * -0.5 - 0.9189385332046727 * value.shape[-1]  # log(2π) / 2


def normal_vector_log_prob(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d log N(value_d; loc_d, scale_d²), broadcast: (*B, D) each → (*B)."""
    return NormalVectorLogProb.apply(value, loc, scale)[0]
