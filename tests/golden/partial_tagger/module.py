"""PartialTagger: emitted by vispec from partial_tagger.vispec; imports torch and the standard library.

    log_prob: exact

    chain_c = chain of c along t (one forward pass) of log_c, seen_c, log_x

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


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


class PartialTagger(nn.Module):
    """Batch:
        c (sentence, t) token[TAG]
        c_observed (sentence, t) bool
        x (sentence, t) token[WORD]
        c_len (sentence)
    """

    exact = True
    estimator = "exact"
    sums = ("chain_c = chain of c along t (one forward pass) of log_c, seen_c, log_x, tilt_c",)

    def __init__(self, WORD: int, TAG: int):
        super().__init__()
        self.WORD = WORD
        self.TAG = TAG
        self.raw_init = nn.Parameter(torch.zeros(TAG))  # (TAG)
        self.raw_trans = nn.Parameter(torch.randn(TAG, TAG) * 0.1)  # (k, TAG)
        self.raw_emit = nn.Parameter(torch.randn(TAG, WORD) * 0.1)  # (k, WORD)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def init(self) -> Tensor:
        """simplex[TAG]."""
        return self.raw_init.softmax(-1)

    @init.setter
    def init(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_init.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def trans(self) -> Tensor:
        """simplex[TAG], one for each element of k."""
        return self.raw_trans.softmax(-1)

    @trans.setter
    def trans(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_trans.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def emit(self) -> Tensor:
        """simplex[WORD], one for each element of k."""
        return self.raw_emit.softmax(-1)

    @emit.setter
    def emit(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_emit.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        c = batch["c"]  # (sentence, t)
        test = torch.arange(self.TAG, device=self.one.device) != c[:, :, None]  # (sentence, t, c)
        c_observed = batch["c_observed"]  # (sentence, t)
        test_2 = c_observed[:, :, None] & test  # (sentence, t, c)
        seen_c = torch.where(test_2, self.one * -torch.inf, 0.0)  # (sentence, t, c)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, WORD)
        x = batch["x"]  # (sentence, t)
        log_x = columns(log_emit, x)  # (sentence, t, c)
        log_init = self.raw_init.log_softmax(-1)  # (TAG,)
        log_trans = self.raw_trans.log_softmax(-1)  # (c', TAG)
        c_len = batch["c_len"]  # (sentence,)
        return chain_log_prob(log_init, log_trans, seen_c + log_x, c_len)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        c = batch["c"]  # (sentence, t)
        test = torch.arange(self.TAG, device=self.one.device) != c[:, :, None]  # (sentence, t, c)
        c_observed = batch["c_observed"]  # (sentence, t)
        test_2 = c_observed[:, :, None] & test  # (sentence, t, c)
        seen_c = torch.where(test_2, self.one * -torch.inf, 0.0)  # (sentence, t, c)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, WORD)
        x = batch["x"]  # (sentence, t)
        log_x = columns(log_emit, x)  # (sentence, t, c)
        total_ = seen_c + log_x + tilt["c"]  # (sentence, t, c)
        log_init = self.raw_init.log_softmax(-1)  # (TAG,)
        log_trans = self.raw_trans.log_softmax(-1)  # (c', TAG)
        c_len = batch["c_len"]  # (sentence,)
        return chain_total(total, log_init, log_trans, total_, c_len)  # (sentence,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        batch = with_room(batch)
        c = batch["c"]  # (sentence, t)
        test = torch.arange(self.TAG, device=self.one.device) != c[:, :, None]  # (sentence, t, c)
        c_observed = batch["c_observed"]  # (sentence, t)
        test_2 = c_observed[:, :, None] & test  # (sentence, t, c)
        seen_c = torch.where(test_2, self.one * -torch.inf, 0.0)  # (sentence, t, c)
        log_emit = self.raw_emit.log_softmax(-1)  # (c, WORD)
        x = batch["x"]  # (sentence, t)
        log_x = columns(log_emit, x)  # (sentence, t, c)
        log_trans = self.raw_trans.log_softmax(-1)  # (c', TAG)
        total = log_trans + tilt["c"]  # (sentence, t, c', c)
        value = total[:, 1:]  # (sentence, t, c', c)
        log_init = self.raw_init.log_softmax(-1)  # (TAG,)
        c_at = tilt["c"][:, 0, 0]  # (sentence, c)
        c_len = batch["c_len"]  # (sentence,)
        return chain_log_prob(log_init + c_at, value, seen_c + log_x, c_len)  # (sentence,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        c = batch["c"]  # (sentence, t)
        return {"c": self.one.new_zeros(c.shape[0], c.shape[1], self.TAG, self.TAG)}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        c_len = batch["c_len"]  # (sentence,)
        c = batch["c"]  # (sentence, t)
        value = self.one.new_zeros(c_len.shape[0], c.shape[1], self.TAG)  # (sentence, t, c)
        inside_t = torch.arange(c.shape[1], device=self.one.device) < c_len[:, None]  # (sentence, t)
        return {"c": value}, {"c": inside_t}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        c: token[TAG], (sentence, t).
        """
        batch = with_room(batch)
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"c": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Clusters stand in for latents."""
        batch = with_room(batch)
        c_observed = batch["c_observed"]  # (sentence, t)
        at_t = torch.arange(c_observed.shape[1], device=self.one.device)  # (t,)
        c_len = batch["c_len"]  # (sentence,)
        inside_t = at_t < c_len[:, None]  # (sentence, t)
        test = inside_t & c_observed & (at_t == 0)  # (sentence, t)
        c = batch["c"]  # (sentence, t)
        c_2 = torch.where(c_observed, c, 0)  # (sentence, t)
        init = by_group_among(categorical_start, c_2, 2, (), (self.init,), self.TAG, inside=test)[0]  # (TAG,)
        test_2 = inside_t & c_observed  # (sentence, t)
        x = batch["x"]  # (sentence, t)
        emit = by_group_among(categorical_start, x, 2, (c_2,), (self.emit,), self.WORD, inside=test_2)[0]  # (k, WORD)
        self.init = init
        self.emit = emit

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        t_size = max(int(lengths["t"].max()), 1)
        trans = self.raw_trans.softmax(-1)  # (k, TAG)
        c = self.one.new_zeros(n, t_size, dtype=torch.long)  # (sentence, t)
        for t in range(t_size):
            if t == 0:
                c_now = decide(torch.distributions.Categorical(logits=self.raw_init).expand((n,)), rule, True)  # (sentence,)
                c[:, t] = c_now
            else:
                trans_at = trans[c[:, t - 1]]  # (sentence, TAG)
                c_now = decide(torch.distributions.Categorical(probs=trans_at).expand((n,)), rule, True)  # (sentence,)
                c[:, t] = c_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (sentence, t)
        c_padded = up_to_the_ends(c, inside_t)  # (sentence, t)
        emit = self.raw_emit.softmax(-1)  # (k, WORD)
        emit_at = emit[c]  # (sentence, t, WORD)
        x = decide(torch.distributions.Categorical(probs=emit_at).expand((n, t_size)), rule, False)  # (sentence, t)
        x_padded = up_to_the_ends(x, inside_t)  # (sentence, t)
        return {
            "c": c_padded,
            "x": x_padded,
            "c_len": lengths["t"],
            "c_observed": torch.tensor(True, device=self.one.device).expand(n, t_size),
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
        """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;
        "mode", the likeliest of each; "joint", the best of all together; "sample", a draw; "sample(5)", five, last in
        order. Cells that are seen are as they are seen. samples: for models without such variables.
        """
        return labelled(self.posterior, batch, rule, ("c",))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
