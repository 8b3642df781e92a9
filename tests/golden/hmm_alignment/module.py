"""HmmAlignment: emitted by vispec from hmm_alignment.vispec; imports torch and the standard library.

    log_prob: exact

    chain_a = chain of a along i (one forward pass) of log_a, log_x

    y  data; given by the data
    a  chain, summed; discrete; a first-order chain along i: one forward pass
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
# distinct: distinct
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
# sums.selected: SelectedLogSoftmax
# sums.selected: selected_log_softmax
# sums.selected: softmax_in_place
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


class Lex(nn.Module):
    """(y: token[FR]) → simplex[EN]: embed(128) |> mlp([128])."""

    def __init__(self, EN: int, FR: int):
        super().__init__()
        self.embed = nn.Embedding(FR, 128)
        self.mlp = nn.Sequential(nn.Linear(128, 128), nn.ReLU())
        self.out = nn.Linear(128, EN)

    def features(self, y: Tensor) -> Tensor:
        """y (*B) → (*B, 128)."""
        return self.mlp(self.embed(y))

    def forward(self, y: Tensor) -> Tensor:
        """(*B, EN) unnormalised log-probabilities."""
        return self.out(self.features(y))


class HmmAlignment(nn.Module):
    """Batch: y (pair, j) token[FR]; x (pair, i) token[EN]; y_len (pair); x_len (pair)."""

    exact = True
    estimator = "exact"
    sums = ("chain_a = chain of a along i (one forward pass) of log_a, log_x, tilt_a",)

    def __init__(self, EN: int, FR: int):
        super().__init__()
        self.jump = nn.Parameter(torch.zeros(101))  # (101)
        self.lex = Lex(EN, FR)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (pair,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        at_a = torch.arange(y.shape[1], device=self.one.device)  # (a,)
        min_ = (at_a[:, None] - at_a + 50).clamp(0, 100)  # (j, a')
        jump_at = pick_last(self.jump, min_)  # (j, a')
        y_len = batch["y_len"]  # (pair,)
        inside_a = at_a < y_len[:, None]  # (pair, a)
        jump_at_2 = torch.where(inside_a[:, :, None], jump_at, -torch.inf)  # (pair, j, a')
        log_jump_at = jump_at_2.log_softmax(1)  # (pair, j, a')
        log_y_len = y_len.to(self.one.dtype).log()  # (pair,)
        log_y_len_2 = torch.where(inside_a, -log_y_len[:, None], -torch.inf)  # (pair, a)
        y_words, y_row = distinct(y)  # (distinct,), (pair, a)
        x = batch["x"]  # (pair, i)
        log_x = selected_log_softmax(self.lex.features(y_words), self.lex.out, y_row[:, None], x[:, :, None])  # (pair, i, a)
        x_len = batch["x_len"]  # (pair,)
        return chain_log_prob(log_y_len_2, log_jump_at.transpose(-2, -1)[:, None], log_x, x_len)  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        at_a = torch.arange(y.shape[1], device=self.one.device)  # (a,)
        min_ = (at_a[:, None] - at_a + 50).clamp(0, 100)  # (j, a')
        jump_at = pick_last(self.jump, min_)  # (j, a')
        y_len = batch["y_len"]  # (pair,)
        inside_a = at_a < y_len[:, None]  # (pair, a)
        jump_at_2 = torch.where(inside_a[:, :, None], jump_at, -torch.inf)  # (pair, j, a')
        log_jump_at = jump_at_2.log_softmax(1)  # (pair, j, a')
        log_y_len = y_len.to(self.one.dtype).log()  # (pair,)
        log_y_len_2 = torch.where(inside_a, -log_y_len[:, None], -torch.inf)  # (pair, a)
        y_words, y_row = distinct(y)  # (distinct,), (pair, a)
        x = batch["x"]  # (pair, i)
        log_x = selected_log_softmax(self.lex.features(y_words), self.lex.out, y_row[:, None], x[:, :, None])  # (pair, i, a)
        total_ = log_x + tilt["a"]  # (pair, i, a)
        x_len = batch["x_len"]  # (pair,)
        chain = chain_total(total, log_y_len_2, log_jump_at.transpose(-2, -1)[:, None], total_, x_len)  # (pair,)
        return chain  # (pair,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        at_a = torch.arange(y.shape[1], device=self.one.device)  # (a,)
        min_ = (at_a[:, None] - at_a + 50).clamp(0, 100)  # (j, a')
        jump_at = pick_last(self.jump, min_)  # (j, a')
        y_len = batch["y_len"]  # (pair,)
        inside_a = at_a < y_len[:, None]  # (pair, a)
        jump_at_2 = torch.where(inside_a[:, :, None], jump_at, -torch.inf)  # (pair, j, a')
        log_jump_at = jump_at_2.log_softmax(1)  # (pair, j, a')
        total = log_jump_at.transpose(-2, -1)[:, None] + tilt["a"]  # (pair, i, a', a)
        value = total[:, 1:]  # (pair, i, a', a)
        log_y_len = y_len.to(self.one.dtype).log()  # (pair,)
        a_at = tilt["a"][:, 0, 0]  # (pair, a)
        value_2 = torch.where(inside_a, a_at - log_y_len[:, None], -torch.inf)  # (pair, a)
        y_words, y_row = distinct(y)  # (distinct,), (pair, a)
        x = batch["x"]  # (pair, i)
        log_x = selected_log_softmax(self.lex.features(y_words), self.lex.out, y_row[:, None], x[:, :, None])  # (pair, i, a)
        x_len = batch["x_len"]  # (pair,)
        return chain_log_prob(value_2, value, log_x, x_len)  # (pair,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        y = batch["y"]  # (pair, j)
        x = batch["x"]  # (pair, i)
        return {"a": self.one.new_zeros(y.shape[0], x.shape[1], y.shape[1], y.shape[1])}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (pair,)
        x = batch["x"]  # (pair, i)
        y = batch["y"]  # (pair, j)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], y.shape[1])  # (pair, i, a)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        return {"a": value}, {"a": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        a: index[j], (pair, i).
        """
        batch = with_room(batch)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"a": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        i_size = max(int(lengths["i"].max()), 1)
        y = batch["y"]  # (pair, j)
        at_j = torch.arange(y.shape[1], device=self.one.device)  # (j,)
        y_len = batch["y_len"]  # (pair,)
        inside_j = at_j < y_len[:, None]  # (pair, j)
        a = self.one.new_zeros(n, i_size, dtype=torch.long)  # (pair, i)
        for i in range(i_size):
            if i == 0:
                noise_a = self.one.new_empty(n).uniform_()  # (pair,)
                a_now = (noise_a * y_len).long()  # (pair,)
                a[:, i] = a_now
            else:
                min_ = (at_j - a[:, i - 1][:, None] + 50).clamp(0, 100)  # (pair, j)
                jump_at = pick_last(self.jump, min_)  # (pair, j)
                jump_at_2 = torch.where(inside_j, jump_at, -torch.inf)  # (pair, j)
                jump_at_prob = jump_at_2.softmax(-1)  # (pair, j)
                a_now = torch.distributions.Categorical(probs=jump_at_prob).sample()  # (pair,)
                a[:, i] = a_now
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (pair, i)
        a_padded = torch.where(inside_i, a, 0)  # (pair, i)
        y_at = y.gather(-1, a)  # (pair, i)
        lex = self.lex(y_at)  # (pair, i, EN)
        x = decide(torch.distributions.Categorical(logits=lex).expand((n, i_size)), rule, False)  # (pair, i)
        x_padded = up_to_the_ends(x, inside_i)  # (pair, i)
        return {"y": y, "a": a_padded, "x": x_padded, "y_len": y_len, "x_len": lengths["i"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("i",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
