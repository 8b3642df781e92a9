"""Posterior means and standard deviations of what a module draws from its guides, in bounded memory."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vispec.train.scores.weights import AT_ONCE

DRAWS = 10_000


def moments(module: nn.Module, batch: dict[str, Tensor], rows: int, samples: int = DRAWS) -> dict[str, dict[str, Tensor]]:
    """{latent or deterministic node: its mean and its standard deviation, *plates, *event, in float64} over so many draws."""
    count, mean, squares = 0, dict[str, Tensor](), dict[str, Tensor]()
    for size in chunks(samples, max(1, AT_ONCE // max(rows, 1))):
        total = count + size
        for name, drawn in module.draws(batch, size).items():  # pyright: ignore[reportCallIssue]
            drawn = drawn.double()
            middle = drawn.mean(0)
            gap = middle - mean.get(name, torch.zeros_like(middle))
            within = (drawn - middle).square().sum(0) + gap.square() * (count * size / total)
            squares[name] = squares.get(name, torch.zeros_like(middle)) + within
            mean[name] = mean.get(name, torch.zeros_like(middle)) + gap * (size / total)
        count = total
    return {name: {"mean": mean[name], "sd": (squares[name] / max(count - 1, 1)).sqrt()} for name in mean}


def chunks(samples: int, most: int) -> Iterator[int]:
    """Sizes of at most `most` that add up."""
    yield from (size for size in [most] * (samples // most) + [samples % most] if size)
