"""One pass over data, block by block: each is read and encoded as data in memory are, with vocabularies that grow, and written.

Numbers of words and labels are those of their first use, from 1 (0: missing, or no element at all); what they stand for is
settled when all are known (see settle.py), so that a vocabulary can be cut, or be that of another run, and nothing is encoded
again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vispec.model.model import Model, Variable
from vispec.train.data.cached.blocks import Block, Stream, aligned
from vispec.train.data.cached.growing import Growing
from vispec.train.data.cached.store import Writer
from vispec.train.data.columns import Array
from vispec.train.data.dataset import Dataset
from vispec.train.data.diagnostics import DataDiagnostic, DataError, to_json
from vispec.train.data.encoding.encode import Field
from vispec.train.data.encoding.labels import card_of, group_of, is_coded
from vispec.train.data.encoding.vocab import Encoders, Vocabulary, settings, specials
from vispec.train.data.files import holding, read
from vispec.train.data.load import load

LATER = {"D187", "D192", "D195", "D197", "D198"}  # warnings of which a block cannot know whether they hold
VALUES, OBSERVED, STARTS = "values:", "observed:", "starts:"


def held_load(model: Model, arguments: Sequence[str], block: Block, **options: Any) -> Dataset:
    """A block as data in memory."""
    with holding({path: lambda request, table=table: table for path, table in block.items()}):
        return load(model, arguments, part=True, **options)


class Gathering:
    """What the blocks have had so far."""

    def __init__(self, model: Model, writer: Writer, options: Mapping[str, Any], known: Encoders):
        self.model, self.writer, self.options = model, writer, dict(options)
        self.vocabularies = {vocab.name: growing(vocab, known.vocabularies.get(vocab.name)) for vocab in model.vocabs}
        self.labels: dict[str, dict[str, int]] = {}
        self.told: dict[str, set[tuple[str, ...] | None]] = {}
        self.sizes: dict[str, int] = dict(options.get("sizes") or {})
        coded = {card_of(model, v.type) for v in model.variables if is_coded(model, v.type)}
        self.open = {*self.vocabularies, *map(str, coded)} - {*self.sizes}  # the whole of the data tells these
        self.totals: dict[str, int] = {}
        self.first: Dataset | None = None
        self.types: dict[str, Any] = {}
        self.rows = 0
        self.seen = set[str]()

    def run(self, streams: Sequence[Stream], outside: Sequence[Stream]) -> dict[str, Any]:
        """All blocks; what is to be known of them. outside: files of what all rows share, which each block has whole."""
        shared = {path: read(path, stream.request) for stream in outside for path in stream.paths}
        more = [stream.argument(path) for stream in outside for path in stream.paths]
        for arguments, block in aligned(streams):
            self.add(held_load(self.model, [*arguments, *more], block | shared, **self._asked()))
        assert self.first is not None
        self.writer.write(self._closing(self.first))
        return self._meta(self.first)

    def _asked(self) -> dict[str, Any]:
        known = {name: size for name, size in self.sizes.items() if name not in self.open}
        return self.options | {"encoders": Encoders(self.vocabularies), "more": True, "sizes": known}

    def add(self, block: Dataset) -> None:
        """A block's numbers, and what it tells."""
        arrays: dict[str, Array] = {}
        for field in block.fields.values():
            if field.rows or self.first is None:
                arrays |= self._arrays(field, block.encoders)
        for path, ragged in block.ragged.items():
            name = STARTS + ".".join(path)
            before = self.totals.get(name, 0)
            arrays[name] = ragged.offsets[:-2] + before
            self.totals[name] = before + int(ragged.offsets[-1])
        self.writer.write(arrays)
        self.sizes |= block.sizes
        self.rows += block.stored
        self.first = self.first or block

    def _arrays(self, field: Field, encoders: Encoders) -> dict[str, Array]:
        """Flat values, without the element that padding points at."""
        count = len(field.values) - bool(field.path)
        values, observed = field.values[:count], None if field.observed is None else field.observed[:count]
        there = values if observed is None else values[observed]
        if there.size:
            self.seen.add(field.name)
        numbers = self._numbers(self.model.variable[field.name], values, there, encoders)
        if numbers is not None:
            values = numbers + 1 if observed is None else np.where(observed, numbers + 1, 0)
        name = VALUES + field.name
        out = {name: self._typed(name, values).reshape(-1)}
        return out if observed is None else out | {OBSERVED + field.name: observed.reshape(-1).astype(np.uint8)}

    def _numbers(self, variable: Variable, values: Array, there: Array, encoders: Encoders) -> Array | None:
        """Of words and labels, from 0; None of what is a number itself. there: the values that are not missing."""
        if variable.type.domain == "token":
            self.vocabularies[str(variable.type.card)].count(there)
            return values
        if not is_coded(self.model, variable.type):
            return None
        group = group_of(self.model, variable)
        return self._numbered(group, encoders.labels.get(group), values, there)

    def _numbered(self, group: str, labels: tuple[str, ...] | None, values: Array, there: Array) -> Array:
        """The numbers of labels by their first use."""
        known = self.labels.setdefault(group, {})
        told = self.told.setdefault(group, set())
        if labels != ():  # a block in which all are missing tells none
            told.add(labels)
        numbers = np.zeros(int(values.max(initial=0)) + 1 if labels is None else len(labels), np.int32)
        met = np.flatnonzero(np.bincount(there.reshape(-1))) if labels is None else np.arange(len(labels))
        numbers[met] = [known.setdefault(str(i) if labels is None else labels[i], len(known)) for i in met.tolist()]
        return numbers[values] if len(numbers) else values

    def _typed(self, name: str, values: Array) -> Array:
        """Of one type from the first block to the last; numbers that may have a fraction later on, as such."""
        wide = values.dtype in (np.int64, np.float64)
        kind = self.types.setdefault(name, np.dtype(np.float64) if wide else values.dtype)
        if not np.can_cast(values.dtype, kind, "safe") and values.dtype != np.int64:
            message = f"the values from here on are {values.dtype}, those before {kind}"
            raise DataError([DataDiagnostic("D114", message, "data", column=name.removeprefix(VALUES))])
        return values.astype(kind, copy=False)

    def _closing(self, first: Dataset) -> dict[str, Array]:
        """What padding points at: an element of zeros, and an empty list."""
        arrays: dict[str, Array] = {}
        for field in first.fields.values():
            if field.path:
                arrays[VALUES + field.name] = np.zeros(field.values[:1].size, self.types[VALUES + field.name])
                if field.observed is not None:
                    arrays[OBSERVED + field.name] = np.zeros(field.observed[:1].size, np.uint8)
        return arrays | {name: np.full(2, total, np.int64) for name, total in self.totals.items()}

    def _meta(self, first: Dataset) -> dict[str, Any]:
        fields = [
            {
                "name": field.name,
                "path": field.path,
                "shape": field.values.shape,
                "places": None if field.observed is None else field.observed.shape,
                "integer": field.integer,
                "rows": field.rows,
            }
            for field in first.fields.values()
        ]
        return {
            "rows": self.rows,
            "fields": fields,
            "ragged": [{"path": path, "plate": ragged.plate_path} for path, ragged in first.ragged.items()],
            "length_keys": [[path, key] for path, key in first.length_keys.items()],
            "observed": [[name, plates] for name, plates in first.observed],
            "sizes": {name: size for name, size in self.sizes.items() if name not in self.open},
            "columns": first.columns,
            "asked": first.asked,
            "weight": first.weight,
            "warnings": [to_json(warning) for warning in first.warnings if warning.code not in LATER],
            "labels": {name: list(labels) for name, labels in self.labels.items()},
            "told": {name: [*labels] for name, labels in self.told.items()},
            "seen": sorted(self.seen),
        }


def growing(vocab: Any, known: Vocabulary | None) -> Growing:
    """An empty vocabulary with the symbols that the spec asks for, or those of a vocabulary that is known."""
    names = ("begin", "end", "lower", "chars", "unknown")
    chosen = settings(vocab) if known is None else {name: getattr(known, name) for name in names}
    return Growing(vocab.name, tuple(specials(chosen)), **chosen)
