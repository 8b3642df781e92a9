"""The log-probability of a category that is seen, smoothed towards the mean of all."""

import torch
from torch import Tensor


def smoothed_log_prob(log_p: Tensor, value: Tensor, smoothing: float) -> Tensor:
    """(1 − smoothing) log_p[value] + smoothing · mean of log_p, for value (*B) and log_p (*B, K), broadcast → (*B)."""
    lead = torch.broadcast_shapes(value.shape, log_p.shape[:-1])
    seen = log_p.expand(*lead, -1).gather(-1, value.expand(lead)[..., None])[..., 0]
    return seen.lerp(log_p.mean(-1), smoothing) if smoothing else seen
