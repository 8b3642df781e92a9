"""Log-densities of an exponential family at every component are one matrix product; their mixture has its own gradient."""

import torch
from torch import Tensor


class MixtureLogProb(torch.autograd.Function):
    """log Σ_k exp(const_k + weight_k · t) for sufficient statistics t.

    const (K,), weight (K, T), statistics (N, T) → (N,). The gradient is the posterior of k given each row (the
    responsibilities), kept in the buffer of the log-densities.
    """

    @staticmethod
    def forward(ctx, const, weight, statistics):
        r = torch.addmm(const, statistics, weight.T)  # (N, K)
        top = r.amax(1, keepdim=True)
        top.clamp_(min=torch.finfo(top.dtype).min)  # where all are -inf, so is their difference from it
        torch.threshold_(r.sub_(top).clamp_(min=-80.0).exp_(), 2e-35, 0.0)
        mass = r.sum(1, keepdim=True)
        ctx.save_for_backward(r.div_(mass.clamp(min=1.0)), weight, statistics)
        return mass.log_().add_(top).squeeze(1)

    @staticmethod
    def backward(ctx, grad):
        r, weight, statistics = ctx.saved_tensors
        r = r * grad[:, None]
        by_statistics = r @ weight if ctx.needs_input_grad[2] else None
        return r.sum(0), r.T @ statistics, by_statistics


def normal_natural(x: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Σ_d log N(x_d; loc_kd, scale_kd²) as const_k + weight_k · t(x): const (K,), weight (K, 2D), t (*B, 2D).

    Both are centred on the mean component first, so that squares stay small beside the distances that matter.
    """
    centre = loc.detach().mean(0)
    x = x - centre
    const, weight = NormalNatural.apply(loc - centre, scale)
    return const, weight, torch.cat([x, x.square()], -1)


class NormalNatural(torch.autograd.Function):
    """const (K,) and weight (K, 2D) on [x, x²] of Normal(loc, scale²), summed over D; one operation instead of a dozen."""

    @staticmethod
    def forward(ctx, loc, scale):
        precision = scale.square().reciprocal_()
        scaled = loc * precision
        const = torch.addcmul(scale.log(), scaled, loc, value=0.5).sum(1).add_(0.9189385332046727 * loc.shape[1]).neg_()
        ctx.save_for_backward(loc, scale, precision)
        return const, torch.cat([scaled, -0.5 * precision], 1)

    @staticmethod
    def backward(ctx, by_const, by_weight):
        loc, scale, precision = ctx.saved_tensors
        by_scaled, by_square = by_weight.chunk(2, 1)
        by_const = by_const[:, None]
        shifted = by_scaled - by_const * loc
        by_precision = (by_scaled + shifted).mul_(loc).sub_(by_square)  # twice
        return shifted.mul_(precision), by_precision.mul_(precision).add_(by_const).div_(scale).neg_()


def bernoulli_natural(x: Tensor, logit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Σ_d log P(x_d) for log-odds (K, D) as const_k + weight_k · x: const (K,), weight (K, D), x (*B, D)."""
    return torch.nn.functional.logsigmoid(-logit).sum(1), logit, x
