"""Specs without a data plate: one row, which the data say whole or as tables; random ones against enumeration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_laws import RANDOM, agrees, trial_of

from vispec.cli.main import main
from vispec.diagnostics import SpecError
from vispec.explain.explain import explain
from vispec.explain.show import show_explanation
from vispec.graph.build import build_graph, show_graph
from vispec.graph.layout.figure import make_figure
from vispec.model.check import check_model
from vispec.model.extent import element_plates, first_plate
from vispec.model.model import Model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data import DataError, Encoders, load
from vispec.train.scores.rows import Rows
from vispec.verify import checks
from vispec.verify.data import take
from vispec.verify.generate import single_texts
from vispec.verify.trial import Trial, finite_unknowns


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
        np.savez(folder / "whole.npz", allow_pickle=False, **{name: np.array(v) for name, v in whole.items()})
        ways.append(["whole.npz"])
    for arguments in ways:
        paths = [path.replace("=", f"={folder}/") if "=" in path else f"{folder}/{path}" for path in arguments]
        data = load(model, paths, sizes=trial.built.sizes).in_precision("float64")
        assert len(data) == 1
        torch.testing.assert_close(trial.built.module.log_prob(data.batch([0])), wanted, rtol=0, atol=1e-12)


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


# ---- what the checker makes of them


HMM = """\
plate k[2]:
    param mu   : real
    param stay : simplex[2]
chain day:
    latent   c : index[k] ~ Uniform() then Categorical(stay[c[day-1]])
    observed x : real     ~ Normal(mu[c], 1)
"""
SCHOOLS = """\
latent mu : real ~ Normal(0, 5)
plate school[3]:
    given    sigma : positive
    latent   theta : real ~ Normal(mu, 2)
    observed y     : real ~ Normal(theta, sigma)
"""
TWO = """\
param p : unit
param m : real
chain t:
    observed x : bit ~ Bernoulli(p)
plate j[2]:
    observed y : real ~ Normal(m, 1)
"""
RATES = """\
size C
param base  : real
param slope : real
plate city[C]:
    given size : positive

plate visit:
    given    at : index[city]
    observed x  : count ~ Poisson(exp(base + slope * log(size[at])))
