"""The score-function gradient: ∇ E_q[w] = E_q[∇ w + (w − b) ∇ log q] for draws that carry no gradient (Williams 1992).

Each function returns a bound (B,) with that gradient, from the log-weights w (S, B) of S samples and the log_q (S, B) of their
draws: `score_bound_*` the mean of the log-weights, `score_multi_*` the logarithm of the mean weight. A baseline b must not
depend on a sample's own draw. A draw that makes its row impossible has no gradient, and no part in the baseline of others.
"""

import torch
from torch import Tensor

from vispec.kernels.sums.logsum import gradient_alone, impossible_alone, log_sum_exp


def signal_of(weight: Tensor, baseline: Tensor | float) -> Tensor:
    """What a draw is worth beside its baseline, without gradient; 0 where it is impossible."""
    return torch.where(weight == -torch.inf, 0.0, weight - baseline).detach()


def mean_possible(weight: Tensor) -> Tensor:
    """The mean over the first dimension of what is not -inf, without gradient; 0 where all is."""
    some = weight.detach() != -torch.inf
    return torch.where(some, weight.detach(), 0.0).sum(0) / some.sum(0).clamp(min=1)


def mean_of_others(weight: Tensor) -> Tensor:
    """For each of the samples (S, B) the mean of the others that are possible, without gradient; 0 where there is none."""
    some = weight.detach() != -torch.inf
    finite = torch.where(some, weight.detach(), 0.0)
    return (finite.sum(0) - finite) / (some.sum(0) - some.long()).clamp(min=1)


def score_bound(weight: Tensor, log_q: Tensor, baseline: Tensor | float) -> Tensor:
    """The mean of the log-weights, each sample's signal less its baseline."""
    return (impossible_alone(weight) + signal_of(weight, baseline) * gradient_alone(log_q)).mean(0)


def score_bound_none(weight: Tensor, log_q: Tensor) -> Tensor:
    """No baseline."""
    return score_bound(weight, log_q, 0.0)


def score_bound_loo(weight: Tensor, log_q: Tensor) -> Tensor:
    """Each sample against the mean of the others (Kool et al. 2019); one sample alone has no baseline."""
    return score_bound(weight, log_q, mean_of_others(weight))


def score_bound_mean(weight: Tensor, log_q: Tensor, average: Tensor, training: bool) -> Tensor:
    """Against a moving average (), which is updated while training."""
    found = score_bound(weight, log_q, average.clone())
    if training and bool((weight != -torch.inf).any()):
        average.lerp_(mean_possible(weight.flatten()), 0.1)
    return found


def score_bound_nvil(weight: Tensor, log_q: Tensor, baseline: Tensor) -> Tensor:
    """Against a net's guess (B,) from the data, which learns to predict the log-weight (Mnih and Gregor 2014)."""
    possible = (weight != -torch.inf).any(0)
    return score_bound(weight, log_q, baseline) - torch.where(possible, regression(mean_possible(weight), baseline), 0.0)


def regression(target: Tensor, guess: Tensor) -> Tensor:
    """0, with the gradient of half the squared error of a guess."""
    return gradient_alone(0.5 * (target.detach() - guess).square())


def log_mean(weight: Tensor) -> Tensor:
    """log (1/S) Σ_s exp w_s of log-weights (S, B); -inf, with gradient 0, where every one is."""
    return log_sum_exp(weight.movedim(0, -1)) - torch.log(weight.new_tensor(len(weight)))


def score_multi(weight: Tensor, log_q: Tensor, baseline: Tensor | float) -> Tensor:
    """log (1/S) Σ_s exp w_s, every sample's signal being the bound itself less its baseline."""
    bound = log_mean(weight)
    return bound + (signal_of(bound, baseline) * gradient_alone(log_q)).sum(0)


def score_multi_none(weight: Tensor, log_q: Tensor) -> Tensor:
    """No baseline."""
    return score_multi(weight, log_q, 0.0)


def score_multi_mean(weight: Tensor, log_q: Tensor, average: Tensor, training: bool) -> Tensor:
    """Against a moving average (), which is updated while training."""
    found = score_multi(weight, log_q, average.clone())
    if training and bool((found != -torch.inf).any()):
        average.lerp_(mean_possible(found.flatten()), 0.1)
    return found


def score_multi_nvil(weight: Tensor, log_q: Tensor, baseline: Tensor) -> Tensor:
    """Against a net's guess (B,) from the data, which learns to predict the bound."""
    found = score_multi(weight, log_q, baseline)
    possible = found != -torch.inf
    return found - torch.where(possible, regression(torch.where(possible, found, 0.0), baseline), 0.0)


def score_multi_vimco(weight: Tensor, log_q: Tensor) -> Tensor:
    """Each sample against the bound with its log-weight replaced by the mean of the others' (VIMCO, Mnih and Rezende 2016); one
    whose others are all impossible has no baseline."""
    count = len(weight)
    if count == 1:
        return score_multi(weight, log_q, 0.0)
    known = weight.detach()
    some = known != -torch.inf
    alone = some.sum(0) - some.long() == 0  # (S, B)
    own = torch.eye(count, dtype=torch.bool, device=weight.device).unsqueeze(-1)
    without = torch.where(own, mean_of_others(known), known)  # (S, S, B): row s has the s-th weight replaced
    baseline = torch.logsumexp(without, 1) - torch.log(weight.new_tensor(count))
    return score_multi(weight, log_q, torch.where(alone, 0.0, baseline))
