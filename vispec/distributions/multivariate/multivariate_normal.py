"""MultivariateNormal(loc, scale_tril) on real vectors; the covariance is scale_tril · scale_trilᵀ."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def multivariate_normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale_tril: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, L Lᵀ) (*B) for value and loc (*B, D) and lower-triangular L = scale_tril (*B, D, D)."""
    while scale_tril.dim() > 2 and len(scale_tril) == 1:
        scale_tril = scale_tril.squeeze(0)
    error = value - loc
    error = error.expand(torch.broadcast_shapes(error.shape, scale_tril.shape[:-1]))  # (*N, *S, D) against L (*S, D, D)
    own = error.dim() - scale_tril.dim() + 1  # axes N, over which L does not vary: columns of one solve, not copies of L
    columns = error.reshape(-1, *error.shape[own:]).movedim(0, -1)  # (*S, D, N)
    white = torch.linalg.solve_triangular(scale_tril, columns, upper=False)
    distance = white.square().sum(-2).movedim(-1, 0).reshape(error.shape[:-1])  # (*N, *S)
    log_det = scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # (*S)
    return -0.5 * distance - log_det - 0.9189385332046727 * value.shape[-1]  # log(2π) / 2


def multivariate_normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (D) and the Cholesky factor of the covariance of elements (N, D), the correlations shrunk by N / (N + D), so that it
    has full rank; nan where an entry is the same in all."""
    n, d = value.shape
    error = value - value[:1]
    covariance = torch.atleast_2d(torch.cov(error.mT, correction=0))
    scale = covariance.diagonal().sqrt().masked_fill((error == 0).all(0), torch.nan)
    correlation = covariance / scale / scale[:, None] * (n / (n + d))
    factor, failed = torch.linalg.cholesky_ex(correlation - correlation.diagonal().diag() + torch.eye(d).to(correlation))
    return value.mean(0), (scale[:, None] * factor).masked_fill(failed > 0, torch.nan)


ENTRY = Distribution(
    name="MultivariateNormal",
    params={"loc": "real", "scale_tril": "cholesky"},
    param_event_dim={"scale_tril": 2},
    support="real",
    event_dim=1,
    has_rsample=True,
    torch_class="MultivariateNormal",
    kernel=multivariate_normal_log_prob,
    start=multivariate_normal_start,
    examples=({"loc": [0.5, -1.0], "scale_tril": [[1.0, 0.0], [0.7, 0.5]]},),
)