"""


def model_of(text: str) -> Model:
    return check_model(parse(Source("one.vispec", text)))


def test_the_row_has_a_name_that_the_text_has_not() -> None:
    assert model_of(HMM).plates[0].name == "row"
    assert model_of(HMM.replace("x :", "row :")).plates[0].name == "row2"
    assert model_of(HMM.replace("param mu   : real", "param mu : real # no row")).plates[0].name == "row2"


def test_what_has_a_guide_of_its_own_parameters_stands_outside_the_row() -> None:
    plates = {v.name: v.plates for v in model_of(SCHOOLS).variables}
    assert plates == {"mu": (), "sigma": ("row", "school"), "theta": ("school",), "y": ("row", "school")}
    read = model_of(SCHOOLS.replace("mu, 2", "mu, sigma"))
    assert {v.name: v.plates for v in read.variables} == plates | {"theta": ("row", "school")}
    drawn = model_of(SCHOOLS + "guide:\n    theta ~ Normal(0, 1)\ninfer:\n    mu : iwae(samples=3)\n")
    assert {v.name for v in drawn.variables if "row" not in v.plates} == set()
    chained = model_of("chain t[4]:\n    latent z : real ~ Normal(0, 1)\n    observed x : real ~ Normal(z, 1)\n")
    assert chained.variable["z"].plates == ("row", "t")


def test_a_value_of_parameters_stands_outside_and_of_data_inside() -> None:
    model = model_of(TWO.replace("chain t:", "let twice = 2 * m\nlet off = y[0] - m\nchain t:"))
    assert {name: let.plates for name, let in model.let.items()} == {"twice": (), "off": ("row",)}


def test_no_drawing_shows_the_row() -> None:
    model = model_of(SCHOOLS)
    assert "row" not in show_graph(build_graph(model))
    assert [frame.name for frame in make_figure(build_graph(model), factors=True).frames] == ["school"]
    assert [row.plates for row in plan_model(model).rows][1:] == [("school",)] * 3
    assert "row" not in show_explanation(explain(model, plan_model(model)))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (HMM + "plate n:\n    observed y : real ~ Normal(0, 1)\n", "V113"),
        (HMM + "fit:\n    valid : 0.1\n", "V613"),
        (HMM.replace("mu[c]", "mu[c] + sum(m[*])").replace("chain", "param m : real\nchain"), "V210"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    with pytest.raises(SpecError) as refused:
        model_of(text)
    assert [d.code for d in refused.value.diagnostics if d.severity == "error"] == [code]


# ---- commands


def vispec(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def written(folder: Path, **files: str) -> dict[str, Path]:
    """Files by name, `x_csv` as x.csv."""
    paths = {name: folder / name.replace("_", ".") for name in files}
    for name, path in paths.items():
        path.write_text(files[name])
    return paths


def fitted(folder: Path, text: str, *data: object) -> Path:
    written(folder, one_vispec=text)
    result = vispec(
        "fit", folder / "one.vispec", *data, "--threads", 1, "--epochs", 3, "--restarts", 1, "--out", folder / "run"
    )
    assert result.exit_code == 0, result.output
    return folder / "run"


def lines(*arguments: object) -> list[dict[str, Any]]:
    result = vispec(*arguments, "--jsonl")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_rows_in_rows_out(tmp_path: Path) -> None:
    paths = written(tmp_path, x_csv="x\n1\n-2\n0.5\n", x_json='{"x": [1,\n -2, 0.5]}')
    run = fitted(tmp_path, HMM, paths["x_csv"])
    table = lines("posterior", run, paths["x_csv"])
    (whole,) = lines("posterior", run, paths["x_json"])
    assert whole == {"c": [row["c"] for row in table]}
    assert len(table) == 3
    pairs = lines("posterior", run, paths["x_csv"], "--query", "pairs")
    assert [list(row) for row in pairs] == [[], ["c"], ["c"]]
    assert [list(row) for row in lines("predict", run, paths["x_csv"])] == [["x"]] * 3
    first, *rest = lines("posterior", run, paths["x_csv"], "--query", "entropy")
    assert list(first) == ["(shared)"]
    assert [list(row) for row in rest] == [["c"]] * 3
    text = vispec("posterior", run, paths["x_csv"]).stdout.splitlines()
    assert [line.split()[0] for line in text] == ["1", "2", "3"]
    assert "BIC" not in vispec("params", run).stdout


def test_latents_outside_the_row_are_told_by_element(tmp_path: Path) -> None:
    paths = written(tmp_path, d_csv="y,sigma\n1,1\n2,1\n-1,2\n")
    run = fitted(tmp_path, SCHOOLS, paths["d_csv"])
    shared, *rows = lines("posterior", run, paths["d_csv"])
    assert list(shared["(shared)"]) == ["mu"]
    assert [list(row["theta"]) for row in rows] == [["mean", "sd"]] * 3
    np.savez(tmp_path / "d.npz", y=np.array([1.0, 2, -1]), sigma=np.array([1.0, 1, 2]))
    (whole,) = lines("posterior", run, tmp_path / "d.npz")
    assert whole["theta"]["mean"] == [row["theta"]["mean"] for row in rows]


def test_a_table_for_each_outermost_block(tmp_path: Path) -> None:
    paths = written(tmp_path, a_csv="x\n1\n0\n1\n", b_csv="y\n0.5\n2\n", c_csv="y\n1\n2\n3\n")
    run = fitted(tmp_path, TWO, f"x={paths['a_csv']}", f"y={paths['b_csv']}")
    scores = {
        vispec("eval", run, *way).stdout for way in ((paths["a_csv"], paths["b_csv"]), (f"x={paths['a_csv']}", paths["b_csv"]))
    }
    assert len(scores) == 1
    assert [list(row) for row in lines("predict", run, paths["a_csv"], paths["b_csv"])] == [["x"]] * 3 + [["y"]] * 2
    for data, words in (([paths["a_csv"]], "no data for `y`"), ([paths["a_csv"], paths["c_csv"]], "3 values, not 2")):
        result = vispec("eval", run, *data)
        assert result.exit_code != 0
        assert words in result.stderr


def test_no_part_of_one_row_is_held_out(tmp_path: Path) -> None:
    paths = written(tmp_path, one_vispec=HMM, x_csv="x\n1\n-2\n", v_csv="x\n1\n")
    result = vispec("fit", paths["one_vispec"], paths["x_csv"], "--valid", "0.5", "--out", tmp_path / "a")
    assert result.exit_code == 2
    assert "no part can be held out" in result.stderr
    other = ("--valid", paths["v_csv"], "--epochs", 1, "--restarts", 1, "--threads", 1, "--out", tmp_path / "b")
    assert vispec("fit", paths["one_vispec"], paths["x_csv"], *other).exit_code == 0


def test_a_wrong_cell_of_a_table_is_found(tmp_path: Path) -> None:
    paths = written(tmp_path, x_csv="x\n1\nhello\n")
    with pytest.raises(DataError, match=r"x\.csv:3: error\[D118\]: row 2, column `x`"):
        load(model_of(HMM), [str(paths["x_csv"])])


def test_tables_outside_the_data_plate_have_files_of_their_own(tmp_path: Path) -> None:
    paths = written(tmp_path, cities_csv="size\n1.5\n20\n3\n", visits_csv="at,x\n0,3\n1,20\n2,5\n1,17\n")
    run = fitted(tmp_path, RATES, paths["visits_csv"], f"size={paths['cities_csv']}")
    assert len(lines("predict", run, paths["visits_csv"], f"size={paths['cities_csv']}")) == 4
    np.savez(tmp_path / "cities.npz", size=np.array([1.5, 20, 3]))
    data = load(model_of(RATES), [str(paths["visits_csv"]), f"size={tmp_path}/cities.npz"])
    assert data.sizes["C"] == 3
    assert data.batch([0, 1])["size"].tolist() == [1.5, 20, 3]


def test_quantiles_come_row_by_row(tmp_path: Path) -> None:
    spec = "param mu : real\nchain day:\n    partial x : real ~ Normal(mu, 1)\n"
    paths = written(tmp_path, one_vispec=spec, x_csv="x\n1\n-2\n\n")
    run = tmp_path / "run"
    assert vispec("fit", paths["one_vispec"], paths["x_csv"], "--epochs", 3, "--threads", 1, "--out", run).exit_code == 0
    told = lines("predict", run, paths["x_csv"], "--rule", "quantiles(.05, .95)")
    assert [[*row] for row in told] == [["x_q05", "x_q95"]] * 3
    assert told[1] == {"x_q05": -2, "x_q95": -2}
    assert told[2]["x_q95"] - told[2]["x_q05"] == pytest.approx(2 * 1.6449, abs=1e-3)


def test_a_series_keyed_by_a_column_is_told_row_by_row(tmp_path: Path) -> None:
    """In the order of the keys, each behind its own; and a run remembers which columns it read."""
    spec = "param mu : real\nchain day:\n    latent z : bit ~ Bernoulli(0.5)\n    partial x : real ~ Normal(mu + z, 1)\n"
    paths = written(tmp_path, one_vispec=spec, x_csv="when,value\n3,\n1,1\n10,2\n")
    run, said = tmp_path / "run", ("--columns", "x=value", "--index", "day=when")
    result = vispec("fit", paths["one_vispec"], paths["x_csv"], *said, "--epochs", 3, "--threads", 1, "--out", run)
    assert result.exit_code == 0, result.output
    assert [(row["when"], "x" in row) for row in lines("predict", run, paths["x_csv"])] == [(1, True), (3, True), (10, True)]
    assert [[*row] for row in lines("posterior", run, paths["x_csv"])] == [["when", "z"]] * 3
