"""Sequences that end where their end symbol comes: of no length that is drawn beforehand."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vispec.model.model import Model, Variable
from vispec.train.data.encoding.vocab import Encoders

LEAST, TIMES = 50, 4  # a sequence is given up at so many elements, or so many times the longest of the training data


def ending(model: Model, encoders: Encoders) -> dict[str, Variable]:
    """The plates that an end symbol ends, and the tokens in which it comes. Given sequences, and those that an
    index points into, stay whole."""
    pointed_at = {variable.type.plate for variable in model.variables}
    found: dict[str, Variable] = {}
    for variable in model.variables:
        vocabulary = encoders.vocabularies.get(str(variable.type.card)) if variable.type.domain == "token" else None
        plate = model.plate[variable.plates[-1]] if variable.plates else None
        if vocabulary is None or vocabulary.end is None or variable.role == "given" or plate is None:
            continue
        if plate.ragged and not pointed_at & set(variable.plates) and not variable.type.shape:
            found.setdefault(plate.name, variable)
    return found


def longest(lengths: Mapping[int, int]) -> int:
    """How many elements are drawn at most of a plate with these lengths in the training data."""
    return max([LEAST, *(TIMES * length for length in lengths)])


def cut(model: Model, encoders: Encoders, drawn: Mapping[str, Tensor], plates: Mapping[str, Variable]) -> dict[str, Tensor]:
    """The lengths, by their keys in a batch, up to the first end symbol and with it. drawn: {x: (B, *plates)}."""
    found: dict[str, Tensor] = {}
    for plate, variable in plates.items():
        vocabulary = encoders.vocabularies[str(variable.type.card)]
        tokens = drawn[variable.name]
        ends = tokens == vocabulary.ids[str(vocabulary.end)]
        first = torch.where(ends.any(-1), ends.int().argmax(-1) + 1, tokens.shape[-1])
        found[model.plate[plate].length_key] = first
    return found
