"""The interface in Python says what the command line says, of tables of any kind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner

import vispec
from vispec.cli.main import main

SPEC = """\
size K = 2
param p : simplex[K] = [.3, .7]
plate k[K]:
    param mu : real
plate n:
    latent   c : index[k] ~ Categorical(p)
    observed x : real ~ Normal(mu[c], 1)
    partial  y : category["low", "high"] ~ Categorical([.2, .8] if c == 0 else [.6, .4])
"""
X = [-2.0, -1.5, 2.5, 3.0, 1.0, -2.5, 2.0]
Y = ["low", None, "high", "high", None, "low", "high"]


def frames() -> dict[str, Any]:
    columns = {"x": X, "y": Y}
    return {
        "pandas": pandas.DataFrame(columns, index=list("abcdefg")),
        "polars": polars.DataFrame(columns),
        "arrow": pa.table(columns),
        "columns": columns,
        "rows": [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> vispec.Run:
    folder = tmp_path_factory.mktemp("face")
    (folder / "m.vispec").write_text(SPEC)
    frames()["pandas"].to_csv(folder / "d.csv", index=False)
    return vispec.load(folder / "m.vispec").fit(folder / "d.csv", out=folder / "run", quiet=True, verify=False)


def rows(answer: Any) -> list[dict[str, Any]]:
    """An answer of any kind as rows."""
    if isinstance(answer, pandas.DataFrame):
        return answer.to_dict("records")
    if isinstance(answer, polars.DataFrame):
        return answer.to_dicts()
    if isinstance(answer, pa.Table):
        return answer.to_pylist()
    return (
        [dict(zip(answer, row, strict=True)) for row in zip(*answer.values(), strict=True)]
        if isinstance(answer, dict)
        else answer
    )


def shell(*words: object) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, [*map(str, words), "--jsonl"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("kind", frames())
def test_answers_are_those_of_the_commands_in_the_kind_of_the_data(run: vispec.Run, kind: str) -> None:
    data, file = frames()[kind], run.folder.parent / "d.csv"
    posterior, predicted = run.posterior(data), run.predict(data, "mean")
    assert type(posterior) is type(data) is type(predicted)
    assert rows(posterior) == shell("posterior", run.folder, file)
    assert rows(predicted) == shell("predict", run.folder, file, "--rule", "mean")
    assert rows(run.posterior(data, "mode")) == shell("posterior", run.folder, file, "--query", "mode")
    if kind == "pandas":
        assert list(posterior.index) == list("abcdefg")


def test_a_path_is_answered_by_rows(run: vispec.Run) -> None:
    assert run.predict(run.folder.parent / "d.csv", target="x", rule="mean")[0]["x"] != X[0]
    assert run.sample(2, seed=3) == shell("sample", run.folder, "-n", 2, "--seed", 3)


def test_scores_and_estimates(run: vispec.Run) -> None:
    data = frames()["polars"]
    each = run.pointwise(data)
    assert each.sum() == pytest.approx(run.score(data).log_prob)
    params = run.params()
    assert list(params) == ["p", "mu"]
    assert params["mu"].shape == params.se("mu").shape == (2,)
    assert params["p"].sum() == pytest.approx(1)
    table = polars.DataFrame(params)
    assert table["parameter"].to_list() == ["p[0]", "p[1]", "mu[0]", "mu[1]"]
    assert pandas.DataFrame.from_arrow(params)["estimate"].to_list() == [*params["p"], *params["mu"]]
    assert "mu[0]" in repr(params)
    assert "<table" in params._repr_html_()
    with pytest.raises(KeyError, match="there are p, mu"):
        params["sigma"]


@pytest.mark.parametrize("kind", ["pandas", "columns", "rows"])
def test_a_fit_to_a_table_in_memory_is_that_of_the_file(run: vispec.Run, kind: str, tmp_path: Path) -> None:
    data = frames()[kind]
    model = vispec.load(run.folder.parent / "m.vispec")
    found = model.fit(data, out=tmp_path / "run", quiet=True, verify=False)
    assert found.score(data).log_prob == run.score(data).log_prob
    assert repr(found.params()) == repr(run.params())
    again = model.fit(data, out=tmp_path / "run", resume=True, quiet=True, verify=False)
    assert again.folder == found.folder
    other = pandas.DataFrame({"x": X[::-1], "y": Y})
    with pytest.raises(vispec.RunError, match="other data"):
        model.fit(other, out=tmp_path / "run", resume=True, quiet=True, verify=False)
    assert vispec.open_run(tmp_path / "run").score(data).log_prob == run.score(data).log_prob


def test_sampled_rows_are_of_the_kind_that_was_fitted(tmp_path: Path) -> None:
    data = frames()["polars"]
    found = vispec.load(SPEC).fit(data, out=tmp_path / "run", quiet=True, verify=False)
    assert isinstance(found.sample(3), polars.DataFrame)
    assert len(found.sample(3, seed=1)) == 3


def test_arrays_of_several_dimensions_and_files_by_variable(tmp_path: Path) -> None:
    model = vispec.load("param m : real[2]\nplate n:\n    given s : positive\n    observed x : real[2] ~ Normal(m, s)\n")
    x, s = np.arange(6.0).reshape(3, 2), torch.tensor([1.0, 2.0, 1.0])
    run = model.at({"x": x, "s": s}, {"m": [1.0, 2.0]})
    torch.testing.assert_close(
        run.score({"x": x, "s": s}).log_prob,
        float(torch.distributions.Normal(torch.tensor([1.0, 2.0]), s[:, None]).log_prob(torch.tensor(x)).sum()),
    )
    (tmp_path / "s.csv").write_text("s\n1\n2\n1\n")
    assert run.score({"x": pandas.DataFrame({"a": x[:, 0], "b": x[:, 1]}), "s": tmp_path / "s.csv"}, columns={"x": "a,b"})


def test_parameters_at_values_by_hand() -> None:
    run = vispec.load(SPEC).at(frames()["pandas"], {"p": np.array([0.5, 0.5]), "mu": [0.0, 1.0]})
    x = np.array(X)[:, None]
    normal = np.exp(-0.5 * (x - [0.0, 1.0]) ** 2) / np.sqrt(2 * np.pi)
    label = np.array([[1.0, 1.0] if y is None else [[0.2, 0.6], [0.8, 0.4]][y == "high"] for y in Y])
    np.testing.assert_allclose(run.pointwise(frames()["rows"]), np.log((0.5 * normal * label).sum(1)))
    with pytest.raises(vispec.RunError, match="params: this model has no parameter `m`; did you mean `mu`"):
        vispec.load(SPEC).at(frames()["pandas"], {"m": 1})


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(vispec.SpecError) as caught:
        vispec.load("plate n:\n    observed x : real ~ Normal(m, 1)\n", name="mine")
    assert "mine:2:32" in str(caught.value)
    assert "^" in str(caught.value)
    model = vispec.load(SPEC)
    with pytest.raises(vispec.OptionError, match="no setting `epoch`; there are"):
        model.fit(frames()["pandas"], epoch=3)
    with pytest.raises(vispec.DataError, match="no column for `x`"):
        model.fit(frames()["pandas"].rename(columns={"x": "z"}))
    with pytest.raises(TypeError, match=r"this is of builtins\.int"):
        model.fit(3)
    with pytest.raises(vispec.DataError, match="no number, text, boolean"):
        model.fit([{"x": object(), "y": None}])
    with pytest.raises(vispec.RunError, match="so it is no run"):
        vispec.open_run("nowhere")


def test_options_of_questions_are_known(run: vispec.Run) -> None:
    with pytest.raises(TypeError, match="no option 'sample'; there are columns"):
        run.predict(frames()["pandas"], sample=3)
    with pytest.raises(vispec.OptionError, match="no decision rule"):
        run.predict(frames()["pandas"], "avg")
    with pytest.raises(vispec.OptionError, match="no query"):
        run.posterior(frames()["pandas"], "means")


def test_what_rows_share_is_told_apart(tmp_path: Path) -> None:
    spec = "latent m : real ~ Normal(0, 1)\nplate n:\n    observed x : real ~ Normal(m, 1)\n"
    data = {"x": [1.0, 2.0, 3.0]}
    run = vispec.load(spec).fit(data, out=tmp_path / "run", quiet=True, verify=False, epochs=50)
    assert set(run.shared(data)["m"]) == {"mean", "sd"}
    with pytest.raises(vispec.RunError, match="all of them share"):
        run.posterior(data)


def test_shown_in_a_notebook(run: vispec.Run) -> None:
    model = vispec.load(SPEC)
    assert model._repr_svg_().startswith("<svg")
    assert repr(model.check()).startswith("variable")
    assert "def log_prob" in repr(model.compile())
    assert "log-probability" in repr(run)
    assert "<pre>" in run._repr_html_()
    assert "<h2>Spec</h2>" in run.report()


def test_a_fit_that_is_stopped_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vispec.train import fitted

    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitted, "train", stopped)
        with pytest.raises(KeyboardInterrupt):
            vispec.load(SPEC).fit(frames()["pandas"], out=tmp_path / "run", verify=False)
    assert f"to go on: the same fit with out='{tmp_path / 'run'}', resume=True" in capsys.readouterr().err.replace("\n", "")
    found = vispec.load(SPEC).fit(frames()["pandas"], out=tmp_path / "run", resume=True, verify=False, quiet=True)
    assert found.params()["mu"].shape == (2,)


def test_a_batch_is_what_the_module_takes(run: vispec.Run) -> None:
    for table in frames().values():
        batch = run.batch(table)
        assert batch["y"].shape == (len(X),)
        with torch.no_grad():
            log_prob = run.module(batch)
        np.testing.assert_allclose(log_prob.numpy(), run.pointwise(table), rtol=1e-12)
    assert run.sizes == {"K": 2}
