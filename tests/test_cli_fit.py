"""`vispec new`, `compile` and `fit`: what they write, print and refuse, and with which exit code."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from vispec.cli.main import main

ROOT = Path(__file__).parents[1]
QUICK = ("--threads", "1", "--epochs", "3")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """An empty folder with toy.vispec, which asks for Adam, and toy.csv, as the present one."""
    monkeypatch.chdir(tmp_path)
    assert vispec("new", "toy").exit_code == 0
    with (tmp_path / "toy.vispec").open("a") as spec:
        spec.write("\nfit:\n    optimizer : adam(lr=0.05)\n")
    return tmp_path


def vispec(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def fit_json(*arguments: str) -> dict:
    result = vispec("fit", "toy.vispec", "toy.csv", *QUICK, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_new_names_two_commands_that_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = vispec("new", "toy")
    commands = [line.split() for line in result.output.splitlines() if line.startswith("  vispec")]
    assert [command[1] for command in commands] == ["check", "fit"]
    assert vispec(*commands[0][1:]).exit_code == 0
    assert vispec(*commands[1][1:], *QUICK).exit_code == 0
    assert vispec("new", "toy").exit_code == 1
    assert vispec("new", "../toy").exit_code == 2


def test_fit_leaves_a_whole_run_folder(toy):
    found = fit_json("--set", "K=2", "--valid", "toy.csv")
    assert found["run"] == "runs/toy-1"
    assert {"epochs": 3, "steps": 3}.items() <= found.items()
    score_keys = {"rows", "tokens", "log_prob", "log_prob_per_row", "log_prob_per_token", "perplexity", "exact", "estimator"}
    score_keys |= {"bound", "standard_error", "diagnostics", "unknown"}
    score_keys |= {"evidence_bound", "evidence_bound_per_row", "evidence_bound_error"}
    assert found["train"].keys() == found["valid"].keys() == score_keys
    run = toy / "runs" / "toy-1"
    names = {"spec.vispec", "module.py", "config.json", "metrics.jsonl", "last.safetensors", "best.safetensors", "report.html"}
    assert names <= {path.name for path in run.iterdir()}
    assert (run / "spec.vispec").read_text() == (toy / "toy.vispec").read_text()
    assert json.loads((run / "config.json").read_text())["sizes"]["K"] == 2
    assert "<svg" in (run / "report.html").read_text()
    assert not list(run.glob(".*tmp"))


def test_the_module_is_what_compile_prints_and_loads_the_parameters(toy):
    found = fit_json()
    printed = vispec("compile", "toy.vispec", "toy.csv").stdout
    assert printed == (toy / found["run"] / "module.py").read_text()
    assert vispec("compile", "toy.vispec", "toy.csv", "-o", "module.py").exit_code == 0
    namespace: dict = {}
    exec((toy / "module.py").read_text(), namespace)
    module = namespace["Toy"]()
    module.load_state_dict(load_file(toy / found["run"] / "best.safetensors"))
    rows = [[float(cell) for cell in line.split(",")] for line in (toy / "toy.csv").read_text().split()[1:]]
    log_prob = module.log_prob({"x": torch.tensor(rows)}).sum().detach()
    assert float(log_prob) == pytest.approx(found["train"]["log_prob"], rel=1e-5)


def test_runs_are_numbered_and_never_overwritten(toy):
    assert [fit_json()["run"] for _ in range(2)] == ["runs/toy-1", "runs/toy-2"]
    before = (toy / "runs/toy-1/last.safetensors").read_bytes()
    result = vispec("fit", "toy.vispec", "toy.csv", *QUICK, "--out", "runs/toy-1")
    assert result.exit_code == 1
    assert "--resume" in result.stderr
    assert (toy / "runs/toy-1/last.safetensors").read_bytes() == before


def test_resuming_a_finished_run_repeats_its_result_and_may_go_further(toy):
    first = fit_json("--out", "run")
    assert fit_json("--out", "run", "--resume") == first
    longer = fit_json("--out", "run", "--resume", "--epochs", "6")
    straight = fit_json("--out", "straight", "--epochs", "6")
    assert longer["epochs"] == 6
    assert longer["train"] == straight["train"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--seed", "9"), "keeps its settings: seed"),
        (("--set", "K=5"), "other sizes"),
        (("--valid", "toy.csv"), "other data"),
    ],
)
def test_a_run_is_not_resumed_as_another(toy, arguments, words):
    fit_json("--out", "run")
    result = vispec("fit", "toy.vispec", "toy.csv", "--out", "run", "--resume", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_changed_spec_or_data_is_not_resumed(toy):
    fit_json("--out", "run")
    data = (toy / "toy.csv").read_text()
    (toy / "toy.csv").write_text(data + "1.0,2.0\n")
    result = vispec("fit", "toy.vispec", "toy.csv", "--out", "run", "--resume")
    assert (result.exit_code, "has changed since the fit began" in result.stderr) == (1, True)
    (toy / "toy.csv").write_text(data)
    (toy / "toy.vispec").write_text((toy / "toy.vispec").read_text().replace("K = 3", "K = 4"))
    result = vispec("fit", "toy.vispec", "toy.csv", "--out", "run", "--resume")
    assert (result.exit_code, "spec has changed" in result.stderr) == (1, True)


def test_an_interrupt_leaves_a_checkpoint_and_the_words_to_go_on(toy):
    arguments = ("fit", "toy.vispec", "toy.csv", "--threads", "1", "--epochs", "80", "--batch", "10")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "vispec", *arguments, "--out", "broken"]
    broken = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    metrics = toy / "broken/metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() or metrics.stat().st_size == 0:
        assert broken.poll() is None, broken.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    broken.send_signal(signal.SIGINT)
    _, errors = broken.communicate(timeout=120)
    assert broken.returncode == 130, errors
    told = re.search(r"to go on: vispec (.*)", errors)
    assert told is not None, errors
    assert vispec(*shlex.split(told[1])).exit_code == 0
    assert vispec(*arguments, "--out", "whole").exit_code == 0
    a, b = load_file(toy / "whole/best.safetensors"), load_file(toy / "broken/best.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_divergence_has_an_exit_code_of_its_own(toy):
    result = vispec("fit", "toy.vispec", "toy.csv", *QUICK, "--set", "optimizer=sgd", "--lr", "1e38", "--json")
    assert result.exit_code == 3
    assert "diverged" in result.stderr
    assert json.loads(result.stdout)["ok"] is False


def test_a_nan_is_traced_to_its_variable(toy):
    """exp(1000) is infinite, and 0 times that is no number."""
    (toy / "far.vispec").write_text(
        "param a : real\nplate n:\n    given y : real\n    observed x : real ~ Normal(a * exp(y), 1)\n"
    )
    (toy / "far.csv").write_text("y,x\n1,2\n1000,3\n")
    result = vispec("fit", "far.vispec", "far.csv", *QUICK, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["variable"] == "x"
    assert "module.py" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nothing.vispec", "toy.csv"), 1, "nothing.vispec"),
        (("toy.vispec", "nothing.csv"), 1, "nothing.csv"),
        (("toy.vispec",), 2, "DATA"),
        (("toy.vispec", "toy.csv", "--set", "Q=3"), 2, "no size `Q`"),
        (("toy.vispec", "toy.csv", "--set", "K=none"), 2, "whole number"),
        (("toy.vispec", "toy.csv", "--set", "K"), 2, "NAME=VALUE"),
        (("toy.vispec", "toy.csv", "--set", "optimizer=addam"), 2, "no optimizer `addam`"),
        (("toy.vispec", "toy.csv", "--set", "clip=-1"), 2, "clip"),
        (("toy.vispec", "toy.csv", "--epochs", "0"), 2, "epochs"),
        (("toy.vispec", "toy.csv", "--device", "abacus"), 1, "abacus"),
        (("toy.vispec", "toy.csv", "--columns", "x=q,r"), 1, "q"),
        (("toy.vispec", "toy.csv", "--out", "toy.csv"), 1, "is a file"),
    ],
)
def test_mistakes_have_a_message_and_a_code(toy, arguments, code, words):
    result = vispec("fit", *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not (toy / "runs").exists()


def test_a_wrong_spec_prints_its_diagnostics_as_json(toy):
    (toy / "toy.vispec").write_text("param mu : real\nplate n:\n    observed x : real ~ Normal(nu, 1)\n")
    result = vispec("fit", "toy.vispec", "toy.csv", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["diagnostics"][0]["line"] == 3


def test_the_spec_s_fit_block_decides_unless_overridden(toy):
    text = (toy / "toy.vispec").read_text() + "    epochs : 2\n    valid : 0.2\n    restarts : 2\n"
    (toy / "toy.vispec").write_text(text)
    result = vispec("fit", "toy.vispec", "toy.csv", "--threads", "1", "--json", "--restarts", "1")
    found = json.loads(result.stdout)
    assert (found["epochs"], found["train"]["rows"], found["valid"]["rows"]) == (2, 120, 30)


def test_valid_takes_all_files_up_to_the_next_option(toy):
    laws = "    observed x : real ~ Normal(mu, 1)\n    observed y : real ~ Normal(nu, 1)\n"
    (toy / "ab.vispec").write_text(f"param mu : real\nparam nu : real\nplate n:\n{laws}")
    (toy / "a.txt").write_text("1\n2\n3\n")
    (toy / "b.txt").write_text("1\n2\n")
    arguments = ("ab.vispec", "x=a.txt", "y=a.txt", "--valid", "x=b.txt", "y=b.txt", *QUICK, "--json")
    result = vispec("fit", *arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["train"]["rows"], found["valid"]["rows"]) == (3, 2)


def test_a_fraction_of_the_rows_may_be_held_out(toy):
    found = json.loads(vispec("fit", "toy.vispec", "toy.csv", "--valid", "0.2", *QUICK, "--json").stdout)
    rows = sum(1 for _ in (toy / "toy.csv").open()) - 1
    assert (found["train"]["rows"], found["valid"]["rows"]) == (rows - rows // 5, rows // 5)
    assert vispec("fit", "toy.vispec", "toy.csv", "--valid", "1.5", *QUICK).exit_code == 2
    assert "cannot read" in vispec("fit", "toy.vispec", "toy.csv", "--valid", "none.csv", *QUICK).output


def test_the_report_escapes_names(toy):
    (toy / "toy.vispec").write_text((toy / "toy.vispec").read_text() + "# <script>alert(1)</script>\n")
    (toy / "<b>.csv").write_text((toy / "toy.csv").read_text())
    assert vispec("fit", "toy.vispec", "<b>.csv", *QUICK, "--out", "run").exit_code == 0
    page = (toy / "run/report.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "&lt;b&gt;.csv" in page
    assert "<b>.csv" not in page
