"""`--work`: what the sums of one row may take is one number for every command, and more of it is refused alike."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vispec.cli.main import main
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.plan.planner import plan_model, plan_of
from vispec.source import Source
from vispec.syntax.parse import parse

SPEC = """size K = 20
param a : simplex[K]
plate k[K]:
    param b : simplex[K]
    param loc : real[K]
param sd : positive
plate n:
    latent u : index[k] ~ Categorical(a)
    latent v : category[K] ~ Categorical(b[u])
    observed x : real ~ Normal(loc[u, v], sd)
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("two.vispec").write_text(SPEC)
    Path("x.csv").write_text("x\n1\n2\n0.5\n-1\n")
    return "two.vispec"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.mark.parametrize("command", ["check", "compile", "explain", "verify", "fit"])
def test_every_command_refuses_the_same(spec: str, command: str) -> None:
    more = {"verify": ("--set", "K=20"), "fit": ("x.csv", "--epochs", "1")}.get(command, ())
    result = run(command, spec, *more, "--work", "300")
    assert result.exit_code == 1
    assert "error[V711]" in result.stderr
    assert "allow it by --work 420" in result.stderr
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["check", "compile", "explain"])
def test_as_much_as_it_takes_is_enough(spec: str, command: str) -> None:
    assert run(command, spec, "--work", "420").exit_code == 0


def test_a_fit_keeps_what_it_began_with(spec: str) -> None:
    result = run("fit", spec, "x.csv", "--epochs", "1", "--restarts", "1", "--work", "420", "--json")
    assert result.exit_code == 0, result.stderr
    again = run("fit", spec, "x.csv", "--resume", "--work", "500", "--json")
    assert again.exit_code == 1
    assert "--work" in json.loads(again.stdout)["error"]


def test_the_plan_of_what_is_compiled_is_no_refusal() -> None:
    model = check_model(parse(Source("two.vispec", SPEC)), {"K": 40_000})
    with pytest.raises(SpecError, match="V711"):
        plan_model(model)
    assert plan_of(model).exact
