"""Iohmm: emitted by vispec from iohmm.vispec; imports torch and the standard library.

    log_prob: exact

    chain_c = chain of c along t (one forward pass) of log_c, log_x

    u  data; given by the data
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
# backward: first_derivative
# constraints: in_domain
# distinct: distinct
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
# sums.chain: chain_log_prob_of_tokens
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
# sums.lookup: cells
# sums.lookup: columns
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


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


class Start(nn.Module):
    """(u: token[WORD]) → simplex[K]: embed(64) |> mlp([])."""

    def __init__(self, K: int, WORD: int):
        super().__init__()
        self.embed = nn.Embedding(WORD, 64)
        self.out = nn.Linear(64, K)

    def features(self, u: Tensor) -> Tensor:
        """u (*B) → (*B, 64)."""
        return self.embed(u)

    def forward(self, u: Tensor) -> Tensor:
        """(*B, K) unnormalised log-probabilities."""
        return self.out(self.features(u))


class Move(nn.Module):
    """(c: category[K], u: real[K]) → simplex[K]: mlp([64])."""

    def __init__(self, K: int):
        super().__init__()
        self.from_c = OneHotLinear(K, 64)
        self.from_u = nn.Linear(K, 64)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(64, K)

    def features(self, c: Tensor, u: Tensor) -> Tensor:
        """c (*B), u (*B, K) → (*B, 64)."""
        return self.mlp(self.from_c(c) + self.from_u(u))

    def forward(self, c: Tensor, u: Tensor) -> Tensor:
        """(*B, K) unnormalised log-probabilities."""
        return self.out(self.features(c, u))


class Read(nn.Module):
    """(u: token[WORD]) → real[K]: embed(64) |> mlp([])."""

    def __init__(self, K: int, WORD: int):
        super().__init__()
        self.embed = nn.Embedding(WORD, 64)
        self.out = nn.Linear(64, K)

    def features(self, u: Tensor) -> Tensor:
        """u (*B) → (*B, 64)."""
        return self.embed(u)

    def forward(self, u: Tensor) -> Tensor:
        """(*B, K)."""
        return self.out(self.features(u))


class Iohmm(nn.Module):
    """Batch: u (sentence, t) token[WORD]; x (sentence, t) token[TAG]; u_len (sentence)."""

    exact = True
    estimator = "exact"
    sums = ("chain_c = chain of c along t (one forward pass) of log_c, log_x, tilt_c",)

    def __init__(self, WORD: int, TAG: int, K: int = 24):
        super().__init__()
        self.K = K
        self.TAG = TAG
        self.raw_emit = nn.Parameter(torch.randn(K, TAG) * 0.1)  # (k, TAG)
        self.start = Start(K, WORD)
        self.move = Move(K)
        self.read = Read(K, WORD)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def emit(self) -> Tensor:
        """simplex[TAG], one for each element of k."""
        return self.raw_emit.softmax(-1)

    @emit.setter
    def emit(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_emit.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        u = batch["u"]  # (sentence, t)
        u_words, u_row = distinct(u)  # (distinct,), (sentence, t)
        h = self.read(u_words)  # (distinct, K)
        h_2 = cells(h, u_row)  # (sentence, t, K)
        at_c = torch.arange(self.K, device=self.one.device)  # (c',)
        move_raw = self.move(at_c, h_2[:, :, None])  # (sentence, t, c', K)
        log_move = move_raw.log_softmax(-1)  # (sentence, t, c', K)
        value = log_move[:, 1:]  # (sentence, t, c', c)
        start_raw = self.start(u_words)  # (distinct, K)
        log_start = start_raw.log_softmax(-1)  # (distinct, K)
        log_start_at = cells(log_start, u_row)  # (sentence, t, K)
        log_start_at_2 = log_start_at[:, 0]  # (sentence, c)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, TAG)
        x = batch["x"]  # (sentence, t)
        u_len = batch["u_len"]  # (sentence,)
        return chain_log_prob_of_tokens(log_start_at_2, value, log_emit, x, u_len)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        u = batch["u"]  # (sentence, t)
        u_words, u_row = distinct(u)  # (distinct,), (sentence, t)
        h = self.read(u_words)  # (distinct, K)
        h_2 = cells(h, u_row)  # (sentence, t, K)
        at_c = torch.arange(self.K, device=self.one.device)  # (c',)
        move_raw = self.move(at_c, h_2[:, :, None])  # (sentence, t, c', K)
        log_move = move_raw.log_softmax(-1)  # (sentence, t, c', K)
        value = log_move[:, 1:]  # (sentence, t, c', c)
        start_raw = self.start(u_words)  # (distinct, K)
        log_start = start_raw.log_softmax(-1)  # (distinct, K)
        log_start_at = cells(log_start, u_row)  # (sentence, t, K)
        log_start_at_2 = log_start_at[:, 0]  # (sentence, c)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, TAG)
        x = batch["x"]  # (sentence, t)
        log_x = columns(log_emit, x)  # (sentence, t, c)
        u_len = batch["u_len"]  # (sentence,)
        return chain_total(total, log_start_at_2, value, log_x + tilt["c"], u_len)  # (sentence,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        u = batch["u"]  # (sentence, t)
        u_words, u_row = distinct(u)  # (distinct,), (sentence, t)
        h = self.read(u_words)  # (distinct, K)
        h_2 = cells(h, u_row)  # (sentence, t, K)
        at_c = torch.arange(self.K, device=self.one.device)  # (c',)
        move_raw = self.move(at_c, h_2[:, :, None])  # (sentence, t, c', K)
        log_move = move_raw.log_softmax(-1)  # (sentence, t, c', K)
        total = log_move + tilt["c"]  # (sentence, t, c', c)
        value = total[:, 1:]  # (sentence, t, c', c)
        start_raw = self.start(u_words)  # (distinct, K)
        log_start = start_raw.log_softmax(-1)  # (distinct, K)
        log_start_at = cells(log_start, u_row)  # (sentence, t, K)
        log_start_at_2 = log_start_at[:, 0]  # (sentence, c)
        c_at = tilt["c"][:, 0, 0]  # (sentence, c)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, TAG)
        x = batch["x"]  # (sentence, t)
        u_len = batch["u_len"]  # (sentence,)
        return chain_log_prob_of_tokens(log_start_at_2 + c_at, value, log_emit, x, u_len)  # (sentence,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        u = batch["u"]  # (sentence, t)
        return {"c": self.one.new_zeros(u.shape[0], u.shape[1], self.K, self.K)}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        u_len = batch["u_len"]  # (sentence,)
        u = batch["u"]  # (sentence, t)
        value = self.one.new_zeros(u_len.shape[0], u.shape[1], self.K)  # (sentence, t, c)
        inside_t = torch.arange(u.shape[1], device=self.one.device) < u_len[:, None]  # (sentence, t)
        return {"c": value}, {"c": inside_t}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        c: index[k], (sentence, t).
        """
        batch = with_room(batch)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"c": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Latents that the batch does not show are guessed."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, t)
        c = torch.randint(self.K, (x.shape[0], x.shape[1]), device=self.one.device)  # (sentence, t)
        u_len = batch["u_len"]  # (sentence,)
        inside_t = torch.arange(x.shape[1], device=self.one.device) < u_len[:, None]  # (sentence, t)
        emit = by_group_among(categorical_start, x, 2, (c,), (self.emit,), self.TAG, inside=inside_t)[0]  # (k, TAG)
        self.emit = emit
        self.raw_emit += torch.randn_like(self.raw_emit)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        u = batch["u"]  # (sentence, t)
        u_at = u[:, 0]  # (sentence,)
        symbol_words, symbol_row = distinct(u_at)  # (distinct,), (sentence,)
        start_raw = self.start(symbol_words)  # (distinct, K)
        start_prob = start_raw.softmax(-1)  # (distinct, K)
        start_prob_at = start_prob[symbol_row]  # (sentence, K)
        u_words, u_row = distinct(u)  # (distinct,), (sentence, t)
        h = self.read(u_words)  # (distinct, K)
        h_2 = h[u_row]  # (sentence, t, K)
        c = self.one.new_zeros(n, u.shape[1], dtype=torch.long)  # (sentence, t)
        for t in range(u.shape[1]):
            if t == 0:
                c_now = torch.distributions.Categorical(probs=start_prob_at).sample()  # (sentence,)
                c[:, t] = c_now
            else:
                h_at = h_2[:, t]  # (sentence, K)
                move = self.move(c[:, t - 1], h_at)  # (sentence, K)
                c_now = torch.distributions.Categorical(logits=move).sample()  # (sentence,)
                c[:, t] = c_now
        u_len = batch["u_len"]  # (sentence,)
        inside_t = torch.arange(u.shape[1], device=self.one.device) < u_len[:, None]  # (sentence, t)
        c_padded = torch.where(inside_t, c, 0)  # (sentence, t)
        emit = self.raw_emit.softmax(-1)  # (k, TAG)
        emit_at = emit[c]  # (sentence, t, TAG)
        x = decide(torch.distributions.Categorical(probs=emit_at).expand((n, u.shape[1])), rule, False)  # (sentence, t)
        x_padded = up_to_the_ends(x, inside_t)  # (sentence, t)
        return {"u": u, "c": c_padded, "x": x_padded, "u_len": u_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds u.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["u"]), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
