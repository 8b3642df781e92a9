"""Random tiny batches for any model, in the batch format; with clean padding or with rubbish past the ends."""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from vispec.model.extent import element_plates
from vispec.model.model import Model, Plate, Variable
from vispec.model.types import INTEGER_DOMAINS, Type
from vispec.structures import fewest
from vispec.verify.oracle.parses import random_parse
from vispec.verify.oracle.row import Place, Row, in_data, labels_of, measure, place_of, read_row, shape_of, without_data
from vispec.verify.oracle.trees import options_of, random_tree

Batch = dict[str, Tensor]


def random_batch(
    model: Model,
    sizes: Mapping[str, int],
    rows: int,
    generator: Generator,
    longest: int = 3,
    missing: float = 0.4,
    shortest: int = 1,
) -> Batch:
    """`rows` rows of `shortest`..`longest` elements per ragged plate, zeros past the ends; partial cells are missing at that
    rate."""
    lengths, extent = _random_lengths(model, sizes, rows, generator, shortest, longest)
    batch: Batch = {model.plate[plate].length_key: length for plate, length in lengths.items()}
    frames = [Row(model, sizes, {plate: length[b] for plate, length in lengths.items()}, {}) for b in range(rows)]
    for variable in model.variables:
        if variable.role == "latent":
            continue
        batch[variable.name] = _values(model, variable, frames, extent, generator)
        if variable.role == "partial":
            shape = batch[variable.name].shape[: 1 + len(without_data(model, element_plates(variable)))]
            observed = torch.rand(shape, generator=generator) >= missing
            if 0 < missing < 1 and observed.numel():
                observed.view(-1)[0] = False  # of few cells chance might leave out none
            batch[f"{variable.name}_observed"] = observed
    return batch


def read_rows(model: Model, sizes: Mapping[str, int], batch: Mapping[str, Tensor], rows: int) -> list[Row]:
    """The first `rows` rows of a batch."""
    return [read_row(model, sizes, batch, index) for index in range(rows)]


def with_rubbish(model: Model, sizes: Mapping[str, int], batch: Batch, generator: Generator, more: int = 2) -> Batch:
    """The same rows in a batch `more` elements wider along each ragged plate, with valid but random values (and lengths)
    in every cell that counts for nothing: past the ends and under missing partial cells."""
    rows = row_count(model, batch)
    frames = read_rows(model, sizes, batch, rows)
    grown = {plate.name: _grown_length(model, plate, batch, generator, more) for plate in model.plates if plate.ragged}
    result = dict(batch)
    for plate, length in grown.items():
        result[model.plate[plate].length_key] = length
    extent = {plate.name: extent_of(model, sizes, plate, batch) + (more if plate.ragged else 0) for plate in model.plates}
    for variable in model.variables:
        if variable.role == "latent" or not in_data(model, variable.plates):
            continue
        shape = _shape(model, sizes, variable, rows, extent)
        fresh = _draw(variable.type, shape, _widest(model, sizes, variable.type, extent), sizes, generator)
        seen = torch.rand(shape[: 1 + len(without_data(model, element_plates(variable)))], generator=generator) < 0.5
        for b, frame in enumerate(frames):
            for cell in frame.cells(variable):
                known = cell in frame.values
                if variable.type.domain == "tree":
                    heads = frame.values[cell] if known else frame.parts[cell]
                    there, place = heads >= 0, fresh[b][cell[1]]
                    place[: len(heads)] = torch.where(there, heads, place[: len(heads)])
                    seen[b][cell[1]][: len(heads)] = there
                    continue
                if variable.type.domain == "parse":
                    _keep_parse(variable, batch, (b, *cell[1]), frame.heads(variable, cell), fresh, seen)
                    continue
                if known:
                    fresh[b][cell[1]] = frame.values[cell].to(fresh.dtype)
                seen[b][cell[1]] = known
        result[variable.name] = fresh
        if variable.role == "partial":
            result[f"{variable.name}_observed"] = seen
    return result


