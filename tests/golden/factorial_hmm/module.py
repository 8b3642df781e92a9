"""FactorialHmm: emitted by vispec from factorial_hmm.vispec; imports torch and the standard library.

    log_prob: exact

    chain_h_m = chain of h, m along t (one forward pass) of log_h, log_m, log_x

    h  chain, summed; discrete; a first-order chain along t of h, m together: one forward pass
    m  chain, summed; discrete; a first-order chain along t of h, m together: one forward pass
    x  data; scored at the data
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
# probability: LogOfRest
# probability: log_of
# probability: log_of_rest
# rows: up_to_the_ends
# rows: with_room
# starts: by_group
# starts: by_group_among
# starts: kept
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


def bernoulli_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Share of ones among elements (N, *event), with one more of either kind."""
    return ((value.sum(0) + 1) / (len(value) + 2),)


class FactorialHmm(nn.Module):
    """Batch: x (chorale, t, 88) bit[88]; x_len (chorale)."""

    exact = True
    estimator = "exact"
    sums = ("chain_h_m = chain of h, m along t (one forward pass) of log_h, log_m, log_x, tilt_h, tilt_m",)

    def __init__(self, K: int = 12, L: int = 6):
        super().__init__()
        self.K = K
        self.L = L
        self.base = nn.Parameter(torch.zeros(88))  # (88)
        self.raw_harmony_init = nn.Parameter(torch.zeros(K))  # (K)
        self.raw_metre_init = nn.Parameter(torch.zeros(L))  # (L)
        self.raw_harmony_trans = nn.Parameter(torch.randn(K, K) * 0.1)  # (k, K)
        self.harmony_keys = nn.Parameter(torch.randn(K, 88))  # (k, 88)
        self.raw_metre_trans = nn.Parameter(torch.randn(L, L) * 0.1)  # (l, L)
        self.metre_keys = nn.Parameter(torch.randn(L, 88))  # (l, 88)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def harmony_init(self) -> Tensor:
        """simplex[K]."""
        return self.raw_harmony_init.softmax(-1)

    @harmony_init.setter
    def harmony_init(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_harmony_init.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def metre_init(self) -> Tensor:
        """simplex[L]."""
        return self.raw_metre_init.softmax(-1)

    @metre_init.setter
    def metre_init(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_metre_init.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def harmony_trans(self) -> Tensor:
        """simplex[K], one for each element of k."""
        return self.raw_harmony_trans.softmax(-1)

    @harmony_trans.setter
    def harmony_trans(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_harmony_trans.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def metre_trans(self) -> Tensor:
        """simplex[L], one for each element of l."""
        return self.raw_metre_trans.softmax(-1)

    @metre_trans.setter
    def metre_trans(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_metre_trans.copy_(in_domain(raw, raw.softmax(-1), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (chorale,), exact, in nats."""
        batch = with_room(batch)
        total = self.base + self.harmony_keys[:, None] + self.metre_keys  # (h, m, 88)
        total_2 = total.flatten(0, 1)  # (h_m, 88)
        sum_88 = F.logsigmoid(-total_2).sum(-1)  # (h_m,)
        x = batch["x"]  # (chorale, t, 88)
        total_3 = F.linear(x, total_2, sum_88)  # (chorale, t, h_m)
        log_harmony_trans = self.raw_harmony_trans.log_softmax(-1)  # (h', K)
        log_metre_trans = self.raw_metre_trans.log_softmax(-1)  # (m', L)
        log_joint = log_harmony_trans[:, :, None, None] + log_metre_trans  # (h', h, m', m)
        log_joint_2 = log_joint.permute(1, 3, 0, 2).flatten(-2)  # (h, m, h'_m')
        log_joint_3 = log_joint_2.flatten(0, 1)  # (h_m, h'_m')
        log_harmony_init = self.raw_harmony_init.log_softmax(-1)  # (K,)
        log_metre_init = self.raw_metre_init.log_softmax(-1)  # (L,)
        log_joint_4 = log_harmony_init[:, None] + log_metre_init  # (h, m)
        log_joint_5 = log_joint_4.flatten(-2)  # (h_m,)
        x_len = batch["x_len"]  # (chorale,)
        return chain_log_prob(log_joint_5, log_joint_3.T, total_3, x_len)  # (chorale,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        total_ = self.base + self.harmony_keys[:, None] + self.metre_keys  # (h, m, 88)
        x_const = F.logsigmoid(-total_).sum(-1)  # (h, m)
        x = batch["x"]  # (chorale, t, 88)
        product = torch.einsum("cta,hma->cthm", x, total_)  # (chorale, t, h, m)
        total_2 = product + x_const + tilt["h"][:, :, :, None] + tilt["m"][:, :, None]  # (chorale, t, h, m)
        total_3 = total_2.flatten(-2)  # (chorale, t, h_m)
        log_harmony_trans = self.raw_harmony_trans.log_softmax(-1)  # (h', K)
        log_metre_trans = self.raw_metre_trans.log_softmax(-1)  # (m', L)
        log_joint = log_harmony_trans[:, :, None, None] + log_metre_trans  # (h', h, m', m)
        log_joint_2 = log_joint.permute(1, 3, 0, 2).flatten(-2)  # (h, m, h'_m')
        log_joint_3 = log_joint_2.flatten(0, 1)  # (h_m, h'_m')
        log_harmony_init = self.raw_harmony_init.log_softmax(-1)  # (K,)
        log_metre_init = self.raw_metre_init.log_softmax(-1)  # (L,)
        log_joint_4 = log_harmony_init[:, None] + log_metre_init  # (h, m)
        log_joint_5 = log_joint_4.flatten(-2)  # (h_m,)
        x_len = batch["x_len"]  # (chorale,)
        return chain_total(total, log_joint_5, log_joint_3.T, total_3, x_len)  # (chorale,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        log_harmony_trans = self.raw_harmony_trans.log_softmax(-1)  # (h', K)
        log_metre_trans = self.raw_metre_trans.log_softmax(-1)  # (m', L)
        log_joint = (
            log_harmony_trans[:, :, None, None]
            + log_metre_trans
            + tilt["h"][:, :, :, :, None, None]
            + tilt["m"][:, :, None, None]
        )  # (chorale, t, h', h, m', m)
        log_joint_2 = log_joint.permute(0, 1, 3, 5, 2, 4).flatten(-2)  # (chorale, t, h, m, h'_m')
        log_joint_3 = log_joint_2.flatten(2, 3)  # (chorale, t, h_m, h'_m')
        value = log_joint_3[:, 1:]  # (chorale, t, h_m, h'_m')
        total = self.base + self.harmony_keys[:, None] + self.metre_keys  # (h, m, 88)
        total_2 = total.flatten(0, 1)  # (h_m, 88)
        sum_88 = F.logsigmoid(-total_2).sum(-1)  # (h_m,)
        x = batch["x"]  # (chorale, t, 88)
        total_3 = F.linear(x, total_2, sum_88)  # (chorale, t, h_m)
        log_harmony_init = self.raw_harmony_init.log_softmax(-1)  # (K,)
        log_metre_init = self.raw_metre_init.log_softmax(-1)  # (L,)
        h_at = tilt["h"][:, 0, 0]  # (chorale, h)
        m_at = tilt["m"][:, 0, 0]  # (chorale, m)
        log_joint_4 = log_harmony_init[:, None] + log_metre_init + h_at[:, :, None] + m_at[:, None]  # (chorale, h, m)
        log_joint_5 = log_joint_4.flatten(-2)  # (chorale, h_m)
        x_len = batch["x_len"]  # (chorale,)
        return chain_log_prob(log_joint_5, value.transpose(-2, -1), total_3, x_len)  # (chorale,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        x = batch["x"]  # (chorale, t, 88)
        value = self.one.new_zeros(x.shape[0], x.shape[1], self.K, self.K)  # (chorale, t, h', h)
        value_2 = self.one.new_zeros(x.shape[0], x.shape[1], self.L, self.L)  # (chorale, t, m', m)
        return {"h": value, "m": value_2}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (chorale,)
        x = batch["x"]  # (chorale, t, 88)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], self.K)  # (chorale, t, h)
        value_2 = self.one.new_zeros(x_len.shape[0], x.shape[1], self.L)  # (chorale, t, m)
        inside_t = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (chorale, t)
        return {"h": value, "m": value_2}, {"h": inside_t, "m": inside_t}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        h: index[k], (chorale, t).
        m: index[l], (chorale, t).
        """
        batch = with_room(batch)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"h": 1, "m": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        batch = with_room(batch)
        x = batch["x"]  # (chorale, t, 88)
        x_len = batch["x_len"]  # (chorale,)
        inside_t = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (chorale, t)
        base_prob = self.base.sigmoid()  # (88,)
        Bernoulli = by_group_among(bernoulli_start, x, 2, (), (base_prob,), inside=inside_t)[0]  # (88,)
        log1p_Bernoulli = log_of_rest(Bernoulli)  # (88,)
        self.base[...] = log_of(Bernoulli) - log1p_Bernoulli

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        t_size = max(int(lengths["t"].max()), 1)
        harmony_trans = self.raw_harmony_trans.softmax(-1)  # (k, K)
        h = self.one.new_zeros(n, t_size, dtype=torch.long)  # (chorale, t)
        for t in range(t_size):
            if t == 0:
                h_now = torch.distributions.Categorical(logits=self.raw_harmony_init).expand((n,)).sample()  # (chorale,)
                h[:, t] = h_now
            else:
                harmony_trans_at = harmony_trans[h[:, t - 1]]  # (chorale, K)
                h_now = torch.distributions.Categorical(probs=harmony_trans_at).sample()  # (chorale,)
                h[:, t] = h_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (chorale, t)
        h_padded = torch.where(inside_t, h, 0)  # (chorale, t)
        metre_trans = self.raw_metre_trans.softmax(-1)  # (l, L)
        m = self.one.new_zeros(n, t_size, dtype=torch.long)  # (chorale, t)
        for t_2 in range(t_size):
            if t_2 == 0:
                m_now = torch.distributions.Categorical(logits=self.raw_metre_init).expand((n,)).sample()  # (chorale,)
                m[:, t_2] = m_now
            else:
                metre_trans_at = metre_trans[m[:, t_2 - 1]]  # (chorale, L)
                m_now = torch.distributions.Categorical(probs=metre_trans_at).sample()  # (chorale,)
                m[:, t_2] = m_now
        m_padded = torch.where(inside_t, m, 0)  # (chorale, t)
        harmony_keys_at = self.harmony_keys[h]  # (chorale, t, 88)
        metre_keys_at = self.metre_keys[m]  # (chorale, t, 88)
        total = self.base + harmony_keys_at + metre_keys_at  # (chorale, t, 88)
        x = decide(torch.distributions.Bernoulli(logits=total).expand((n, t_size, 88)), rule, False)  # (chorale, t, 88)
        x_padded = up_to_the_ends(x, inside_t)  # (chorale, t, 88)
        return {"h": h_padded, "m": m_padded, "x": x_padded, "x_len": lengths["t"]}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "bit"}
        return predictive(lambda by: self.generate(rows, batch, {"t": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
