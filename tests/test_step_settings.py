"""Settings of how steps are made: minibatches in parts or by tokens, bf16, means of parameters, rates that fall as roots."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from handmade import Mixture, clusters, job
from torch import nn

import vispec
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse
from vispec.train.errors import OptionError, RunError
from vispec.train.loop import fit as loop
from vispec.train.loop.average import Average
from vispec.train.loop.by_tokens import by_tokens
from vispec.train.loop.fit import fit
from vispec.train.loop.half import ABSENT, in_halves
from vispec.train.setup.settings import Settings, parse_setting, read_settings
from vispec.train.store.checkpoint import Checkpoint

LANGUAGE = """vocab V(min_count=1, end=true)
net lm(prefix: token[V]*) -> simplex[V] = lstm(embed=8, hidden=8)
plate sentence:
    chain i:
        observed x : token[V] ~ Categorical(lm(x[<i]))
fit:
    optimizer : adam(lr=1e-2)
    epochs    : 2
"""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def sentences(tmp_path):
    """A file of 40 sentences of one to ten words."""
    chance = np.random.default_rng(0)
    path = tmp_path / "text.txt"
    path.write_text("".join(" ".join(chance.choice(list("abcde"), chance.integers(1, 11))) + "\n" for _ in range(40)))
    return path


def parameters(folder):
    return Checkpoint.read(folder / "last.safetensors").model


def fit_of(entries: str) -> Settings:
    """The settings of a spec with these entries."""
    text = "plate n:\n    observed x : real ~ Normal(0, 1)\nfit:\n" + "".join(f"    {line}\n" for line in entries.split("\n"))
    return read_settings(check_model(parse(Source("a.vispec", text))), {})


# ---- minibatches


def test_parts_of_a_minibatch_add_up_to_it(tmp_path):
    """Where nothing is drawn, in parts of any size: 57 rows by seven, each in four parts."""
    settings = Settings(optimizer="adam", lr=0.05, epochs=6, batch=7, seed=1, precision="float64")
    for folder, accumulate in (("whole", 1), ("parts", 4)):
        kept = settings.model_copy(update={"accumulate": accumulate})
        fit(job(tmp_path / folder, kept, clusters(57), build=lambda: Mixture(dropout=0.0)))
    whole, parts = parameters(tmp_path / "whole"), parameters(tmp_path / "parts")
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-10, atol=1e-12)


def test_no_part_is_larger_than_its_share(tmp_path, monkeypatch):
    sizes = []
    loss = Mixture.loss

    def seen(self, batch, num_data):
        sizes.append(len(batch["x"]))
        return loss(self, batch, num_data)

    monkeypatch.setattr(Mixture, "loss", seen)
    fit(job(tmp_path, Settings(optimizer="adam", epochs=1, batch=20, accumulate=4), clusters(60)))
    assert sizes == [5] * 12


def test_batches_by_tokens_hold_no_more_and_little_padding():
    lengths = np.random.default_rng(0).integers(0, 60, 5000)
    lengths[7] = 900  # longer than a batch
    batches = by_tokens(lengths, 400, torch.Generator().manual_seed(0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(5000))
    padded = [len(batch) * int(lengths[batch].max()) for batch in batches]
    assert [size for size in padded if size > 400] == [900]
    assert lengths.sum() > 0.9 * sum(padded)
    again = by_tokens(lengths, 400, torch.Generator().manual_seed(0))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    other = by_tokens(lengths, 400, torch.Generator().manual_seed(1))
    assert not np.array_equal(batches[0], other[0])


def test_a_fit_by_tokens_counts_each_row_alike(sentences, tmp_path):
    """The gradients of an epoch's minibatches have that of all rows as their mean, whatever the number of their rows."""
    spec = LANGUAGE.replace("epochs    : 2", "epochs    : 1\n    batch     : 33 tokens")
    spec = spec.replace("adam(lr=1e-2)", "sgd(lr=1e-9)")
    model = vispec.load(spec)
    seen = []
    from vispec.train.loop.step import Stepper

    exchange = Stepper._exchange

    def watched(self, loss, signals):
        seen.append(torch.cat([p.grad.flatten() for p in self.parameters]))
        return exchange(self, loss, signals)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "_exchange", watched)
        model.fit(sentences, out=tmp_path / "tokens", verify=False, quiet=True, precision="float64")
        by_parts = torch.stack(seen).mean(0)
        seen.clear()
        model.fit(sentences, out=tmp_path / "whole", verify=False, quiet=True, precision="float64", batch=40)
    assert len(seen) == 1
    torch.testing.assert_close(by_parts, seen[0], rtol=1e-6, atol=1e-9)


