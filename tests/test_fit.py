"""The training loop: it learns, repeats itself, keeps the best, stops when told, and says where a fit went wrong."""

import inspect
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from handmade import MemoryRows, Mixture, clusters, job
from safetensors.torch import load_file

from vispec.diagnostics import SpecError
from vispec.model.blocks.fitting import OPTIMIZERS
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.errors import DivergenceError, OptionError
from vispec.train.loop.diverged import diverged
from vispec.train.loop.fit import fit
from vispec.train.scores.evaluate import evaluate
from vispec.train.setup.optimisers import drop_denormals, make_optimiser, optimisers
from vispec.train.setup.settings import Anneal, Settings, parse_value, read_settings
from vispec.train.store.checkpoint import Checkpoint
from vispec.train.store.module import load_class

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def still() -> Mixture:
    """Nothing random in training."""
    return Mixture(dropout=0.0)


def test_a_fit_learns_and_repeats_itself(tmp_path):
    settings = Settings(epochs=40, batch=20, lr=0.05, seed=4)
    first = fit(job(tmp_path / "a", settings))
    second = fit(job(tmp_path / "b", settings))
    other = fit(job(tmp_path / "c", settings.model_copy(update={"seed": 5})))
    start = next(line for line in lines(tmp_path / "a") if line["event"] == "epoch")["train"]["log_prob_per_row"]
    assert first.train.per_row > start + 1
    assert first.train == second.train
    assert first.train != other.train
    assert (first.epochs, first.steps) == (40, 120)
    assert load_file(tmp_path / "a" / "best.safetensors").keys() == Mixture().state_dict().keys()


def test_full_batch_reaches_the_maximum_likelihood_of_one_gaussian(tmp_path):
    """The closed form: the mean and the standard deviation of the data."""
    data = clusters(50)
    result = fit(job(tmp_path, Settings(optimizer="lbfgs", lr=1.0, epochs=30), data, build=lambda: Mixture(K=1, dropout=0.0)))
    scale = data.x.std(0, correction=0)
    expected = -len(data.x) * float((0.5 + 0.5 * math.log(2 * math.pi) + scale.log()).sum())
    assert result.train.log_prob == pytest.approx(expected, abs=1e-2)
    torch.testing.assert_close(load_file(tmp_path / "best.safetensors")["loc"][0], data.x.mean(0), rtol=1e-3, atol=1e-3)


def test_the_loss_is_per_row_so_the_data_size_changes_nothing(tmp_path):
    """The same rows ten times over give the same full-batch steps."""
    one, ten = clusters(30), MemoryRows(clusters(30).x.repeat(10, 1))
    settings = Settings(optimizer="sgd", lr=0.1, epochs=5, batch=300)
    fit(job(tmp_path / "one", settings, one, build=still))
    fit(job(tmp_path / "ten", settings, ten, build=still))
    a, b = (load_file(tmp_path / name / "best.safetensors") for name in ("one", "ten"))
    torch.testing.assert_close(a["loc"], b["loc"], rtol=1e-4, atol=1e-5)


def test_validation_picks_the_best_epoch_and_stops_early(tmp_path):
    """Training on one cluster makes the other, held out, ever less likely once the scales have grown."""
    train, valid = MemoryRows(torch.zeros(20, 2) + 5), MemoryRows(torch.zeros(20, 2) - 5)
    result = fit(job(tmp_path, Settings(epochs=50, batch=10, lr=0.1, patience=3), train, valid, build=still))
    scores = [line["valid"]["log_prob_per_row"] for line in lines(tmp_path) if line["event"] == "epoch"]
    assert result.epochs == len(scores) == scores.index(max(scores)) + 4 < 50
    assert result.valid.per_row == pytest.approx(max(scores))


def test_restarts_keep_the_best_of_all(tmp_path):
    settings = Settings(epochs=3, batch=60, lr=0.01)
    alone = fit(job(tmp_path / "one", settings, build=still)).train.per_row
    best = fit(job(tmp_path / "five", settings.model_copy(update={"restarts": 5}), build=still)).train.per_row
    ends = [line["train"]["log_prob_per_row"] for line in lines(tmp_path / "five") if line["event"] == "restart"]
    assert ends[0] == alone
    assert len(set(ends)) == 5
    assert best == max(ends)


def test_data_choose_the_start_where_the_module_offers_it(tmp_path):
    class Started(Mixture):
        def initialise(self, batch):
            with torch.no_grad():
                self.loc.copy_(batch["x"][: len(self.loc)] * 0 + 1000.0)

    fit(job(tmp_path, Settings(optimizer="sgd", lr=1e-9, epochs=1), build=Started))
    torch.testing.assert_close(load_file(tmp_path / "best.safetensors")["loc"], torch.full((3, 2), 1000.0))


class Exploding(Mixture):
    """-inf for a row above 1e6."""

    def log_prob(self, batch):
        return torch.where(batch["x"].sum(1) > 1e6, -torch.inf, super().log_prob(batch))


