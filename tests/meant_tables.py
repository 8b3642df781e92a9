"""What a model of random_tables.py means: log p, by sums over its latents in plain loops over elements, and means. Nothing here
looks at the text of the model."""

import itertools
import math
from collections.abc import Iterator, Mapping

import torch
from random_tables import SIZES, At, Draft, Number, Outcome, Own, Read
from torch import Tensor


def cells(draft: Draft, nest: tuple[str, ...]) -> Iterator[dict[str, int]]:
    for index in itertools.product(*(range(SIZES[draft.plates[plate]]) for plate in nest)):
        yield dict(zip(nest, index, strict=True))


Values = Mapping[tuple[str, tuple[int, ...]], int]


def value_of(draft: Draft, read: Read, at: At, values: Values, numbers: Mapping[str, Tensor]) -> Tensor:
    """The number (or event) that a read means at an element of the open plates."""
    if read.over is not None:
        one = Read(read.table, read.at)
        places = ({**at, read.over: index} for index in range(SIZES[draft.plates[read.over]]))
        return torch.stack([value_of(draft, one, place, values, numbers) for place in places]).sum()
    index: list[int] = []
    for filler in read.at:
        if isinstance(filler, Own):
            index.append(at[filler.plate])
        elif isinstance(filler, Number):
            index.append(filler.value)
        else:
            index.append(values[filler.name, tuple(at[plate] for plate in filler.nest)])
    if read.table.role == "let":
        there = dict(zip(read.table.plates, index, strict=True))
        return torch.stack([w * value_of(draft, each, there, values, numbers) for w, each in read.table.terms]).sum()
    return numbers[read.table.name][tuple(index)]


def log_density(draft: Draft, outcome: Outcome, at: At, values: Values, numbers: Mapping[str, Tensor], x: Tensor) -> Tensor:
    found = [weight * value_of(draft, read, at, values, numbers) for weight, read in outcome.terms]
    if outcome.law == "real":
        return -0.5 * (x - torch.stack(found).sum()) ** 2 - 0.5 * math.log(2 * math.pi)
    p = found[0]
    return (p if x == 1 else 1 - p).log() if outcome.law == "bit" else p[int(x)].log()


def mean_of(draft: Draft, outcome: Outcome, batch: Mapping[str, Tensor], row: int, tables: Mapping[str, Tensor]) -> Tensor:
    """The mean of a Normal or Bernoulli outcome that reads no latent, over its plates as they are nested."""
    numbers = {**tables, **{t.name: batch[t.name][row] for t in draft.tables if t.role == "given"}}
    values = {
        (pointer.name, tuple(at.values())): int(batch[pointer.name][row][tuple(at.values())])
        for pointer in draft.pointers
        for at in cells(draft, pointer.nest)
    }
    found = [
        torch.stack([weight * value_of(draft, read, at, values, numbers) for weight, read in outcome.terms]).sum()
        for at in cells(draft, outcome.nest)
    ]
    return torch.stack(found).view(shape_of(draft, outcome.nest))


def shape_of(draft: Draft, nest: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(SIZES[draft.plates[plate]] for plate in nest)


def log_prob_of(draft: Draft, batch: Mapping[str, Tensor], row: int, tables: Mapping[str, Tensor]) -> Tensor:
    """log p of a row: the log of the sum over all values of all its latents, each outcome with those that it reads."""
    numbers = {**tables, **{t.name: batch[t.name][row] for t in draft.tables if t.role == "given"}}
    total = torch.zeros((), dtype=torch.float64)
    for number, outcome in enumerate(draft.outcomes):
        own = [pointer for pointer in draft.pointers if pointer.name.startswith(f"c{number}")]
        known, hidden = {}, []
        for pointer in own:
            for at in cells(draft, pointer.nest):
                cell = (pointer.name, tuple(at.values()))
                if pointer.latent:
                    hidden.append((cell, SIZES[pointer.size]))
                else:
                    known[cell] = int(batch[pointer.name][row][tuple(at.values())])
        paths = []
        for chosen in itertools.product(*(range(size) for _, size in hidden)):
            values = known | {cell: each for (cell, _), each in zip(hidden, chosen, strict=True)}
            parts = [torch.tensor(-math.log(size), dtype=torch.float64) for _, size in hidden]
            for at in cells(draft, outcome.nest):
                x = batch[outcome.name][row][tuple(at.values())]
                parts.append(log_density(draft, outcome, at, values, numbers, x))
            paths.append(torch.stack(parts).sum())
        total = total + torch.stack(paths).logsumexp(0)
    return total


def random_batch(draft: Draft, rows: int) -> dict[str, Tensor]:
    """Data: each variable (rows, *its plates as they are nested)."""
    generator = torch.Generator().manual_seed(draft.random.randrange(2**31))

    def shape(nest: tuple[str, ...]) -> tuple[int, ...]:
        return (rows, *shape_of(draft, nest))

    def normal(nest: tuple[str, ...]) -> Tensor:
        return torch.randn(shape(nest), generator=generator, dtype=torch.float64)

    batch = {table.name: normal(table.plates) for table in draft.tables if table.role == "given"}
    for pointer in (pointer for pointer in draft.pointers if not pointer.latent):
        found = torch.randint(SIZES[pointer.size], shape(pointer.nest), generator=generator)
        batch[pointer.name] = found.double() if pointer.type == "bit" else found
    for outcome in draft.outcomes:
        if outcome.law == "real":
            batch[outcome.name] = normal(outcome.nest)
        else:
            count = 2 if outcome.law == "bit" else SIZES[outcome.law.removeprefix("category[").removesuffix("]")]
            found = torch.randint(count, shape(outcome.nest), generator=generator)
            batch[outcome.name] = found.double() if outcome.law == "bit" else found
    return batch