def test_a_number_of_tokens_is_written_and_read():
    assert fit_of("batch : 4096 tokens").tokens == 4096
    assert parse_setting("batch", "4096 tokens") == {"tokens": 4096}
    text = "plate n:\n    observed x : real ~ Normal(0, 1)\n\nfit:\n    batch : 4096 tokens\n"
    assert format_tree(parse(Source("a.vispec", text))) == text
    model = check_model(parse(Source("a.vispec", text)))
    assert read_settings(model, {"batch": 5}).tokens is None
    for wrong in ("batch : 0 tokens", "epochs : 4 tokens"):
        with pytest.raises(SpecError) as error:
            fit_of(wrong)
        assert error.value.diagnostics[0].code == "V613"


# ---- rates and means


def test_the_rate_falls_as_a_root_after_its_warmup():
    settings = fit_of("warmup : 4\ndecay : inverse_sqrt")
    rates = [settings.rate(step, 100) for step in range(64)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[15] == pytest.approx(0.5)
    assert rates[63] == pytest.approx(0.25)
    assert all(a > b for a, b in pairwise(rates[3:]))


@pytest.mark.parametrize("kind", ["last", "ema"])
def test_means_of_parameters_are_what_counts(tmp_path, kind):
    """They are the best parameters, and the same where the fit was stopped on its way; the steps do not know of them."""
    over = {"last": 3.0, "ema": 0.8}[kind]
    plain = Settings(optimizer="sgd", lr=0.5, epochs=5, batch=20, seed=1, precision="float64", save_every=0.0)
    mean = plain.model_copy(update={"average": kind, "average_over": over})
    copies: list[dict] = []
    step = Average.step

    def copied(self, number):
        step(self, number)
        copies.append(self._copy())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Average, "step", copied)
        fit(job(tmp_path / "mean", mean, clusters(60), build=lambda: Mixture(dropout=0.0)))
    fit(job(tmp_path / "plain", plain, clusters(60), build=lambda: Mixture(dropout=0.0)))
    found = Checkpoint.read(tmp_path / "mean" / "last.safetensors")
    assert all(torch.equal(value, parameters(tmp_path / "plain")[name]) for name, value in found.model.items())
    assert len(copies) == 15
    for name, value in (found.best or {}).items():
        if kind == "last":
            expected = torch.stack([copies[at][name] for at in (8, 11, 14)]).mean(0)
        else:
            expected = copies[0][name]
            for number, copy in enumerate(copies):
                weight = min(over, (1 + number) / (10 + number))
                expected = weight * expected + (1 - weight) * copy[name]
        torch.testing.assert_close(value, expected)
        assert not torch.allclose(value, found.model[name])


def test_a_stopped_fit_goes_on_with_its_mean(tmp_path):
    settings = Settings(optimizer="adam", lr=0.1, epochs=4, batch=20, average="last", average_over=3.0, save_every=0.0)
    whole = job(tmp_path / "whole", settings, valid=clusters(20, 1))
    fit(whole)
    half = replace(job(tmp_path / "half", settings, valid=clusters(20, 1)))
    steps = iter(range(100))
    with pytest.raises(Exception, match="interrupted"):
        fit(replace(half, halted=lambda: next(steps) == 7))
    checkpoint = Checkpoint.read(tmp_path / "half" / "last.safetensors")
    assert len(checkpoint.average) == 4  # two epochs of two parameters
    fit(half, checkpoint)
    assert (tmp_path / "whole" / "best.safetensors").read_bytes() == (tmp_path / "half" / "best.safetensors").read_bytes()


