"""Mixture: emitted by vispec from mixture.vispec; imports torch and the standard library.

    log_prob: exact

    sum_c = log-sum-exp over c of log_c, log_x

    c  summed; discrete; independent in each element of its plates
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
from functools import cache
from pathlib import Path
import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# native.library: build
# native.library: cache_folder
# native.library: compiler
# native.library: flags
# native.library: library
# native.library: loaded
# native.library: own
# native.library: place
# native.library: processor
# native.mixture: NativeMixture
# native.mixture: mixed_rows
# native.mixture: native_normal_mixture
# native.mixture: summed
# starts: by_group
# starts: kept
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.mixture: MixtureLogProb
# sums.mixture: NormalNatural
# sums.mixture: mixture_of_rows
# sums.mixture: normal_mixture
# sums.mixture: normal_mixture_of_rows
# sums.mixture: normal_natural
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
# told.queries: ranked


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


class Component(nn.Module):
    """(c: category[K]) → (loc: real[D], scale: positive[D]): embed(16) |> mlp([64])."""

    def __init__(self, K: int, D: int):
        super().__init__()
        self.embed = nn.Embedding(K, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 64), nn.ReLU())
        self.out = nn.Linear(64, 2 * D)

    def features(self, c: Tensor) -> Tensor:
        """c (*B) → (*B, 64)."""
        return self.mlp(self.embed(c))

    def forward(self, c: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, D), scale (*B, D) before softplus."""
        loc, scale = self.out(self.features(c)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Mixture(nn.Module):
    """Batch: x (n, D) real[D]."""

    exact = True
    estimator = "exact"
    sums = ("sum_c = log-sum-exp over c of log_c, log_x, tilt_c",)

    def __init__(self, D: int, K: int = 8):
        super().__init__()
        self.K = K
        self.D = D
        self.raw_pi = nn.Parameter(torch.zeros(K))  # (K)
        self.component = Component(K, D)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def pi(self) -> Tensor:
        """simplex[K]."""
        return self.raw_pi.softmax(-1)

    @pi.setter
    def pi(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_pi.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        component_loc, component_scale_raw = self.component(at_c)  # (c, D)
        x = batch["x"]  # (n, D)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        return normal_mixture(x, log_pi, component_loc, F.softplus(component_scale_raw))  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        at_c = torch.arange(self.K, device=self.one.device)  # (c,)
        component_loc, component_scale_raw = self.component(at_c)  # (c, D)
        component_scale = F.softplus(component_scale_raw)  # (c, D)
        x = batch["x"]  # (n, D)
        x_const, x_weight, x_statistics = normal_natural(x, component_loc, component_scale)  # (c,), (c, T), (n, T)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total_ = F.linear(x_statistics, x_weight, log_pi + x_const) + tilt["c"]  # (n, c)
        return total(total_)  # (n,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (n, D)
        return {"c": self.one.new_zeros(x.shape[0], self.K)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        c: category[K], (n).
        """
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        component_loc_bias = self.component.out.bias[0:self.D]  # (D,)
        component_scale_bias_raw = self.component.out.bias[self.D:2 * self.D]  # (D,)
        component_scale_bias = F.softplus(component_scale_bias_raw)  # (D,)
        x = batch["x"]  # (n, D)
        loc, scale = by_group(normal_start, x, (), (component_loc_bias, component_scale_bias))  # (D,)
        softplus = softplus_inverse(scale)  # (D,)
        component_loc_bias.copy_(loc)
        component_scale_bias_raw.copy_(softplus)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        c = torch.distributions.Categorical(logits=self.raw_pi).expand((n,)).sample()  # (n,)
        component_loc, component_scale_raw = self.component(c)  # (n, D)
        component_scale = F.softplus(component_scale_raw)  # (n, D)
        x = decide(
            torch.distributions.Normal(loc=component_loc, scale=component_scale).expand((n, self.D)), rule, False
        )  # (n, D)
        return {"c": c, "x": x}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
