"""Opening data files: compression, and which reader a file name asks for."""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from glob import glob, has_magic
from pathlib import Path

from vispec.catalog import discover
from vispec.train.data.columns import DataFile, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError

Held = Callable[[Request], Table]
HELD: ContextVar[Mapping[str, Held]] = ContextVar("HELD")
"""Tables in memory, by the names that stand for paths."""


@contextmanager
def holding(tables: Mapping[str, Held]) -> Iterator[None]:
    """Within, these tables can be read."""
    token = HELD.set({**held(), **tables})
    try:
        yield
    finally:
        HELD.reset(token)


def held() -> Mapping[str, Held]:
    """Those that can be read now, by this thread."""
    return HELD.get({})


@cache
def readers() -> Mapping[str, Reader]:
    """Readers by extension; any other extension is plain text."""
    import vispec.train.data.readers

    entries = discover(vispec.train.data.readers).values()
    return {extension: reader for reader in entries for extension in reader.extensions}


def reader_of(path: str) -> Reader:
    """The reader for a file name, `.gz` left aside."""
    name = Path(path).name.lower().removesuffix(".gz")
    return readers().get(Path(name).suffix, readers()[".txt"])


def read(path: str, request: Request) -> Table:
    """The file's columns; DataError where it cannot be read, is empty, or is not in the format that its name says."""
    with explained(path):
        table = held()[path](request) if path in held() else read_file(path, request)
    if table.origin.rows == 0:
        raise DataError([DataDiagnostic("D102", "the file has no data rows", path)])
    return table


def read_blocks(path: str, request: Request) -> Iterator[Table]:
    """The same, some rows at a time where the format allows it."""
    rows = 0
    with explained(path):
        reader = reader_of(path)
        for table in (reader.blocks or whole_block(reader))(checked(path), request):
            rows += table.origin.rows
            if table.origin.rows:
                yield table
    if rows == 0:
        raise DataError([DataDiagnostic("D102", "the file has no data rows", path)])


def whole_block(reader: Reader) -> Callable[[DataFile, Request], Iterator[Table]]:
    return lambda file, request: iter((reader.read(file, request),))


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Within, what goes wrong as a file is read is a DataError."""
    try:
        yield
    except MemoryError as error:
        reason = f"there is not enough memory for it{f': {error}' if str(error) else ''}"
        raise DataError([DataDiagnostic("D101", reason, path)]) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        message = f"this is not a whole gzip file: {error}"
        raise DataError([DataDiagnostic("D103", message, path, help="drop .gz from its name, or fetch it again")]) from None
    except OSError as error:
        if path.startswith("<") and path.endswith(">"):
            raise DataError([DataDiagnostic("D101", "this table was in the memory of a program in Python", path)]) from None
        help = f"columns are chosen by --columns NAME={path}, once for each variable" if path.startswith("#") else None
        raise DataError([DataDiagnostic("D101", f"cannot read the file: {error.strerror or error}", path, help=help)]) from None
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        raise DataError([DataDiagnostic("D101", "a file name cannot hold a null character", path)]) from None


def read_file(path: str, request: Request) -> Table:
    return reader_of(path).read(checked(path), request)


def checked(path: str) -> DataFile:
    """The file, which is not empty, its text in UTF-8."""
    file = in_utf8(opened(path), reader_of(path))
    with file.open() as stream:
        if not stream.read(1):
            raise DataError([DataDiagnostic("D102", "the file is empty", path)])
    return file


def expanded(path: str) -> list[str]:
    """The files that an argument names: those of a folder, or of a pattern with `*`, in the order of their names."""
    if path in held() or Path(path).is_file():
        return [path]
    if Path(path).is_dir():
        found = [str(file) for file in Path(path).iterdir() if file.is_file() and not file.name.startswith((".", "_"))]
    elif has_magic(path) and not Path(path).exists():
        found = [file for file in glob(path, recursive=True) if Path(file).is_file()]
    else:
        return [path]
    if not found:
        raise DataError([DataDiagnostic("D101", "there is no file in this folder, or of this pattern", path)])
    return sorted(found)


def has_columns(path: str) -> bool:
    """Whether what is there is a table, whose columns have names."""
    return path in held() or reader_of(path).name in ("delimited", "parquet", "jsonl")


def opened(path: str) -> DataFile:
    """The bytes of a file after decompression. What is no regular file, such as a pipe, is read once and kept."""
    unzip = path.lower().endswith(".gz")
    if Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir():
        data = piped(path)
        return DataFile(path, lambda: gzip.open(io.BytesIO(data)) if unzip else io.BytesIO(data))
    return DataFile(path, partial(gzip.open if unzip else open, path, "rb"))


@cache
def piped(path: str) -> bytes:
    """All that comes through a pipe, which gives it once."""
    return Path(path).read_bytes()


WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def in_utf8(file: DataFile, reader: Reader) -> DataFile:
    """The file, or its text in UTF-8 where it begins as UTF-16 or UTF-32 does."""
    if reader.binary:
        return file
    with file.open() as stream:
        mark = stream.read(4)
    wide = next((encoding for bytes_, encoding in WIDE if mark.startswith(bytes_)), None)
    if wide is None:
        return file
    try:
        data = whole(file).getvalue().decode(wide).encode()
    except UnicodeError as error:
        message = f"the file begins as {wide.upper()} does, and is not: {error}"
        raise DataError([DataDiagnostic("D104", message, file.name)]) from None
    return DataFile(file.name, lambda: io.BytesIO(data))


def whole(file: DataFile) -> io.BytesIO:
    """All of the file's bytes, for formats that need to jump about in them."""
    with file.open() as stream:
        return io.BytesIO(stream.read())


def check_utf8(file: DataFile) -> None:
    """Refuse a file that is not UTF-8, before Arrow's parser sees it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open() as stream:
        try:
            while block := stream.read(1 << 20):
                if not block.isascii() or decoder.getstate()[0]:  # what is ASCII needs no decoder, but between two parts of it
                    decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise not_utf8(file) from None


def not_utf8(file: DataFile) -> DataError:
    """Find the first line that is not UTF-8."""
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                message = f"byte {error.start + 1} of line {number} is not UTF-8 (0x{line[error.start]:02x})"
                advice = "convert the file, for example with `iconv -f latin1 -t utf-8`"
                return DataError([DataDiagnostic("D104", message, file.name, help=advice, line=number)])
    return DataError([DataDiagnostic("D104", "the file is not UTF-8", file.name)])
