"""estimates.json of a run: written when a fit ends, read by `params`, and made anew for a run that has none."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError

from vispec.train.data import DataError
from vispec.train.errors import RunError
from vispec.train.estimates.make import LISTED, MOST, Fitted, Say, make_estimates
from vispec.train.estimates.values import Estimates
from vispec.train.scores.counted import total
from vispec.train.scores.evaluate import Rows
from vispec.train.setup.prepare import read_data
from vispec.train.setup.same import data_files
from vispec.train.store.manifest import changed_data, put, read_manifest
from vispec.train.store.metrics import read_metrics
from vispec.train.store.run import ESTIMATES as FILE
from vispec.train.store.run import Run


def estimate_run(run: Run, data: Rows | None, result: Mapping[str, Any], say: Say, most: float = MOST) -> Estimates:
    """The estimates at the run's best parameters. data: its training data, or None where they are gone, and standard errors
    with them. result: that of the fit, as `fit --json` prints it. most: numbers of one parameter that are listed one by one."""
    config = run.config
    module, batch = run.load(torch.device("cpu")), config.settings.batch or 1
    rows = config.rows if data is None else total(data)
    if data is None and result.get("train"):
        rows = result["train"]["rows"]
    return make_estimates(Fitted(run.model, module, run.encoders, config.gathered, result, rows, batch, say), data, most)


def write_estimates(run: Run, estimates: Estimates) -> None:
    """Keep them in the run's folder."""
    put(run.folder, {FILE: estimates.model_dump_json(indent=1) + "\n"})


def read_estimates(run: Run) -> Estimates | None:
    """Those that the folder holds, of a fit that is finished; None where there are none."""
    path = run.folder / FILE
    if not path.exists() or not ended(run):
        return None
    try:
        return Estimates.model_validate_json(run.file(FILE).read_bytes())
    except ValidationError as error:
        raise RunError(f"{path} is damaged; without it, they are computed anew: {error.errors()[0]['msg']}") from error


def find_estimates(run: Run, say: Say, whole: bool = False) -> Estimates:
    """Those of the folder, else computed: with standard errors where the training data are still there, and then kept if
    the folder lets itself be written.

    whole: with each number of parameters that are too long to be kept number by number."""
    found = read_estimates(run)
    if found is None:
        data = training_data(run, say)
        found = estimate_run(run, data, last_result(run), say)
        if data is not None and ended(run) and os.access(run.folder, os.W_OK):
            write_estimates(run, found)
    if whole and any(each.note == LISTED for each in found.folded):
        every = estimate_run(run, None, last_result(run), say, most=float("inf"))
        known = {entry.name for entry in found.parameters}
        more = tuple(entry for entry in every.parameters if entry.name not in known)
        rest = tuple(each for each in found.folded if each.note != LISTED)
        found = found.model_copy(update={"parameters": found.parameters + more, "folded": rest})
    return found


def ended(run: Run) -> bool:
    """Whether the fit came to its end, and does not go on."""
    lines = read_metrics(run.folder, run.trust)
    return bool(lines) and lines[-1]["event"] == "end"


def last_result(run: Run) -> Mapping[str, Any]:
    """What the fit's last line of metrics says; empty where it has not ended."""
    return next((line for line in reversed(read_metrics(run.folder, run.trust)) if line["event"] == "end"), {})


def training_data(run: Run, say: Say) -> Rows | None:
    """The rows that the run was fitted to, None where its files have gone or changed."""
    config = run.config
    try:
        data, _ = read_data(
            run.model, tuple(config.data), tuple(config.valid), config.reading, config.sizes, config.settings, run.encoders
        )
    except (OSError, DataError):
        say(f"no standard errors: the training data cannot be read here ({', '.join(config.data)})")
        return None
    manifest = None if run.trust else read_manifest(run.folder)
    files = data_files(run.model, config.data, config.valid)
    changed = changed_data(manifest, files) is not None if manifest is not None else False
    if changed or (data.num_rows, data.tokens()) != (config.rows, config.tokens):
        say(f"no standard errors: the training data have changed ({', '.join(config.data)})")
        return None
    return data.in_precision(config.settings.numbers)
