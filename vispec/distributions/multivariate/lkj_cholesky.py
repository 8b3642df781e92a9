"""LKJCholesky(concentration) on Cholesky factors of correlation matrices; 1 is uniform over the matrices."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import kernel, torch

log_half_step = kernel("vispec.kernels.half_step", "log_half_step")


def lkj_cholesky_log_prob(value: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log density (*B) of factors L (*B, D, D), concentration η (*B): Σ_k (D - k + 2η - 2) log L_kk over k from 2, less

    Σ_j [j log(π) / 2 + log Γ(α - j / 2) / Γ(α)] over j < D for α = η + (D - 1) / 2 (Lewandowski, Kurowicka and Joe 2009)."""
    eta, D = concentration.double().unsqueeze(-1), value.shape[-1]
    j = torch.arange(1, D, dtype=torch.double, device=value.device)
    below = eta + 0.5 * (D - 1) - 0.5 * j  # α - i / 2, with half a step from each to the one before
    steps = ((log_half_step(below) + 0.5 * (below / torch.pi).log()) * (D - j)).sum(-1)
    log_diagonal = value.diagonal(dim1=-2, dim2=-1)[..., 1:].double().log()
    return (((D - 1 - j + 2 * (eta - 1)) * log_diagonal).sum(-1) + steps).to(value.dtype)


ENTRY = Distribution(
    name="LKJCholesky",
    params={"concentration": "positive"},
    param_event_dim={"concentration": 0},
    support="cholesky",
    event_dim=2,
    torch_class="LKJCholesky",
    kernel=lkj_cholesky_log_prob,
    shape_params={"dim": -1},
    examples=({"concentration": 1.5},),
)
