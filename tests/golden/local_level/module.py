"""LocalLevel: emitted by vispec from local_level.vispec; imports torch and the standard library.

    log_prob: exact

    log_x_over_t = product over t of log_x
    total = product of evidence_along_t_of_level_0, log_x_over_t

    level  integrated; jointly Gaussian given the rest
    x      scored where seen; nothing depends on it: scored where it is seen
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
# native.gaussian: NativeElimination
# native.gaussian: NormalChains
# native.gaussian: filtered_rows
# native.gaussian: native_elimination
# native.gaussian: rows_together
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
# probability: log_of
# rows: up_to_the_ends
# rows: with_room
# starts: by_group
# starts: by_group_among
# starts: kept
# sums.algebra: Sampled
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.gaussian_chain: EliminatedChain
# sums.gaussian_chain: after
# sums.gaussian_chain: at_once
# sums.gaussian_chain: by_steps
# sums.gaussian_chain: eliminate_chain
# sums.gaussian_chain: expanded
# sums.gaussian_chain: filtered
# sums.gaussian_chain: inverse
# sums.gaussian_chain: log_det
# sums.gaussian_chain: moments_of_chain
# sums.gaussian_chain: of_one
# sums.gaussian_chain: one_earlier
# sums.gaussian_chain: one_later
# sums.gaussian_chain: recursion
# sums.gaussian_chain: scanned
# sums.gaussian_chain: shrunk
# sums.gaussian_chain: spans
# sums.gaussian_chain: spreads
# sums.gaussian_chain: to_come
# sums.gaussian_chain: told
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# told.decide: decide
# told.predict: Predictive
# told.predict: between
# told.predict: chosen
# told.predict: filled
# told.predict: narrowed
# told.predict: several
# told.predict: ulp
# told.predict: with_seen
# told.queries: answer


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


def normal_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log Φ((value - loc) / scale), elementwise."""
    return torch.special.log_ndtr((value.double() - loc.double()) / scale.double()).to(value.dtype)


