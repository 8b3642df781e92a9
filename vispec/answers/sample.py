"""New rows from a fitted model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vispec.answers.decoding import end_of
from vispec.answers.how import How
from vispec.answers.questions import ASK_STRETCHES, has_whole_stretches
from vispec.answers.reading import Say, load_given, say_flat
from vispec.model.model import Model, Variable
from vispec.model.walk import grown_trees
from vispec.train.data import Dataset
from vispec.train.errors import OptionError, RunError
from vispec.train.reading import Reading
from vispec.train.scores.ends import cut, ending, longest
from vispec.train.scores.rows import Rows
from vispec.train.store.module import evaluating, to_device
from vispec.train.store.run import Run

CHUNK = 1000  # rows drawn at once


def sample(
    run: Run,
    data: Sequence[str],
    reading: Reading,
    how: How,
    say: Say,
    count: int,
    lengths: Mapping[str, int],
) -> Iterator[dict[str, Any]]:
    """`count` rows of every variable. data: holds the `given` variables, if there are any; its rows repeat. lengths: of ragged
    plates, else drawn as in the training data. Raises DataError, RunError, OptionError."""
    say_flat(run, say)
    check_drawn(run.model)
    check_lengths(run, lengths)
    needed = [variable.name for variable in run.model.variables if variable.role == "given"]
    if needed and not data:
        raise OptionError(f"the model is given `{'`, `'.join(needed)}`; name the DATA that has it")
    given = load_given(run, data, reading, say) if needed else None
    return draws(run, given, count, lengths, how)


def check_drawn(model: Model) -> None:
    """RunError for a model whose modules draw no rows."""
    if has_whole_stretches(model):
        raise RunError(f"words are stretches of what is given here, which nothing draws: {ASK_STRETCHES}")
    if grown := grown_trees(model):
        raise RunError(f"the law of `{grown[0]}` says how many elements there are too, and drawing from it is not compiled")


def check_lengths(run: Run, lengths: Mapping[str, int]) -> None:
    """OptionError for a length of what is no ragged plate."""
    ragged = [plate.name for plate in run.model.plates if plate.ragged]
    for name, length in lengths.items():
        if name not in ragged:
            known = ", ".join(ragged) or "no plate of that kind"
            raise OptionError(f"--length {name}={length}: the model has {known}")


def draws(run: Run, data: Dataset | None, count: int, lengths: Mapping[str, int], how: How) -> Iterator[dict[str, Any]]:
    """`count` rows, all variables decoded, sequences cut at their ends."""
    module, ends = run.load(how.place), ending(run.model, run.encoders)
    for start in range(0, count, CHUNK):
        n, seed, place = min(CHUNK, count - start), how.seed + start, how.place
        with evaluating(module, seed, place):
            rows = np.arange(start, start + n)
            batch = None if data is None else given_only(run, to_device(data.batch(rows % data.num_rows), place))
            sizes = to_device(plate_sizes(run, n, lengths, batch or {}, torch.Generator().manual_seed(seed)), place)
            ended = {plate: v for plate, v in ends.items() if plate in sizes and plate not in lengths}
            found = by_itself(run, module, batch or {}, n, sizes, ended)
            if found is None:
                found = module.sample(n, batch, sizes)  # pyright: ignore[reportCallIssue]
                found |= cut(run.model, run.encoders, found, ended)
        yield from Rows(run.model, run.encoders, {**(batch or {}), **found}).values(found, cut=True)


def by_itself(
    run: Run,
    module: nn.Module,
    batch: dict[str, Tensor],
    n: int,
    sizes: Mapping[str, Tensor],
    ended: Mapping[str, Variable],
) -> dict[str, Tensor] | None:
    """Rows whose one sequence is made element by element up to its end, if that is all that the model draws."""
    if len(ended) != 1 or {*sizes} != {*ended} or not hasattr(module, "sequences"):
        return None
    ((plate, variable),) = ended.items()
    end = end_of(run, variable)
    found = module.sequences(batch, n, end, sizes[plate], rule="sample")  # pyright: ignore[reportCallIssue]
    others = [v.name for v in run.model.variables if v.role != "given" and v.name != variable.name]
    if any(name not in found for name in others):
        return None
    drawn = {name: found[name][:, 0] for name in others}
    return {**drawn, variable.name: found["tokens"][:, 0], run.model.plate[plate].length_key: found["lengths"][:, 0]}


def given_only(run: Run, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The given variables of a batch and the lengths of the plates that they stand in."""
    given = [variable for variable in run.model.variables if variable.role == "given"]
    keys = {run.model.plate[plate].length_key for variable in given for plate in variable.plates}
    return {name: value for name, value in batch.items() if name in keys or name in {variable.name for variable in given}}


def plate_sizes(
    run: Run, n: int, fixed: Mapping[str, int], batch: dict[str, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    """Sizes of the ragged plates that the batch does not size, (n, *sizes of the plates around): fixed, or as in training."""

    found: dict[str, Tensor] = {}
    ends = ending(run.model, run.encoders)
    for plate in run.model.plates:
        if not plate.ragged or plate.length_key in batch:
            continue
        around = [run.model.plate[name] for name in plate.inside if not run.model.plate[name].data]
        shape = [n, *(_width(run, outer.name, {**batch, **found}) for outer in around)]
        seen = {fixed[plate.name]: 1} if plate.name in fixed else run.config.lengths.get(plate.name) or {1: 1}
        if plate.name in ends and plate.name not in fixed:
            seen = {longest(seen): 1}
        counts = torch.tensor(list(seen.values()), dtype=torch.float64)
        drawn = torch.multinomial(counts, int(torch.tensor(shape).prod()), replacement=True, generator=generator)
        found[plate.name] = torch.tensor(list(seen))[drawn].view(shape)
    return found


def _width(run: Run, name: str, sizes: dict[str, Tensor]) -> int:
    """The padded size of a plate: known, or the largest of its lengths."""
    plate = run.model.plate[name]
    if isinstance(plate.size, int):
        return plate.size
    if isinstance(plate.size, str):
        return run.config.sizes[plate.size]
    return int(sizes[name if name in sizes else plate.length_key].max())
