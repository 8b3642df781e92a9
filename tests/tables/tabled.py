"""What the tests of tables share: a spec and text of files, read; and the commands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from vispec.cli.main import main
from vispec.face.tables import arguments
from vispec.model.model import Model
from vispec.source import Source
from vispec.train.data import DataError, Dataset, load
from vispec.train.sizes import check


def model(text: str) -> Model:
    return check(Source("m.vispec", text), {})


class Files:
    """A folder of files."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, name: str, content: str | bytes | Mapping[str, Any]) -> str:
        """A file of this text; of these columns, as Parquet."""
        place = self.folder / name
        if isinstance(content, Mapping):
            pq.write_table(pa.table(dict(content)), place)
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(place)

    def read(self, spec: str, name: str, content: str | bytes | Mapping[str, Any], **options: Any) -> Dataset:
        return load(model(spec), [self.path(name, content)], **options)

    def held(self, spec: str, data: Any, **options: Any) -> Dataset:
        """Of a table in memory."""
        with arguments(data) as (words,):
            return load(model(spec), words, **options)

    def refused(self, spec: str, name: str, content: str | bytes | Mapping[str, Any], **options: Any) -> str:
        """What is said of a file that is refused."""
        with pytest.raises(DataError) as caught:
            self.read(spec, name, content, **options)
        return str(caught.value).replace(f"{self.folder}/", "")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def values(data: Dataset, name: str) -> Any:
    return data.batch(range(data.num_rows))[name].tolist()


def warned(data: Dataset) -> dict[str, str]:
    return {warning.code: warning.message for warning in data.warnings}


def vispec(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def done(*arguments: str) -> str:
    """What a command prints that ends well."""
    result = vispec(*arguments)
    assert result.exit_code == 0, result.output
    return result.output
