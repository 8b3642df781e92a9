"""`--memory`: a smaller bound on sums over joint values means more chunks, and the same numbers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from vispec.cli.main import main
from vispec.cli.options import Memory
from vispec.kernels.sums.enumeration import digits
from vispec.kernels.sums.unrolled import over_joint_values
from vispec.source import Source
from vispec.verify.build import build, randomise

SPECS = Path(__file__).parent.parent / "specs"


def vispec(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def test_less_memory_means_more_chunks_and_the_same_numbers(monkeypatch):
    built = build(Source.read(str(SPECS / "noisy_or.vispec")), {"K": 8, "D": 3})
    randomise(built, torch.Generator().manual_seed(0))
    batch = {"x": (torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) < 0.5).double()}
    honest: Callable[..., Tensor] = getattr(built.module, "log_joint_of_z")  # noqa: B009
    sizes = list[int]()
    monkeypatch.setattr(built.module, "log_joint_of_z", lambda index, *read: sizes.append(len(index)) or honest(index, *read))
    found = {}
    for memory in (2**30, 40_000, 10_000):
        sizes.clear()
        monkeypatch.setattr(built.module, "memory", memory)
        built.module.zero_grad()
        log_prob = built.module.log_prob(batch)
        log_prob.sum().backward()
        gradients = [p.grad.clone() for p in built.module.parameters() if p.grad is not None]
        found[memory] = (log_prob.detach(), *gradients, built.module.posterior(batch)["z"]), list(sizes)
    (expected, once), *others = found.values()
    assert once == [256, 256]  # for log_prob and for posterior
    assert [len(chunks) for _, chunks in others] == [3 * 2, 3 * 7]  # all that needs a gradient is computed twice
    for got, chunks in others:
        assert max(chunks) * 5 * 48 <= 40_000  # rows, and the bytes of one joint value
        for value, wanted in zip(got, expected, strict=True):
            torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)


def test_the_tilt_of_joint_values_adds_up_their_digits():
    tilt = torch.randn(2, 4, 3, dtype=torch.float64)
    chosen = digits(torch.arange(27), 3, 3)
    expected = sum(tilt[:, latent, chosen[:, latent]] for latent in range(3))
    torch.testing.assert_close(over_joint_values(tilt[:, :3]), expected)


@pytest.mark.parametrize(
    ("text", "number"), [("2GB", 2 * 10**9), ("512MiB", 2**29), ("1.5 gib", 3 * 2**29), ("100b", 100), ("64KB", 64_000)]
)
def test_amounts_of_memory(text, number):
    assert Memory().convert(text, None, None) == number


def test_a_share_of_the_machine():
    half, all_ = (Memory().convert(text, None, None) for text in ("50%", "100%"))
    assert 2**20 < half == pytest.approx(all_ / 2, abs=1)


@pytest.mark.parametrize("text", ["much", "2", "0GB", "-1GB", "2GBs", "1e9", "0.1B"])
def test_other_amounts_are_usage_errors(text):
    result = vispec("compile", str(SPECS / "noisy_or.vispec"), "--memory", text)
    assert result.exit_code == 2
    assert "2GB" in result.stderr


def test_memory_is_written_into_the_module_and_kept_by_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = str(SPECS / "noisy_or.vispec")
    assert "self.memory = 2**30  #" in vispec("compile", spec).stdout
    assert "self.memory = 5_000_000  #" in vispec("compile", spec, "--memory", "5MB").stdout
    (tmp_path / "bits.csv").write_text("x1,x2,x3\n" + "0,1,0\n1,1,0\n0,0,1\n" * 4)
    fit = ("fit", spec, "bits.csv", "--set", "K=6", "--epochs", "2", "--threads", "1", "--out", "run")
    result = vispec(*fit, "--memory", "10KB")
    assert result.exit_code == 0, result.output
    assert "self.memory = 10_000  #" in (tmp_path / "run" / "module.py").read_text()
    scores = [json.loads(vispec("eval", "run", "bits.csv", "--json", *more).stdout) for more in ((), ("--memory", "1GB"))]
    assert scores[0]["log_prob"] == pytest.approx(scores[1]["log_prob"], rel=1e-5)
    rows = [vispec("posterior", "run", "bits.csv", "--jsonl", *more) for more in ((), ("--memory", "1GB"))]
    assert all(result.exit_code == 0 for result in rows)
    resumed = vispec(*fit, "--memory", "1GB", "--resume")
    assert resumed.exit_code == 1
    assert "--memory" in resumed.stderr
