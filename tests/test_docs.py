"""The pages say what the program does: written parts are current, links lead somewhere, examples pass the checker."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from vispec.model.check import check_model
from vispec.model.codes import CODES as MODEL
from vispec.plan.refuse import CODES as PLAN
from vispec.source import Source
from vispec.syntax.codes import CODES as SYNTAX
from vispec.syntax.parse import parse
from vispec.train.data.codes import CODES as DATA

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "specs").rglob("*.md")])
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def script(name: str) -> ModuleType:
    """A script of docs/, imported."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_the_index_of_diagnostics_is_current() -> None:
    """Otherwise: python docs/make_errors.py"""
    page = text(ROOT / "docs" / "errors.md")
    assert page == script("make_errors").page()
    assert set(re.findall(r"^\| ([VD]\d{3}) \|", page, re.M)) == {*SYNTAX, *MODEL, *PLAN, *DATA}


@pytest.mark.parametrize("page", ["README.md", "docs/emitted.md"])
def test_quoted_modules_are_current(page: str) -> None:
    """Otherwise: python docs/make_excerpts.py"""
    assert text(ROOT / page) == script("make_excerpts").refreshed(text(ROOT / page))


def test_the_readme_quotes_an_emitted_module() -> None:
    assert "<!-- excerpt:" in text(ROOT / "README.md")


def test_the_picture_is_current(tmp_path: Path) -> None:
    """Otherwise: python docs/make_excerpts.py"""
    script("make_excerpts").draw_picture(tmp_path / "mixture.svg")
    assert text(tmp_path / "mixture.svg") == text(ROOT / "docs" / "img" / "mixture.svg")


def anchors(page: Path) -> set[str]:
    """What a heading's link is called: lower case, hyphens for blanks, no other punctuation."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text(page), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(text(page)):
        target, _, anchor = (match[1] or match[2]).partition("#")
        if target.startswith(("http://", "https://")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(path), f"{target} has no heading #{anchor}"


def blocks(page: Path) -> list[str]:
    return re.findall(r"```vispec\n(.*?)```", text(page), re.S)


def whole_specs() -> list[tuple[str, str]]:
    """(specs/NAME.vispec, block) for each block of a page whose first line is a comment with that name."""
    found = [(re.match(r"# (specs/\w+\.vispec)\n", block), block) for page in PAGES for block in blocks(page)]
    return [(match[1], block[match.end() :]) for match, block in found if match]


def bare(spec: str) -> list[str]:
    """The lines of a spec that say something, without the section `fit:`, which pages leave out."""
    lines = [re.sub(r"\s*#.*", "", line).rstrip() for line in spec.split("\nfit:\n")[0].splitlines()]
    return [re.sub(r"\s+", " ", line) for line in lines if line]


def test_the_readme_quotes_specs_as_they_are() -> None:
    assert len(whole_specs()) >= 2
    for name, block in whole_specs():
        assert bare(block) == bare(text(ROOT / name)), name


def test_specs_on_pages_pass_the_checker() -> None:
    for _, block in whole_specs():
        check_model(parse(Source("page.vispec", block)), {})


def test_nothing_mentions_a_command_that_does_not_exist() -> None:
    commands = {path.stem for path in (ROOT / "vispec" / "cli" / "commands").glob("*.py")}
    for page in PAGES:
        for name in re.findall(r"`vispec ([a-z]+)\b", text(page)):
            assert name in commands, f"{page.name}: vispec {name}"
