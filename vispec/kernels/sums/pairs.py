"""Sums over the states of a chain of order two, as a first-order chain over pairs of states.

    Z = Σ_{z_1..z_T} init[z_1] second[z_1, z_2] Π_{t>2} trans_t[z_{t-2}, z_{t-1}, z_t] Π_t obs_t[z_t]

Arguments are logarithms: log_init (K,) or (*B, K); log_second (K, K) or (*B, K, K); log_trans (K, K, K), or by time
(*B, T-2 or 1, K, K, K); log_obs (*B, T, K). length (*B,) counts the elements of each chain. A pair (i, j) is state i·K + j;
pairs that do not overlap do not follow one another. That is K⁴ multiply-adds an element in products of matrices, which take no
longer than K³ exponentials.
"""

import torch
from torch import Tensor

from vispec.kernels.sums.algebra import chain_total
from vispec.kernels.sums.chain import chain_log_prob
from vispec.kernels.sums.logsum import log_sum_exp


def second_order_log_prob(
    log_init: Tensor, log_second: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None = None
) -> Tensor:
    """log Z (*B,); 0 for a chain without elements."""
    short = log_sum_exp(log_init + log_obs[..., 0, :])
    if log_obs.shape[-2] == 1:
        return short if length is None else short.masked_fill(length == 0, 0.0)
    pairs = over_pairs(log_init, log_second, log_trans, log_obs)
    if length is None:
        return chain_log_prob(*pairs)
    return by_length(chain_log_prob(*pairs, (length - 1).clamp(min=0)), short, length)


def second_order_total(
    total, log_init: Tensor, log_second: Tensor, log_trans: Tensor, log_obs: Tensor, length: Tensor | None = None
) -> Tensor:
    """The same sum under an algebra, for posterior queries."""
    short = total(log_init + log_obs[..., 0, :])
    if log_obs.shape[-2] == 1:
        return short if length is None else short.masked_fill(length == 0, 0.0)
    pairs = over_pairs(log_init, log_second, log_trans, log_obs)
    if length is None:
        return chain_total(total, *pairs)
    return by_length(chain_total(total, *pairs, (length - 1).clamp(min=1)), short, length)


def by_length(long: Tensor, short: Tensor, length: Tensor) -> Tensor:
    """log Z of chains with two elements or more, with one, and with none."""
    return torch.where(length > 1, long, torch.where(length > 0, short, 0.0))


def over_pairs(log_init: Tensor, log_second: Tensor, log_trans: Tensor, log_obs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log_init (*B, KK), log_trans (KK, KK) or (*B, T-2 or 1, KK, KK), and log_obs (*B, T-1, KK) of the chain over pairs, which
    has one element fewer."""
    K = log_obs.shape[-1]
    first = (log_init + log_obs[..., 0, :])[..., None] + log_second
    same = torch.eye(K, dtype=torch.bool, device=log_obs.device)
    # (.., i, j, j', k) is trans[i, j, k] where j = j', else impossible
    follows = torch.where(same[..., None], log_trans[..., None, :], -torch.inf)
    seen = log_obs[..., 1:, None, :].expand(*log_obs.shape[:-2], -1, K, K)
    return first.flatten(-2), follows.flatten(-4, -3).flatten(-2), seen.flatten(-2)