@pytest.mark.parametrize("wrong", ["average : last", "average : last(0)", "average : last(1.5)", "average : ema(1)"])
def test_a_mean_of_nothing_is_refused(wrong):
    with pytest.raises(SpecError) as error:
        fit_of(wrong)
    assert error.value.diagnostics[0].code == "V613"
    with pytest.raises(OptionError, match=r"`average` must be `(last\(n\)|ema\(d\))`"):
        parse_setting("average", wrong.removeprefix("average : "))


# ---- bf16


ATTENTIVE = LANGUAGE.replace("lstm(embed=8, hidden=8)", "transformer(8, heads=2, layers=1)")


def test_nets_learn_in_bf16_and_sums_are_in_float32(sentences, tmp_path, monkeypatch):
    """Whatever the processor has: products of matrices are there on each, LSTMs are not."""
    monkeypatch.setattr(loop, "has_halves", lambda device: True)
    run = vispec.load(ATTENTIVE).fit(sentences, out=tmp_path / "run", verify=False, quiet=True, precision="bf16", epochs=60)
    module, data = run.module, vispec.load(ATTENTIVE)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    exact = run.score(sentences)
    assert exact.log_prob / exact.tokens > math.log(1 / 6)  # better than by chance: it has learnt
    in_halves(module, data.checked, torch.device("cpu"))
    batch = {"x": torch.randint(2, 6, (3, 5)), "x_len": torch.tensor([5, 3, 1])}
    seen = []
    next(each for each in module.lm.modules() if isinstance(each, nn.Linear)).register_forward_hook(
        lambda *_: seen.append(_[2].dtype)
    )
    scored = module.log_prob(batch)
    module.train()
    learnt = module.log_prob(batch)
    learnt.sum().backward()
    assert seen == [torch.float32, torch.bfloat16]
    assert learnt.dtype == torch.float32
    assert not torch.equal(scored, learnt)
    torch.testing.assert_close(scored, learnt.detach(), rtol=2e-2, atol=2e-2)


def test_processors_without_bf16_learn_in_float32_and_this_is_said(sentences, tmp_path, monkeypatch, capsys):
    """There torch has no LSTM of bfloat16."""
    monkeypatch.setattr(loop, "has_halves", lambda device: False)
    fixed = {"verify": False, "quiet": False, "epochs": 2}
    halves = vispec.load(LANGUAGE).fit(sentences, out=tmp_path / "a", precision="bf16", **fixed)
    assert ABSENT in capsys.readouterr().err
    wide = vispec.load(LANGUAGE).fit(sentences, out=tmp_path / "b", precision="float32", **fixed)
    assert ABSENT not in capsys.readouterr().err
    for one, other in zip(halves.module.parameters(), wide.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_bf16_without_nets_is_refused(tmp_path):
    spec = "plate n:\n    observed x : real ~ Normal(m, 1)\nparam m : real\n"
    with pytest.raises(OptionError, match="this model has none"):
        vispec.load(spec).fit({"x": [1.0, 2.0]}, out=tmp_path / "run", verify=False, quiet=True, precision="bf16")


# ---- going on


def test_settings_that_were_resolved_are_the_same_when_given_again(sentences, tmp_path):
    """A batch above the number of rows, and the optimiser that was to be chosen."""
    fixed = {"out": tmp_path / "run", "verify": False, "quiet": True, "epochs": 2}
    model = vispec.load(LANGUAGE.replace("    optimizer : adam(lr=1e-2)\n", ""))
    model.fit(sentences, batch=1000, optimizer="auto", **fixed)
    model.fit(sentences, batch=1000, optimizer="auto", resume=True, **fixed)
    with pytest.raises(RunError, match="batch is 40, not 7"):
        model.fit(sentences, batch=7, resume=True, **fixed)
