"""A run as a DataTree: what ArviZ reads of it, by names and labels, and that its numbers are those of the run."""

import sys
import warnings
from pathlib import Path
from typing import Any

import arviz_stats
import matplotlib.style.core  # noqa: F401  # arviz-plots 0.8 reads it as an attribute that matplotlib 3.11 makes only so
import numpy as np
import pytest
from click.testing import CliRunner

from vispec.answers.compared.arviz import to_arviz
from vispec.answers.compared.compare import compare
from vispec.answers.how import CPU
from vispec.cli.main import main
from vispec.train.data import Dataset
from vispec.train.errors import RunError
from vispec.train.estimates.stored import find_estimates, training_data
from vispec.train.store.run import Run

MIXED = """
size K = 2
param pi : simplex[K]
plate k[K]:
    param mu : real
    param p : simplex[3]
plate doc:
    latent c : index[k] ~ Categorical(pi)
    plate t:
        observed x : real ~ Normal(mu[c], 1)
        partial  w : category["low", "middle", "high"] ~ Categorical(p[c])
    observed v : real[2] ~ Normal(mu[c], 2)
"""
GROUPS = """
size G
plate g[G]:
    param rate : positive
plate n:
    given  k : index[g]
    observed y : count ~ Poisson(rate[k])
"""
SHARED = """
size G
latent mu : real ~ Normal(0, 5)
plate g[G]:
    latent b : real ~ Normal(0, 1)
    let r = exp(mu + b)
plate n:
    given  k : index[g]
    observed y : count ~ Poisson(r[k])
fit:
    epochs : 600
"""


def fitted(folder: Path, name: str, spec: str, *words: object) -> tuple[Run, Dataset]:
    (folder / f"{name}.vispec").write_text(spec, encoding="utf-8")
    command = ["fit", folder / f"{name}.vispec", *words, "--out", folder / name]
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 0, result.output
    run = Run.open(folder / name)
    data = training_data(run, print)
    assert isinstance(data, Dataset)
    return run, data


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Run, Dataset]]:
    folder, rng = tmp_path_factory.mktemp("counts"), np.random.default_rng(2)
    towns = np.repeat(["oslo", "bern", "rome"], (20, 30, 25))
    y = rng.poisson(np.repeat([2.0, 7.0, 4.0], (20, 30, 25)))
    (folder / "y.csv").write_text("k,y\n" + "".join(f"{k},{n}\n" for k, n in zip(towns, y, strict=True)), encoding="utf-8")
    return {
        name: fitted(folder, name, spec, folder / "y.csv")
        for name, spec in {
            "groups": GROUPS,
            "shared": SHARED,
            "pooled": "param rate : positive\nplate n:\n    observed y : count ~ Poisson(rate)\n",
        }.items()
    }


def test_names_and_labels(counts: dict[str, tuple[Run, Dataset]]) -> None:
    run, data = counts["groups"]
    tree: Any = to_arviz(run, data, 500)
    assert set(tree.children) == {"posterior", "sample_stats", "log_likelihood", "observed_data", "posterior_predictive"}
    assert list(tree.posterior.coords["g"].values) == ["bern", "oslo", "rome"]
    estimates = {entry.labels[0]: entry for entry in find_estimates(run, print).parameters}
    rates = tree.posterior.rate
    for town, entry in estimates.items():
        assert entry.se is not None
        assert float(rates.sel(g=town).std()) == pytest.approx(entry.se, rel=0.05)
        assert float(rates.sel(g=town).median()) == pytest.approx(entry.estimate, rel=0.02)
    assert tree.posterior_predictive.y.shape == (1, 500, 75)
    gap = tree.posterior_predictive.y.mean(("chain", "draw")) - tree.observed_data.y
    assert abs(float(gap.mean())) < 0.1  # in the mean as large as those that are there


def test_log_likelihood_is_that_of_the_draws(counts: dict[str, tuple[Run, Dataset]]) -> None:
    """log p of a count under the rate of its town; their sum is log p of the draw, which has no prior."""
    run, data = counts["groups"]
    tree: Any = to_arviz(run, data, 30)
    towns = [line.split(",")[0] for line in Path(run.config.data[0]).read_text(encoding="utf-8").splitlines()[1:]]
    rate = tree.posterior.rate.sel(g=towns).values[0]
    y = tree.observed_data.y.values
    factorial = np.array([np.log(np.arange(1, n + 1)).sum() for n in y])
    expected = y * np.log(rate) - rate - factorial
    assert np.abs(tree.log_likelihood.y.values[0] - expected).max() < 1e-9
    assert np.abs(tree.sample_stats.lp.values[0] - expected.sum(-1)).max() < 1e-9


