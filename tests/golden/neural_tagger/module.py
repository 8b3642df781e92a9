"""NeuralTagger: emitted by vispec from neural_tagger.vispec; imports torch and the standard library.

    log_prob: exact

    chain_x = chain of x along i (one forward pass) of log_x, seen_x

    y  data; given by the data
    x  chain, summed; discrete; a first-order chain along i: one forward pass
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
# heap: keep_pages
# layers.dense: OneHotLinear
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
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
# sums.sweep: Room
# sums.sweep: imprecise
# told.decide: decide
# told.predict: labelled
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


class Encode(nn.Module):
    """(words: token[WORD]*) → real[64]*: lstm(embed=128, hidden=128, bidirectional) |> dropout(0.3)."""

    def __init__(self, WORD: int):
        super().__init__()
        self.embed = nn.Embedding(WORD, 128)
        self.lstm = Bidirectional("LSTM", 128, 128)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(256, 64)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, T, 256)."""
        return self.dropout(self.lstm(self.embed(words), words_mask))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """(*B, T, 64)."""
        return self.out(self.features(words, words_mask=words_mask))


class First(nn.Module):
    """(state: real[64]) → simplex[TAG]: mlp([64])."""

    def __init__(self, TAG: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, TAG)

    def features(self, state: Tensor) -> Tensor:
        """state (*B, 64) → (*B, 64)."""
        return self.mlp(state)

    def forward(self, state: Tensor) -> Tensor:
        """(*B, TAG) unnormalised log-probabilities."""
        return self.out(self.features(state))


class Next(nn.Module):
    """(state: real[64], before: token[TAG]) → simplex[TAG]: mlp([64])."""

    def __init__(self, TAG: int):
        super().__init__()
        self.from_state = nn.Linear(64, 64)
        self.from_before = OneHotLinear(TAG, 64)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(64, TAG)

    def features(self, state: Tensor, before: Tensor) -> Tensor:
        """state (*B, 64), before (*B) → (*B, 64)."""
        return self.mlp(self.from_state(state) + self.from_before(before))

    def forward(self, state: Tensor, before: Tensor) -> Tensor:
        """(*B, TAG) unnormalised log-probabilities."""
        return self.out(self.features(state, before))


