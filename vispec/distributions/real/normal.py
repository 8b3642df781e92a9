"""Normal(loc, scale) on the real line."""

from __future__ import annotations

from collections.abc import Callable

from vispec.catalog import Distribution
from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Const, Node, Part

Params = tuple[tuple[str, Node, tuple[Axis, ...]], ...]


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


def normal_path(noise: Callable[[str], Node], loc: Node, scale: Node) -> Node:
    """loc + scale · noise."""
    return build.add(loc, build.mul(scale, noise("normal")))


def normal_divergence(q: Params, p: Params) -> Node:
    """KL of two normals; shorter where the second is the standard one."""
    standard = all(isinstance(node, Const) and node.value == n for (_, node, _), n in zip(p, (0, 1), strict=True))
    name, params = ("kl_normal_standard", q) if standard else ("kl_normal_normal", (*q, *p))
    given = tuple((build.apply("real", node), (), "") for _, node, _ in params)
    return Part(Call("kernel", f"vispec.kernels.draws.kl:{name}", given, (((), "real"),), ()), 0)


def normal_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log Φ((value - loc) / scale), elementwise."""
    return torch.special.log_ndtr((value.double() - loc.double()) / scale.double()).to(value.dtype)


def normal_log_survival(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log Φ((loc - value) / scale), elementwise."""
    return torch.special.log_ndtr((loc.double() - value.double()) / scale.double()).to(value.dtype)


ENTRY = Distribution(
    name="Normal",
    params={"loc": "real", "scale": "positive"},
    support="real",
    has_rsample=True,
    torch_class="Normal",
    path=normal_path,
    divergences={"Normal": normal_divergence},
    kernel=normal_log_prob,
    natural="vispec.kernels.sums.mixture:normal_natural",
    log_cdf=normal_log_cdf,
    log_survival=normal_log_survival,
    start=normal_start,
    examples=({"loc": 0.5, "scale": 2.0}, {"loc": -3.0, "scale": 0.1}),
)
