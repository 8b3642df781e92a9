"""How a fit by first-order steps ends: when its objective is flat, at the user's limit, and what is said of it."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from handmade import MemoryRows, Mixture, job
from safetensors.torch import load_file

from vispec.cli.main import main
from vispec.source import Source
from vispec.train.errors import InterruptionError
from vispec.train.loop.fit import Trainer, fit
from vispec.train.loop.plateau import is_look
from vispec.train.loop.progress import Quiet
from vispec.train.reading import Reading
from vispec.train.setup.distributed import Group
from vispec.train.setup.prepare import Request, prepare
from vispec.train.setup.settings import Anneal, Settings
from vispec.train.store.checkpoint import Checkpoint

OPEN = Settings(optimizer="adam", epochs=2000, least=50, batch=60, lr=0.05)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def still() -> Mixture:
    """Nothing random in training."""
    return Mixture(K=1, dropout=0.0)


def test_a_fit_ends_once_its_objective_is_flat_and_no_more_can_be_had(tmp_path):
    result = fit(job(tmp_path / "open", OPEN, build=still))
    assert 50 < result.epochs < 2000
    settled = Checkpoint.read(tmp_path / "open" / "last.safetensors").counters.cooling
    assert settled is not None
    assert is_look(settled, 50)
    assert result.epochs == settled + settled // 4  # in which the rate falls
    assert result.ending.converged is True
    assert result.ending.text.startswith("converged: rising by less than ")
    assert result.ending.text.endswith(f" nats a row and epoch, after {result.epochs} epochs")
    longer = fit(job(tmp_path / "long", OPEN.model_copy(update={"epochs": 4 * result.epochs, "least": None}), build=still))
    assert longer.train.per_row - result.train.per_row < 1e-3
    assert json.loads(json.dumps(result.as_json()))["converged"] is True


def test_a_limit_is_kept_and_the_rate_of_the_rise_is_that_of_the_last_epochs(tmp_path):
    result = fit(job(tmp_path, Settings(optimizer="adam", epochs=30, batch=60, lr=0.01), build=still))
    assert (result.epochs, result.ending.converged) == (30, False)
    found = re.fullmatch(
        r"not converged: still rising by (\S+) nats a row and epoch, after 30 epochs; more --epochs go on", result.ending.text
    )
    assert found is not None
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    values = [line["train"]["log_prob_per_row"] for line in lines if line["event"] == "epoch"]
    steps = [after - before for before, after in pairwise(values[15:])]
    assert min(steps) < float(found[1]) < max(steps)


def test_a_fit_that_was_interrupted_ends_where_it_would_have(tmp_path, monkeypatch):
    settings = OPEN.model_copy(update={"batch": 20})
    whole = fit(job(tmp_path / "whole", settings, build=still))
    given = job(tmp_path / "parts", settings, build=still)
    step, count = Trainer._step, 0

    def interrupted(self, indices, steps):
        nonlocal count
        count += 1
        self.stop.asked = count % 71 == 0
        step(self, indices, steps)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    checkpoint = None
    for _ in range(200):
        try:
            result = fit(given, checkpoint)
            break
        except InterruptionError:
            checkpoint = Checkpoint.read(tmp_path / "parts" / "last.safetensors")
    assert (result.epochs, result.ending, result.train) == (whole.epochs, whole.ending, whole.train)
    ends = [Checkpoint.read(tmp_path / name / "last.safetensors").counters for name in ("whole", "parts")]
    assert ends[0].series == ends[1].series
    a, b = (load_file(tmp_path / name / "best.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_of_restarts_the_end_of_the_best_is_told(tmp_path):
    settings = Settings(optimizer="adam", epochs=25, batch=60, lr=0.05, restarts=3)
    result = fit(job(tmp_path / "three", settings, build=lambda: Mixture(dropout=0.0)))
    best = Checkpoint.read(tmp_path / "three" / "last.safetensors").counters.best_restart
    said = []
    for restarts in range(1, best + 2):  # the best of so many is the last of them
        alone = fit(
            job(
                tmp_path / str(restarts), settings.model_copy(update={"restarts": restarts}), build=lambda: Mixture(dropout=0.0)
            )
        )
        said.append(alone.ending.text.removesuffix("; more --epochs go on"))
    assert result.ending.text == said[-1]


def test_epochs_under_a_moving_weight_do_not_count(tmp_path):
    anneal = (Anneal(what="kl", start=0.0, stop=1.0, over=20, unit="epochs"),)
    settings = Settings(optimizer="adam", epochs=30, batch=20, lr=0.01, anneal=anneal)
    fit(job(tmp_path / "moved", settings, build=still))
    series = Checkpoint.read(tmp_path / "moved" / "last.safetensors").counters.series
    assert len(series.means) == 10
    result = fit(job(tmp_path / "moves", settings.model_copy(update={"epochs": 15}), build=still))
    assert result.ending.text.startswith("not converged: too few epochs to tell")


def test_with_validation_data_an_open_fit_ends_when_they_are_long_past_their_best(tmp_path):
    """Training on one cluster makes the other, held out, ever less likely once the scales have grown."""
    train, valid = MemoryRows(torch.zeros(20, 2) + 5), MemoryRows(torch.zeros(20, 2) - 5)
    result = fit(job(tmp_path, OPEN.model_copy(update={"batch": 20, "lr": 0.1}), train, valid, build=still))
    counters = Checkpoint.read(tmp_path / "last.safetensors").counters
    assert 50 <= result.epochs < 2000
    assert 2 * (counters.best_epoch + 1) <= result.epochs
    assert counters.stale == result.epochs - counters.best_epoch - 1
    assert result.ending.text.endswith(f"; the validation data were served best after {counters.best_epoch + 1}")


def test_only_a_number_of_epochs_that_nobody_knows_is_left_open():
    def resolved(**given):
        found = Settings(optimizer="adam", **given).resolve(60, False, 1, goes_on=True)
        return found.least, found.epochs

    assert resolved() == (2000, 20000)
    assert resolved(batch=6) == (200, 2000)
    assert resolved(epochs=7) == (None, 7)
    assert resolved(decay="cosine") == (None, 2000)
    assert resolved(anneal=(Anneal(what="kl", start=0.0, stop=1.0, over=2, unit="epochs"),)) == (None, 2000)
    assert Settings(optimizer="adam").resolve(60, False, 1).least is None


GUIDED = """latent mu : real ~ Normal(0, 10)
plate n:
    observed x : real ~ Normal(mu, 1)
