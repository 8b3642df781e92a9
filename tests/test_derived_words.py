"""What `check` and `explain` say of derived quantities, and that each is told so; what is said of the size of a vocabulary; and
that no entropy is below 0."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.random.compare import loaded
from vispec.cli.main import main
from vispec.compile import compile_spec
from vispec.source import Source

EXACT = """\
size K = 3
param pi : simplex[K]
plate k[K]:
    param mu : real
plate n:
    latent c : index[k] ~ Categorical(pi)
    observed x : real ~ Normal(mu[c], 1)
    let high = c == 2
    let twice = 2 * mu[c]
    let half = x / 2
"""
DRAWN = (
    EXACT.replace("    observed x", "    latent z : real ~ Normal(0, 1)\n    observed x").replace("mu[c], 1", "mu[c] + z, 1")
    + "infer:\n    z : elbo(samples=1)\n"
)


def said(tmp_path: Path, text: str, *command: str) -> str:
    path = tmp_path / "m.vispec"
    path.write_text(text)
    result = CliRunner().invoke(main, [command[0], str(path), *command[1:]])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(("text", "exact"), [(EXACT, [True, True, True]), (DRAWN, [False, False, True])])
def test_check_lists_them_with_how_they_are_told(tmp_path: Path, text: str, exact: list[bool]):
    rows = [row for row in json.loads(said(tmp_path, text, "check", "--json"))["plan"] if row["treatment"] == "derived"]
    assert [row["variable"] for row in rows] == ["high", "twice", "half"]
    assert [row["exact"] for row in rows] == exact
    assert "posterior probabilities" in rows[0]["because"]
    assert "posterior mean" in rows[1]["because"]
    assert all(f"`--of {row['variable']}`" in row["because"] for row in rows)
    assert "over draws" in rows[0]["because"] or exact[0]


def test_explain_has_a_section_of_them(tmp_path: Path):
    section = json.loads(said(tmp_path, EXACT, "explain", "--json"))["sections"][-1]
    assert section["heading"] == "Derived"
    assert section["formulas"] == ["high = c = 2", "twice = 2 · μ[c]", "half = x / 2"]
    assert "twice is read by no law: its posterior mean (`--of twice`), exact." in section["text"]
    assert "Derived" not in said(tmp_path, EXACT.split("    let")[0], "explain")


def test_the_size_of_a_vocabulary_is_what_data_say(tmp_path: Path):
    path = tmp_path / "m.vispec"
    path.write_text("vocab V\nparam p : simplex[V]\nplate n:\n    observed w : token[V] ~ Categorical(p)\n")
    result = CliRunner().invoke(main, ["compile", str(path), "--set", "V=20"])
    assert result.exit_code == 2
    assert "`V` is a vocabulary, which DATA builds" in result.stderr
    path.write_text(path.read_text().replace("vocab V", "vocab V(max_size=20)"))  # the way out that it names
    assert CliRunner().invoke(main, ["check", str(path)]).exit_code == 0


def test_no_entropy_is_below_0():
    """Of cells that are certain, whose probabilities add up to 1 but for rounding."""
    module = loaded(compile_spec(Source("m.vispec", EXACT)))
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter, dtype=torch.float64)
    x = 10 * torch.randn(5000, dtype=torch.float64)
    found = module.posterior({"x": x}, "entropy")["c"]
    assert float(found.min()) >= 0
    assert float(found.min()) < 1e-9
