"""Second-order fits from the command line's side: they arrive, in any units, from several starts, and say how they ended."""

import json
import math

import numpy as np
import pytest
import torch

from vispec.source import Source
from vispec.train.errors import InterruptionError, OptionError
from vispec.train.loop.fit import fit
from vispec.train.loop.progress import Quiet
from vispec.train.newton import fit as finder
from vispec.train.newton.objective import Objective
from vispec.train.newton.report import listed
from vispec.train.reading import Reading
from vispec.train.setup.distributed import Group
from vispec.train.setup.prepare import Request, prepare, prepare_resume
from vispec.train.store.checkpoint import read_tensors
from vispec.train.store.run import Run

LINE = """
param a : real
param b : real
param s : positive
plate n:
    given    x : real
    observed y : real ~ Normal(a + b * x, s)
"""
MIXTURE = """
size K = 2
param pi : simplex[K]
plate k[K]:
    param mu : real
    param s  : positive
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed y : real     ~ Normal(mu[c], s[c])
"""
EXPERTS = """
size K = 2
param g0 : real
param g1 : real
param s  : positive
plate k[K]:
    param a : real
    param b : real
plate n:
    given    x : real
    latent   c : index[k] ~ Categorical(softmax([0, g0 + g1 * x]))
    observed y : real     ~ Normal(a[c] + b[c] * x, s)
"""
POISSON = """
size D
param a : real
param w : real[D]
plate n:
    given    x : real[D]
    observed y : count ~ Poisson(exp(a + dot(w, x)))
"""


def write(path, rows, header):
    path.write_text(",".join(header) + "\n" + "\n".join(",".join(map(repr, map(float, row))) for row in rows) + "\n")
    return str(path)


def run(folder, text, data, columns=None, reporter=None, **settings):
    """The run and the result of a fit of a spec by default settings, but for those given."""
    request = Request(Source("model.vispec", text), (data,), reading=Reading(columns or {}), settings=settings, out=folder)
    made, job = prepare(request, Group(), reporter or Quiet())
    return made, fit(job)


def ages(rows=80):
    draws = np.random.default_rng(0)
    x = draws.uniform(20, 65, rows).round(1)
    return np.stack([x, (12000 + 900 * x + draws.normal(0, 4000, rows)).round()], 1)


def two_groups(scale=1.0, shift=0.0):
    draws = np.random.default_rng(1)
    y = np.concatenate([draws.normal(0, 1, 60), draws.normal(5, 0.5, 40)])
    return (y * scale + shift)[:, None]


def test_a_line_in_natural_units_is_least_squares(tmp_path):
    rows = ages()
    made, result = run(tmp_path / "run", LINE, write(tmp_path / "d.csv", rows, "xy"))
    design = np.stack([np.ones(len(rows)), rows[:, 0]], 1)
    best, residual, *_ = np.linalg.lstsq(design, rows[:, 1], rcond=None)
    variance = float(residual[0]) / len(rows)
    found = made.load(torch.device("cpu"))
    assert result.ending.converged
    assert result.ending.decrement < 1e-8
    assert result.train.log_prob == pytest.approx(-len(rows) / 2 * (math.log(2 * math.pi * variance) + 1), abs=1e-6)
    assert [float(value) for value in (found.a.detach(), found.b.detach(), found.s.detach())] == pytest.approx(
        [*best, math.sqrt(variance)], rel=1e-6
    )
    assert found.a.dtype == torch.float64


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (0.001, 0.0), (1.0, 1e5)])
def test_units_move_the_maximum_by_their_jacobian(tmp_path, scale, shift):
    plain = run(tmp_path / "plain", MIXTURE, write(tmp_path / "a.csv", two_groups(), "y"))[1]
    other = run(tmp_path / "other", MIXTURE, write(tmp_path / "b.csv", two_groups(scale, shift), "y"))[1]
    assert plain.ending.converged
    assert other.ending.converged
    assert other.train.log_prob == pytest.approx(plain.train.log_prob - 100 * math.log(scale), abs=1e-4)


def test_counts_with_inputs_in_dollars_do_not_diverge(tmp_path):
    draws = np.random.default_rng(2)
    x = np.stack([draws.uniform(2e4, 5e4, 40), draws.uniform(0, 1, 40)], 1)
    y = draws.poisson(np.exp(-1 + 5e-5 * x[:, 0] + x[:, 1]))
    made, result = run(
        tmp_path / "run", POISSON, write(tmp_path / "d.csv", np.column_stack([x, y]), ["u", "v", "y"]), {"x": ("u", "v")}
    )
    found = made.load(torch.device("cpu"))
    rate = np.exp(float(found.a.detach()) + x @ found.w.detach().numpy())
    assert result.ending.converged
    assert np.abs(np.column_stack([np.ones(40), x]).T @ (y - rate)).max() < 1e-2  # the score equations, in units of x


