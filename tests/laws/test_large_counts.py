"""Counts of millions, and degrees and concentrations alike, through `fit`, `eval` and `posterior`: they are those of 50 digits,
by default (float64) and in float32, and no differences of rounded numbers near 1e7."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from mpmath import mp, mpf
from references import REFERENCES

from vispec.cli.main import main

SPEC = """param pi : simplex[2]
plate n:
    latent   c : category[2] ~ Categorical(pi)
    observed y : {type} ~ {law}({first} if c == 0 else {second}{rest})
"""
# type, the argument in both classes (as in the spec), the others before or after it, and data between the two
LAWS = {
    "Poisson": ("count", 1000000, 1000500, "", [1000100, 1000250, 1000400, 999800, 1000900]),
    "Binomial": ("count", 0.2, 0.2001, 5000000, [1000100, 998800, 1000900, 1000300, 1001500]),
    "NegativeBinomial": ("count", 0.2, 0.201, 400000, [99800, 100300, 101000, 100200, 100700]),
    "Multinomial": ("count[3]", [0.25, 0.25, 0.5], [0.25048828125, 0.25, 0.49951171875], 3000000, None),  # exact in float32
    "StudentT": ("real", 0, 1, 1000000, [0.5, 0.2, -0.7, 1.4, 2.0]),
    "Beta": ("unit", 200000, 200400, "200000", [0.5, 0.5004, 0.5002, 0.4996, 0.5011]),
    "Gamma": ("positive", 1000000, 1001000, "1000", [1000.0, 1000.5, 1000.2, 999.0, 1002.0]),
}
COUNTS = [[750100, 750200, 1499700], [751000, 749500, 1499500], [750700, 750000, 1499300], [751900, 749900, 1498200]]


def logit(p: float) -> Any:
    return mp.log(mpf(p) / (1 - mpf(p)))


def arguments(law: str, own: Any) -> tuple:
    """What the reference takes after the value, of a class's own argument: probabilities as log-odds or logits."""
    match law:
        case "Binomial" | "NegativeBinomial":
            return mpf(LAWS[law][3]), logit(own)
        case "Multinomial":
            return mpf(LAWS[law][3]), [mp.log(mpf(p)) for p in own]
        case "StudentT":
            return mpf(LAWS[law][3]), mpf(own), mpf(1)
        case "Beta" | "Gamma":
            return mpf(own), mpf(LAWS[law][3])
        case _:
            return (mpf(own),)


def spec_of(law: str) -> str:
    kind, first, second, other, _ = LAWS[law]
    before = law in ("Binomial", "NegativeBinomial", "Multinomial", "StudentT")
    text = SPEC.format(type=kind, law=law, first=first, second=second, rest=f", {other}" if other and not before else "")
    text = text.replace(f"{law}(", f"{law}({other}, ") if before else text
    return text.replace("else 1)", "else 1, 1)") if law == "StudentT" else text


def vispec(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("law", LAWS)
def test_a_mixture_has_the_log_probability_and_the_posterior_of_50_digits(tmp_path: Path, law: str, precision: str) -> None:
    values = LAWS[law][4] or COUNTS
    (tmp_path / "m.vispec").write_text(spec_of(law))
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"y": value}) + "\n" for value in values))
    data, run = tmp_path / "d.jsonl", tmp_path / "run"
    options = () if precision == "float64" else ("--set", "precision=float32", "--set", "optimizer=adam", "--epochs", "3")
    vispec("fit", tmp_path / "m.vispec", data, "--out", run, "--threads", "1", *options)
    pi = [mpf(entry["estimate"]) for entry in json.loads(vispec("params", run, "--json"))["parameters"]]
    tolerance = 1e-9 if precision == "float64" else 2e-6
    if precision == "float32" and law in ("Beta", "StudentT", "Gamma"):  # the data themselves are rounded
        values = torch.tensor(values).tolist()
    joint = [
        [mp.log(pi[k]) + REFERENCES[law](exact(value), *arguments(law, LAWS[law][1 + k])) for k in (0, 1)] for value in values
    ]
    total = [mp.log(mp.exp(a) + mp.exp(b)) for a, b in joint]
    assert json.loads(vispec("eval", run, data, "--json"))["log_prob"] == pytest.approx(float(mp.fsum(total)), rel=tolerance)
    rows = [json.loads(line)["c"] for line in vispec("posterior", run, data, "--jsonl").splitlines()]
    for row, both, norm in zip(rows, joint, total, strict=True):
        assert row == pytest.approx([float(mp.exp(each - norm)) for each in both], abs=100 * tolerance)


def exact(value: Any) -> Any:
    return [mpf(each) for each in value] if isinstance(value, list) else mpf(value)
