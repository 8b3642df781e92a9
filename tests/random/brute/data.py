"""Random batches for a checked model, in the format of docs/emitted.md, with valid rubbish past the ends of ragged plates."""

from collections.abc import Callable, Mapping
from itertools import product
from random import Random

import torch
from torch import Tensor

from tests.random.brute.scalars import measured
from vispec.model import model as m
from vispec.model.types import INTEGER_DOMAINS


def random_batch(
    model: m.Model, sizes: Mapping[str, int], rows: int, rng: Random, longest: int = 3, missing: float = 0.4
) -> dict[str, Tensor]:
    """Rows of 1 .. `longest` elements in each ragged plate; each cell of a partial variable is missing at that rate."""
    batch: dict[str, Tensor] = {}
    extents = {plate.name: measured(plate.size, sizes) if plate.size is not None else longest for plate in model.plates}
    lead = lambda plates: [rows if model.plate[p].data else extents[p] for p in plates]  # noqa: E731
    lengths: dict[str, Tensor] = {}
    for plate in model.plates:
        if plate.ragged:
            shape = [rows, *lead(p for p in plate.inside if not model.plate[p].data)]
            lengths[plate.name] = batch[plate.length_key] = _filled(shape, lambda: rng.randint(1, longest), torch.int64)
    for variable in model.variables:
        if variable.role == "latent":
            continue
        plates = [p for p in variable.plates if not model.plate[p].data]
        own = len(plates) < len(variable.plates)
        shape = [*([rows] if own else []), *lead(plates)]
        batch[variable.name] = _values(model, variable, shape, plates, lengths, sizes, rng)
        if variable.role == "partial":
            batch[f"{variable.name}_observed"] = _filled(shape, lambda: rng.random() >= missing, torch.bool)
    return batch


def _filled(shape: list[int], make: Callable[[], object], dtype: torch.dtype) -> Tensor:
    tensor = torch.zeros(shape, dtype=dtype)
    for index in product(*(range(n) for n in shape)):
        tensor[index] = make()  # pyright: ignore[reportArgumentType]
    return tensor


def _values(model: m.Model, variable: m.Variable, shape, plates, lengths, sizes: Mapping[str, int], rng: Random) -> Tensor:
    kind = variable.type
    event = [measured(dim, sizes) for dim in kind.shape]
    tensor = torch.zeros([*shape, *event], dtype=torch.int64 if kind.domain in INTEGER_DOMAINS else torch.float64)
    target = model.plate[kind.plate] if kind.domain == "index" and kind.plate else None
    for index in product(*(range(n) for n in tensor.shape)):
        if target is not None and target.size is None:
            at = dict(zip(plates, index[1:], strict=False))
            inside = [at[p] for p in target.inside if not model.plate[p].data]
            tensor[index] = rng.randrange(int(lengths[target.name][(index[0], *inside)]))
        elif kind.domain in INTEGER_DOMAINS:
            tensor[index] = rng.randrange(measured(kind.card, sizes))  # pyright: ignore[reportArgumentType]
        else:
            tensor[index] = NUMBERS[kind.domain](rng)
    if kind.domain == "simplex":
        tensor = tensor / tensor.sum(-1, keepdim=True)
    return tensor.sort(-1).values if kind.domain == "ordered" else tensor


NUMBERS: Mapping[str, Callable[[Random], float]] = {
    "real": lambda rng: rng.gauss(0, 1),
    "ordered": lambda rng: rng.gauss(0, 1),
    "positive": lambda rng: rng.lognormvariate(0, 0.5),
    "simplex": lambda rng: rng.lognormvariate(0, 0.5),
    "unit": lambda rng: rng.uniform(0.05, 0.95),
    "count": lambda rng: float(int(abs(rng.gauss(0, 2)))),
    "bit": lambda rng: float(rng.random() < 0.5),
}