def _keep_parse(variable: Variable, batch: Batch, at: tuple[int, ...], count: int, fresh: Tensor, seen: Tensor) -> None:
    """What the batch tells of a parse's elements, but for labels of elements that it does not."""
    told, place = batch[variable.name][at][:count], fresh[at]
    place[:count, 1:] = told[:, 1:]
    there = (
        batch[f"{variable.name}_observed"][at][:count] if variable.role == "partial" else torch.ones(count, dtype=torch.bool)
    )
    seen[at][:count] = there
    place[:count, 0] = torch.where(there, told[:, 0], place[:count, 0])


def take(model: Model, batch: Mapping[str, Tensor], rows: Tensor) -> Batch:
    """Some rows of a batch, in the order given. What stands outside the data plate stays whole."""
    shared = {variable.name for variable in model.variables if not in_data(model, variable.plates)}
    return {name: value if name in shared else value[rows] for name, value in batch.items()}


def trimmed(model: Model, sizes: Mapping[str, int], batch: Batch) -> Batch:
    """The batch without elements of ragged plates that no row has."""
    rows = row_count(model, batch)
    extent = {}
    frames = read_rows(model, sizes, batch, rows)
    for plate in model.plates:
        if plate.ragged:
            extent[plate.name] = max(row.count(plate.name, at) for row in frames for at in row.places(plate.inside))
        else:
            extent[plate.name] = extent_of(model, sizes, plate, batch)
    result = dict(batch)
    for name, plates in _layout(model).items():
        if name in batch:
            result[name] = batch[name][(slice(None), *(slice(extent[plate]) for plate in plates))]
    return result


def row_count(model: Model, batch: Mapping[str, Tensor]) -> int:
    """B, from any tensor that has rows."""
    return len(batch[next(name for name in _layout(model) if name in batch)])


def extent_of(model: Model, sizes: Mapping[str, int], plate: Plate, batch: Mapping[str, Tensor]) -> int:
    """The width of a plate's axis in this batch."""
    if plate.size is not None:
        return measure(plate.size, sizes)
    for name, plates in _layout(model).items():
        if name in batch and plate.name in plates:
            return batch[name].shape[1 + plates.index(plate.name)]
    return 0 if plate.data else int(batch[plate.length_key].max())


def _layout(model: Model) -> dict[str, tuple[str, ...]]:
    """The plates of every batch key that has rows, after the row axis."""
    layout: dict[str, tuple[str, ...]] = {}
    for variable in model.variables:
        if in_data(model, variable.plates):
            layout[variable.name] = layout[f"{variable.name}_observed"] = without_data(model, element_plates(variable))
    for plate in model.plates:
        if plate.ragged:
            layout[plate.length_key] = without_data(model, plate.inside)
    return layout


