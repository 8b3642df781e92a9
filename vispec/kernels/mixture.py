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
        top.masked_fill_(top == -torch.inf, 0.0)
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
    x, loc = x - centre, loc - centre
    precision = scale.square().reciprocal()
    scaled = loc * precision
    const = -(0.5 * loc * scaled + scale.log()).sum(1) - 0.9189385332046727 * loc.shape[1]  # log(2π) / 2
    return const, torch.cat([scaled, -0.5 * precision], 1), torch.cat([x, x.square()], -1)


def bernoulli_natural(x: Tensor, logit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Σ_d log P(x_d) for log-odds (K, D) as const_k + weight_k · x: const (K,), weight (K, D), x (*B, D)."""
    return torch.nn.functional.logsigmoid(-logit).sum(1), logit, x
