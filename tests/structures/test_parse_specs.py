"""A grammar as a spec: against all parses by `verify`, and what is refused."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from vispec.cli.main import main

SPEC = """\
size V = 3
size NT = 2
size PT = 2
param root : simplex[NT]
plate a[NT]:
    param rule : real[NT + PT, NT + PT]
plate p[PT]:
    param emit : simplex[V]
plate row:
    latent t : parse[i, NT, PT] ~ Grammar(root, rule[*])
    plate i:
        observed x : category[V] ~ Categorical(emit[t])
"""


def test_verified(tmp_path: Path):
    (tmp_path / "s.vispec").write_text(SPEC)
    found = CliRunner().invoke(main, ["verify", str(tmp_path / "s.vispec")])
    assert found.exit_code == 0, found.output
    assert " 0 differ" in found.output


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("latent t", "partial t", "V307"),
        ("parse[i, NT, PT]", "parse[i, NT]", "V302"),
        ("real[NT + PT, NT + PT]", "real[NT, NT]", "V409"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, code: str):
    (tmp_path / "s.vispec").write_text(SPEC.replace(old, new))
    found = CliRunner().invoke(main, ["check", str(tmp_path / "s.vispec")])
    assert code in found.output
    assert "Traceback" not in found.output
