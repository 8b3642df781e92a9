"""Flat(): says nothing of the value, which is conditioned on: `Bernoulli(p) if seen else Flat()`. It cannot be sampled."""

from __future__ import annotations

from vispec.catalog import Distribution
from vispec.lazy import torch
from vispec.program.node import Const, Node


def flat_log_prob(value: torch.Tensor) -> torch.Tensor:
    """0 everywhere."""
    return torch.zeros_like(value)


def flat_program(value: Node, own: object) -> Node:
    """0, however the value is."""
    return Const(0.0)


def flat_sample() -> torch.Tensor:
    """0 stands in for a value that no law gives."""
    return torch.zeros(())


ENTRY = Distribution(
    name="Flat",
    params={},
    support="real",
    other_supports=("bit", "count", "positive", "unit"),
    program=flat_program,
    kernel=flat_log_prob,
    sampler=flat_sample,
    proper=False,
    examples=({},),
)
