"""New data as large as data that are there: what a fitted model would have given in their place, and the cells of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vispec.answers.sample import check_drawn, given_only, plate_sizes
from vispec.model.extent import element_plates
from vispec.model.model import Variable
from vispec.model.walk import draws as laws_of
from vispec.train.data import Dataset
from vispec.train.scores.ends import cut, ending
from vispec.train.store.module import to_device
from vispec.train.store.run import Run

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a variable that are there: values (n, *event), and the place of each in the plates (n, plates)."""

    values: Array
    places: Array


def scored(run: Run, data: Dataset) -> tuple[list[Variable], list[str]]:
    """The variables that are scored and have a law to draw from, and the names of those that have none."""
    known = [run.model.variable[name] for name, _ in data.observed]
    flat = {v.name for v in known if v.law is not None and any(d.distribution == "Flat" for d in laws_of(v.law))}
    return [v for v in known if v.name not in flat], [v.name for v in known if v.name in flat]


def ended(run: Run, variable: Variable) -> bool:
    """Whether the length of what is drawn is drawn too, by an end symbol."""
    return bool(set(variable.plates) & ending(run.model, run.encoders).keys())


def batches(run: Run, data: Dataset, size: int, device: torch.device) -> list[tuple[Array, dict[str, Tensor]]]:
    """The rows in their order, so many at once."""
    return [(indices, to_device(data.batch(indices), device)) for indices in data.order(size)]


def replicate(run: Run, module: nn.Module, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """A draw of each variable in the place of a batch's rows, given what is given and as long as they are, but where an end
    symbol decides."""
    model, rows = run.model, len(next(iter(batch.values())))
    check_drawn(model)
    ends = ending(model, run.encoders)
    known = given_only(run, dict(batch))
    told = {plate.name: batch[plate.length_key] for plate in model.plates if plate.ragged and plate.length_key in batch}
    asked = {name: length for name, length in told.items() if name not in ends and model.plate[name].length_key not in known}
    rest = plate_sizes(run, rows, {}, {**known, **{model.plate[name].length_key: v for name, v in asked.items()}}, generator)
    device = next(iter(batch.values())).device
    sizes = asked | to_device({name: value for name, value in rest.items() if name not in asked}, device)
    found = module.sample(rows, known, sizes)  # pyright: ignore[reportCallIssue]
    return found | cut(model, run.encoders, found, {plate: v for plate, v in ends.items() if plate in sizes})


def cells(run: Run, variable: Variable, values: Mapping[str, Tensor], beside: Mapping[str, Tensor], first: int) -> Cells:
    """Those of some rows, of which the first has this number. beside: lengths, and which cells of a partial variable are
    there."""
    tensor = values[variable.name]
    plates = element_plates(variable)
    shape = tuple(tensor.shape[: len(plates)])
    inside = np.ones(shape, bool)
    for axis, name in enumerate(plates):
        plate = run.model.plate[name]
        lengths = values.get(plate.length_key, beside.get(plate.length_key)) if plate.ragged else None
        if lengths is not None:
            around = [p for p in plates[:axis] if run.model.plate[p].data or p in plate.inside]
            steps = np.arange(shape[axis]).reshape(-1, *[1] * (len(shape) - axis - 1))
            inside &= steps < aligned(lengths.cpu().numpy(), around, plates, axis)
    seen = beside.get(f"{variable.name}_observed")
    if seen is not None:
        inside &= seen.cpu().numpy()
    places = np.argwhere(inside)
    places[:, 0] += first
    return Cells(tensor.detach().cpu().numpy()[inside], places)


def aligned(lengths: Array, around: list[str], plates: tuple[str, ...], axis: int) -> Array:
    """Lengths (*sizes of the plates around) with an axis for each of the plates."""
    sizes = iter(lengths.shape)
    return lengths.reshape([next(sizes) if plate in around else 1 for plate in plates])


def joined(parts: list[Cells]) -> Cells:
    return Cells(np.concatenate([part.values for part in parts]), np.concatenate([part.places for part in parts]))


def observed(run: Run, variable: Variable, found: list[tuple[Array, dict[str, Tensor]]]) -> Cells:
    """What the data have of a variable."""
    return joined([cells(run, variable, batch, batch, int(indices[0])) for indices, batch in found])


def replicates(
    run: Run,
    module: nn.Module,
    variables: list[Variable],
    found: list[tuple[Array, dict[str, Tensor]]],
    generator: torch.Generator,
) -> dict[str, Cells]:
    """One draw of all the data, by variable; of partial ones the cells that the data have."""
    parts = dict[str, list[Cells]]({variable.name: [] for variable in variables})
    for indices, batch in found:
        drawn = replicate(run, module, batch, generator)
        for variable in variables:
            parts[variable.name].append(cells(run, variable, drawn, batch, int(indices[0])))
    return {name: joined(each) for name, each in parts.items()}
