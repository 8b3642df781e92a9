"""Categorical densities from logits, at the observed outcomes alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


class SelectedLogSoftmax(torch.autograd.Function):
    """log_softmax(h Wᵀ + b)[row, col] for the chosen cells alone; the logits' buffer becomes the probabilities.

    h (U, H), weight (V, H), bias (V,), row and col (*S) → (*S). One backward pass only.
    """

    @staticmethod
    def forward(ctx, h, weight, bias, row, col):
        prob = torch.addmm(bias, h, weight.T)  # (U, V)
        picked = prob[row, col]
        top = prob.amax(1, keepdim=True)
        total = prob.sub_(top).clamp_(min=-80.0).exp_().sum(1, keepdim=True)
        ctx.save_for_backward(h, weight, row, col, prob, total)
        return picked - (top + total.log())[row, 0]

    @staticmethod
    def backward(ctx, grad):
        h, weight, row, col, prob, total = ctx.saved_tensors
        mass = grad.new_zeros(len(h)).index_add_(0, row.flatten(), grad.flatten())
        g = prob * (-mass[:, None] / total)  # ∂/∂logits = picked − mass · softmax
        g.view(-1).index_add_(0, (row * g.shape[1] + col).flatten(), grad.flatten())
        return g @ weight, g.T @ h, g.sum(0), None, None


def logits_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """log_softmax(logits)[value] for logits (*B, V) and value (*B), leading dimensions broadcast → (*B)."""
    lead = torch.broadcast_shapes(logits.shape[:-1], value.shape)
    flat = logits.expand(*lead, -1).flatten(0, -2)
    return -F.cross_entropy(flat, value.expand(lead).flatten(), reduction="none").view(lead)
