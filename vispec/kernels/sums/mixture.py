"""Log-densities of an exponential family at every component are one matrix product; their mixture has its own gradient."""

import torch
from torch import Tensor


class MixtureLogProb(torch.autograd.Function):
    """log Σ_k exp(const_k + weight_k · t) for sufficient statistics t.

    const (K,), weight (K, T), statistics (N, T) → (N,). The gradient is the posterior of k given each row (the
    responsibilities), kept in the buffer of the log-densities up to each row's mass; both (N, K) and (N, 1) are returned too.
    """

    @staticmethod
    def forward(ctx, const, weight, statistics):
        r = torch.addmm(const, statistics, weight.T)  # (N, K)
        top = r.amax(1, keepdim=True)
        top.clamp_(min=torch.finfo(top.dtype).min)  # where all are -inf, so is their difference from it
        torch.threshold_(r.sub_(top).clamp_(min=-80.0).exp_(), 2e-35, 0.0)
        mass = r.sum(1, keepdim=True)  # at least 1, or 0 where everything is impossible
        ctx.save_for_backward(r, mass, weight, statistics)
        ctx.set_materialize_grads(False)
        return mass.log().add_(top).squeeze(1), r, mass

    @staticmethod
    def backward(ctx, grad, by_r, by_mass):
        r, mass, weight, statistics = ctx.saved_tensors
        grad = torch.zeros_like(mass) if grad is None else grad[:, None] / mass.clamp(min=1.0)
        if by_r is not None or by_mass is not None:
            by_density = r * sum(each for each in (grad, by_r, by_mass) if each is not None)
            return by_density.sum(0), by_density.T @ statistics, by_density @ weight
        by_statistics = (r @ weight).mul_(grad) if ctx.needs_input_grad[2] else None
        return (r.T @ grad).squeeze(1), r.T @ (statistics * grad), by_statistics


def mixture_log_prob(const: Tensor, weight: Tensor, statistics: Tensor) -> Tensor:
    """log Σ_k exp(const_k + weight_k · t): const (K,), weight (K, T), statistics t (*B, T) → (*B)."""
    flat = statistics if statistics.dim() == 2 else statistics.flatten(0, -2)
    return MIXTURES[-1](flat, const, weight).view(statistics.shape[:-1])


def mixture_of_rows(statistics: Tensor, const: Tensor, weight: Tensor) -> Tensor:
    """(N,) by products of matrices."""
    return MixtureLogProb.apply(const, weight, statistics)[0]  # type: ignore[index]


MIXTURES = [mixture_of_rows]  # the last one is asked


def normal_mixture(x: Tensor, log_weight: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log Σ_k exp(log_weight_k) Π_d N(x_d; loc_kd, scale_kd²): x (*B, D), log_weight (K,), loc and scale (K, D) → (*B)."""
    flat = x if x.dim() == 2 else x.flatten(0, -2)
    return NORMAL_MIXTURES[-1](flat, log_weight, loc, scale).view(x.shape[:-1])


def normal_mixture_of_rows(x: Tensor, log_weight: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """(N,) by products of matrices."""
    const, weight, statistics = normal_natural(x, loc, scale)
    return mixture_of_rows(statistics, log_weight + const, weight)


NORMAL_MIXTURES = [normal_mixture_of_rows]  # the last one is asked


def normal_natural(x: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Σ_d log N(x_d; loc_kd, scale_kd²) as const_k + weight_k · t(x): const (*K), weight (*K, 2D), t (*B, 2D).

    Both are centred on the mean component first, so that squares stay small beside the distances that matter.
    """
    centre = loc.detach().flatten(0, -2).mean(0)
    x = x - centre
    return *NormalNatural.apply(loc, scale, centre), torch.cat([x, x * x], -1)  # square() is slower


class NormalNatural(torch.autograd.Function):
    """const (*K) and weight (*K, 2D) on [x, x²], for x from the centre (D,), of Normal(loc, scale²), summed over D.

    One operation instead of a dozen.
    """

    @staticmethod
    def forward(ctx, loc, scale, centre):
        given = loc, scale, centre
        loc, precision = loc - centre, (scale * scale).reciprocal_()
        scaled = loc * precision
        const = torch.addcmul(scale.log(), scaled, loc, value=0.5).sum(-1)
        ctx.save_for_backward(*given)
        return torch.rsub(const, -0.9189385332046727 * loc.shape[-1]), torch.cat([scaled, -0.5 * precision], -1)

    @staticmethod
    def backward(ctx, by_const, by_weight):
        loc, scale, centre = ctx.saved_tensors
        loc, precision = loc - centre, (scale * scale).reciprocal()
        by_scaled, by_square = by_weight.chunk(2, -1)
        by_const = by_const[..., None]
        shifted = torch.addcmul(by_scaled, by_const, loc, value=-1.0)
        by_precision = (by_scaled + shifted).mul_(loc).sub_(by_square)  # twice
        by_scale = torch.addcmul(by_const, by_precision, precision).div_(scale).neg_()
        return shifted.mul_(precision), by_scale, None
