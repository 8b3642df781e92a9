"""`vispec params` on a run of every spec: a short fit to random rows, then each form of the table; never a traceback."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.model.model import FitEntry, Model, Variable
from vispec.source import Source
from vispec.train.estimates.values import Estimates
from vispec.verify.build import build
from vispec.verify.data import Batch, random_batch
from vispec.verify.oracle.row import Row, in_data, read_row

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.vispec"))
ROWS = 6


def vispec(*arguments: str | Path, code: int = 0) -> str:
    """What a command prints; it ends with this exit code, and in words."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.stdout if code == 0 else result.stderr


def cell(model: Model, row: Row, variable: Variable, place: tuple[int, ...]) -> Any:
    """A value as a data file has it: words as text, bits of a vector whose entries are counted by their positions."""
    if (variable.name, place) not in row.values:
        return None
    value = row.values[variable.name, place]
    offsets = [entry for entry in model.fit if isinstance(entry, FitEntry) and entry.key == "offset"]
    first = {entry.value: int(str(dict(entry.call)["by"])) for entry in offsets}
    if variable.type.domain == "token":
        return f"w{int(value)}"
    return (value.nonzero().flatten() + first[variable.name]).tolist() if variable.name in first else value.tolist()


def nested(model: Model, row: Row, variable: Variable, plates: tuple[str, ...], at: dict[str, int]) -> Any:
    """A variable of one row, in lists along its plates."""
    if not plates:
        return cell(model, row, variable, tuple(at.values()))
    return [nested(model, row, variable, plates[1:], {**at, plates[0]: i}) for i in range(row.count(plates[0], at))]


def bracketed(nodes: list[list[int]]) -> str:
    """The parse of a row as text, of the label of each element, and of the phrase that is divided behind it."""

    def text(first: int, last: int) -> str:
        if first == last:
            return f"(w{nodes[first][0]} word)"
        middle = next(i for i in range(first, last) if nodes[i][1:3] == [first, last])
        return f"(w{nodes[middle][3]} {text(first, middle)} {text(middle + 1, last)})"

    return text(0, len(nodes) - 1)


def write(folder: Path, model: Model, sizes: Any, batch: Batch) -> list[str]:
    """The data as arguments of `fit`: rows in one file, and what stands outside the rows in one each."""
    given = [variable for variable in model.variables if variable.role != "latent"]
    inside = [variable for variable in given if in_data(model, variable.plates)]
    rows = [read_row(model, sizes, batch, b) for b in range(1 if model.single else ROWS)]
    plates = {v.name: tuple(plate for plate in v.plates if not model.plate[plate].data) for v in inside}
    told = [v for v in inside if v.type.domain != "parse" and not (v.type.domain == "token" and v.type.shape)]
    found = [{v.name: nested(model, row, v, plates[v.name], {}) for v in told} for row in rows]  # stretches are of what is told
    for variable in (each for each in inside if each.type.domain == "parse"):
        for b, row in enumerate(found):
            row[variable.name] = bracketed(batch[variable.name][b, : len(row["y"])].tolist())
    lines = [json.dumps(row) for row in found]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    shared = [variable.name for variable in given if variable not in inside]
    for name in shared:
        np.savez(folder / f"{name}.npz", **{name: batch[name].numpy()})  # pyright: ignore[reportArgumentType]
    return [str(folder / "rows.jsonl"), *(f"{name}={folder / name}.npz" for name in shared)]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_params_of_a_run(path: Path, tmp_path: Path) -> None:
    built = build(Source.read(path), {})
    batch = random_batch(built.model, built.sizes, 1 if built.model.single else ROWS, torch.Generator().manual_seed(1))
    if path.stem == "herds":  # no more sick animals than there are
        batch["size"] = batch["size"] + batch["x"]
    data = write(tmp_path, built.model, built.sizes, batch)
    names = {size.name for size in built.model.sizes}
    sizes = [word for name, value in built.sizes.items() if name in names for word in ("--set", f"{name}={value}")]
    run, few = tmp_path / "run", ("--epochs", "2", "--restarts", "1", "--threads", "1")
    output = vispec("fit", path, *data, *sizes, *few, "--out", run)
    found = Estimates.model_validate_json(vispec("params", run, "--json"))
    told = {entry.name for entry in found.parameters} | {each.name for each in found.folded}
    table = vispec("params", run)
    assert all(name in table for name in told)
    assert any(name in output for name in told)
    assert vispec("params", run, "--csv").count("\n") == 1 + len(found.parameters)
    narrow = Estimates.model_validate_json(vispec("params", run, "--json", "--level", "0.8"))
    assert [entry.se for entry in narrow.parameters] == [entry.se for entry in found.parameters]
    for name in sorted(told):  # a table in that order, or a sentence why there is none
        result = CliRunner().invoke(main, ["params", str(run), "--order", name])
        assert result.exit_code == 0 or (isinstance(result.exception, SystemExit) and name in result.stderr)
    assert "nothing" in vispec("params", run, "--order", "nothing", code=1)
