"""The log-probability of each unit of the data, under draws of parameters too."""

import numpy as np
import torch
from torch import Tensor

from vispec.answers.draws import Draws
from vispec.train.data import Dataset
from vispec.train.store.module import evaluating, to_device


def log_likelihood(draws: Draws, data: Dataset) -> Tensor:
    """The log-probability of each row under each draw (S, N), in nats, float64: with latents of the row summed, or by the
    module's own estimate."""
    data, module = data.in_precision("float64"), draws.module
    order = data.order(draws.size, None, bucket=True)
    batches = [to_device(data.batch(indices), draws.device) for indices in order]
    found = torch.empty(draws.count, data.num_rows, dtype=torch.float64)
    at = torch.as_tensor(np.concatenate(order)) if order else torch.zeros(0, dtype=torch.int64)
    with evaluating(module, draws.seed, draws.device):
        for i in range(draws.count):
            with draws.held(i):
                rows = [module.log_prob(batch).double().cpu() for batch in batches]  # pyright: ignore[reportCallIssue]
            if rows:
                found[i, at] = torch.cat(rows)
    return found
