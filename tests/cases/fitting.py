"""A spec and its data through the command line: `fit` by default settings, its `--json`, and the estimates."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.train.estimates.values import Estimates


def vispec(*arguments: str | Path, code: int = 0) -> str:
    """What a command prints, or where it shall fail, what it says."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def written(folder: Path, text: str, columns: Mapping[str, Any]) -> tuple[Path, Path]:
    """The spec and the table as files; a column may be nested."""
    spec, data = folder / "model.vispec", folder / "data.jsonl"
    spec.write_text(text)
    rows = zip(*(np.asarray(values).tolist() for values in columns.values()), strict=True)
    data.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    return spec, data


def fitted(folder: Path, text: str, columns: Mapping[str, Any], *options: str) -> tuple[dict[str, Any], dict[str, float]]:
    """(what `fit --json` says, the estimates by their titles) of a run in `folder / "run"`."""
    spec, data = written(folder, text, columns)
    told = json.loads(vispec("fit", spec, data, "--out", folder / "run", "--threads", "1", "--json", *options))
    return told, {entry.title: entry.estimate for entry in estimates(folder).parameters}


def estimates(folder: Path) -> Estimates:
    return Estimates.model_validate_json(vispec("params", folder / "run", "--json"))


def log_prob(told: Mapping[str, Any]) -> float:
    """Of the training rows, in nats; the fit says that it is at a maximum."""
    assert told["converged"] is True, told["text"]
    assert told["decrement"] < 1e-5
    return told["train"]["log_prob"]
