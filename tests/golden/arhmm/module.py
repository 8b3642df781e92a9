"""Arhmm: emitted by vispec from arhmm.vispec; imports torch and the standard library.

    log_prob: exact

    chain_c = chain of c along t (one forward pass) of log_c, log_x

    c  chain, summed; discrete; a first-order chain along t: one forward pass
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
# layers.dense: OneHotLinear
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
# sums.lookup: steps_back
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


class First(nn.Module):
    """(c: category[K]) → unit[88]: embed(64) |> mlp([64])."""

    def __init__(self, K: int):
        super().__init__()
        self.embed = nn.Embedding(K, 64)
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 88)

    def features(self, c: Tensor) -> Tensor:
        """c (*B) → (*B, 64)."""
        return self.mlp(self.embed(c))

    def forward(self, c: Tensor) -> Tensor:
        """(*B, 88) log-odds."""
        return self.out(self.features(c))


class Emit(nn.Module):
    """(c: category[K], past: bit[88]) → unit[88]: mlp([64])."""

    def __init__(self, K: int):
        super().__init__()
        self.from_c = OneHotLinear(K, 64)
        self.from_past = nn.Linear(88, 64)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(64, 88)

    def features(self, c: Tensor, past: Tensor) -> Tensor:
        """c (*B), past (*B, 88) → (*B, 64)."""
        return self.mlp(self.from_c(c) + self.from_past(past))

    def forward(self, c: Tensor, past: Tensor) -> Tensor:
        """(*B, 88) log-odds."""
        return self.out(self.features(c, past))


class Arhmm(nn.Module):
    """Batch: x (chorale, t, 88) bit[88]; x_len (chorale)."""

    exact = True
    estimator = "exact"
    sums = ("chain_c = chain of c along t (one forward pass) of log_c, log_x, tilt_c",)

    def __init__(self, K: int = 16):
        super().__init__()
        self.K = K
        self.raw_init = nn.Parameter(torch.zeros(K))  # (K)
        self.raw_trans = nn.Parameter(torch.randn(K, K) * 0.1)  # (k, K)
        self.first = First(K)
        self.emit = Emit(K)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def init(self) -> Tensor:
        """simplex[K]."""
        return self.raw_init.softmax(-1)

    @init.setter
    def init(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_init.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def trans(self) -> Tensor:
        """simplex[K], one for each element of k."""
        return self.raw_trans.softmax(-1)

    @trans.setter
    def trans(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_trans.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (chorale,), exact, in nats."""
        batch = with_room(batch)
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        first = self.first(at_c)  # (c, 88)
        x_const = F.logsigmoid(-first).sum(-1)  # (c,)
        x = batch["x"]  # (chorale, t, 88)
        log_x = F.linear(x, first, x_const)  # (chorale, t, c)
        x_before = steps_back(x, 1, dim=1, fill=0.0)  # (chorale, t, 88)
        emit = self.emit(at_c, x_before[:, :, None])  # (chorale, t, c, 88)
        sum_88 = -F.binary_cross_entropy_with_logits(
            emit, x[:, :, None].expand_as(emit), reduction="none"
        ).sum(-1)  # (chorale, t, c)
        test = torch.arange(x.shape[1], device=self.one.device) == 0  # (t,)
        log_x_2 = torch.where(test[:, None], log_x, sum_88)  # (chorale, t, c)
        log_init = self.raw_init.log_softmax(-1)  # (K,)
        log_trans = self.raw_trans.log_softmax(-1)  # (c', K)
        x_len = batch["x_len"]  # (chorale,)
        return chain_log_prob(log_init, log_trans, log_x_2, x_len)  # (chorale,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        first = self.first(at_c)  # (c, 88)
        x_const = F.logsigmoid(-first).sum(-1)  # (c,)
        x = batch["x"]  # (chorale, t, 88)
        log_x = F.linear(x, first, x_const)  # (chorale, t, c)
        x_before = steps_back(x, 1, dim=1, fill=0.0)  # (chorale, t, 88)
        emit = self.emit(at_c, x_before[:, :, None])  # (chorale, t, c, 88)
        sum_88 = -F.binary_cross_entropy_with_logits(
            emit, x[:, :, None].expand_as(emit), reduction="none"
        ).sum(-1)  # (chorale, t, c)
        test = torch.arange(x.shape[1], device=self.one.device) == 0  # (t,)
        log_x_2 = torch.where(test[:, None], log_x, sum_88)  # (chorale, t, c)
        log_init = self.raw_init.log_softmax(-1)  # (K,)
        log_trans = self.raw_trans.log_softmax(-1)  # (c', K)
        x_len = batch["x_len"]  # (chorale,)
        return chain_total(total, log_init, log_trans, log_x_2 + tilt["c"], x_len)  # (chorale,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        first = self.first(at_c)  # (c, 88)
        x_const = F.logsigmoid(-first).sum(-1)  # (c,)
        x = batch["x"]  # (chorale, t, 88)
        log_x = F.linear(x, first, x_const)  # (chorale, t, c)
        x_before = steps_back(x, 1, dim=1, fill=0.0)  # (chorale, t, 88)
        emit = self.emit(at_c, x_before[:, :, None])  # (chorale, t, c, 88)
        sum_88 = -F.binary_cross_entropy_with_logits(
            emit, x[:, :, None].expand_as(emit), reduction="none"
        ).sum(-1)  # (chorale, t, c)
        test = torch.arange(x.shape[1], device=self.one.device) == 0  # (t,)
        log_x_2 = torch.where(test[:, None], log_x, sum_88)  # (chorale, t, c)
        log_trans = self.raw_trans.log_softmax(-1)  # (c', K)
        total = log_trans + tilt["c"]  # (chorale, t, c', c)
        value = total[:, 1:]  # (chorale, t, c', c)
        log_init = self.raw_init.log_softmax(-1)  # (K,)
        c_at = tilt["c"][:, 0, 0]  # (chorale, c)
        x_len = batch["x_len"]  # (chorale,)
        return chain_log_prob(log_init + c_at, value, log_x_2, x_len)  # (chorale,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        x = batch["x"]  # (chorale, t, 88)
        return {"c": self.one.new_zeros(x.shape[0], x.shape[1], self.K, self.K)}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (chorale,)
        x = batch["x"]  # (chorale, t, 88)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], self.K)  # (chorale, t, c)
        inside_t = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (chorale, t)
        return {"c": value}, {"c": inside_t}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        c: index[k], (chorale, t).
        """
        batch = with_room(batch)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"c": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        t_size = max(int(lengths["t"].max()), 1)
        trans = self.raw_trans.softmax(-1)  # (k, K)
        c = self.one.new_zeros(n, t_size, dtype=torch.long)  # (chorale, t)
        for t in range(t_size):
            if t == 0:
                c_now = torch.distributions.Categorical(logits=self.raw_init).expand((n,)).sample()  # (chorale,)
                c[:, t] = c_now
            else:
                trans_at = trans[c[:, t - 1]]  # (chorale, K)
                c_now = torch.distributions.Categorical(probs=trans_at).sample()  # (chorale,)
                c[:, t] = c_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (chorale, t)
        c_padded = torch.where(inside_t, c, 0)  # (chorale, t)
        c_at = c[:, 0]  # (chorale,)
        first = self.first(c_at)  # (chorale, 88)
        x = self.one.new_zeros(n, t_size, 88)  # (chorale, t, 88)
        for t_2 in range(t_size):
            if t_2 == 0:
                x_now = decide(torch.distributions.Bernoulli(logits=first).expand((n, 88)), rule, True)  # (chorale, 88)
                x[:, t_2] = x_now
            else:
                c_at_2 = c[:, t_2]  # (chorale,)
                emit = self.emit(c_at_2, x[:, t_2 - 1])  # (chorale, 88)
                x_now = decide(torch.distributions.Bernoulli(logits=emit).expand((n, 88)), rule, True)  # (chorale, 88)
                x[:, t_2] = x_now
        x_padded = up_to_the_ends(x, inside_t)  # (chorale, t, 88)
        return {"c": c_padded, "x": x_padded, "x_len": lengths["t"]}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "draw"}
        return predictive(lambda by: self.generate(rows, batch, {"t": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
