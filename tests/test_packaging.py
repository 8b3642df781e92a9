"""What installs, what CI runs and what the README says agree."""

import re
import subprocess
import tomllib
from pathlib import Path

from click.testing import CliRunner

import vispec
from vispec.cli.main import main

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def name_and_version(requirement: str) -> tuple[str, str]:
    match = re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?\s*(?:[>=]=\s*([\d.]+))?", requirement)
    assert match, requirement
    return match[1].lower(), match[2] or "0"


def pins() -> dict[str, str]:
    """Of what is asked for; pins of what that brings along stand below it."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split("# What these bring along")[0].splitlines()
    return dict(name_and_version(line) for line in lines if line and not line.startswith("#"))


def test_every_requirement_is_pinned_within_its_range() -> None:
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = dict(name_and_version(requirement) for group in groups for requirement in group)
    wanted.pop("vispec")
    assert wanted.keys() == pins().keys()
    for name, least in wanted.items():
        assert [int(n) for n in pins()[name].split(".")] >= [int(n) for n in least.split(".")], name
    assert pins()["torch"] == "2.13.0"


def test_one_version() -> None:
    assert PROJECT["project"]["version"] == vispec.__version__
    assert f"## {vispec.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_wheel_holds_grammar_and_specs() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"grammar": "vispec/grammar", "specs": "vispec/specs"}
    assert all((ROOT / folder).is_dir() for folder in included)


def setup_block(text: str) -> list[str]:
    """The lines of the first `sh` block, as .ci/run finds them."""
    return text.split("```sh\n", 1)[1].split("\n```", 1)[0].splitlines()


def test_ci_runs_what_the_readme_says() -> None:
    install, tests = setup_block(README)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    find = re.search(r"setup=\$\((awk .*)\)\n", script)
    assert find
    assert 'bash -euo pipefail -c "$install"' in script
    assert 'bash -euo pipefail -c "$tests"' in script
    found = subprocess.run(["bash", "-c", find[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [install, tests]
    assert "pip install -c constraints.txt -e '.[dev]'" in install
    assert tests.endswith("/pytest")


def test_the_readme_fits_real_data_that_is_here() -> None:
    fit = setup_block(README)[0].split(" && ")[-1]
    program, command, *rest = fit.split()
    assert program.endswith("/vispec")
    assert command in main.list_commands(main.make_context("vispec", ["fit"]))
    files = [ROOT / word for word in rest if "/" in word and not word.startswith("-")]
    assert len(files) == 2
    assert all(path.exists() for path in files)
    rows = files[1].read_text(encoding="utf-8").splitlines()
    assert rows[0] == "eruptions,waiting"
    assert len(rows) == 273


def test_commands_of_the_readme_exist() -> None:
    result = CliRunner().invoke(main, ["--help"])
    known = set(re.findall(r"^  ([a-z]+) ", result.output, re.M))
    mentioned = set(re.findall(r"(?<!\.)\bvispec ([a-z]+)\b", " ".join(re.findall(r"```sh\n(.*?)```", README, re.S))))
    assert mentioned
    assert mentioned <= known


def test_the_licence_is_mit() -> None:
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert PROJECT["project"]["license"] == "MIT"