def test_an_impossible_row_is_named_and_the_checkpoint_kept(tmp_path):
    rows = clusters(40)
    good = fit(job(tmp_path, Settings(epochs=1, batch=10), rows, build=Exploding))
    rows.x[17] = 1e9
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(DivergenceError, match="row 18 of the data"):
        fit(job(tmp_path, Settings(epochs=5, batch=10), rows, build=Exploding))
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert good.train.rows == 40


@pytest.mark.parametrize("alone", [True, False])
def test_numbers_beyond_the_precision_are_named_and_no_other_process_where_there_is_none(alone):
    batch = {"x": torch.full((4, 2), 1.6e18)}
    told = str(diverged(Mixture(), batch, np.arange(4), 8.1e31, "at step 2", alone=alone))
    assert ("on another process" in told) is not alone
    assert ("numbers of `x` are as large as 1.6e+18: take them in another unit" in told) is alone


def test_a_nan_gradient_is_traced_to_its_parameter(tmp_path):
    class Bad(Mixture):
        def loss(self, batch, num_data):
            return super().loss(batch, num_data) + (self.scale_raw.sum() * 0).sqrt()  # 0/0 in the backward pass

    with pytest.raises(DivergenceError) as caught:
        fit(job(tmp_path, Settings(epochs=1, batch=60), build=Bad))
    assert caught.value.variable == "scale_raw"


def test_a_nan_is_traced_to_the_line_and_the_variable_that_made_it(tmp_path):
    text = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(2))

    def log_prob(self, batch):
        x = batch["x"]
        log_x = -((x - self.mu) ** 2).sum(1)
        log_y = (x[:, 0] - 1e6).log() * self.mu[0]
        return log_x + log_y

    def loss(self, batch, num_data):
        return -self.log_prob(batch).sum() * num_data / len(batch["x"])
"""
    (tmp_path / "module.py").write_text(text)
    build = load_class(tmp_path / "module.py", "Model")
    todo = replace(job(tmp_path, Settings(epochs=1), build=build), variables=("x", "y"))
    with pytest.raises(DivergenceError, match=r"`y` is first nan in line 14 of module\.py: log_y = ") as caught:
        fit(todo)
    assert caught.value.variable == "y"


def test_a_module_that_traces_is_believed(tmp_path):
    class Tracing(Exploding):
        def trace_nonfinite(self, batch):
            return "x"

    rows = clusters(20)
    rows.x[3] = 1e9
    with pytest.raises(DivergenceError, match="variable `x`") as caught:
        fit(job(tmp_path, Settings(epochs=1, batch=20), rows, build=Tracing))
    assert caught.value.variable == "x"


def test_one_diverging_restart_does_not_end_the_others(tmp_path):
    made = []

    class Sometimes(Mixture):
        def __init__(self):
            super().__init__()
            made.append(self)
            self.bad = len(made) == 1

        def loss(self, batch, num_data):
            return super().loss(batch, num_data) * (float("nan") if self.bad else 1.0)

    result = fit(job(tmp_path, Settings(epochs=2, batch=60, restarts=2), build=Sometimes))
    assert math.isfinite(result.train.log_prob)


def test_evaluation_disturbs_nothing():
    module = Mixture(dropout=0.5).train()
    module.kl_weight = 0.25
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    scores = [evaluate(module, clusters(), size, CPU) for size in (7, 60)]
    assert torch.equal(torch.rand(3), expected)
    assert module.training
    assert module.kl_weight == 0.25
    assert scores[0].log_prob == pytest.approx(scores[1].log_prob, rel=1e-6)  # without dropout, whatever the minibatches


def test_annealing_and_rates_follow_their_schedules(tmp_path):
    seen = []

    class Watching(Mixture):
        def loss(self, batch, num_data):
            seen.append(self.kl_weight)
            return super().loss(batch, num_data)

    kl = Anneal(what="kl", start=0.0, stop=1.0, over=2, unit="epochs")
    fit(job(tmp_path, Settings(epochs=3, batch=30, anneal=(kl,)), build=Watching))
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    warm = Settings(warmup=4, decay="linear")
    assert [warm.rate(step, 8) for step in range(8)] == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert Settings(decay="cosine", decay_to=0.1).rate(100, 100) == pytest.approx(0.1)


def test_clipping_bounds_the_step(tmp_path):
    """With a rate of 1, the parameters move by the gradient, which is huge for rows so far away."""
    rows = MemoryRows(torch.full((8, 2), 1e3))
    starts = []

    def build():
        module = still()
        starts.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        return module

    def moved(clip):
        folder = tmp_path / str(clip)
        fit(job(folder, Settings(optimizer="sgd", lr=1.0, epochs=1, batch=8, clip=clip), rows, build=build))
        end = Checkpoint.read(folder / "last.safetensors").model
        return math.sqrt(sum(float(((end[name] - starts[-1][name]) ** 2).sum()) for name in end))

    assert moved(0.5) == pytest.approx(0.5, rel=1e-3)
    assert moved(None) > 1e3


@pytest.mark.parametrize("name", sorted(set(optimisers()) - {"muon"}))
def test_every_optimiser_of_torch_takes_a_step(tmp_path, name):
    result = fit(job(tmp_path, Settings(optimizer=name, lr=0.01, epochs=2, batch=60)))
    assert math.isfinite(result.train.log_prob)


def test_an_optimiser_forgets_what_has_decayed_to_a_denormal_number():
    tiny = torch.finfo(torch.float32).tiny
    weight = torch.nn.Parameter(torch.tensor([1e-41, 1.0, 1.0]))
    optimiser = make_optimiser("adam", 0.0, {}, [weight])
    weight.grad = torch.ones(3)
    optimiser.step()
    optimiser.state[weight]["exp_avg"].copy_(torch.tensor([tiny / 2, -tiny / 2, 2 * tiny]))
    drop_denormals(optimiser)
    torch.testing.assert_close(optimiser.state[weight]["exp_avg"], torch.tensor([0.0, 0.0, 2 * tiny]), rtol=0, atol=0)
    assert optimiser.state[weight]["step"] == 1
    assert weight[0] != 0


def test_the_checker_knows_the_optimisers_that_a_fit_takes():
    """The checker imports no torch, so it has a table of its own; torch may have gained some since."""
    assert set(OPTIMIZERS) - {"auto", "newton"} <= set(optimisers())
    for name, options in OPTIMIZERS.items():
        assert name in ("auto", "newton") or set(options) <= set(inspect.signature(optimisers()[name]).parameters), name


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("adamm", {}, "no optimizer `adamm`"),
        ("adam", {"beta": 0.9}, "no option `beta`"),
        ("adam", {"betas": 0.9}, "refuses"),
        ("adam", {"maximize": True}, "no option `maximize`"),
        ("sgd", {"nesterov": True}, "refuses"),
    ],
)
def test_a_wrong_optimiser_is_told_in_words(name, options, words):
    with pytest.raises(ValueError, match=words):
        make_optimiser(name, 0.1, options, Mixture().parameters())


SPEC = """\
param mu : real
plate n:
    observed x : real ~ Normal(mu, 1)
