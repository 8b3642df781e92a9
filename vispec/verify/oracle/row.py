"""One row of a batch without its padding: how many elements each plate has there, and the value of every known cell."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor

from vispec.model import dims
from vispec.model.model import Model, Variable
from vispec.model.types import FINITE_DOMAINS, INTEGER_DOMAINS, WHOLE_DOMAINS, Dim, Type
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.parses import agrees, all_parses, of_told
from vispec.verify.oracle.stretches import all_stretches
from vispec.verify.oracle.trees import all_trees, options_of

ENUMERABLE = FINITE_DOMAINS | WHOLE_DOMAINS
"""Domains of which one value has finitely many possibilities."""

Cell = tuple[str, tuple[int, ...]]
"""A variable and its place in each of its plates, the data plate left out."""

Place = Mapping[str, int]
"""The present element of each open plate, the data plate left out."""


@dataclass(frozen=True)
class Row:
    """sizes: every size and vocabulary by name. lengths: for a ragged plate, its sizes over the plates around it.
    values: the cells that the data knows; float64 or int64, each of its variable's event shape. parts: the heads of trees of
    which the data knows not all, and what it tells of partial parses; -1 where it does not."""

    model: Model
    sizes: Mapping[str, int]
    lengths: Mapping[str, Tensor]
    values: Mapping[Cell, Tensor]
    parts: Mapping[Cell, Tensor] = field(default_factory=dict)

    def count(self, plate: str, at: Place) -> int:
        """How many elements `plate` has, given the elements of the plates around it."""
        declared = self.model.plate[plate]
        if declared.size is not None:
            return measure(declared.size, self.sizes)
        around = tuple(at[outer] for outer in declared.inside if not self.model.plate[outer].data)
        return int(self.lengths[plate][around])

    def places(self, plates: tuple[str, ...]) -> Iterator[dict[str, int]]:
        """Every element of the product of `plates`, outermost first; inner sizes may depend on outer elements."""
        places: list[dict[str, int]] = [{}]
        for plate in without_data(self.model, plates):
            places = [{**at, plate: index} for at in places for index in range(self.count(plate, at))]
        return iter(places)

    def cells(self, variable: Variable) -> list[Cell]:
        """All cells of one variable in this row."""
        return [(variable.name, tuple(at.values())) for at in self.places(variable.plates)]

    def heads(self, variable: Variable, cell: Cell) -> int:
        """How many elements a tree has the heads of."""
        return self.count(str(variable.type.plate), place_of(self.model, variable, cell))

    def card(self, type: Type, at: Place) -> int:
        """How many values a finite scalar of this type takes here."""
        if type.domain == "bit":
            return 2
        if type.card is not None:
            return measure(type.card, self.sizes)
        if type.domain == "index" and type.plate is not None:
            return self.count(type.plate, at)
        raise NotCheckedError(f"{type} has no finite number of values")

    def support(self, type: Type, at: Place) -> list[float | int | tuple[float | int, ...]]:
        """Every value of a finite type, in order; a value with an event shape is a flat tuple."""
        scalars = [float(v) if type.domain == "bit" else v for v in range(self.card(type, at))]
        events = 1
        for size in type.shape:
            events *= measure(size, self.sizes)
        return list(product(scalars, repeat=events)) if type.shape else list(scalars)

    def support_of(self, variable: Variable, at: Place) -> list[float | int | tuple[float | int, ...]]:
        """Every value of a finite variable here, in order; a tree is a tuple of heads, with those that the data has."""
        if variable.type.domain == "parse":
            symbols, preterminals = labels_of(variable.type, self.sizes)
            parses = all_parses(self.count(str(variable.type.plate), at), symbols, preterminals)
            known = self.parts.get((variable.name, tuple(at[plate] for plate in without_data(self.model, variable.plates))))
            apart = preterminals if symbols is None else symbols
            return [each for each in parses if known is None or agrees(each, known, apart)]
        if variable.type.domain == "segments":
            longest, labels = (measure(size, self.sizes) for size in (variable.type.longest, variable.type.card))  # type: ignore[arg-type]
            return list(all_stretches(self.count(str(variable.type.plate), at), longest, labels))
        if variable.type.domain != "tree":
            return self.support(variable.type, at)
        trees = all_trees(self.count(str(variable.type.plate), at), options_of(variable))
        known = self.parts.get((variable.name, tuple(at[plate] for plate in without_data(self.model, variable.plates))))
        told = [] if known is None else [(place, head) for place, head in enumerate(known.tolist()) if head >= 0]
        return [heads for heads in trees if all(heads[place] == head for place, head in told)]


def measure(dim: Dim, sizes: Mapping[str, int]) -> int:
    """A size in numbers. The text of a symbolic one is arithmetic over size names that the checker wrote."""
    found = dims.evaluate(dim, sizes)
    assert found is not None, f"size {dim}"
    return found


def shape_of(type: Type, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The event shape in numbers; of a parse, of what data tell at each element."""
    return tuple(measure(dim, sizes) for dim in type.stored)


