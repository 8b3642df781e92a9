"""DriveHmm: emitted by vispec from drive_hmm.vispec; imports torch and the standard library.

    log_prob: exact

    chain_c = chain of c along t (one forward pass) of log_c, log_u, log_v

    phi     map(); a point estimate
    lambda  map(); a point estimate
    theta   map(); a point estimate
    c       chain, summed; discrete; a first-order chain along t: one forward pass
    u       data; scored at the data
    v       data; scored at the data
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# native.chain: Chains
# native.chain: NativeChains
# native.chain: by_columns
# native.chain: native_sums
# native.chain: parted
# native.chain: swept
# native.library: build
# native.library: cache_folder
# native.library: compiler
# native.library: flags
# native.library: library
# native.library: loaded
# native.library: own
# native.library: place
# native.library: processor
# probability: LogOfProbability
# probability: log_of
# rows: up_to_the_ends
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: chain_total
# sums.algebra: maximum
# sums.algebra: sampled
# sums.chain: ChainSums
# sums.chain: batch_of
# sums.chain: canonical
# sums.chain: chain_gradient
# sums.chain: chain_log_prob
# sums.chain: chain_save
# sums.chain: chain_shapes
# sums.chain: chain_sums
# sums.chain: fill
# sums.chain: levelled
# sums.chain: log_sums
# sums.chain: pairs_of
# sums.chain: proportions
# sums.chain: remainders
# sums.chain: scaled_sums
# sums.chain: sums
# sums.chain: unused
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.logsum: weights
# sums.lookup: pick_last
# sums.sweep: Room
# sums.sweep: imprecise
# told.decide: decide
# told.decide: predictive
# told.queries: Attached
# told.queries: Entropic
# told.queries: Summed
# told.queries: answer
# told.queries: ask
# told.queries: divergence
# told.queries: k_best
# told.queries: logs_of
# told.queries: mean_where
# told.queries: pairs
# told.queries: ranked
# told.ranked: Noted
# told.ranked: Ranked
# told.ranked: ask_of_chains
# told.ranked: best_paths
# told.ranked: best_sums
# told.ranked: best_terms
# told.ranked: k_best_of_chains


def dirichlet_log_prob(value: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log Dirichlet(value; concentration) (*B) for value (*B, K) and concentration (*B, K) or ()."""
    concentration = concentration.expand(*concentration.shape[:-1], value.shape[-1]).double()
    log_norm = torch.lgamma(concentration).sum(-1) - torch.lgamma(concentration.sum(-1))
    return (torch.xlogy(concentration - 1, value.double()).sum(-1) - log_norm).to(value.dtype)


