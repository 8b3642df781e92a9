"""CaptureRecapture: emitted by vispec from capture_recapture.vispec; imports torch and the standard library.

    log_prob: exact

    chain_alive = chain of alive along t (one forward pass) of log_alive, log_x

    alive  chain, summed; discrete; a first-order chain along t: one forward pass
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
# sums.lookup: steps_back
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


def bernoulli_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Share of ones among elements (N, *event), with one more of either kind."""
    return ((value.sum(0) + 1) / (len(value) + 2),)


def flat_sample() -> torch.Tensor:
    """0 stands in for a value that no law gives."""
    return torch.zeros(())


class CaptureRecapture(nn.Module):
    """Batch: x (animal, t) bit."""

    exact = True
    estimator = "exact"
    sums = ("chain_alive = chain of alive along t (one forward pass) of log_alive, log_x, tilt_alive",)

    def __init__(self, T: int):
        super().__init__()
        self.T = T
        self.raw_phi = nn.Parameter(torch.zeros(()))
        self.raw_p = nn.Parameter(torch.zeros(()))
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def phi(self) -> Tensor:
        """unit."""
        return torch.sigmoid(self.raw_phi)

    @phi.setter
    def phi(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = torch.logit(value)
            self.raw_phi.copy_(in_domain(raw, torch.sigmoid(raw), value))

    @property
    def p(self) -> Tensor:
        """unit."""
        return torch.sigmoid(self.raw_p)

    @p.setter
    def p(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = torch.logit(value)
            self.raw_p.copy_(in_domain(raw, torch.sigmoid(raw), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (animal,), exact, in nats."""
        at_alive = torch.arange(2, device=self.one.device).bool()  # (alive,)
        value = torch.where(at_alive, F.logsigmoid(self.raw_phi), -torch.inf)  # (alive',)
        value_2 = torch.where(at_alive, F.logsigmoid(-self.raw_phi), 0.0)  # (alive',)
        value_3 = torch.where(at_alive[:, None], value, value_2)  # (alive, alive')
        x = batch["x"]  # (animal, t)
        sum_before = steps_back(x.cumsum(1), 1, dim=1, fill=0.0)  # (animal, t)
        marked = sum_before > 0  # (animal, t)
        value_4 = torch.where(at_alive, self.one * 0.0, -torch.inf)  # (alive,)
        value_5 = torch.where(marked[:, :, None, None], value_3, value_4[:, None])  # (animal, t, alive, alive')
        value_6 = value_5[:, 1:]  # (animal, t, alive, alive')
        value_7 = torch.where(at_alive, F.logsigmoid(self.raw_p), -torch.inf)  # (alive,)
        value_8 = torch.where(at_alive, F.logsigmoid(-self.raw_p), 0.0)  # (alive,)
        value_9 = torch.where(x.bool()[:, :, None], value_7, value_8)  # (animal, t, alive)
        log_x = torch.where(marked[:, :, None], value_9, 0.0)  # (animal, t, alive)
        return chain_log_prob(value_4, value_6.transpose(-2, -1), log_x)  # (animal,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        at_alive = torch.arange(2, device=self.one.device).bool()  # (alive,)
        value = torch.where(at_alive, F.logsigmoid(self.raw_phi), -torch.inf)  # (alive',)
        value_2 = torch.where(at_alive, F.logsigmoid(-self.raw_phi), 0.0)  # (alive',)
        value_3 = torch.where(at_alive[:, None], value, value_2)  # (alive, alive')
        x = batch["x"]  # (animal, t)
        sum_before = steps_back(x.cumsum(1), 1, dim=1, fill=0.0)  # (animal, t)
        marked = sum_before > 0  # (animal, t)
        value_4 = torch.where(at_alive, self.one * 0.0, -torch.inf)  # (alive,)
        value_5 = torch.where(marked[:, :, None, None], value_3, value_4[:, None])  # (animal, t, alive, alive')
        value_6 = value_5[:, 1:]  # (animal, t, alive, alive')
        value_7 = torch.where(at_alive, F.logsigmoid(self.raw_p), -torch.inf)  # (alive,)
        value_8 = torch.where(at_alive, F.logsigmoid(-self.raw_p), 0.0)  # (alive,)
        value_9 = torch.where(x.bool()[:, :, None], value_7, value_8)  # (animal, t, alive)
        log_x = torch.where(marked[:, :, None], value_9, 0.0)  # (animal, t, alive)
        return chain_total(total, value_4, value_6.transpose(-2, -1), log_x + tilt["alive"])  # (animal,)

    def tilted_pairs(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."""
        at_alive = torch.arange(2, device=self.one.device).bool()  # (alive,)
        value = torch.where(at_alive, F.logsigmoid(self.raw_phi), -torch.inf)  # (alive',)
        value_2 = torch.where(at_alive, F.logsigmoid(-self.raw_phi), 0.0)  # (alive',)
        value_3 = torch.where(at_alive[:, None], value, value_2)  # (alive, alive')
        x = batch["x"]  # (animal, t)
        sum_before = steps_back(x.cumsum(1), 1, dim=1, fill=0.0)  # (animal, t)
        marked = sum_before > 0  # (animal, t)
        value_4 = torch.where(at_alive, self.one * 0.0, -torch.inf)  # (alive,)
        value_5 = torch.where(marked[:, :, None, None], value_3, value_4[:, None])  # (animal, t, alive, alive')
        total = value_5 + tilt["alive"].transpose(-2, -1)  # (animal, t, alive, alive')
        value_6 = total[:, 1:]  # (animal, t, alive, alive')
        value_7 = torch.where(at_alive, F.logsigmoid(self.raw_p), -torch.inf)  # (alive,)
        value_8 = torch.where(at_alive, F.logsigmoid(-self.raw_p), 0.0)  # (alive,)
        value_9 = torch.where(x.bool()[:, :, None], value_7, value_8)  # (animal, t, alive)
        log_x = torch.where(marked[:, :, None], value_9, 0.0)  # (animal, t, alive)
        alive_at = tilt["alive"][:, 0, 0]  # (animal, alive)
        return chain_log_prob(value_4 + alive_at, value_6.transpose(-2, -1), log_x)  # (animal,)

    def neighbours(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for the neighbours of each chain."""
        x = batch["x"]  # (animal, t)
        return {"alive": self.one.new_zeros(x.shape[0], self.T, 2, 2)}

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (animal, t)
        return {"alive": self.one.new_zeros(x.shape[0], self.T, 2)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.
        alive: bit, (animal, t).
        """
        if query == "pairs":
            return pairs(self.tilted_pairs, batch, self.neighbours(batch), {"alive": 1})
        return ask_of_chains(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Latents that the batch does not show are guessed."""
        x = batch["x"]  # (animal, t)
        alive_2 = torch.randint(2, (x.shape[0], self.T), device=self.one.device)  # (animal, t)
        alive = alive_2.to(self.one.dtype)  # (animal, t)
        sum_before = steps_back(x.cumsum(1), 1, dim=1, fill=0.0)  # (animal, t)
        marked = sum_before > 0  # (animal, t)
        p = by_group_among(bernoulli_start, x, 2, (), (self.p,), inside=marked, among=alive_2.bool())[0]
        self.p = p

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        at_t = torch.arange(self.T, device=self.one.device)  # (t,)
        phi = self.raw_phi.sigmoid()
        p = self.raw_p.sigmoid()
        inside_t = at_t < 0  # (t,)
        alive = self.one.new_zeros(n, self.T)  # (animal, t)
        x = self.one.new_zeros(n, self.T)  # (animal, t)
        for t in range(self.T):
            x_2 = flat_sample().expand(n).detach()  # (animal,)
            if t == 0:
                alive_now = torch.distributions.Bernoulli(probs=self.one * 1).expand((n,)).sample()  # (animal,)
                alive[:, t] = alive_now
                marked_2 = torch.where(inside_t, x, 0.0).sum(-1) > 0  # (animal,)
                p_3 = torch.where(alive_now.bool(), p, 0.0)  # (animal,)
                value_2 = decide(torch.distributions.Bernoulli(probs=p_3).expand((n,)), rule, True)  # (animal,)
                x_now = choose(marked_2, value_2, x_2, rank=1)  # (animal,)
                x[:, t] = x_now
            else:
                marked = torch.where(at_t < t, x, 0.0).sum(-1) > 0  # (animal,)
                phi_2 = torch.where(alive[:, t - 1].bool(), phi, 0.0)  # (animal,)
                phi_3 = torch.where(marked, phi_2, 1.0)  # (animal,)
                alive_now = torch.distributions.Bernoulli(probs=phi_3).sample()  # (animal,)
                alive[:, t] = alive_now
                p_2 = torch.where(alive_now.bool(), p, 0.0)  # (animal,)
                value = decide(torch.distributions.Bernoulli(probs=p_2).expand((n,)), rule, True)  # (animal,)
                x_now = choose(marked, value, x_2, rank=1)  # (animal,)
                x[:, t] = x_now
        return {"alive": alive, "x": x}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"x": "draw"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
