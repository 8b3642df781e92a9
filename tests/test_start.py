"""`vispec fit --from RUN`: what a fit takes of another run, what starts afresh, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from vispec.cli.main import main

WORDS = """vocab V
size K = {K}
plate n:
    plate t:
        latent   z : category[K] ~ Categorical(prior)
        observed x : token[V] ~ Categorical(emit[z])
param prior : simplex[K]
plate k[K]:
    param emit : simplex[V]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    Path("first.txt").write_text("a b c\nb c d\n" * 20)
    Path("second.txt").write_text("d d e\nd a a\n" * 20)
    Path("a.vispec").write_text(WORDS.format(K=3))


def fit(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["fit", *arguments, "--threads", "1"])
    return result.exit_code, result.output


def fitted(*arguments: str) -> dict:
    result = CliRunner().invoke(main, ["fit", *arguments, "--threads", "1", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_fit_starts_where_the_other_ended_and_keeps_its_words():
    first = fitted("a.vispec", "x=first.txt", "--epochs", "30", "--out", "first")
    # at this rate the parameters stay where they are
    again = fitted("a.vispec", "x=first.txt", "--epochs", "1", "--lr", "1e-30", "--from", "first", "--out", "again")
    assert again["train"]["log_prob"] == pytest.approx(first["train"]["log_prob"], rel=1e-6)
    fitted("a.vispec", "x=second.txt", "--epochs", "1", "--lr", "1e-30", "--from", "first", "--out", "second")
    assert Path("second/vocab/V.txt").read_text() == Path("first/vocab/V.txt").read_text()
    for name, value in load_file("first/best.safetensors").items():
        assert torch.equal(load_file("second/best.safetensors")[name], value)
    assert json.loads(Path("second/config.json").read_text())["start"] == "first"


def test_what_does_not_fit_starts_afresh_and_is_named():
    fitted("a.vispec", "x=first.txt", "--epochs", "2", "--out", "first")
    Path("b.vispec").write_text(
        WORDS.format(K=4).replace("param prior : simplex[K]", "param weight : simplex[K]").replace("(prior)", "(weight)")
    )
    code, text = fit("b.vispec", "x=first.txt", "--epochs", "1", "--from", "first", "--out", "b")
    assert code == 1
    assert "no parameter of that run has the name and shape" in text
    Path("b.vispec").write_text(
        WORDS.format(K=3).replace("param prior : simplex[K]", "param weight : simplex[K]").replace("(prior)", "(weight)")
    )
    code, text = fit("b.vispec", "x=first.txt", "--epochs", "1", "--from", "first", "--out", "b")
    assert code == 0
    assert "starting from first: 1 of 2 parameters; afresh: " in text
    assert "weight" in text


def test_a_killed_fit_goes_on_without_the_other_run(monkeypatch):
    """The run folder holds what it started from, even before its first checkpoint."""
    fitted("a.vispec", "x=first.txt", "--epochs", "2", "--out", "first")
    here = Path.cwd()
    whole = fitted("a.vispec", "x=second.txt", "--epochs", "3", "--from", "first", "--out", "whole")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vispec.train.fitted.train", stop)
    assert fit("a.vispec", "x=second.txt", "--epochs", "3", "--from", "first", "--out", "killed")[0] == 130
    assert not Path("killed/last.safetensors").exists()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    Path("first").rename("gone")
    resumed = fitted("a.vispec", "x=second.txt", "--epochs", "3", "--out", "killed", "--resume")
    assert resumed["train"]["log_prob"] == whole["train"]["log_prob"]


def test_no_run_and_another_run_are_refused():
    code, text = fit("a.vispec", "x=first.txt", "--from", "nowhere", "--out", "x")
    assert code == 1
    assert "nowhere is no folder" in text
    assert not Path("x").exists()
    fitted("a.vispec", "x=first.txt", "--epochs", "2", "--out", "first")
    code, text = fit("a.vispec", "x=first.txt", "--epochs", "2", "--out", "first", "--from", "nowhere", "--resume")
    assert code == 1
    assert "did not start --from that run" in text
