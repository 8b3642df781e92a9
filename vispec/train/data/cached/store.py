"""Where encoded data lie: a folder for each, under the hash of all that it depends on.

`rows.arrow` is a file of Arrow (IPC) with a record batch of one row for each block of the data; its columns are lists, each a
flat array of numbers. `V.words.arrow` has the words of vocabulary V and how often each was met, `meta.json` the rest. A folder
is written under another name and renamed when it is whole: what is there is whole, whoever was killed.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock

from vispec.kernels.native.library import cache_folder
from vispec.train.data.cached.mapped import Mapped, Pages
from vispec.train.data.columns import Array
from vispec.train.data.diagnostics import DataDiagnostic, DataError

ROWS, WORDS, META = "rows.arrow", ".words.arrow", "meta.json"
PART = ".part"  # ends the name of a folder that is being written
Words = Mapping[str, tuple[list[str], Array]]
"""Words and how often each was met, by vocabulary."""


def root_of(choice: str) -> Path:
    """The folder in which all lie: `data` in the user's cache folder, or the one of `--cache DIR`."""
    return cache_folder() / "data" if choice in ("auto", "always", "never") else Path(choice)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within, what cannot be written is a DataError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"the data cannot be encoded there: {reason}; what was written is removed"
        advice = "free some space, name another folder, --cache DIR, or clear what is kept: vispec cache --clear"
        raise DataError([DataDiagnostic("D140", message, str(folder), help=advice)]) from error


def write_batch(writer: pa.RecordBatchFileWriter, batch: pa.RecordBatch) -> None:
    """Where a disk may be full."""
    writer.write_batch(batch)


class Writer:
    """Writes a folder under a name of its own; `keep` gives it the name that it shall have."""

    def __init__(self, folder: Path):
        self.folder, self.new = folder, folder.with_name(folder.name + PART)
        self.writer: pa.RecordBatchFileWriter | None = None
        with writing(folder):
            shutil.rmtree(self.new, ignore_errors=True)  # of a process that was killed
            self.new.mkdir(parents=True)
            self.file = (self.new / ROWS).open("wb")

    def write(self, arrays: Mapping[str, Array]) -> None:
        """A block: flat arrays, by name. The first one has all names, and the types of those to come."""
        with writing(self.folder):
            if self.writer is None:
                self.types = {name: pa.from_numpy_dtype(array.dtype) for name, array in arrays.items()}
                self.schema = pa.schema([(name, pa.large_list(kind)) for name, kind in self.types.items()])
                self.writer = pa.ipc.new_file(self.file, self.schema)
            empty = {name: np.zeros(0, kind.to_pandas_dtype()) for name, kind in self.types.items()}
            columns = [
                pa.LargeListArray.from_arrays(pa.array([0, len(array)], pa.int64()), pa.array(array, self.types[name]))
                for name, array in (empty | dict(arrays)).items()
            ]
            write_batch(self.writer, pa.record_batch(columns, schema=self.schema))

    def keep(self, meta: Mapping[str, Any], words: Words) -> None:
        """All is there."""
        with writing(self.folder):
            assert self.writer is not None
            self.writer.close()
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            for name, (tokens, counts) in words.items():
                table = pa.table({"word": pa.array(tokens, pa.large_string()), "count": pa.array(counts)})
                with pa.OSFile(str(self.new / f"{name}{WORDS}"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                    writer.write_table(table)
            sizes = {file.name: file.stat().st_size for file in self.new.iterdir()}
            (self.new / META).write_text(json.dumps({**meta, "bytes": sizes}), encoding="utf-8")
            shutil.rmtree(self.folder, ignore_errors=True)  # one that was damaged
            self.new.rename(self.folder)

    def drop(self) -> None:
        """Nothing is to stay."""
        with suppress(OSError):
            self.file.close()
        shutil.rmtree(self.new, ignore_errors=True)


@dataclass
class Stored:
    """A folder that is whole."""

    folder: Path
    meta: Mapping[str, Any]
    pages: Pages
    pieces: Mapping[str, list[pa.Buffer]]
    types: Mapping[str, Any]

    def array(self, name: str, tail: tuple[int, ...] = (), codes: Array | None = None) -> Any:
        """A `Mapped`, which is an array as far as minibatches ask."""
        return Mapped(self.pages, self.pieces[name], self.types[name], tail, codes)

    def agrees(self, sizes: Mapping[str, int]) -> bool:
        """Whether these sizes are those that the data told, as far as both say them."""
        return all(self.meta["sizes"].get(name, size) == size for name, size in sizes.items())

    def words(self, vocabulary: str) -> tuple[list[str], Array]:
        """In the order of their numbers, and how often each was met."""
        with pa.memory_map(str(self.folder / f"{vocabulary}{WORDS}")) as source:
            table = pa.ipc.open_file(source).read_all()
            return table["word"].to_pylist(), np.array(table["count"])


def opened(folder: Path) -> Stored | None:
    """What is kept there; None where nothing is, or it is damaged."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        if any((folder / name).stat().st_size != size for name, size in meta["bytes"].items()):
            return None
        pages = Pages(folder / ROWS)
        reader = pa.ipc.open_file(pa.BufferReader(pages.buffer))
        pieces: dict[str, list[pa.Buffer]] = {name: [] for name in reader.schema.names}
        for number in range(reader.num_record_batches):
            for name, column in zip(pieces, reader.get_batch(number).columns, strict=True):
                values = column.values
                buffer = values.buffers()[1]
                width = np.dtype(values.type.to_pandas_dtype()).itemsize
                if len(values) and buffer is not None:
                    pieces[name].append(buffer.slice(0, len(values) * width))
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    types = {each.name: each.type.value_type.to_pandas_dtype() for each in reader.schema}
    return Stored(folder, meta, pages, pieces, types)


@dataclass(frozen=True)
class Kept:
    """A folder of encoded data, or what is left of one."""

    folder: Path
    rows: int
    size: int


def listed(root: Path) -> list[Kept]:
    """All that are kept, and what killed processes have left."""
    found: list[Kept] = []
    for folder in sorted(root.glob("*")) if root.is_dir() else ():
        if folder.is_symlink() and not folder.exists():
            folder.unlink()
        elif folder.is_dir() and not folder.is_symlink() and ((folder / META).exists() or folder.suffix == PART):
            rows = 0
            with suppress(OSError, ValueError, KeyError):
                rows = int(json.loads((folder / META).read_text(encoding="utf-8"))["rows"])
            found.append(Kept(folder, rows, sum(file.stat().st_size for file in folder.iterdir())))
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within, no other process writes this folder; who comes later waits, and finds it written."""
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder.with_suffix(".lock")))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