def labels_of(type: Type, sizes: Mapping[str, int]) -> tuple[int | None, int]:
    """How many symbols a parse has, None where labels are of one kind; and how many preterminals."""
    assert type.card is not None
    return None if type.symbols is None else measure(type.symbols, sizes), measure(type.card, sizes)


def without_data(model: Model, plates: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(plate for plate in plates if not model.plate[plate].data)


def in_data(model: Model, plates: tuple[str, ...]) -> bool:
    """Whether something in these plates belongs to a row, rather than to all of them."""
    return any(model.plate[plate].data for plate in plates)


def place_of(model: Model, variable: Variable, cell: Cell) -> dict[str, int]:
    """The element of each plate at which a cell stands."""
    return dict(zip(without_data(model, variable.plates), cell[1], strict=True))


def as_tensor(value: float | int | tuple[float | int, ...], type: Type, sizes: Mapping[str, int]) -> Tensor:
    """A value of `support` as a tensor of the type's event shape."""
    dtype = torch.int64 if type.domain in INTEGER_DOMAINS else torch.float64
    return torch.tensor(value, dtype=dtype).reshape((-1,) if type.domain in WHOLE_DOMAINS else shape_of(type, sizes))


def read_row(model: Model, sizes: Mapping[str, int], batch: Mapping[str, Tensor], index: int) -> Row:
    """Row `index` of a padded batch; a partial variable's missing cells have no value."""
    ragged = [plate for plate in model.plates if plate.ragged]
    lengths = {plate.name: batch[plate.length_key][index] for plate in ragged}
    row = Row(model, sizes, lengths, {})
    values, parts = dict[Cell, Tensor](), dict[Cell, Tensor]()
    for variable in model.variables:
        if variable.role == "latent":
            continue
        own = in_data(model, variable.plates)
        tensor = batch[variable.name][index] if own else batch[variable.name]
        seen = batch[f"{variable.name}_observed"][index] if variable.role == "partial" else None
        integer = variable.type.domain in INTEGER_DOMAINS
        for cell in row.cells(variable):
            if variable.type.domain == "parse":
                told = tensor[cell[1]][: row.heads(variable, cell)].to(torch.int64)
                symbols, preterminals = labels_of(variable.type, sizes)
                if seen is None:
                    values[cell] = torch.tensor(of_told(told, preterminals if symbols is None else symbols))
                else:
                    own = told[:, :1].masked_fill(~seen[cell[1]][: len(told), None], -1)
                    parts[cell] = torch.cat([own, told[:, 1:]], 1)
            elif variable.type.domain == "tree":
                count = row.heads(variable, cell)
                heads, there = tensor[cell[1]][:count], None if seen is None else seen[cell[1]][:count]
                if there is None or bool(there.all()):
                    values[cell] = heads.to(torch.int64)
                else:
                    parts[cell] = heads.to(torch.int64).masked_fill(~there, -1)
            elif seen is None or bool(seen[cell[1]]):
                values[cell] = tensor[cell[1]].to(torch.int64 if integer else torch.float64)
    return Row(model, sizes, lengths, values, parts)
