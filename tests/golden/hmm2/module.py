"""Hmm2: emitted by vispec from hmm2.vispec; imports torch and the standard library.

    log_prob: exact

    second_order_chain_c = second_order_chain of c along t (one forward pass over pairs) of log_c, log_x

    c  chain, summed; discrete; a second-order chain along t: one forward pass over pairs
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
# sums.lookup: columns
# sums.pairs: by_length
# sums.pairs: over_pairs
# sums.pairs: second_order_log_prob
# sums.pairs: second_order_total
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


class Hmm2(nn.Module):
    """Batch: x (word, t) token[CHAR]; x_len (word)."""

    exact = True
    estimator = "exact"
    sums = ("second_order_chain_c = second_order_chain of c along t (one forward pass over pairs) of log_c, log_x, tilt_c",)

    def __init__(self, CHAR: int, K: int = 8):
        super().__init__()
        self.K = K
        self.CHAR = CHAR
        self.raw_init = nn.Parameter(torch.zeros(K))  # (K)
        self.raw_second = nn.Parameter(torch.randn(K, K) * 0.1)  # (k, K)
        self.raw_emit = nn.Parameter(torch.randn(K, CHAR) * 0.1)  # (k, CHAR)
        self.raw_trans = nn.Parameter(torch.randn(K, K, K) * 0.1)  # (k, before, K)
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
    def second(self) -> Tensor:
        """simplex[K], one for each element of k."""
        return self.raw_second.softmax(-1)

    @second.setter
    def second(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_second.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def emit(self) -> Tensor:
        """simplex[CHAR], one for each element of k."""
        return self.raw_emit.softmax(-1)

    @emit.setter
    def emit(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_emit.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def trans(self) -> Tensor:
        """simplex[K], one for each element of k, before."""
        return self.raw_trans.softmax(-1)

    @trans.setter
    def trans(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_trans.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (word,), exact, in nats."""
        batch = with_room(batch)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, CHAR)
        x = batch["x"]  # (word, t)
        log_x = columns(log_emit, x)  # (word, t, c)
        log_init = self.raw_init.log_softmax(-1)  # (K,)
        log_second = self.raw_second.log_softmax(-1)  # (c', K)
        log_trans = self.raw_trans.log_softmax(-1)  # (c', c'', K)
        x_len = batch["x_len"]  # (word,)
        return second_order_log_prob(log_init, log_second, log_trans.transpose(0, 1), log_x, x_len)  # (word,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, CHAR)
        x = batch["x"]  # (word, t)
        log_x = columns(log_emit, x)  # (word, t, c)
        total_ = log_x + tilt["c"]  # (word, t, c)
        log_init = self.raw_init.log_softmax(-1)  # (K,)
        log_second = self.raw_second.log_softmax(-1)  # (c', K)
        log_trans = self.raw_trans.log_softmax(-1)  # (c', c'', K)
        x_len = batch["x_len"]  # (word,)
        second = second_order_total(total, log_init, log_second, log_trans.transpose(0, 1), total_, x_len)  # (word,)
        return second  # (word,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        x = batch["x"]  # (word, t)
        c_at = tilt["c"][:, min(1, x.shape[1] - 1)]  # (word, c', c)
        log_second = self.raw_second.log_softmax(-1)  # (c', K)
        log_trans = self.raw_trans.log_softmax(-1)  # (c', c'', K)
        total = log_trans + tilt["c"][:, :, :, None]  # (word, t, c', c'', c)
        value = total[:, 2:]  # (word, t, c', c'', c)
        log_init = self.raw_init.log_softmax(-1)  # (K,)
        c_at_2 = tilt["c"][:, 0, 0]  # (word, c)
        total_2 = log_init + c_at_2  # (word, c)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, CHAR)
        log_x = columns(log_emit, x)  # (word, t, c)
        x_len = batch["x_len"]  # (word,)
        second = second_order_log_prob(total_2, log_second + c_at, value.transpose(2, 3), log_x, x_len)  # (word,)
        return second  # (word,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        x = batch["x"]  # (word, t)
        return {"c": self.one.new_zeros(x.shape[0], x.shape[1], self.K, self.K)}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (word,)
        x = batch["x"]  # (word, t)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], self.K)  # (word, t, c)
        inside_t = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (word, t)
        return {"c": value}, {"c": inside_t}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        c: category[K], (word, t).
        """
        batch = with_room(batch)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"c": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Latents that the batch does not show are guessed."""
        batch = with_room(batch)
        x = batch["x"]  # (word, t)
        c = torch.randint(self.K, (x.shape[0], x.shape[1]), device=self.one.device)  # (word, t)
        x_len = batch["x_len"]  # (word,)
        inside_t = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (word, t)
        emit = by_group_among(categorical_start, x, 2, (c,), (self.emit,), self.CHAR, inside=inside_t)[0]  # (k, CHAR)
        self.emit = emit
        self.raw_emit += torch.randn_like(self.raw_emit)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        t_size = max(int(lengths["t"].max()), 1)
        second = self.raw_second.softmax(-1)  # (k, K)
        c = self.one.new_zeros(n, t_size, dtype=torch.long)  # (word, t)
        for t in range(t_size):
            if t == 0:
                c_now = torch.distributions.Categorical(logits=self.raw_init).expand((n,)).sample()  # (word,)
                c[:, t] = c_now
            elif t == 1:
                second_at = second[c[:, t - 1]]  # (word, K)
                c_now = torch.distributions.Categorical(probs=second_at).sample()  # (word,)
                c[:, t] = c_now
            else:
                trans_at = self.raw_trans[c[:, t - 1], c[:, t - 2]]  # (word, K)
                c_now = torch.distributions.Categorical(logits=trans_at).sample()  # (word,)
                c[:, t] = c_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (word, t)
        c_padded = torch.where(inside_t, c, 0)  # (word, t)
        emit = self.raw_emit.softmax(-1)  # (k, CHAR)
        emit_at = emit[c]  # (word, t, CHAR)
        x = decide(torch.distributions.Categorical(probs=emit_at).expand((n, t_size)), rule, False)  # (word, t)
        x_padded = up_to_the_ends(x, inside_t)  # (word, t)
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
        rows, kinds = len(next(iter(batch.values()))), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"t": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
