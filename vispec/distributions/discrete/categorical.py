"""Categorical(probs) on a finite type: a category, a token or an index into a plate."""

from __future__ import annotations

from collections.abc import Mapping

from vispec.catalog import Distribution
from vispec.lazy import torch
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Map, Node, Part

Params = tuple[tuple[str, Node, tuple[Axis, ...]], ...]


def categorical_log_prob(value: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """log_probs[..., value] for value (*B) and log_probs (*B, K), leading axes broadcast → (*B)."""
    if log_probs.dim() == 1:  # one law for all values: selecting scatters its gradient into (K,), gathering into (*B, K)
        return log_probs.index_select(0, value.flatten()).view(value.shape)
    lead = torch.broadcast_shapes(value.shape, log_probs.shape[:-1])
    own = (1,) * (len(lead) + 1 - log_probs.dim()) + log_probs.shape[:-1]
    order = sorted(range(len(lead)), key=lambda d: own[d] != lead[d])  # last where one law serves many values
    rows = log_probs.reshape(-1, log_probs.shape[-1])  # not expanded: its gradient would be as large
    index = value.expand(lead).permute(order).reshape(len(rows), lead.numel() // max(len(rows), 1))
    found = rows.gather(1, index).view([lead[d] for d in order])
    return found.permute([order.index(d) for d in range(len(lead))])


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


def categorical_program(value: Node, own: Mapping[str, tuple[Axis, ...]], probs: Node) -> Node:
    """The entry of log p that the value points at."""
    return entry_of(build.log(probs), own["probs"][-1], build.apply("int", value))


def entry_of(log_probs: Node, axis: Axis, value: Node) -> Node:
    """Of a choice between laws that of each, so that no law is copied as a whole."""
    match log_probs:
        case Map("where", (test, then, otherwise)) if axis not in test.axes:
            return build.where(test, entry_of(then, axis, value), entry_of(otherwise, axis, value))
    return build.pick(log_probs, {axis: value})


def categorical_divergence(q: Params, p: Params) -> Node:
    """KL of two laws over the same values, by the logarithms of their probabilities."""
    given = tuple((build.log(node), own, "") for _, node, own in (*q, *p))
    return Part(Call("kernel", "vispec.kernels.draws.kl:kl_categorical", given, (((), "real"),), ()), 0)


ENTRY = Distribution(
    name="Categorical",
    params={"probs": "simplex"},
    param_event_dim={"probs": 1},
    forms={"probs": "log"},
    support="index",
    torch_class="Categorical",
    program=categorical_program,
    divergences={"Categorical": categorical_divergence},
    kernel=categorical_log_prob,
    start=categorical_start,
    examples=({"probs": [0.2, 0.5, 0.3]}, {"probs": [0.0, 0.25, 0.75, 0.0]}),
)
