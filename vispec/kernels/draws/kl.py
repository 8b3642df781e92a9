"""KL divergences in closed form, where they are cheaper than torch.distributions makes them; in nats, elementwise."""

import torch
from torch import Tensor


def kl_normal_standard(loc: Tensor, scale: Tensor) -> Tensor:
    """KL(N(loc, scale²) ‖ N(0, 1)) = ½(scale² + loc² − 1) − log scale."""
    return 0.5 * (scale.square() + loc.square() - 1) - scale.log()


class KlNormalStandard(torch.autograd.Function):
    """The sum of `kl_normal_standard` over the last dimension: (*B, D) each → (*B). A dozen small operations fewer."""

    @staticmethod
    def forward(ctx, loc, scale):
        ctx.save_for_backward(loc, scale)
        terms = scale.log().addcmul_(loc, loc, value=-0.5).addcmul_(scale, scale, value=-0.5)
        return torch.rsub(terms.sum(-1), -0.5 * loc.shape[-1])

    @staticmethod
    def backward(ctx, grad):
        loc, scale = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        return loc * grad, (scale - scale.reciprocal()).mul_(grad)


def kl_normal_standard_vector(loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d KL(N(loc_d, scale_d²) ‖ N(0, 1)): loc and scale (*B, D) → (*B)."""
    return KlNormalStandard.apply(loc, scale)


def kl_normal_normal(q_loc: Tensor, q_scale: Tensor, p_loc: Tensor, p_scale: Tensor) -> Tensor:
    """KL(N(q_loc, q_scale²) ‖ N(p_loc, p_scale²))."""
    ratio = q_scale / p_scale
    return 0.5 * (ratio.square() + ((q_loc - p_loc) / p_scale).square() - 1) - ratio.log()


def kl_bernoulli(q_logit: Tensor, p_logit: Tensor) -> Tensor:
    """KL of bits with these log-odds."""
    softplus = torch.nn.functional.softplus
    return torch.sigmoid(q_logit) * (q_logit - p_logit) + softplus(p_logit) - softplus(q_logit)


def kl_categorical(log_q: Tensor, log_p: Tensor) -> Tensor:
    """Σ_k q_k (log q_k − log p_k) over the last dimension, of normalised log-probabilities; what q excludes counts nothing."""
    excluded = log_q == -torch.inf
    ratio = log_q.masked_fill(excluded, 0.0) - log_p.masked_fill(excluded, 0.0)
    return (log_q.exp() * ratio).sum(-1)
