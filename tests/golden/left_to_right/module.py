"""LeftToRight: emitted by vispec from left_to_right.vispec; imports torch and the standard library.

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
# sums.lookup: pick_last
# sums.sweep: Room
# sums.sweep: imprecise
# told.decide: choose
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


class LeftToRight(nn.Module):
    """Batch: x (word, t) token[CHAR]; x_len (word)."""

    exact = True
    estimator = "exact"
    sums = ("chain_c = chain of c along t (one forward pass) of log_c, log_x, tilt_c",)

    def __init__(self, CHAR: int, K: int = 10):
        super().__init__()
        self.K = K
        self.CHAR = CHAR
        self.jump = nn.Parameter(torch.zeros(3))  # (3)
        self.raw_edge = nn.Parameter(torch.zeros(CHAR))  # (CHAR)
        self.raw_emit = nn.Parameter(torch.randn(K, CHAR) * 0.1)  # (k, CHAR)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def edge(self) -> Tensor:
        """simplex[CHAR]."""
        return self.raw_edge.softmax(-1)

    @edge.setter
    def edge(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_edge.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def emit(self) -> Tensor:
        """simplex[CHAR], one for each element of k."""
        return self.raw_emit.softmax(-1)

    @emit.setter
    def emit(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_emit.copy_(in_domain(raw, raw.softmax(-1), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (word,), exact, in nats."""
        batch = with_room(batch)
        at_k = torch.arange(self.K, device=self.one.device)  # (k,)
        test = (at_k <= at_k[:, None]) & (at_k[:, None] <= at_k + 2)  # (k, c')
        min_ = (at_k[:, None] - at_k).clamp(0, 2)  # (k, c')
        jump_at = pick_last(self.jump, min_)  # (k, c')
        jump_at_2 = torch.where(test, jump_at, -torch.inf)  # (k, c')
        log_jump_at = jump_at_2.log_softmax(0)  # (K, c')
        test_2 = at_k == 0  # (k,)
        value = torch.where(test_2, self.one * 0, -torch.inf)  # (k,)
        log_value = value.log_softmax(-1)  # (K,)
        test_3 = test_2 | (at_k == self.K - 1)  # (c,)
        log_edge = self.raw_edge.log_softmax(-1)  # (CHAR,)
        x = batch["x"]  # (word, t)
        log_edge_at = pick_last(log_edge, x)  # (word, t)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, CHAR)
        log_emit_at = columns(log_emit, x)  # (word, t, c)
        log_x = torch.where(test_3, log_edge_at[:, :, None], log_emit_at)  # (word, t, c)
        x_len = batch["x_len"]  # (word,)
        return chain_log_prob(log_value, log_jump_at.T, log_x, x_len)  # (word,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        at_k = torch.arange(self.K, device=self.one.device)  # (k,)
        test = (at_k <= at_k[:, None]) & (at_k[:, None] <= at_k + 2)  # (k, c')
        min_ = (at_k[:, None] - at_k).clamp(0, 2)  # (k, c')
        jump_at = pick_last(self.jump, min_)  # (k, c')
        jump_at_2 = torch.where(test, jump_at, -torch.inf)  # (k, c')
        log_jump_at = jump_at_2.log_softmax(0)  # (K, c')
        test_2 = at_k == 0  # (k,)
        test_3 = test_2 | (at_k == self.K - 1)  # (c,)
        log_edge = self.raw_edge.log_softmax(-1)  # (CHAR,)
        x = batch["x"]  # (word, t)
        log_edge_at = pick_last(log_edge, x)  # (word, t)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, CHAR)
        log_emit_at = columns(log_emit, x)  # (word, t, c)
        log_x = torch.where(test_3, log_edge_at[:, :, None], log_emit_at)  # (word, t, c)
        value = torch.where(test_2, self.one * 0, -torch.inf)  # (k,)
        log_value = value.log_softmax(-1)  # (K,)
        x_len = batch["x_len"]  # (word,)
        return chain_total(total, log_value, log_jump_at.T, log_x + tilt["c"], x_len)  # (word,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        at_k = torch.arange(self.K, device=self.one.device)  # (k,)
        test = (at_k <= at_k[:, None]) & (at_k[:, None] <= at_k + 2)  # (k, c')
        min_ = (at_k[:, None] - at_k).clamp(0, 2)  # (k, c')
        jump_at = pick_last(self.jump, min_)  # (k, c')
        jump_at_2 = torch.where(test, jump_at, -torch.inf)  # (k, c')
        log_jump_at = jump_at_2.log_softmax(0)  # (K, c')
        total = log_jump_at.T + tilt["c"]  # (word, t, c', c)
        value = total[:, 1:]  # (word, t, c', c)
        test_2 = at_k == 0  # (k,)
        value_2 = torch.where(test_2, self.one * 0, -torch.inf)  # (k,)
        log_value = value_2.log_softmax(-1)  # (K,)
        c_at = tilt["c"][:, 0, 0]  # (word, c)
        test_3 = test_2 | (at_k == self.K - 1)  # (c,)
        log_edge = self.raw_edge.log_softmax(-1)  # (CHAR,)
        x = batch["x"]  # (word, t)
        log_edge_at = pick_last(log_edge, x)  # (word, t)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, CHAR)
        log_emit_at = columns(log_emit, x)  # (word, t, c)
        log_x = torch.where(test_3, log_edge_at[:, :, None], log_emit_at)  # (word, t, c)
        x_len = batch["x_len"]  # (word,)
        return chain_log_prob(log_value + c_at, value, log_x, x_len)  # (word,)

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
        c: index[k], (word, t).
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
        test = (c == 0) | (c == self.K - 1)  # (word, t)
        x_len = batch["x_len"]  # (word,)
        inside_t = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (word, t)
        edge = by_group_among(categorical_start, x, 2, (), (self.edge,), self.CHAR, inside=inside_t, among=test)[0]  # (CHAR,)
        emit = by_group_among(
            categorical_start, x, 2, (c,), (self.emit,), self.CHAR, inside=inside_t, among=~test
        )[0]  # (k, CHAR)
        self.edge = edge
        self.emit = emit
        self.raw_emit += torch.randn_like(self.raw_emit)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        t_size = max(int(lengths["t"].max()), 1)
        at_k = torch.arange(self.K, device=self.one.device)  # (k,)
        value = torch.where(at_k == 0, self.one * 0, -torch.inf)  # (k,)
        c = self.one.new_zeros(n, t_size, dtype=torch.long)  # (word, t)
        for t in range(t_size):
            if t == 0:
                c_now = torch.distributions.Categorical(logits=value).expand((n,)).sample()  # (word,)
                c[:, t] = c_now
            else:
                min_ = (at_k - c[:, t - 1][:, None]).clamp(0, 2)  # (word, k)
                jump_at = pick_last(self.jump, min_)  # (word, k)
                total = c[:, t - 1] + 2  # (word,)
                test = (c[:, t - 1][:, None] <= at_k) & (at_k <= total[:, None])  # (word, k)
                jump_at_2 = torch.where(test, jump_at, -torch.inf)  # (word, k)
                c_now = torch.distributions.Categorical(logits=jump_at_2).sample()  # (word,)
                c[:, t] = c_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (word, t)
        c_padded = torch.where(inside_t, c, 0)  # (word, t)
        test_2 = (c == 0) | (c == self.K - 1)  # (word, t)
        emit = self.raw_emit.softmax(-1)  # (k, CHAR)
        emit_at = emit[c]  # (word, t, CHAR)
        value_2 = decide(torch.distributions.Categorical(probs=emit_at).expand((n, t_size)), rule, False)  # (word, t)
        value_3 = decide(torch.distributions.Categorical(logits=self.raw_edge).expand((n, t_size)), rule, False)  # (word, t)
        x = choose(test_2, value_3, value_2, rank=2)  # (word, t)
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
