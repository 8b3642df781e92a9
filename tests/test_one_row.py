"""Specs without a data plate: one row, which the data say whole or as tables; random ones against enumeration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_laws import RANDOM, agrees, trial_of

from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.plan.axes import element_plates, first_plate
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data import Encoders, load
from vispec.train.scores.rows import Rows
from vispec.verify import checks
from vispec.verify.data import take
from vispec.verify.generate import single_texts
from vispec.verify.trial import Trial, finite_unknowns

EXACT = dict(rtol=0, atol=1e-12)


def tried(text: str, seed: int) -> Trial:
    """The trial, where the planner takes the model: latents that couple all elements are refused here as in a data plate."""
    codes: set[str] = set()
    try:
        return trial_of(text, seed)
    except SpecError as error:
        codes = {d.code for d in error.diagnostics}
    assume(not all(code.startswith("V7") for code in codes))
    raise AssertionError(codes)


@settings(RANDOM, max_examples=60)
@given(text=single_texts(), seed=st.integers(0, 2**20))
def test_random_models_equal_enumeration(text: str, seed: int) -> None:
    trial = tried(text, seed)
    assert trial.built.model.single is not None
    agrees(checks.check_log_prob(trial))
    agrees(checks.check_gradient(trial))
    if finite_unknowns(trial.built):
        assert not checks.check_marginals(trial).differs
        assert not checks.check_mode(trial).differs


@settings(RANDOM, max_examples=60)
@given(text=single_texts(), seed=st.integers(0, 2**20))
def test_the_row_is_read_from_an_object_arrays_and_tables(text: str, seed: int, tmp_path_factory: Any) -> None:
    trial = tried(text, seed)
    model, folder = check_model(parse(Source("random.vispec", text))), tmp_path_factory.mktemp("one")
    row = {name: value for name, value in take(model, trial.batch, torch.tensor([0])).items()}
    value = Rows(model, Encoders(), row).values({v.name: row[v.name] for v in model.variables if v.name in row})[0]
    whole = with_gaps(model, row, value)
    wanted = trial.built.module.log_prob(row)
    (folder / "whole.jsonl").write_text(json.dumps(whole) + "\n")
    (folder / "whole.json").write_text(json.dumps(whole, indent=1))
    ways = [["whole.jsonl"], ["whole.json"], tables(model, whole, folder)]
    if all(known(v) and not ragged_below(model, name) for name, v in whole.items()):
        np.savez(folder / "whole.npz", **{name: np.array(v) for name, v in whole.items()})
        ways.append(["whole.npz"])
    for arguments in ways:
        paths = [path.replace("=", f"={folder}/") if "=" in path else f"{folder}/{path}" for path in arguments]
        data = load(model, paths, sizes=trial.built.sizes).in_precision("float64")
        assert len(data) == 1
        torch.testing.assert_close(trial.built.module.log_prob(data.batch([0])), wanted, **EXACT)


def with_gaps(model: Model, row: Mapping[str, torch.Tensor], value: Mapping[str, Any]) -> dict[str, Any]:
    """The row with null in the missing cells of partial variables."""

    def masked(cells: Any, seen: Any) -> Any:
        return [masked(*pair) for pair in zip(cells, seen, strict=False)] if isinstance(seen, list) else cells if seen else None

    partial = {v.name for v in model.variables if v.role == "partial"}
    return {n: masked(v, row[f"{n}_observed"][0].tolist()) if n in partial else v for n, v in value.items()}


def tables(model: Model, whole: Mapping[str, Any], folder: Path) -> list[str]:
    """A file for each variable, whose rows are the elements of its outermost plate."""
    for name, value in whole.items():
        rows = value if first_plate(model, name) else [value]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({name: item}) + "\n" for item in rows))
    return [f"{name}={name}.jsonl" for name in whole]


def known(value: Any) -> bool:
    return all(map(known, value)) if isinstance(value, list) else value is not None


def ragged_below(model: Model, name: str) -> bool:
    plates = [model.plate[p] for p in element_plates(model.variable[name]) if not model.plate[p].implicit]
    return any(plate.ragged for plate in plates[1:])