def exponential_log_prob(value: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log rate - rate · value, elementwise; -inf below 0."""
    wide = rate.double()
    return (wide.log() - wide * value.double()).to(value.dtype).masked_fill(value < 0, -torch.inf)


def truncated_normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²) − log Φ(loc / scale), elementwise; -inf below 0."""
    density = -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2
    return torch.where(value >= 0, density - torch.special.log_ndtr(loc / scale), -torch.inf)


class DriveHmm(nn.Module):
    """Batch: u (event, t) positive; v (event, t) positive; u_len (event)."""

    exact = True
    estimator = "exact"
    sums = ("chain_c = chain of c along t (one forward pass) of log_c, log_u, log_v, tilt_c",)

    def __init__(self):
        super().__init__()
        self.raw_phi_point = nn.Parameter(torch.randn(2) * 0.1)  # (k)
        self.raw_lambda_point = nn.Parameter(torch.randn(2) * 0.1)  # (k)
        self.raw_theta_point = nn.Parameter(torch.randn(2, 2) * 0.1)  # (k, 2)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def phi_point(self) -> Tensor:
        """positive, one for each element of k."""
        return F.softplus(self.raw_phi_point)

    @phi_point.setter
    def phi_point(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_phi_point.copy_(in_domain(raw, F.softplus(raw), value))

    @property
    def lambda_point(self) -> Tensor:
        """positive, one for each element of k."""
        return F.softplus(self.raw_lambda_point)

    @lambda_point.setter
    def lambda_point(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_lambda_point.copy_(in_domain(raw, F.softplus(raw), value))

    @property
    def theta_point(self) -> Tensor:
        """simplex[2], one for each element of k."""
        return self.raw_theta_point.softmax(-1)

    @theta_point.setter
    def theta_point(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_theta_point.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """log p of each row (event,), exact, in nats."""
        batch = with_room(batch)
        phi, lambda_, theta, _ = self.shared() if shared is None else shared
        u = batch["u"]  # (event, t)
        u_len = batch["u_len"]  # (event,)
        inside_t = torch.arange(u.shape[1], device=self.one.device) < u_len[:, None]  # (event, t)
        u_2 = torch.where(inside_t, u, 1.0)  # (event, t)
        log_u = exponential_log_prob(u_2[:, :, None], phi)  # (event, t, c)
        v = batch["v"]  # (event, t)
        v_2 = torch.where(inside_t, v, 1.0)  # (event, t)
        log_v = exponential_log_prob(v_2[:, :, None], lambda_)  # (event, t, c)
        log_joint = log_u + log_v  # (event, t, c)
        log_theta = log_of(theta)  # (c', c)
        chain = chain_log_prob(
            (self.one * -0.6931471805599453).expand(2), log_theta, log_joint, u_len
        )  # (event,); 0.6931471805599453 = log 2
        return chain  # (event,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """phi (k); lambda (k); theta (k, 2); log p − log q of all that rows share."""
        phi_point = F.softplus(self.raw_phi_point)  # (k,)
        lambda_point = F.softplus(self.raw_lambda_point)  # (k,)
        theta_point = self.raw_theta_point.softmax(-1)  # (k, 2)
        at_k = torch.arange(2, device=self.one.device)  # (k,)
        value = (3 * at_k).to(self.one.dtype)  # (k,)
        log_p_phi = truncated_normal_log_prob(phi_point, value, self.one * 1.0)  # (k,)
        log_p_lambda = truncated_normal_log_prob(lambda_point, value, self.one * 1.0)  # (k,)
        joined = self.one.new_tensor([4.0, 2.0])  # (2,)
        log_theta_point = dirichlet_log_prob(theta_point, joined)  # (k,)
        joined_2 = self.one.new_tensor([2.0, 4.0])  # (2,)
        log_theta_point_2 = dirichlet_log_prob(theta_point, joined_2)  # (k,)
        log_p_theta = torch.where(at_k == 0, log_theta_point, log_theta_point_2)  # (k,)
        log_ratio = log_p_phi.sum(-1) + log_p_lambda.sum(-1) + log_p_theta.sum(-1)
        return phi_point, lambda_point, theta_point, log_ratio

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        phi, lambda_, theta, _ = self.shared()
        u = batch["u"]  # (event, t)
        u_len = batch["u_len"]  # (event,)
        inside_t = torch.arange(u.shape[1], device=self.one.device) < u_len[:, None]  # (event, t)
        u_2 = torch.where(inside_t, u, 1.0)  # (event, t)
        log_u = exponential_log_prob(u_2[:, :, None], phi)  # (event, t, c)
        v = batch["v"]  # (event, t)
        v_2 = torch.where(inside_t, v, 1.0)  # (event, t)
        log_v = exponential_log_prob(v_2[:, :, None], lambda_)  # (event, t, c)
        log_joint = log_u + log_v + tilt["c"]  # (event, t, c)
        log_theta = log_of(theta)  # (c', c)
        chain = chain_total(
            total, (self.one * -0.6931471805599453).expand(2), log_theta, log_joint, u_len
        )  # (event,); 0.6931471805599453 = log 2
        return chain  # (event,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        phi, lambda_, theta, _ = self.shared()
        u = batch["u"]  # (event, t)
        u_len = batch["u_len"]  # (event,)
        inside_t = torch.arange(u.shape[1], device=self.one.device) < u_len[:, None]  # (event, t)
        u_2 = torch.where(inside_t, u, 1.0)  # (event, t)
        log_u = exponential_log_prob(u_2[:, :, None], phi)  # (event, t, c)
        v = batch["v"]  # (event, t)
        v_2 = torch.where(inside_t, v, 1.0)  # (event, t)
        log_v = exponential_log_prob(v_2[:, :, None], lambda_)  # (event, t, c)
        total = log_of(theta) + tilt["c"]  # (event, t, c', c)
        value = total[:, 1:]  # (event, t, c', c)
        c_at = tilt["c"][:, 0, 0]  # (event, c)
        total_2 = c_at - 0.6931471805599453  # (event, c); 0.6931471805599453 = log 2
        return chain_log_prob(total_2, value, log_u + log_v, u_len)  # (event,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        u = batch["u"]  # (event, t)
        return {"c": self.one.new_zeros(u.shape[0], u.shape[1], 2, 2)}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        u_len = batch["u_len"]  # (event,)
        u = batch["u"]  # (event, t)
        value = self.one.new_zeros(u_len.shape[0], u.shape[1], 2)  # (event, t, c)
        inside_t = torch.arange(u.shape[1], device=self.one.device) < u_len[:, None]  # (event, t)
        return {"c": value}, {"c": inside_t}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        c: index[k], (event, t).
        """
        batch = with_room(batch)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"c": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        phi, lambda_, theta, _ = self.shared()
        t_size = max(int(lengths["t"].max()), 1)
        c = self.one.new_zeros(n, t_size, dtype=torch.long)  # (event, t)
        for t in range(t_size):
            if t == 0:
                noise_c = self.one.new_empty(n).uniform_()  # (event,)
                c_now = (noise_c * 2).long()  # (event,)
                c[:, t] = c_now
            else:
                theta_at = theta[c[:, t - 1]]  # (event, 2)
                c_now = torch.distributions.Categorical(probs=theta_at).sample()  # (event,)
                c[:, t] = c_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (event, t)
        c_padded = torch.where(inside_t, c, 0)  # (event, t)
        phi_at = pick_last(phi, c)  # (event, t)
        u = decide(torch.distributions.Exponential(rate=phi_at).expand((n, t_size)), rule, False)  # (event, t)
        u_padded = up_to_the_ends(u, inside_t)  # (event, t)
        lambda_at = pick_last(lambda_, c)  # (event, t)
        v = decide(torch.distributions.Exponential(rate=lambda_at).expand((n, t_size)), rule, False)  # (event, t)
        v_padded = up_to_the_ends(v, inside_t)  # (event, t)
        return {
            "phi": phi, "lambda": lambda_, "theta": theta, "c": c_padded, "u": u_padded, "v": v_padded, "u_len": lengths["t"]
        }

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("t",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"u": "number", "v": "number"}
        return predictive(lambda by: self.generate(rows, batch, {"t": batch["u_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