def _random_lengths(
    model: Model, sizes: Mapping[str, int], rows: int, generator: Generator, shortest: int, longest: int
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Lengths of every ragged plate, 0 where the plate around it has ended; and the width of every plate."""
    lengths: dict[str, Tensor] = {}
    extent: dict[str, int] = {}
    for plate in model.plates:
        if plate.size is not None:
            extent[plate.name] = measure(plate.size, sizes)
        elif plate.ragged:
            outer, least = (
                without_data(model, plate.inside),
                max(shortest, *(fewest(v.type.support) for v in model.variables if v.type.plate == plate.name), 0),
            )
            length = torch.zeros((rows, *(extent[p] for p in outer)), dtype=torch.int64)
            for b in range(rows):
                for at in Row(model, sizes, {p: v[b] for p, v in lengths.items()}, {}).places(outer):
                    length[(b, *at.values())] = torch.randint(least, max(least, longest) + 1, (), generator=generator)
            lengths[plate.name] = length
            extent[plate.name] = int(length.max()) if length.numel() else 0
    return lengths, extent


def _grown_length(model: Model, plate: Plate, batch: Batch, generator: Generator, more: int) -> Tensor:
    """A length tensor made wider along ragged outer plates, random past their ends."""
    length = batch[plate.length_key]
    outer = without_data(model, plate.inside)
    shape = (len(length), *(n + (more if model.plate[p].ragged else 0) for n, p in zip(length.shape[1:], outer, strict=True)))
    grown = torch.randint(1, int(length.max()) + 1, shape, generator=generator)
    grown[tuple(slice(n) for n in length.shape)] = torch.where(length > 0, length, grown[tuple(slice(n) for n in length.shape)])
    return grown


def _shape(model: Model, sizes: Mapping[str, int], variable: Variable, rows: int, extent: Mapping[str, int]) -> tuple[int, ...]:
    """(B, *plates, *event); no B outside the data plate."""
    lead = (rows,) if in_data(model, variable.plates) else ()
    return (*lead, *(extent[plate] for plate in without_data(model, element_plates(variable))), *shape_of(variable.type, sizes))


def _values(model: Model, variable: Variable, frames: list[Row], extent: Mapping[str, int], generator: Generator) -> Tensor:
    """Random values in every cell of every row and zeros elsewhere."""
    sizes = frames[0].sizes
    shape = _shape(model, sizes, variable, len(frames), extent)
    own = in_data(model, variable.plates)
    tensor = torch.zeros(shape, dtype=torch.int64 if variable.type.domain in INTEGER_DOMAINS else torch.float64)
    for b, frame in enumerate(frames if own else frames[:1]):
        for cell in frame.cells(variable):
            if variable.type.domain == "tree":
                heads = random_tree(frame.heads(variable, cell), generator, options_of(variable))
                tensor[(b, *cell[1])][: len(heads)] = heads
                continue
            if variable.type.domain == "parse":
                count, partly = frame.heads(variable, cell), variable.role == "partial"
                found = random_parse(count, *labels_of(variable.type, sizes), generator, partly)
                tensor[(b, *cell[1])][:count] = found
                continue
            card = _card(frame, variable.type, place_of(model, variable, cell))
            value = _draw(variable.type, shape_of(variable.type, sizes), card, sizes, generator)
            tensor[(b, *cell[1]) if own else cell[1]] = value
    return tensor


def _card(row: Row, type: Type, at: Place) -> int:
    return row.card(type, at) if type.domain in INTEGER_DOMAINS - {"tree"} else 0


def _widest(model: Model, sizes: Mapping[str, int], type: Type, extent: Mapping[str, int]) -> int:
    """How many values a finite type may take anywhere in a batch."""
    if type.domain in ("index", "tree") and type.plate is not None:
        return extent[type.plate] + (type.domain == "tree")
    return measure(type.card, sizes) if type.card is not None else 0


def _draw(type: Type, shape: tuple[int, ...], card: int, sizes: Mapping[str, int], generator: Generator) -> Tensor:
    """Random valid values of a domain; `shape` ends with the event shape."""
    if type.domain in INTEGER_DOMAINS:
        return torch.randint(card, shape, generator=generator)
    return _FLOATS[type.domain](torch.randn(shape, dtype=torch.float64, generator=generator))


def _triangular(noise: Tensor) -> Tensor:
    return noise.tril(-1) + torch.diag_embed(noise.diagonal(dim1=-2, dim2=-1).exp())


_FLOATS: dict[str, Callable[[Tensor], Tensor]] = {
    "real": lambda noise: noise,
    "positive": lambda noise: (noise / 2).exp(),
    "unit": lambda noise: noise.sigmoid(),
    "bit": lambda noise: (noise > 0).double(),
    "count": lambda noise: (noise.abs() * 2).floor(),
    "simplex": lambda noise: noise.softmax(-1),
    "ordered": lambda noise: noise.sort(-1).values,
    "cholesky": _triangular,
}
