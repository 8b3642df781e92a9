"""A language model over a large vocabulary: Σ log p(x_i | x_<i) by an LSTM."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.workload import Tensors, Workload


def workload(rows: int, words: int, types: int, hidden: int) -> Workload:
    g = torch.Generator().manual_seed(0)
    shapes = {
        "lm.embed.weight": (types, hidden),
        "lm.start": (hidden,),
        "lm.lstm.weight_ih_l0": (4 * hidden, hidden),
        "lm.lstm.weight_hh_l0": (4 * hidden, hidden),
        "lm.lstm.bias_ih_l0": (4 * hidden,),
        "lm.lstm.bias_hh_l0": (4 * hidden,),
        "lm.out.weight": (types, hidden),
        "lm.out.bias": (types,),
    }
    parameters = {name: torch.randn(shape, generator=g) / math.sqrt(hidden) for name, shape in shapes.items()}
    batch = {"x": torch.randint(types, (rows, words), generator=g), "x_len": torch.full((rows,), words)}
    return Workload("language.vispec", {"V": types, "H": hidden}, parameters, batch, reference, {"hand": hand})


def states(p: Tensors, x: Tensor) -> Tensor:
    """What the LSTM has read before each word, (rows, words, hidden)."""
    read = torch.cat((p["lm.start"].expand(len(x), 1, -1), F.embedding(x, p["lm.embed.weight"])[:, :-1]), 1)
    weights = [p[f"lm.lstm.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    begin = read.new_zeros(2, 1, len(x), read.shape[2])
    return torch.lstm(read, tuple(begin), weights, True, 1, 0.0, False, False, True)[0]


def reference(p: Tensors, batch: Tensors) -> Tensor:
    """By torch.distributions."""
    logits = F.linear(states(p, batch["x"]), p["lm.out.weight"], p["lm.out.bias"])
    return torch.distributions.Categorical(logits=logits).log_prob(batch["x"]).sum()


def hand(p: Tensors, batch: Tensors) -> Tensor:
    """The usual script."""
    logits = F.linear(states(p, batch["x"]), p["lm.out.weight"], p["lm.out.bias"])
    return -F.cross_entropy(logits.flatten(0, 1), batch["x"].flatten(), reduction="sum")
