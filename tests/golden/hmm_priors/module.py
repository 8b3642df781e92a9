"""HmmPriors: emitted by vispec from hmm_priors.vispec; imports torch and the standard library.

    log_prob: exact

    chain_c = chain of c along t (one forward pass) of log_c, log_x

    mu     map(); a point estimate
    trans  map(); a point estimate
    c      chain, summed; discrete; a first-order chain along t: one forward pass
    x      data; scored at the data
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
# backward: first_derivative
# constraints: in_domain
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
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob


def dirichlet_log_prob(value: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log Dirichlet(value; concentration) (*B) for value (*B, K) and concentration (*B, K) or ()."""
    concentration = concentration.expand(*concentration.shape[:-1], value.shape[-1]).double()
    log_norm = torch.lgamma(concentration).sum(-1) - torch.lgamma(concentration.sum(-1))
    return (torch.xlogy(concentration - 1, value.double()).sum(-1) - log_norm).to(value.dtype)


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


class HmmPriors(nn.Module):
    """Batch: x (sequence, t) real; x_len (sequence)."""

    exact = True
    estimator = "exact"
    sums = ("chain_c = chain of c along t (one forward pass) of log_c, log_x, tilt_c",)

    def __init__(self):
        super().__init__()
        self.mu_point = nn.Parameter(torch.randn(2))  # (k)
        self.raw_trans_point = nn.Parameter(torch.randn(2, 2) * 0.1)  # (k, 2)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def trans_point(self) -> Tensor:
        """simplex[2], one for each element of k."""
        return self.raw_trans_point.softmax(-1)

    @trans_point.setter
    def trans_point(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_trans_point.copy_(in_domain(raw, raw.softmax(-1), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """log p of each row (sequence,), exact, in nats."""
        batch = with_room(batch)
        mu, trans, _ = self.shared() if shared is None else shared
        x = batch["x"]  # (sequence, t)
        log_x = normal_log_prob(x[:, :, None], mu, self.one * 1.0)  # (sequence, t, c)
        x_len = batch["x_len"]  # (sequence,)
        return chain_log_prob(
            (self.one * -0.6931471805599453).expand(2), log_of(trans), log_x, x_len
        )  # (sequence,); 0.6931471805599453 = log 2

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """mu (k); trans (k, 2); log p − log q of all that rows share."""
        trans_point = self.raw_trans_point.softmax(-1)  # (k, 2)
        total = 7 * torch.arange(2, device=self.one.device) + 3  # (k,)
        total_2 = total.to(self.one.dtype)  # (k,)
        log_p_mu_over_k = normal_vector_log_prob(self.mu_point, total_2, self.one * 1.0)
        log_p_trans = dirichlet_log_prob(trans_point, (self.one * 1).expand(2))  # (k,)
        log_ratio = log_p_mu_over_k + log_p_trans.sum(-1)
        return self.mu_point, trans_point, log_ratio

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        mu, trans, _ = self.shared()
        x = batch["x"]  # (sequence, t)
        log_x = normal_log_prob(x[:, :, None], mu, self.one * 1.0)  # (sequence, t, c)
        total_ = log_x + tilt["c"]  # (sequence, t, c)
        log_trans = log_of(trans)  # (c', c)
        x_len = batch["x_len"]  # (sequence,)
        chain = chain_total(
            total, (self.one * -0.6931471805599453).expand(2), log_trans, total_, x_len
        )  # (sequence,); 0.6931471805599453 = log 2
        return chain  # (sequence,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        mu, trans, _ = self.shared()
        total = log_of(trans) + tilt["c"]  # (sequence, t, c', c)
        value = total[:, 1:]  # (sequence, t, c', c)
        c_at = tilt["c"][:, 0, 0]  # (sequence, c)
        total_2 = c_at - 0.6931471805599453  # (sequence, c); 0.6931471805599453 = log 2
        x = batch["x"]  # (sequence, t)
        log_x = normal_log_prob(x[:, :, None], mu, self.one * 1.0)  # (sequence, t, c)
        x_len = batch["x_len"]  # (sequence,)
        return chain_log_prob(total_2, value, log_x, x_len)  # (sequence,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        x = batch["x"]  # (sequence, t)
        return {"c": self.one.new_zeros(x.shape[0], x.shape[1], 2, 2)}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (sequence,)
        x = batch["x"]  # (sequence, t)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], 2)  # (sequence, t, c)
        inside_t = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sequence, t)
        return {"c": value}, {"c": inside_t}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        c: index[k], (sequence, t).
        """
        batch = with_room(batch)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"c": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        mu, trans, _ = self.shared()
        t_size = max(int(lengths["t"].max()), 1)
        c = self.one.new_zeros(n, t_size, dtype=torch.long)  # (sequence, t)
        for t in range(t_size):
            if t == 0:
                noise_c = self.one.new_empty(n).uniform_()  # (sequence,)
                c_now = (noise_c * 2).long()  # (sequence,)
                c[:, t] = c_now
            else:
                trans_at = trans[c[:, t - 1]]  # (sequence, 2)
                c_now = torch.distributions.Categorical(probs=trans_at).sample()  # (sequence,)
                c[:, t] = c_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (sequence, t)
        c_padded = torch.where(inside_t, c, 0)  # (sequence, t)
        mu_at = pick_last(mu, c)  # (sequence, t)
        x = decide(torch.distributions.Normal(loc=mu_at, scale=self.one * 1).expand((n, t_size)), rule, False)  # (sequence, t)
        x_padded = up_to_the_ends(x, inside_t)  # (sequence, t)
        return {"mu": mu, "trans": trans, "c": c_padded, "x": x_padded, "x_len": lengths["t"]}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {"t": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
