"""The log-probability of a category that is seen, smoothed towards the mean of all."""

from torch import Tensor

from vispec.kernels.sums.lookup import pick_last


def smoothed_log_prob(log_p: Tensor, value: Tensor, smoothing: float) -> Tensor:
    """(1 − smoothing) log_p[value] + smoothing · mean of log_p, for value (*B) and log_p (*B, K), broadcast → (*B)."""
    seen = pick_last(log_p, value)
    return seen.lerp(log_p.mean(-1), smoothing) if smoothing else seen
