"""Data, and minibatches cut from it: flat arrays with offsets, in memory or in a file, padded by one gather per variable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any

import numpy as np

from vispec.lazy import torch
from vispec.train.data.arrange import Path
from vispec.train.data.columns import Array
from vispec.train.data.diagnostics import DataDiagnostic
from vispec.train.data.encoding.encode import Field
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.data.order import Order
from vispec.train.data.scatter import ROUNDS, Scattered

if TYPE_CHECKING:
    from torch import Generator, Tensor

PART = 1 << 20  # rows of which numbers are found at once
MANY = 1 << 24  # rows of which an order is computed rather than drawn


@dataclass(frozen=True)
class Ragged:
    """Lists along one path of plates. offsets: (parents + 2,) int64; the last is an empty list that padding points at.

    plate_path: the path of the plate's first opening, whose padded width this one shares."""

    offsets: Array
    plate_path: Path


@dataclass(frozen=True, repr=False)
class Dataset:
    """Rows of all variables that have data.

    sizes: every size and vocabulary that the spec, the user or the data told, by the spec's name. rows: which rows of the
    storage these are, None for all. precision: the name of the type of numbers in batches, None for torch's default.
    length_keys: batch key of the lengths, by path of plates. observed: (variable, its plates) for each variable that is scored.
    warnings: what was odd but no mistake. columns: by variable, the names of the columns that its vector was gathered from.
    asked: by variable that `--columns` names, the names of its columns.
    weight: the variable that says how many rows each row stands for.
    tables: the outermost plates whose elements are the rows of a file, where the data are one row. dropped: a line on rows that
    were left out, "" where there are none. keys: of a long table, the column that keys its rows and their labels. unmet:
    rows that read what no row of the training data met. found: numbers of these rows that were found already."""

    fields: Mapping[str, Field]
    ragged: Mapping[Path, Ragged]
    length_keys: Mapping[Path, str]
    observed: tuple[tuple[str, Path], ...]
    sizes: Mapping[str, int]
    encoders: Encoders
    stored: int
    rows: Array | None = None
    warnings: tuple[DataDiagnostic, ...] = ()
    precision: str | None = None
    columns: Mapping[str, tuple[str, ...]] = dataclass_field(default_factory=dict)
    asked: Mapping[str, tuple[str, ...]] = dataclass_field(default_factory=dict)
    weight: str | None = None
    tables: tuple[str, ...] = ()
    dropped: str = ""
    keys: Mapping[str, tuple[str | int, ...]] = dataclass_field(default_factory=dict)
    unmet: frozenset[int] = frozenset()
    found: dict[str, Any] = dataclass_field(default_factory=dict, compare=False)

    @property
    def num_rows(self) -> int:
        return self.stored if self.rows is None else len(self.rows)

    def __len__(self) -> int:
        return self.num_rows

    def __repr__(self) -> str:
        return f"Dataset({self.num_rows} rows of {', '.join(self.variables)})"

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that batches hold."""
        return tuple(self.fields)

    # ---- minibatches

    def batch(self, indices: "Sequence[int] | Array | Tensor") -> "dict[str, Tensor]":
        """The rows at `indices`, in that order, as the emitted module takes them."""
        rows = self._stored_rows(np.asarray(indices, np.int64))
        positions: dict[Path, Array] = {(): rows}
        out: dict[str, Tensor] = {}
        number = torch.get_default_dtype() if self.precision is None else getattr(torch, self.precision)
        for path, key in self.length_keys.items():
            out[key] = torch.from_numpy(self._list_lengths(positions, path))
        for field in self.fields.values():
            at = self._positions(positions, field.path) if field.rows else None
            out[field.name] = _tensor(field.values, at, torch.int64 if field.integer else number)
            if field.observed is not None:
                out[f"{field.name}_observed"] = _tensor(field.observed, at, torch.bool)
        return out

    def _stored_rows(self, indices: Array) -> Array:
        if len(indices) and not -self.num_rows <= indices.min() <= indices.max() < self.num_rows:
            raise IndexError(f"row {indices.max()} of {self.num_rows}")
        return indices % max(1, self.stored) if self.rows is None else self.rows[indices]

    def _positions(self, known: dict[Path, Array], path: Path) -> Array:
        """Indices of elements, (B, *padded sizes along path); padding is the index one past the last."""
        if path not in known:
            parent = self._positions(known, path[:-1])
            ragged = self.ragged[path]
            start = ragged.offsets[parent]
            count = ragged.offsets[parent + 1] - start
            owner = count if ragged.plate_path == path else self._list_lengths(known, ragged.plate_path)
            steps = np.arange(max(1, int(owner.max(initial=0))))
            known[path] = np.where(steps < count[..., None], start[..., None] + steps, ragged.offsets[-1])
        return known[path]

    def _list_lengths(self, known: dict[Path, Array], path: Path) -> Array:
        parent = self._positions(known, path[:-1])
        bounds = self.ragged[path].offsets
        return bounds[parent + 1] - bounds[parent]

    def order(self, size: int, generator: "Generator | None" = None, bucket: bool = False) -> Order:
        """The rows of each minibatch of one epoch: in their order, or shuffled by the generator.

        bucket: put rows of like length together, so that little is padded; the batches still come in random order."""
        count = self.num_rows
        rows: Any = range(count)
        if generator is not None and count > MANY:
            rows = Scattered(count, torch.randint(1 << 62, (ROUNDS,), generator=generator).numpy().astype(np.uint64))
        elif generator is not None:
            rows = torch.randperm(count, generator=generator).numpy()
        batches = np.arange(-(-count // size))
        if bucket and generator is not None:
            batches = torch.randperm(len(batches), generator=generator).numpy()
        return Order(rows, size, batches, self._row_sizes if bucket and self.ragged else None, generator is not None)

    def batches(self, size: int, generator: "Generator | None" = None, bucket: bool = False) -> "Iterator[dict[str, Tensor]]":
        """One epoch of minibatches of `size` rows, the last one smaller; see `order`."""
        return map(self.batch, self.order(size, generator, bucket))

    # ---- counts

    def _bounds(self, path: Path, first: int, stop: int) -> Array:
        """Where the elements along `path` of the stored rows between two start, and one past the last: (stop - first + 1,)."""
        if not path:
            return np.arange(first, stop + 1)
        at = self.ragged[path[:1]].offsets[first : stop + 1]
        for depth in range(2, len(path) + 1):
            at = self.ragged[path[:depth]].offsets[at]
        return at

    def _each(self, count: "Callable[[int, int], Array]", kind: Any = np.int64) -> Array:
        """A number for each stored row, which are found for those between two at once."""
        found = np.empty(self.stored, kind)
        for first in range(0, self.stored, PART):
            found[first : first + PART] = count(first, min(first + PART, self.stored))
        return found

    @property
    def _row_sizes(self) -> Array:
        """Elements of each row along all its plates together, no longer than 32 bits can say."""

        if "sizes" in self.found:
            return self.found["sizes"]

        def sizes(first: int, stop: int) -> Array:
            none = np.zeros(stop - first, np.int64)
            found = sum((np.diff(self._bounds(path, first, stop)) for path in self.ragged), none)
            return np.minimum(found, np.iinfo(np.int32).max)

        found = self._each(sizes, np.int32)
        self.found["sizes"] = found if self.rows is None else found[self.rows]
        return self.found["sizes"]

    def tokens(self, indices: "Sequence[int] | Array | Tensor | None" = None) -> int:
        """How many elements are scored in these rows (all, if None), as they are, without weights. Variables that stand in the
        same plates count once, an element with event dimensions is one, and of a partial variable only the observed elements
        count."""
        if indices is not None:
            return int(self.row_tokens(indices).sum())
        if "tokens" not in self.found:
            self.found["tokens"] = int(
                self._each(self._scored, np.int32).sum(dtype=np.int64) if self.rows is None else self.row_tokens().sum()
            )
        return self.found["tokens"]

    def weights(self, indices: "Sequence[int] | Array | Tensor | None" = None) -> Array:
        """How many rows each of these rows (all, if None) stands for (M,), in float64."""
        rows = self.rows if indices is None else self._stored_rows(np.asarray(indices, np.int64))
        if self.weight is None:
            return np.ones(self.stored if rows is None else len(rows))
        values = self.fields[self.weight].values[:].astype(np.float64)
        return values if rows is None else values[rows]

    def row_tokens(self, indices: "Sequence[int] | Array | Tensor | None" = None) -> Array:
        """How many elements are scored in each of these rows (M,)."""
        rows = self.rows if indices is None else self._stored_rows(np.asarray(indices, np.int64))
        counts = self._each(self._scored)
        return counts if rows is None else counts[rows]

    def _scored(self, first: int, stop: int) -> Array:
        """How many elements are scored in each of the stored rows between two."""
        places: dict[Path, Array] = {}
        for name, plates in self.observed:
            field = self.fields[name]
            bounds = self._bounds(field.path, first, stop)
            if field.observed is None:
                events = len(field.path) + len(plates[len(field.path) :])
                tail = field.values.shape[1 : 1 + events - len(field.path)]
                counts = np.diff(bounds) * int(np.prod(tail, dtype=np.int64))
            else:
                seen = field.observed[int(bounds[0]) : int(bounds[-1])]
                each = seen.sum(axis=tuple(range(1, seen.ndim)), dtype=np.int64)
                counts = np.diff(np.concatenate(([0], np.cumsum(each)))[bounds - bounds[0]])
            places[plates] = np.maximum(places[plates], counts) if plates in places else counts
        return sum(places.values(), np.zeros(stop - first, np.int64))

    @property
    def lengths(self) -> dict[str, Array]:
        """The lengths of each ragged plate's lists in these rows, by plate: what `sample` draws sizes from."""
        found: dict[str, Array] = {}
        for path in self.length_keys:
            if self.rows is None and len(path) == 1:
                bounds = self.ragged[path].offsets
                found[path[-1]] = self._each(lambda first, stop, bounds=bounds: np.diff(bounds[first : stop + 1]))
                continue
            parents = np.arange(self.stored) if self.rows is None else self.rows
            for depth in range(1, len(path)):
                bounds = self.ragged[path[:depth]].offsets
                counts = bounds[parents + 1] - bounds[parents]
                first = np.repeat(bounds[parents] - np.cumsum(counts) + counts, counts)
                parents = first + np.arange(int(counts.sum()))
            bounds = self.ragged[path].offsets
            found[path[-1]] = bounds[parents + 1] - bounds[parents]
        return found

    # ---- parts

    def in_precision(self, name: str | None) -> "Dataset":
        """The same, with numbers of batches as `float32` or `float64`."""
        return replace(self, precision=name)

    def select(self, indices: "Sequence[int] | Array | Tensor") -> "Dataset":
        """These rows, sharing the storage."""
        return replace(self, rows=self._stored_rows(np.asarray(indices, np.int64)), found={})

    def split(self, fraction: float, seed: int) -> "tuple[Dataset, Dataset]":
        """All but a fraction of the rows, and that fraction (at least one row, and at least one left), drawn by the seed."""
        if self.num_rows < 2:
            raise ValueError("a split needs two rows")
        order = np.random.default_rng(seed).permutation(self.num_rows)
        held = np.zeros(self.num_rows, bool)
        held[order[: min(max(1, round(self.num_rows * fraction)), self.num_rows - 1)]] = True
        return self.select(np.flatnonzero(~held)), self.select(np.flatnonzero(held))


def _tensor(values: Array, at: Array | None, dtype: Any) -> "Tensor":
    """The elements at these positions, as a tensor that owns its memory."""
    taken = np.copy(values) if at is None else values.take(at, axis=0)
    return torch.from_numpy(taken).to(dtype)