def test_torchs_line_search_does_not_end_where_a_scale_is_nothing(tmp_path):
    """L-BFGS of torch steps from dollars to where the spread is 0, and cannot take an infinite loss."""
    data = write(tmp_path / "d.csv", ages(), "xy")
    best = run(tmp_path / "newton", LINE, data)[1]
    found = run(tmp_path / "lbfgs", LINE, data, optimizer="lbfgs", epochs=60)[1]
    assert found.train.log_prob == pytest.approx(best.train.log_prob, abs=1e-3)


def test_several_starts_are_told(tmp_path):
    result = run(tmp_path / "run", MIXTURE, write(tmp_path / "d.csv", two_groups(), "y"))[1]
    assert sum(count for _, count in result.ending.starts) + len(result.ending.notes) <= 10
    assert "10 starts" in result.ending.text
    assert result.ending.starts[0][0] == pytest.approx(result.train.log_prob, abs=1e-3)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {line["restart"] for line in lines if line["event"] == "epoch"} == set(range(10))
    assert lines[-1]["converged"] is True


def test_scalars_start_apart(tmp_path):
    text = """
param p  : unit
param m0 : real
param m1 : real
plate n:
    latent   z : bit ~ Bernoulli(p)
    observed y : real ~ Normal(m1 if z == 1 else m0, 1)
"""
    draws = np.random.default_rng(3)
    y = np.concatenate([draws.normal(-4, 1, 100), draws.normal(4, 1, 100)])[:, None]
    made, result = run(tmp_path / "run", text, write(tmp_path / "d.csv", y, "y"))
    found = made.load(torch.device("cpu"))
    assert sorted([float(found.m0.detach()), float(found.m1.detach())]) == pytest.approx([-4, 4], abs=0.4)
    assert result.train.per_row == pytest.approx(-math.log(2) - 0.5 * math.log(2 * math.pi) - 0.5, abs=0.15)


def test_a_component_on_one_point_is_named_and_not_taken(tmp_path):
    draws = np.random.default_rng(4)
    y = np.concatenate([draws.normal(0, 1, 30), [3.0, 3.0, 3.0]])[:, None]  # three equal values: a scale may go to 0 there
    made, result = run(tmp_path / "run", MIXTURE.replace("K = 2", "K = 3"), write(tmp_path / "d.csv", y, "y"), restarts=12)
    assert float(made.load(torch.device("cpu")).s.detach().min()) > 1e-3 or not result.ending.converged
    assert any("no proper maximum" in note for note in result.ending.notes)


def test_data_without_spread_have_no_maximum(tmp_path):
    text = "param m : real\nparam s : positive\nplate n:\n    observed y : real ~ Normal(m, s)\n"
    result = run(tmp_path / "run", text, write(tmp_path / "d.csv", [[2.0], [2.0], [2.0]], "y"))[1]
    assert result.ending.converged is not None


def test_a_product_that_starts_at_zero_is_found_on_the_right_side(tmp_path):
    """At a = b = 0 there is no gradient, and a saddle; to one side of it lies the maximum, to the other none (BoxBOD, NIST)."""
    text = LINE.replace("a + b * x", "a * (1 - exp(-b * x))")
    rows = [[1, 109], [2, 149], [3, 149], [5, 191], [7, 213], [10, 224]]
    made, result = run(tmp_path / "run", text, write(tmp_path / "d.csv", rows, "xy"))
    found = made.load(torch.device("cpu"))
    assert [float(found.a.detach()), float(found.b.detach())] == pytest.approx([213.80940889, 0.54723748542], rel=1e-6)
    assert result.ending.converged


def test_a_kink_is_an_end(tmp_path):
    text = LINE.replace("Normal", "Laplace")
    draws = np.random.default_rng(5)
    x = draws.uniform(0, 10, 25)
    y = 100 + 3 * x + draws.laplace(0, 1, 25)
    result = run(tmp_path / "run", text, write(tmp_path / "d.csv", np.stack([x, y], 1), "xy"))[1]
    lines = [np.linalg.solve([[1, x[i]], [1, x[j]]], y[[i, j]]) for i in range(25) for j in range(i)]
    least = min(np.abs(y - a - b * x).mean() for a, b in lines)
    assert result.train.log_prob == pytest.approx(-25 * (math.log(2 * least) + 1), abs=1e-4)


class Stopped(Quiet):
    """Asks for the end of the fit after so many evaluations."""


def scouting(monkeypatch):
    """Let starts be tried on a few of the rows first, as where there are very many."""
    monkeypatch.setattr(finder, "QUICK", 1)
    monkeypatch.setattr(finder, "FEWEST", 30)
    monkeypatch.setattr(finder, "PER_NUMBER", 1)


def test_starts_are_tried_on_some_rows_where_there_are_many(tmp_path, monkeypatch):
    data = write(tmp_path / "d.csv", two_groups(), "y")
    plain = run(tmp_path / "plain", MIXTURE, data)[1]
    scouting(monkeypatch)
    result = run(tmp_path / "run", MIXTURE, data)[1]
    assert "10 starts on 30" in result.ending.text
    assert result.ending.converged
    assert result.train.log_prob == pytest.approx(plain.train.log_prob, abs=1e-6)
    assert result.ending.starts[0][0] == pytest.approx(plain.train.log_prob, abs=1e-6)


