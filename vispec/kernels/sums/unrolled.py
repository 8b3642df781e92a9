"""The elements of a small plate, unrolled: a factor of each element's own latents as one of the joint values of all of them.

Joint value s of I latents with K values each has the digits of s in base K, the first element's digit lowest.
"""

from torch import Tensor


def over_joint_values(log_factor: Tensor, latents: int = 1) -> Tensor:
    """Σ_i log_factor[..., i, digit_i(s), ...] for every joint value s of each of the latents: (*B, I, *K) → (*B, *K**I)."""
    if log_factor.shape[-1 - latents] == 0:  # one joint value, of nothing
        return log_factor.new_zeros(*log_factor.shape[: -1 - latents], *[1] * latents)
    first, *others = log_factor.unbind(-1 - latents)
    lead = first.shape[: first.dim() - latents]
    for each in others:
        new, old = each.shape[len(lead) :], first.shape[len(lead) :]
        wide = each.reshape(*lead, *(n for k in new for n in (k, 1))) + first.reshape(*lead, *(n for k in old for n in (1, k)))
        first = wide.reshape(*lead, *(k * s for k, s in zip(new, old, strict=True)))
    return first
