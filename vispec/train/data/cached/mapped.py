"""Arrays that lie in a file, in pieces one behind another, and are read where they are asked for."""

import mmap
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vispec.train.data.columns import Array

NEAR = 1 << 16  # bytes that the kernel maps around a place that is read
MOST = 1 << 26  # bytes mapped at once, about: pages count as memory of the process until they are let go
AT_ONCE = 1 << 20  # elements looked up together


class Pages:
    """A file mapped into memory, whose pages are let go now and then."""

    def __init__(self, path: Path):
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.buffer = pa.py_buffer(self.map)
        self.touched = 0
        if hasattr(mmap, "MADV_RANDOM"):
            self.map.madvise(mmap.MADV_RANDOM)

    def touch(self, size: int) -> None:
        """So many bytes have been read."""
        self.touched += size
        if self.touched > MOST:
            self.touched = 0
            if hasattr(mmap, "MADV_DONTNEED"):
                self.map.madvise(mmap.MADV_DONTNEED)


class Mapped:
    """An array (elements, *tail) of which each piece lies in a buffer of a mapped file. codes: what each stored number stands
    for, None: for itself."""

    def __init__(
        self, pages: Pages, pieces: Sequence[pa.Buffer], dtype: Any, tail: tuple[int, ...], codes: Array | None = None
    ):
        self.pages, self.tail, self.codes = pages, tail, codes
        self.stored = np.dtype(dtype)
        self.width = prod(tail)
        step = self.stored.itemsize
        self.flat = np.frombuffer(pages.buffer, self.stored, len(pages.map) // step)
        counts = [len(piece) // step // max(1, self.width) for piece in pieces]
        self.starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        places = np.array([(piece.address - pages.buffer.address) // step for piece in pieces], np.int64)
        self.shifts = places - self.starts[:-1] * self.width

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.tail)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return len(self) * self.width

    @property
    def dtype(self) -> Any:
        return self.stored if self.codes is None else self.codes.dtype

    def __getitem__(self, at: Any) -> Any:
        """Elements by numbers in an array of any shape, by one number, or by a slice."""
        if isinstance(at, slice):
            return self._between(*at.indices(len(self))[:2])
        where = np.asarray(at)
        flat = where.reshape(-1)
        parts = [self._picked(flat[i : i + AT_ONCE]) for i in range(0, len(flat), AT_ONCE)] or [self._picked(flat)]
        found = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self.pages.touch(NEAR * (where.size if where.ndim < 2 else where.size // max(1, where.shape[-1])))
        return found.reshape(*where.shape, *self.tail) if where.ndim or self.tail else found.reshape(())[()]

    def take(self, at: Array, axis: int = 0) -> Array:
        """As of an array."""
        return self[at]

    def _picked(self, at: Array) -> Array:
        at = np.where(at < 0, at + len(self), at)
        place = at * self.width + self.shifts[np.searchsorted(self.starts, at, side="right") - 1]
        taken = self.flat.take(place if not self.tail else (place[:, None] + np.arange(self.width)).reshape(-1))
        return taken if self.codes is None else self.codes.take(taken)

    def _between(self, first: int, stop: int) -> Array:
        out = np.empty((max(0, stop - first), *self.tail), self.dtype)
        flat = out.reshape(-1)
        for piece in range(int(np.searchsorted(self.starts, first, side="right")) - 1, len(self.shifts)):
            low, high = max(first, int(self.starts[piece])), min(stop, int(self.starts[piece + 1]))
            if low >= stop:
                break
            shift = int(self.shifts[piece])
            found = self.flat[low * self.width + shift : high * self.width + shift]
            flat[(low - first) * self.width : (high - first) * self.width] = (
                found if self.codes is None else self.codes.take(found)
            )
            self.pages.touch(found.nbytes)
        return out
