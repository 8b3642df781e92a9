"""Bernoulli(probs) on a bit."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Map, Node, Part

Params = tuple[tuple[str, Node, tuple[Axis, ...]], ...]


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


def bernoulli_start(value: torch.Tensor) -> tuple[torch.Tensor]:
    """Share of ones among elements (N, *event), with one more of either kind."""
    return ((value.sum(0) + 1) / (len(value) + 2),)


def bernoulli_program(value: Node, own: object, probs: Node) -> Node:
    """log p where the bit is 1, log(1 - p) where it is 0, each from what the probability is computed from."""
    return build.where(value, build.log(probs), build.log_one_minus(probs))


def bernoulli_divergence(q: Params, p: Params) -> Node | None:
    """KL of two bits by their log-odds; None where these may be infinite."""
    if not all(isinstance(node, Map) and node.op == "sigmoid" for _, node, _ in (*q, *p)):
        return None
    given = tuple((build.log_odds(node), (), "") for _, node, _ in (*q, *p))
    return Part(Call("kernel", "vispec.kernels.draws.kl:kl_bernoulli", given, (((), "real"),), ()), 0)


def bernoulli_log_cdf(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(X ≤ value), elementwise."""
    first = torch.nn.functional.logsigmoid(-logit)
    return torch.where(value < 0, -torch.inf, torch.where(value < 1, first, torch.zeros_like(first)))


def bernoulli_log_survival(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(X > value), elementwise."""
    second = torch.nn.functional.logsigmoid(logit)
    return torch.where(value < 0, torch.zeros_like(second), torch.where(value < 1, second, -torch.inf))


ENTRY = Distribution(
    name="Bernoulli",
    params={"probs": "unit"},
    forms={"probs": "logit"},
    support="bit",
    torch_class="Bernoulli",
    program=bernoulli_program,
    divergences={"Bernoulli": bernoulli_divergence},
    kernel=bernoulli_log_prob,
    log_cdf=bernoulli_log_cdf,
    log_survival=bernoulli_log_survival,
    start=bernoulli_start,
    examples=({"probs": 0.3}, {"probs": 0.999}),
)