class LocalLevel(nn.Module):
    """Batch: x (row2, t) real; x_observed (row2, t) bool; x_len (row2)."""

    exact = True
    estimator = "exact"

    def __init__(self):
        super().__init__()
        self.raw_s_level = nn.Parameter(torch.zeros(()))
        self.raw_s_obs = nn.Parameter(torch.zeros(()))
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def s_level(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_s_level)

    @s_level.setter
    def s_level(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_s_level.copy_(in_domain(raw, F.softplus(raw), value))

    @property
    def s_obs(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_s_obs)

    @s_obs.setter
    def s_obs(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_s_obs.copy_(in_domain(raw, F.softplus(raw), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (row2,), exact, in nats."""
        batch = with_room(batch)
        x_observed = batch["x_observed"]  # (row2, t)
        at_t = torch.arange(x_observed.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (row2,)
        inside_t = at_t < x_len[:, None]  # (row2, t)
        any_t = (inside_t & x_observed).any((0, 1))
        s_obs = F.softplus(self.raw_s_obs)
        s_obs_2 = torch.where(any_t, s_obs, 1.0)
        value = torch.where(x_observed, -1.0 / s_obs_2, 0.0)  # (row2, t)
        x = batch["x"]  # (row2, t)
        x_2 = torch.where(x_observed, x, 0.0)  # (row2, t)
        value_2 = torch.where(x_observed, x_2 / s_obs_2, 0.0)  # (row2, t)
        joined = torch.stack([value, value_2], -1)  # (row2, t, e)
        joined_2 = torch.where(inside_t[:, :, None], joined, 0.0)  # (row2, t, e)
        wide_joined = joined_2.double()  # (row2, t, e)
        product = wide_joined[:, :, :, None] * wide_joined[:, :, None]  # (row2, t, e, e')
        test = at_t == 0  # (t,)
        value_3 = torch.where(test, self.one * 1000.0, 0.0)  # (t,)
        s_level = F.softplus(self.raw_s_level)
        total = value_3 + torch.where(test, 0.0, s_level)  # (t,)
        joined_3 = torch.stack([total], -1)  # (t, noise)
        joined_4 = torch.stack([joined_3], -1)  # (t, noise, s)
        value_4 = torch.where(test, self.one * 0.0, 1.0)  # (t,)
        joined_5 = torch.stack([value_4, (self.one * 0.0).expand(x_observed.shape[1])], -1)  # (t, e')
        joined_6 = torch.stack([joined_5], -1)  # (t, e', s)
        eliminate, eliminate_2 = eliminate_chain(
            product, joined_6.transpose(-2, -1), joined_4.transpose(-2, -1)
        )  # (row2, 1, 1'), (row2,)
        eliminate_at = eliminate[:, 0, 0]  # (row2,)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (row2,)
        difference = -log_of(s_obs) - 0.9189385332046727
        log_x = torch.where(x_observed, difference, 0.0)  # (row2, t)
        sum_t = torch.where(inside_t, log_x, 0.0).sum(-1)  # (row2,)
        return narrow + sum_t  # (row2,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The posterior mean and standard deviation of level, exact."""
        batch = with_room(batch)
        x_observed = batch["x_observed"]  # (row2, t)
        at_t = torch.arange(x_observed.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (row2,)
        inside_t = at_t < x_len[:, None]  # (row2, t)
        any_t = (inside_t & x_observed).any((0, 1))
        s_obs = F.softplus(self.raw_s_obs)
        s_obs_2 = torch.where(any_t, s_obs, 1.0)
        value = torch.where(x_observed, -1.0 / s_obs_2, 0.0)  # (row2, t)
        x = batch["x"]  # (row2, t)
        x_2 = torch.where(x_observed, x, 0.0)  # (row2, t)
        value_2 = torch.where(x_observed, x_2 / s_obs_2, 0.0)  # (row2, t)
        joined = torch.stack([value, value_2], -1)  # (row2, t, e)
        joined_2 = torch.where(inside_t[:, :, None], joined, 0.0)  # (row2, t, e)
        wide_joined = joined_2.double()  # (row2, t, e)
        product = wide_joined[:, :, :, None] * wide_joined[:, :, None]  # (row2, t, e, e')
        test = at_t == 0  # (t,)
        value_3 = torch.where(test, self.one * 1000.0, 0.0)  # (t,)
        s_level = F.softplus(self.raw_s_level)
        total = value_3 + torch.where(test, 0.0, s_level)  # (t,)
        joined_3 = torch.stack([total], -1)  # (t, noise)
        joined_4 = torch.stack([joined_3], -1)  # (t, noise, s)
        value_4 = torch.where(test, self.one * 0.0, 1.0)  # (t,)
        joined_5 = torch.stack([value_4, (self.one * 0.0).expand(x_observed.shape[1])], -1)  # (t, e')
        joined_6 = torch.stack([joined_5], -1)  # (t, e', s)
        moments, moments_2 = moments_of_chain(
            product, joined_6.transpose(-2, -1), joined_4.transpose(-2, -1)
        )  # (row2, t, e), (row2, t, e, e')
        joined_7 = self.one.new_tensor([1.0])  # (e,)
        wide_joined_2 = joined_7.double()  # (e,)
        product_2 = moments @ wide_joined_2  # (row2, t)
        product_3 = torch.einsum("e,rtea,a->rt", wide_joined_2, moments_2, wide_joined_2)  # (row2, t)
        sqrt = product_3.to(self.one.dtype).clamp(min=0.0).sqrt()  # (row2, t)
        return {"level": {"mean": product_2.to(self.one.dtype), "sd": sqrt}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The mean and the standard deviation (mean, sd) of each latent number, exact.

        level: real, (row2, t).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are integrated and told by their moments")
        return self.guides(batch)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        batch = with_room(batch)
        x_observed = batch["x_observed"]  # (row2, t)
        x_len = batch["x_len"]  # (row2,)
        inside_t = torch.arange(x_observed.shape[1], device=self.one.device) < x_len[:, None]  # (row2, t)
        test = inside_t & x_observed  # (row2, t)
        x = batch["x"]  # (row2, t)
        x_2 = torch.where(x_observed, x, 0.0)  # (row2, t)
        s_obs = by_group_among(normal_start, x_2, 2, (), (None, self.s_obs), inside=test)[0]
        self.s_obs = s_obs

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        t_size = max(int(lengths["t"].max()), 1)
        s_level = F.softplus(self.raw_s_level)
        level = self.one.new_zeros(n, t_size)  # (row2, t)
        for t in range(t_size):
            if t == 0:
                noise_level = self.one.new_empty(n).normal_()  # (row2,)
                level_now = 1000 * noise_level  # (row2,)
                level[:, t] = level_now
            else:
                level_now = level[:, t - 1] + s_level * torch.randn_like(level[:, t - 1])  # (row2,)
                level[:, t] = level_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (row2, t)
        level_padded = torch.where(inside_t, level, 0.0)  # (row2, t)
        s_obs = F.softplus(self.raw_s_obs)
        x = decide(torch.distributions.Normal(loc=level, scale=s_obs).expand((n, t_size)), rule, False)  # (row2, t)
        x_padded = up_to_the_ends(x, inside_t)  # (row2, t)
        return {
            "level": level_padded,
            "x": x_padded,
            "x_len": lengths["t"],
            "x_observed": torch.tensor(True, device=self.one.device).expand(n, t_size),
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

    def predictive(self, batch: dict[str, Tensor], total, of, tilt: dict[str, Tensor], values: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` times what `of` tells of each missing number's law added, and `total` for sums."""
        batch = with_room(batch)
        x_observed = batch["x_observed"]  # (row2, t)
        at_t = torch.arange(x_observed.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (row2,)
        inside_t = at_t < x_len[:, None]  # (row2, t)
        any_t = (inside_t & x_observed).any((0, 1))
        s_obs = F.softplus(self.raw_s_obs)
        s_obs_2 = torch.where(any_t, s_obs, 1.0)
        value = torch.where(x_observed, -1.0 / s_obs_2, 0.0)  # (row2, t)
        x = batch["x"]  # (row2, t)
        x_2 = torch.where(x_observed, x, 0.0)  # (row2, t)
        value_2 = torch.where(x_observed, x_2 / s_obs_2, 0.0)  # (row2, t)
        joined = torch.stack([value, value_2], -1)  # (row2, t, e)
        joined_2 = torch.where(inside_t[:, :, None], joined, 0.0)  # (row2, t, e)
        wide_joined = joined_2.double()  # (row2, t, e)
        product = wide_joined[:, :, :, None] * wide_joined[:, :, None]  # (row2, t, e, e')
        test = at_t == 0  # (t,)
        value_3 = torch.where(test, self.one * 1000.0, 0.0)  # (t,)
        s_level = F.softplus(self.raw_s_level)
        total_ = value_3 + torch.where(test, 0.0, s_level)  # (t,)
        joined_3 = torch.stack([total_], -1)  # (t, noise)
        joined_4 = torch.stack([joined_3], -1)  # (t, noise, s)
        value_4 = torch.where(test, self.one * 0.0, 1.0)  # (t,)
        joined_5 = torch.stack([value_4, (self.one * 0.0).expand(x_observed.shape[1])], -1)  # (t, e')
        joined_6 = torch.stack([joined_5], -1)  # (t, e', s)
        moments, moments_2 = moments_of_chain(
            product, joined_6.transpose(-2, -1), joined_4.transpose(-2, -1)
        )  # (row2, t, e), (row2, t, e, e')
        joined_7 = self.one.new_tensor([1.0])  # (e,)
        wide_joined_2 = joined_7.double()  # (e,)
        product_2 = torch.einsum("e,rtea,a->rt", wide_joined_2, moments_2, wide_joined_2)  # (row2, t)
        total_2 = product_2.to(self.one.dtype) + s_obs.square()  # (row2, t)
        sqrt_total = total_2.sqrt()  # (row2, t)
        product_3 = moments @ wide_joined_2  # (row2, t)
        narrow_product = product_3.to(self.one.dtype)  # (row2, t)
        normal = normal_log_cdf(values["x"], narrow_product, sqrt_total)  # (row2, t)
        normal_2 = normal.exp()  # (row2, t)
        log_x_2 = normal_log_prob(values["x"], narrow_product, sqrt_total)  # (row2, t)
        Normal = of(
            torch.distributions.Normal(loc=narrow_product, scale=sqrt_total).expand((x_len.shape[0], x_observed.shape[1])),
            log_x_2,
            normal_2,
        )  # (row2, t)
        value_5 = torch.where(inside_t, tilt["x"] * Normal, 0.0)  # (row2, t)
        eliminate, eliminate_2 = eliminate_chain(
            product, joined_6.transpose(-2, -1), joined_4.transpose(-2, -1)
        )  # (row2, 1, 1'), (row2,)
        eliminate_at = eliminate[:, 0, 0]  # (row2,)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (row2,)
        difference = -log_of(s_obs) - 0.9189385332046727
        log_x = torch.where(x_observed, difference, 0.0)  # (row2, t)
        sum_t = torch.where(inside_t, log_x, 0.0).sum(-1)  # (row2,)
        return narrow + sum_t + value_5.sum(-1)  # (row2,)

    def tilts(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for each missing number and label."""
        x = batch["x"]  # (row2, t)
        return {"x": self.one.new_zeros(x.shape[0], x.shape[1])}

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 1000) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen; cells that are seen are as they are seen.

        rule: "mean", of labels the probabilities of their values; "mode", the likeliest value; "median";
        "quantiles(.05, .95)", last in order; "probs", of counts those of 0, 1, ...; "sample", a draw of all together;
        "sample(5)", five of them, last in order.
        samples: draws of latents that are not summed, or of laws that only draw.
        """
        return filled(self, batch, rule, {"x": "number"}, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
