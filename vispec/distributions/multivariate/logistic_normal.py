"""LogisticNormal(loc, scale) on the simplex: normal numbers, one fewer than it has parts, through stick breaking."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch


def logistic_normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the normal numbers (N, K - 1) behind elements (N, K); a deviation of 0 is nan."""
    rest = value.flip(-1).cumsum(-1).flip(-1)[..., 1:]  # what is left of the stick
    normal = (value[..., :-1] / rest).log() + torch.arange(value.shape[-1] - 1, 0, -1).to(value).log()
    scale = (normal - normal[:1]).std(0, correction=0)
    return normal.mean(0), scale.masked_fill(scale == 0, torch.nan)


def logistic_normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log density (*B) of value (*B, D + 1) for loc and scale (*B, D); -inf where a part is 0.

    Of what the parts before it left, r_i, part i takes the share sigmoid(x_i - log(D + 1 - i)) and leaves r_(i+1)."""
    inside = (value > 0).all(-1)
    rest = value.masked_fill(~inside.unsqueeze(-1), 1.0).double()
    part, rest = rest[..., :-1], rest.flip(-1).cumsum(-1).flip(-1)
    after, rest, scale = rest[..., 1:], rest[..., :-1], scale.double()
    at = torch.arange(part.shape[-1], 0, -1, device=value.device)
    z = ((part / after * at).log() - loc.double()) / scale
    density = -0.5 * z.square() - scale.log() - part.log() - (after / rest).log() - 0.9189385332046727  # log(2π) / 2
    return density.sum(-1).to(value.dtype).masked_fill(~inside, -torch.inf)


ENTRY = Distribution(
    name="LogisticNormal",
    params={"loc": "real", "scale": "positive"},
    support="simplex",
    everywhere=False,
    event_dim=1,
    has_rsample=True,
    torch_class="LogisticNormal",
    kernel=logistic_normal_log_prob,
    size_delta={"loc": -1, "scale": -1},
    start=logistic_normal_start,
    examples=({"loc": [0.5, -0.3], "scale": [1.0, 0.6]},),
)
