"""Categorical densities from logits, at the observed outcomes alone."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelectedLogSoftmax(torch.autograd.Function):
    """log_softmax(h Wᵀ + b)[row, col] (*S) for the chosen cells alone; the logits' buffer becomes the gradient."""

    @staticmethod
    def forward(ctx, h, weight, bias, row, col):
        logits = torch.addmm(bias, h, weight.T)  # (U, V)
        picked = logits[row, col]
        prob, least = softmax_in_place(logits)
        ctx.save_for_backward(h, weight, bias, row, col)
        ctx.prob = prob  # only the first backward pass finds it
        return prob[row, col].log_().add_((picked - least[row]).clamp_(max=0.0))

    @staticmethod
    def backward(ctx, grad):
        h, weight, bias, row, col = ctx.saved_tensors
        g, ctx.prob = ctx.prob, None
        grad = grad.flatten()
        mass = grad.new_zeros(len(h)).index_add_(0, row.flatten(), grad)
        if torch.is_grad_enabled():  # the gradient is to be differentiated
            g = -mass[:, None] * torch.addmm(bias, h, weight.T).softmax(1)
        else:
            if g is None:
                g, _ = softmax_in_place(torch.addmm(bias, h, weight.T))
            g.mul_(-mass[:, None])  # ∂/∂logits = picked − mass · softmax
        g.view(-1).index_add_(0, (row * g.shape[1] + col).flatten(), grad)
        by_bias = g.new_ones(len(g)) @ g  # three times as fast as g.sum(0)
        return g @ weight, g.T @ h, by_bias, None, None


def selected_log_softmax(h: Tensor, out: nn.Linear, row: Tensor, col: Tensor) -> Tensor:
    """log_softmax(out(h))[row, col]: h (U, H), row and col that broadcast to (*S) → (*S)."""
    return SelectedLogSoftmax.apply(h.to(out.weight.dtype), out.weight, out.bias, *torch.broadcast_tensors(row, col))


def softmax_in_place(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax of each row of logits (U, V), and the least that one counts as (U,): exp would be slow below it."""
    least = logits.amax(1) - 80.0
    return torch.softmax(torch.maximum(logits, least[:, None], out=logits), 1, out=logits), least


def logits_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """log_softmax(logits)[value] for logits (*B, V) and value broadcast to (*B) → (*B)."""
    lead = logits.shape[:-1]
    if logits.shape[-1] == 2:  # a sigmoid of how far they are apart, for a softmax takes ten times as long
        odds = logits[..., 1] - logits[..., 0]
        return F.logsigmoid(torch.where(value.bool(), odds, -odds))
    return -F.cross_entropy(logits.flatten(0, -2), value.expand(lead).flatten(), reduction="none").view(lead)
