"""Verification beside a fit: what it tells, where it is kept, that it stops a wrong fit, and that nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.source import Source
from vispec.verify import beside
from vispec.verify.beside import Beside, Verdict, key

SPEC = "param mu : real\nplate n:\n    observed x : real ~ Normal(mu, 1)\n"
LONG = ("--set", "optimizer=sgd", "--lr", "1e-9", "--epochs", "1000000")
WRONG = {
    "ok": False,
    "checks": [
        {"check": "log-probability", "cases": 5, "error": 0.34, "tolerance": 1e-10, "verdict": "DIFFERS", "note": None},
        {"check": "gradient", "cases": 5, "error": 0.0, "tolerance": 1e-8, "verdict": "ok", "note": None},
        {"check": "loss", "cases": 0, "error": None, "tolerance": 0.0, "verdict": "DIFFERS", "note": "KeyError: 'x'"},
    ],
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(beside, "cache_folder", lambda: tmp_path / "cache" / "vispec")
    monkeypatch.setenv("VISPEC_NO_VERIFY", "0")
    torch.set_num_threads(1)
    Path("m.vispec").write_text(SPEC)
    Path("d.csv").write_text("x\n1\n2\n4\n")


def fit(*arguments: str):
    return CliRunner().invoke(main, ["fit", "m.vispec", "d.csv", "--threads", "1", *arguments])


def stand_in(monkeypatch, seconds: float, verdict: dict) -> None:
    """A process that takes so long, and then says this."""
    text = f"import sys, time; sys.stdin.readline(); time.sleep({seconds}); print({json.dumps(json.dumps(verdict))})"
    monkeypatch.setattr(beside, "COMMAND", (sys.executable, "-c", text))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_right_spec_is_verified_once(monkeypatch) -> None:
    monkeypatch.setattr(beside, "PATIENCE", 120.0)
    result = fit("--out", "one", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["verification"]
    assert (found["state"], found["kept"]) == ("agrees", False)
    assert {check["verdict"] for check in found["report"]["checks"]} == {"ok"}
    assert json.loads(Path("one/verify.json").read_text()) == found
    assert "verified at tiny sizes" in Path("one/report.html").read_text()
    again = fit("--out", "two")
    assert again.exit_code == 0
    assert "(kept from before)" in again.stdout


def test_a_difference_stops_the_fit_and_loses_nothing(monkeypatch) -> None:
    stand_in(monkeypatch, 0.5, {"state": "differs", "report": WRONG})
    result = fit(*LONG, "--out", "run")
    assert result.exit_code == 4, result.output
    assert "log-probability: off by 3.4e-01, where 1e-10 is allowed" in result.output
    assert "loss: KeyError: 'x'" in result.output
    assert "gradient" not in result.output
    assert Path("run/last.safetensors").exists()
    assert json.loads(Path("run/verify.json").read_text())["state"] == "differs"
    known = fit(*LONG, "--out", "other", "--json")  # at once
    assert known.exit_code == 4
    assert json.loads(known.stdout.splitlines()[-1])["verification"]["kept"]
    assert fit(*LONG[:-1], "5", "--out", "third", "--no-verify").exit_code == 0
    assert not Path("third/verify.json").exists()


@pytest.mark.parametrize("optimizer", ["newton", "sgd"])
def test_a_difference_that_is_known_stops_every_kind_of_fit(optimizer: str, monkeypatch) -> None:
    stand_in(monkeypatch, 0, {"state": "differs", "report": WRONG})
    with Beside(Source("m.vispec", SPEC)) as found:
        assert found.finish(60).state == "differs"
    result = fit("--set", f"optimizer={optimizer}", "--epochs", "1000000", "--out", "run")
    assert result.exit_code == 4, result.output


def test_a_difference_that_comes_after_the_fit_is_told_too(monkeypatch) -> None:
    stand_in(monkeypatch, 1, {"state": "differs", "report": WRONG})
    result = fit("--epochs", "1", "--set", "optimizer=sgd", "--out", "run")
    assert result.exit_code == 4
    assert Path("run/best.safetensors").exists()
    assert "off by" in Path("run/report.html").read_text() or "DIFFERS" in Path("run/report.html").read_text()


def test_a_fit_waits_no_longer_than_it_says(monkeypatch) -> None:
    assert beside.PATIENCE == 5
    stand_in(monkeypatch, 600, {"state": "agrees"})
    with Beside(Source("m.vispec", SPEC)) as found:
        began = time.monotonic()
        assert found.finish(0.2).state == "not finished"
        assert time.monotonic() - began < 2
        assert found.process is not None
        assert alive(found.process.pid)
    assert not alive(found.process.pid)
    monkeypatch.setattr(beside, "PATIENCE", 0.1)
    result = fit("--out", "run", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["verification"]["state"] == "not finished"


def test_verification_that_fails_is_no_fault_of_the_fit(monkeypatch) -> None:
    monkeypatch.setattr(beside, "COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    monkeypatch.setattr(beside, "PATIENCE", 60.0)
    result = fit("--out", "run")
    assert result.exit_code == 0, result.output
    assert "verification could not be done" in result.stdout
    assert not list(Path("cache").rglob("*.json"))  # and the next fit tries again


def test_the_environment_turns_it_off(monkeypatch) -> None:
    monkeypatch.setenv("VISPEC_NO_VERIFY", "1")
    monkeypatch.setattr(beside, "COMMAND", ("/nonexistent",))
    assert fit("--out", "run").exit_code == 0
    assert not Path("run/verify.json").exists()


def test_what_is_kept_goes_by_spec_and_version(monkeypatch) -> None:
    one, other = Source("a.vispec", SPEC), Source("b.vispec", SPEC)
    assert key(one) == key(other)
    assert key(one) != key(Source("a.vispec", SPEC + "# \n"))
    before = key(one)
    monkeypatch.setattr(beside.vispec, "__version__", "other")
    assert key(one) != before


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_stays_when_the_fit_is_killed(how: signal.Signals) -> None:
    """The real process: on a spec that it takes long for."""
    many = "\n".join(f"    latent z{i} : category[3] ~ Uniform()" for i in range(9))
    slow = (
        "plate n:\n"
        + many
        + "\n    observed x : real ~ Normal("
        + " + ".join(f"(1 if z{i} == 1 else 0)" for i in range(9))
        + ", 1)\n"
    )
    program = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell in the background ignores
        "from vispec.source import Source\nfrom vispec.verify.beside import Beside\n"
        f"with Beside(Source('m.vispec', {slow!r})) as b:\n    print(b.process.pid, flush=True)\n    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    assert alive(pid)
    os.kill(parent.pid, how)
    parent.wait(20)
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(pid)


def test_a_verdict_in_a_line() -> None:
    assert str(Verdict("agrees", {"checks": [{"verdict": "ok"}, {"verdict": "not checked"}]})) == (
        "verified at tiny sizes: 1 agree, 1 not checked"
    )
    assert str(Verdict("differs", WRONG, kept=True)).endswith("1 agree, 2 differ (kept from before)")