class NeuralTagger(nn.Module):
    """Batch:
        y (sentence, i) token[WORD]
        x (sentence, i) token[TAG]
        x_observed (sentence, i) bool
        y_len (sentence)
    """

    exact = True
    estimator = "exact"
    sums = ("chain_x = chain of x along i (one forward pass) of log_x, seen_x, tilt_x",)
    renamed = {"next": "next_"}  # names of the spec that are taken

    def __init__(self, WORD: int, TAG: int):
        super().__init__()
        self.TAG = TAG
        self.encode = Encode(WORD)
        self.first = First(TAG)
        self.next_ = Next(TAG)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def parameter(self, name: str) -> Tensor | nn.Module:
        """What the spec calls so: a parameter in constrained space, a net, or a node that parameters decide."""
        return getattr(self, self.renamed.get(name, name))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        h = self.encode(y, words_mask=inside_i)  # (sentence, i, 64)
        first_raw = self.first(h)  # (sentence, i, TAG)
        log_first = first_raw.log_softmax(-1)  # (sentence, i, TAG)
        log_first_at = log_first[:, 0]  # (sentence, x)
        at_x = torch.arange(self.TAG, device=self.one.device)  # (x',)
        next_raw = self.next_(h[:, :, None], at_x)  # (sentence, i, x', TAG)
        log_next = next_raw.log_softmax(-1)  # (sentence, i, x', TAG)
        value = log_next[:, 1:]  # (sentence, i, x', x)
        x = batch["x"]  # (sentence, i)
        x_observed = batch["x_observed"]  # (sentence, i)
        test = x_observed[:, :, None] & (at_x != x[:, :, None])  # (sentence, i, x)
        seen_x = torch.where(test, self.one * -torch.inf, 0.0)  # (sentence, i, x)
        return chain_log_prob(log_first_at, value, seen_x, y_len)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        h = self.encode(y, words_mask=inside_i)  # (sentence, i, 64)
        first_raw = self.first(h)  # (sentence, i, TAG)
        log_first = first_raw.log_softmax(-1)  # (sentence, i, TAG)
        log_first_at = log_first[:, 0]  # (sentence, x)
        at_x = torch.arange(self.TAG, device=self.one.device)  # (x',)
        next_raw = self.next_(h[:, :, None], at_x)  # (sentence, i, x', TAG)
        log_next = next_raw.log_softmax(-1)  # (sentence, i, x', TAG)
        value = log_next[:, 1:]  # (sentence, i, x', x)
        x = batch["x"]  # (sentence, i)
        x_observed = batch["x_observed"]  # (sentence, i)
        test = x_observed[:, :, None] & (at_x != x[:, :, None])  # (sentence, i, x)
        seen_x = torch.where(test, self.one * -torch.inf, 0.0)  # (sentence, i, x)
        return chain_total(total, log_first_at, value, seen_x + tilt["x"], y_len)  # (sentence,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        h = self.encode(y, words_mask=inside_i)  # (sentence, i, 64)
        first_raw = self.first(h)  # (sentence, i, TAG)
        log_first = first_raw.log_softmax(-1)  # (sentence, i, TAG)
        log_first_at = log_first[:, 0]  # (sentence, x)
        x_at = tilt["x"][:, 0, 0]  # (sentence, x)
        at_x = torch.arange(self.TAG, device=self.one.device)  # (x',)
        next_raw = self.next_(h[:, :, None], at_x)  # (sentence, i, x', TAG)
        log_next = next_raw.log_softmax(-1)  # (sentence, i, x', TAG)
        total = log_next + tilt["x"]  # (sentence, i, x', x)
        value = total[:, 1:]  # (sentence, i, x', x)
        x = batch["x"]  # (sentence, i)
        x_observed = batch["x_observed"]  # (sentence, i)
        test = x_observed[:, :, None] & (at_x != x[:, :, None])  # (sentence, i, x)
        seen_x = torch.where(test, self.one * -torch.inf, 0.0)  # (sentence, i, x)
        return chain_log_prob(log_first_at + x_at, value, seen_x, y_len)  # (sentence,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        y = batch["y"]  # (sentence, i)
        return {"x": self.one.new_zeros(y.shape[0], y.shape[1], self.TAG, self.TAG)}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        y_len = batch["y_len"]  # (sentence,)
        y = batch["y"]  # (sentence, i)
        value = self.one.new_zeros(y_len.shape[0], y.shape[1], self.TAG)  # (sentence, i, x)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        return {"x": value}, {"x": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        x: token[TAG], (sentence, i).
        """
        batch = with_room(batch)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"x": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        h = self.encode(y, words_mask=inside_i)  # (sentence, i, 64)
        h_at = h[:, 0]  # (sentence, 64)
        first = self.first(h_at)  # (sentence, TAG)
        x = self.one.new_zeros(n, y.shape[1], dtype=torch.long)  # (sentence, i)
        for i in range(y.shape[1]):
            if i == 0:
                x_now = decide(torch.distributions.Categorical(logits=first).expand((n,)), rule, True)  # (sentence,)
                x[:, i] = x_now
            else:
                h_at_2 = h[:, i]  # (sentence, 64)
                next_ = self.next_(h_at_2, x[:, i - 1])  # (sentence, TAG)
                x_now = decide(torch.distributions.Categorical(logits=next_).expand((n,)), rule, True)  # (sentence,)
                x[:, i] = x_now
        x_padded = up_to_the_ends(x, inside_i)  # (sentence, i)
        return {
            "y": y,
            "x": x_padded,
            "y_len": y_len,
            "x_observed": torch.tensor(True, device=self.one.device).expand(n, y.shape[1]),
        }

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;
        "mode", the likeliest of each; "joint", the best of all together; "sample", a draw; "sample(5)", five, last in
        order. Cells that are seen are as they are seen. samples: for models without such variables.
        """
        return labelled(self.posterior, batch, rule, ("x",))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
