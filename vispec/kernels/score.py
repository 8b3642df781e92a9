"""The score-function gradient: ∇ E_q[w] = E_q[∇ w + (w − b) ∇ log q] for draws that carry no gradient (Williams 1992).

Each function returns the mean of the log-weights w (S, B) over samples, (B,), with that gradient. log_q (S, B) is of the draws.
"""

from torch import Tensor


def score_bound(weight: Tensor, log_q: Tensor, baseline: Tensor | float) -> Tensor:
    """The bound; `baseline` must not depend on a sample's own draw."""
    signal = (weight - baseline).detach()
    return (weight + signal * (log_q - log_q.detach())).mean(0)


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