def test_draws_of_guides(counts: dict[str, tuple[Run, Dataset]]) -> None:
    """Latents, what they decide, log p of all and log q."""
    run, data = counts["shared"]
    tree: Any = to_arviz(run, data, 200)
    posterior = tree.posterior
    assert set(posterior.data_vars) == {"mu", "b", "r"}
    assert np.abs(posterior.r - np.exp(posterior.mu + posterior.b)).max() < 1e-9
    mu, b = posterior.mu.values[0], posterior.b.values[0]
    prior = -0.5 * (mu / 5) ** 2 - np.log(5) - 0.5 * (b**2).sum(-1) - 2 * np.log(2 * np.pi)
    rows = tree.log_likelihood.y.values[0].sum(-1)
    assert np.abs(tree.sample_stats.lp.values[0] - prior - rows).max() < 1e-9
    ratio = tree.sample_stats.lp - tree.sample_stats.log_q
    assert float(ratio.std()) < 1.5  # the guide is near the posterior
    assert tree.posterior.attrs["approximation"] == "guide"


def test_arviz_agrees_with_compare(counts: dict[str, tuple[Run, Dataset]]) -> None:
    found = compare([run for run, _ in counts.values()], None, CPU, print, 800)
    ours = {Path(each.run).name: each for each in found.runs}
    trees: dict[str, Any] = {name: to_arviz(run, data, 800) for name, (run, data) in counts.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large k
        for name, tree in trees.items():
            stats = tree.sample_stats
            if name == "shared":
                told = arviz_stats.loo_approximate_posterior(tree, stats.lp, stats.log_q)
            else:
                told = arviz_stats.loo(tree)
            assert ours[name].elpd == pytest.approx(told.elpd, abs=1e-6)
            assert ours[name].p_loo == pytest.approx(told.p, abs=1e-6)
        del trees["shared"]
        table: Any = arviz_stats.compare(trees)
    assert list(table.index) == ["groups", "pooled"]
    assert table.loc["pooled", "elpd"] == pytest.approx(ours["pooled"].elpd, abs=1e-6)


def test_a_picture(counts: dict[str, tuple[Run, Dataset]], tmp_path: Path) -> None:
    import matplotlib as mpl
    from arviz_plots import plot_ppc_dist

    mpl.use("agg")
    run, data = counts["groups"]
    plot_ppc_dist(to_arviz(run, data, 40), backend="matplotlib").savefig(tmp_path / "ppc.png")
    assert (tmp_path / "ppc.png").stat().st_size > 5000


def test_ragged_and_missing_cells_stand_in_a_line(tmp_path: Path) -> None:
    import json

    rng = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    for i in range(30):
        words = ["low", None, "high", "middle"][: 1 + i % 4]
        x = (rng.normal(size=len(words)) + 3 * (i % 2)).tolist()
        rows.append({"x": x, "w": words, "v": rng.normal(size=2).tolist()})
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run, data = fitted(tmp_path, "mixed", MIXED, tmp_path / "docs.jsonl")
    tree: Any = to_arviz(run, data, 20)
    seen = [(i, t, word) for i, row in enumerate(rows) for t, word in enumerate(row["w"]) if word is not None]
    w = tree.observed_data.w
    assert [w.attrs["labels"][code] for code in w.values] == [word for _, _, word in seen]
    assert [*zip(w.coords["w_doc"].values, w.coords["w_t"].values, strict=True)] == [(i, t) for i, t, _ in seen]
    assert tree.observed_data.x.values.tolist() == pytest.approx([number for row in rows for number in row["x"]])
    assert tree.observed_data.v.dims == ("doc", "v_0")
    assert tree.posterior_predictive.w.shape == (1, 20, len(seen))
    assert set(np.unique(tree.posterior_predictive.w.values)) <= {0, 1, 2}
    assert tree.log_likelihood.rows.dims == ("chain", "draw", "doc")
    assert tree.posterior.p.dims == ("chain", "draw", "k", "p_0")


def test_without_arviz_it_says_what_to_install(counts: dict[str, tuple[Run, Dataset]], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("xarray", "arviz_base"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RunError, match=r"pip install 'vispec\[arviz\]'"):
        to_arviz(*counts["pooled"], 10)
