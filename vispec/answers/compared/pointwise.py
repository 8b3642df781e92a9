"""The log-probability of each part of the data (units.py), under the parameters of a fit or under draws."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vispec.answers.compared.draws import Draws
from vispec.answers.compared.units import Units, units_of
from vispec.answers.how import How
from vispec.train.data import Dataset
from vispec.train.errors import RunError
from vispec.train.scores.rows import Array
from vispec.train.store.module import evaluating, to_device
from vispec.train.store.run import Run


def pointwise(run: Run, data: Dataset, how: How) -> tuple[Units, Tensor]:
    """Each part's own (N,), or the bound on it, in nats, in the order of the data. RunError where there is none."""
    units, module = units_of(run), run.load(how.place, how.memory)
    if hasattr(module, "shared"):
        raise RunError("rows share latents, so that no row has a log-probability of its own")
    if units.kind != "row":  # what is added up, or subtracted, may be large
        data, module = data.in_precision("float64"), module.double()
    order = data.order(how.size(run), None, bucket=True)
    with evaluating(module, how.seed, how.place):
        found = [units.each(module, to_device(data.batch(indices), how.place)).double().cpu() for indices in order]
    return units, in_order(units, order, joined(found))


def log_likelihood(draws: Draws, data: Dataset) -> tuple[Units, Tensor]:
    """The same under each draw (S, N), in float64: with latents of a row summed, or by the module's own estimate."""
    units, data, module = units_of(draws.run), data.in_precision("float64"), draws.module
    order = data.order(draws.size, None, bucket=True)
    batches = [to_device(data.batch(indices), draws.device) for indices in order]
    found = list[Tensor]()
    with evaluating(module, draws.seed, draws.device):
        for i in range(1 if draws.kind == "fixed" else draws.count):
            with draws.held(i):
                found.append(joined([units.each(module, batch).double().cpu() for batch in batches]))
    return units, in_order(units, order, torch.stack(found)).expand(draws.count, -1)


def joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(0, dtype=torch.float64), *parts])


def in_order(units: Units, order: Sequence[Array], found: Tensor) -> Tensor:
    """Numbers (*S, N) of rows that came in this order, in that of the data; parts of a single row are in it."""
    if units.kind != "row" or not order:
        return found
    return torch.empty_like(found).index_copy(-1, torch.as_tensor(np.concatenate(order)), found)
