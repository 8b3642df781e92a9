"""The gamma function's rest beyond Stirling's formula, so that large terms never cancel."""

import torch
from torch import Tensor


def stirling_rest(a: Tensor) -> Tensor:
    """log Γ(a) - (a - ½) log a + a - ½ log 2π elementwise for a > 0 in float64; about 1 / 12a for large a."""
    large = a > 10
    z = 1 / torch.where(large, a, 10.0)
    w = z * z
    series = z * (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w * (1 / 1188 - w * (691 / 360360 - w / 156))))))
    small = torch.where(large, 10.0, a)
    return torch.where(large, series, torch.lgamma(small) - (small - 0.5) * small.log() + small - 0.9189385332046727)


def log_ratio(x: Tensor, y: Tensor, log_x: Tensor) -> Tensor:
    """log x / y elementwise for x, y > 0, with all digits where they are nearly the same."""
    near = (x - y).abs() < 0.5 * y
    return torch.where(near, torch.log1p(torch.where(near, (x - y) / y, 0.0)), log_x - y.log())
