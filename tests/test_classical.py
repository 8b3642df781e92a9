"""benchmarks/classical: each spec is the model of its reference, and the runner knows what is right."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.classical.agree import disagreements
from benchmarks.classical.cases import MODELS, Case, find_cases
from benchmarks.classical.rescale import rescaled
from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.train.data import load
from vispec.train.sizes import check
from vispec.train.store.module import class_of_text

CASES = {case.name: case for case in find_cases(MODELS, ())}


def log_prob(case: Case, data: Path, parameters: dict) -> float:
    """Of all rows, by the emitted module in float64."""
    source = Source(case.spec.name, case.spec.read_text())
    model = check(source, {})
    columns = {name: tuple(of.split(",")) for name, _, of in (arg.partition("=") for arg in case.args[1::2])}
    rows = replace(load(model, (str(data),), columns), precision="float64")
    text = compile_spec(source, rows.sizes)
    module = class_of_text(text, class_of(text))().double()
    leaves = dict(module.named_parameters())
    for name, value in parameters.items():
        value = torch.tensor(value, dtype=torch.float64)
        if name in leaves:
            leaves[name].data.copy_(value)
        else:
            setattr(module, name, value)
    with torch.no_grad():
        return float(module.log_prob(rows.batch(np.arange(rows.num_rows))).sum())


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "params" in case.truth])
def test_the_spec_has_the_maximum_of_the_reference_at_its_estimates(name: str):
    case = CASES[name]
    assert log_prob(case, case.data, case.truth["params"]) == pytest.approx(case.truth["log_lik"], abs=2e-6)


def test_other_units_change_the_maximum_as_expected(tmp_path: Path):
    case = CASES["puromycin"]  # rates times 1000, doses times 0.001
    data, maximum = rescaled(case, 0, tmp_path)
    values = case.truth["params"]
    there = {"v": values["v"] * 1000, "k": values["k"] * 0.001, "s": values["s"] * 1000}
    assert maximum == pytest.approx(case.truth["log_lik"] - 12 * np.log(1000))
    assert log_prob(case, data, there) == pytest.approx(maximum, abs=1e-7)


def shown(truth: dict, order: list[int]) -> dict:
    """What `params --json` would print of a reference, with its classes in another order."""
    entries = []
    for name, values in truth["params"].items():
        value, se = np.array(values), np.array(truth["se"][name])
        for axis in truth["classes"][name]:
            value, se = value.take(order, axis), se.take(order, axis)
        for index in np.ndindex(value.shape):
            entries.append({"name": name, "index": list(index), "estimate": float(value[index]), "se": float(se[index])})
    return {"parameters": [{"note": None, "derived": False} | entry for entry in entries]}


TWO = {
    "params": {"pi": [0.3, 0.7], "trans": [[0.9, 0.1], [0.2, 0.8]]},
    "se": {"pi": [0.1, 0.1], "trans": [[0.01, 0.01], [0.02, 0.02]]},
    "classes": {"pi": [0], "trans": [0, 1]},
}


def test_estimates_agree_up_to_the_order_of_classes():
    assert disagreements(TWO, shown(TWO, [1, 0])) == []
    wrong = shown(TWO, [1, 0])
    wrong["parameters"][0]["estimate"] += 0.01
    assert disagreements(TWO, wrong) == ["pi[1] 0.71 for 0.7"]


def test_where_the_reference_has_no_standard_error_there_must_be_a_note():
    truth = json.loads(json.dumps(TWO))
    truth["se"]["pi"] = [None, None]
    found = shown(TWO, [0, 1])
    assert disagreements(truth, found) == ["pi[0] has a standard error, 0.1", "pi[1] has a standard error, 0.1"]
    for entry in found["parameters"][:2]:
        entry |= {"se": None, "note": "not identified"}
    assert disagreements(truth, found) == []
