"""Opening data files: compression, and which reader a file name asks for."""

import codecs
import gzip
import io
import zlib
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from vispec.catalog import discover
from vispec.train.data.columns import DataFile, Reader, Request, Table
from vispec.train.data.diagnostics import DataDiagnostic, DataError


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
    file = DataFile(path, partial(gzip.open if path.lower().endswith(".gz") else open, path, "rb"))
    try:
        with file.open() as stream:
            if not stream.read(1):
                raise DataError([DataDiagnostic("D102", "the file is empty", path)])
        table = reader_of(path).read(file, request)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        message = f"this is not a whole gzip file: {error}"
        raise DataError([DataDiagnostic("D103", message, path, help="drop .gz from its name, or fetch it again")]) from None
    except OSError as error:
        help = f"columns are chosen by --columns NAME={path}, once for each variable" if path.startswith("#") else None
        raise DataError([DataDiagnostic("D101", f"cannot read the file: {error.strerror or error}", path, help=help)]) from None
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        raise DataError([DataDiagnostic("D101", "a file name cannot hold a null character", path)]) from None
    if table.origin.rows == 0:
        raise DataError([DataDiagnostic("D102", "the file has no data rows", path)])
    return table


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