@pytest.mark.parametrize("some", [False, True], ids=["all", "some"])
@pytest.mark.parametrize("after", [1, 40, 300])
def test_a_stopped_fit_goes_on_bit_for_bit(tmp_path, monkeypatch, after, some):
    if some:
        scouting(monkeypatch)
    data = write(tmp_path / "d.csv", two_groups(), "y")
    whole, result = run(tmp_path / "whole", MIXTURE, data, restarts=4)
    plain = Objective.__call__

    def counted(self, x):
        self.asked = lambda: self.evaluations >= after
        return plain(self, x)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "__call__", counted)
        with pytest.raises(InterruptionError):
            run(tmp_path / "part", MIXTURE, data, restarts=4)
    request = Request(Source("model.vispec", MIXTURE), (data,), out=tmp_path / "part")
    part, job, checkpoint = prepare_resume(Run.open(tmp_path / "part"), request, Group(), Quiet())
    again = fit(job, checkpoint)
    first, second = (read_tensors(each.folder / "best.safetensors")[0] for each in (whole, part))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert again.ending == result.ending


def test_a_limit_on_rounds_is_kept_and_told(tmp_path):
    result = run(tmp_path / "run", LINE, write(tmp_path / "d.csv", ages(), "xy"), epochs=2)[1]
    assert result.epochs == 2
    assert result.ending.converged is False
    assert result.ending.text.startswith("not converged")


def test_what_steps_along_gradients_have_chooses_them(tmp_path):
    data = write(tmp_path / "d.csv", ages(), "xy")
    assert run(tmp_path / "a", LINE, data)[0].config.settings.optimizer == "newton"
    assert run(tmp_path / "b", LINE, data, lr=0.1, epochs=2)[0].config.settings.optimizer == "adam"
    assert run(tmp_path / "c", LINE, data, batch=10, epochs=2)[0].config.settings.optimizer == "adam"


@pytest.mark.parametrize(("setting", "value"), [("batch", 10), ("lr", 0.1), ("clip", 5.0)])
def test_what_second_order_steps_have_not_is_told(tmp_path, setting, value):
    data = write(tmp_path / "d.csv", ages(), "xy")
    with pytest.raises(OptionError, match=f"they have no `{setting}`"):
        run(tmp_path / "run", LINE, data, optimizer="newton", **{setting: value})


def test_a_batch_that_holds_all_rows_is_no_other_fit(tmp_path):
    result = run(tmp_path / "run", LINE, write(tmp_path / "d.csv", ages(), "xy"), batch=80)[1]
    assert result.ending.converged


def test_a_mixture_of_equal_values_ends(tmp_path):
    """Weibull's shape grows without an end where all values are the same."""
    text = (
        MIXTURE.replace("param mu : real", "param mu : positive")
        .replace("y : real ", "y : positive")
        .replace("Normal", "Weibull")
    )
    result = run(tmp_path / "run", text, write(tmp_path / "d.csv", [[3.0]] * 6, "y"), restarts=2)[1]
    assert result.ending.converged is False
    assert "grows without an end" in result.ending.notes[0]


def test_weights_that_read_dollars_do_not_saturate(tmp_path):
    """While the components are alike, weights change nothing, and their unit is to be found later."""
    draws = np.random.default_rng(7)
    x = draws.normal(35000, 9000, 200).round()
    second = draws.random(200) < 1 / (1 + np.exp(-(x - 35000) / 9000))
    y = np.where(second, 100 + 0.01 * x, 400 - 0.004 * x) + draws.normal(0, 25, 200)
    natural = run(tmp_path / "natural", EXPERTS, write(tmp_path / "a.csv", np.stack([x, y], 1), "xy"), restarts=4)[1]
    near_one = np.stack([(x - 35000) / 9000, y], 1)
    standardised = run(tmp_path / "standard", EXPERTS, write(tmp_path / "b.csv", near_one, "xy"), restarts=4)[1]
    assert natural.ending.converged
    assert natural.train.log_prob == pytest.approx(standardised.train.log_prob, abs=1e-3)


def test_nothing_lost_is_told_without_a_sign(tmp_path):
    """Counts that are all 0 have log-probability 0 from below, and no distance below rounding is told."""
    text = "param rate : positive\nplate n:\n    observed y : count ~ Poisson(rate)\n"
    (tmp_path / "d.csv").write_text("y\n0\n0\n0\n")
    result = run(tmp_path / "run", text, str(tmp_path / "d.csv"))[1]
    assert listed([(-1e-9, 10), (-1e-9, 2)]) == "10 reached 0.0000, 2 0.00"
    assert "at most 1e-09 nats" in result.ending.text