fit:
"""


def settings_of(fit_block: str, **overrides):
    text = SPEC + "".join(f"    {line}\n" for line in fit_block.splitlines())
    return read_settings(check_model(parse(Source("a.vispec", text))), overrides)


def test_settings_come_from_the_spec_and_give_way_to_the_command():
    block = "optimizer : adamw(lr=1e-2, weight_decay=0.1, betas=[0.9, 0.98])\nepochs : 7\nvalid : 0.2\ndecay : cosine(to=0.1)"
    found = settings_of(block)
    assert (found.optimizer, found.lr, found.epochs, found.valid) == ("adamw", 1e-2, 7, 0.2)
    assert found.options == {"weight_decay": 0.1, "betas": [0.9, 0.98]}
    assert (found.decay, found.decay_to) == ("cosine", 0.1)
    found = settings_of(block, optimizer="sgd", lr=0.5, epochs=3)
    assert (found.optimizer, found.options, found.lr, found.epochs) == ("sgd", {}, 0.5, 3)


def test_an_override_that_cannot_be_is_a_usage_error():
    with pytest.raises(OptionError, match="epochs=0"):
        settings_of("clip : 5", epochs=0)
    with pytest.raises(OptionError, match="decay=slow"):
        settings_of("clip : 5", decay="slow")


def test_the_spec_s_own_mistakes_are_diagnostics():
    with pytest.raises(SpecError):
        settings_of("epochs : 0")
    with pytest.raises(SpecError, match="decay_to"):
        settings_of("decay : linear(to=3)")


def test_defaults_give_enough_steps():
    small, large = Settings().resolve(100, False, 2), Settings().resolve(100_000, True, 2)
    assert (small.batch, small.epochs, small.lr) == (100, 2000, 1e-2)
    assert (large.batch, large.epochs, large.lr) == (128, 10, 1e-3)
    assert Settings(batch=50).resolve(100, False, 1).batch == 50


def test_values_of_set():
    assert [parse_value(text) for text in ("3", "0.5", "1e-3", "true", "adam")] == [3, 0.5, 1e-3, True, "adam"]


def test_rows_are_scored_once_at_the_end(tmp_path, monkeypatch):
    """A single restart has no rival; several compete first."""
    scored = []
    for module in ("vispec.train.loop.fit", "vispec.train.scores.final"):
        monkeypatch.setattr(f"{module}.evaluate", lambda *args: scored.append(1) or evaluate(*args))
    result = fit(job(tmp_path / "one", Settings(epochs=2, batch=20)))
    assert len(scored) == 1
    assert Checkpoint.read(tmp_path / "one" / "last.safetensors").counters.best == result.train.per_row
    fit(job(tmp_path / "two", Settings(epochs=2, batch=20, restarts=2)))
    assert len(scored) == 4
