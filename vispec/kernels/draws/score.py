"""The score-function gradient: ∇ E_q[w] = E_q[∇ w + (w − b) ∇ log q] for draws that carry no gradient (Williams 1992).

Each function returns a bound (B,) with that gradient, from the log-weights w (S, B) of S samples and the log_q (S, B) of their
draws: `score_bound_*` the mean of the log-weights, `score_multi_*` the logarithm of the mean weight. A baseline b must not
depend on a sample's own draw.
"""

import torch
from torch import Tensor

from vispec.kernels.sums.logsum import gradient_alone


def score_bound(weight: Tensor, log_q: Tensor, baseline: Tensor | float) -> Tensor:
    """The mean of the log-weights, each sample's signal less its baseline."""
    signal = (weight - baseline).detach()
    return (weight + signal * gradient_alone(log_q)).mean(0)


def score_bound_none(weight: Tensor, log_q: Tensor) -> Tensor:
    """No baseline."""
    return score_bound(weight, log_q, 0.0)


def score_bound_loo(weight: Tensor, log_q: Tensor) -> Tensor:
    """Each sample against the mean of the others (Kool et al. 2019); one sample alone has no baseline."""
    others = len(weight) - 1
    baseline = (weight.sum(0) - weight) / others if others else 0.0
    return score_bound(weight, log_q, baseline)


def score_bound_mean(weight: Tensor, log_q: Tensor, average: Tensor, training: bool) -> Tensor:
    """Against a moving average (), which is updated while training."""
    found = score_bound(weight, log_q, average.clone())
    if training:
        average.lerp_(weight.detach().mean(), 0.1)
    return found


def score_bound_nvil(weight: Tensor, log_q: Tensor, baseline: Tensor) -> Tensor:
    """Against a net's guess (B,) from the data, which learns to predict the log-weight (Mnih and Gregor 2014)."""
    return score_bound(weight, log_q, baseline) - regression(weight.mean(0), baseline)


def regression(target: Tensor, guess: Tensor) -> Tensor:
    """0, with the gradient of half the squared error of a guess."""
    return gradient_alone(0.5 * (target.detach() - guess).square())


def score_multi(weight: Tensor, log_q: Tensor, baseline: Tensor | float) -> Tensor:
    """log (1/S) Σ_s exp w_s, every sample's signal being the bound itself less its baseline."""
    bound = torch.logsumexp(weight, 0) - torch.log(weight.new_tensor(len(weight)))
    signal = (bound - baseline).detach()
    return bound + (signal * gradient_alone(log_q)).sum(0)


def score_multi_none(weight: Tensor, log_q: Tensor) -> Tensor:
    """No baseline."""
    return score_multi(weight, log_q, 0.0)


def score_multi_mean(weight: Tensor, log_q: Tensor, average: Tensor, training: bool) -> Tensor:
    """Against a moving average (), which is updated while training."""
    found = score_multi(weight, log_q, average.clone())
    if training:
        average.lerp_(found.detach().mean(), 0.1)
    return found


def score_multi_nvil(weight: Tensor, log_q: Tensor, baseline: Tensor) -> Tensor:
    """Against a net's guess (B,) from the data, which learns to predict the bound."""
    found = score_multi(weight, log_q, baseline)
    return found - regression(found, baseline)


def score_multi_vimco(weight: Tensor, log_q: Tensor) -> Tensor:
    """Each sample against the bound with its log-weight replaced by the mean of the others' (VIMCO, Mnih and Rezende 2016)."""
    count = len(weight)
    if count == 1:
        return score_multi(weight, log_q, 0.0)
    others = (weight.sum(0) - weight) / (count - 1)
    own = torch.eye(count, dtype=torch.bool, device=weight.device).unsqueeze(-1)
    without = torch.where(own, others, weight)  # (S, S, B): row s has the s-th weight replaced
    return score_multi(weight, log_q, torch.logsumexp(without, 1) - torch.log(weight.new_tensor(count)))