"""
NEURAL = """net f(x: real[2]) -> real = mlp([4])
plate n:
    given    x : real[2]
    observed y : real ~ Normal(f(x), 1)
"""
ENCODED = """net encode(x: real[2]) -> (loc: real, scale: positive) = mlp([4])
plate n:
    latent   z : real    ~ Normal(0, 1)
    observed x : real[2] ~ Normal(z, 1)
guide:
    z ~ Normal(encode(x))
"""
DATA = "x1,x2,x,y\n" + "1,2,0.5,3\n2,-1,0.7,0\n0,1,-0.2,1\n3,1,0,2\n" * 3


def fitted(folder: Path, spec: str, *arguments: str) -> tuple[dict, str]:
    (folder / "m.vispec").write_text(spec)
    (folder / "d.csv").write_text(DATA)
    words = ["fit", str(folder / "m.vispec"), str(folder / "d.csv"), "--columns", "x=x", "--threads", "1", "--json", *arguments]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def test_a_bound_goes_on_until_it_is_flat_and_more_epochs_can_be_asked_for(tmp_path):
    run = ("--out", str(tmp_path / "run"))
    found, said = fitted(tmp_path, GUIDED, *run)
    assert "12 rows, 2000 to 20000 epochs" in said
    assert 2000 <= found["epochs"] < 20000
    assert found["converged"] is True
    assert found["text"].startswith("converged: rising by less than ")
    more, _ = fitted(tmp_path, GUIDED, *run, "--resume", "--epochs", str(found["epochs"] + 10))
    assert more["epochs"] == found["epochs"] + 10
    assert f"after {more['epochs']} epochs" in more["text"]


@pytest.mark.parametrize(
    ("spec", "given", "expected"),
    [(NEURAL, {}, (None, 2000)), (NEURAL, {"valid": 0.25}, (2000, 20000)), (ENCODED, {}, (2000, 20000))],
    ids=["net", "watched", "encoder"],
)
def test_nets_in_the_model_go_on_only_under_the_eyes_of_validation_data(tmp_path, spec, given, expected):
    (tmp_path / "d.csv").write_text(DATA)
    columns = {"x": ("x1", "x2")}
    request = Request(
        Source("m.vispec", spec), (str(tmp_path / "d.csv"),), reading=Reading(columns), settings=given, root=tmp_path
    )
    _, found = prepare(request, Group(), Quiet())
    assert (found.settings.least, found.settings.epochs) == expected
