"""The pages say what the program does: quotations are current, examples work, links lead somewhere, lists are complete."""

import doctest
import importlib.util
import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

from vispec.catalog import networks, written_laws
from vispec.cli.main import main
from vispec.compile import compile_spec
from vispec.estimators import estimators
from vispec.model.blocks.fitting import KEYS, OPTIMIZERS
from vispec.model.check import check
from vispec.model.codes import CODES as MODEL
from vispec.model.names.annotations import DOMAINS
from vispec.model.names.sizes import VOCAB_OPTIONS
from vispec.model.values.functions import FUNCTIONS
from vispec.plan.refused.refuse import CODES as PLAN
from vispec.source import Source
from vispec.syntax.codes import CODES as SYNTAX
from vispec.syntax.parse import parse
from vispec.train.data.encoding.codes import CODES as DATA
from vispec.train.data.files import readers
from vispec.train.scores.evaluate import Score

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "specs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def text(page: Path | str) -> str:
    """A file under its path from the root."""
    return (ROOT / page).read_text(encoding="utf-8")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(language: str) -> list[Any]:
    """(page, code) for each fenced block in that language."""
    found = [(named(page), code) for page in PAGES for kind, code in FENCE.findall(text(page)) if kind == language]
    return [pytest.param(page, code, id=f"{page}-{i}") for i, (page, code) in enumerate(found)]


def section(page: str, heading: str) -> str:
    """What stands under a heading of a page."""
    return text(page).split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def script(name: str) -> ModuleType:
    """A script of docs/, imported."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- written by scripts


def test_the_index_of_diagnostics_is_current() -> None:
    """Otherwise: python docs/make_errors.py"""
    page = text("docs/errors.md")
    assert page == script("make_errors").page()
    assert set(re.findall(r"^\| ([VD]\d{3}) \|", page, re.M)) == {*SYNTAX, *MODEL, *PLAN, *DATA}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_quotations_are_current(page: Path) -> None:
    """Otherwise: python docs/make_excerpts.py"""
    assert text(page) == script("make_excerpts").refreshed(text(page))


@pytest.mark.parametrize("page", script("make_outputs").PAGES, ids=named)
def test_pages_show_what_their_blocks_print(page: Path, tmp_path: Path) -> None:
    """Otherwise: python docs/make_outputs.py"""
    outputs = script("make_outputs")
    assert outputs.lasting(text(page)) == outputs.lasting(outputs.played(text(page), tmp_path))


def test_the_data_of_pages_are_made_by_their_script() -> None:
    """Otherwise: python docs/make_data.py"""
    data = script("make_data")
    assert {name: text(data.DATA / name) for name in data.TABLES} == data.tables()


def test_pages_quote_emitted_modules() -> None:
    assert all("<!-- excerpt:" in text(page) for page in ("README.md", "docs/emitted.md"))


@pytest.mark.parametrize("name", script("make_excerpts").pictures())
def test_pictures_are_current(name: str, tmp_path: Path) -> None:
    """Otherwise: python docs/make_excerpts.py"""
    excerpts = script("make_excerpts")
    excerpts.draw_picture(excerpts.pictures()[name], tmp_path / name)
    assert text(tmp_path / name) == text(f"docs/img/{name}")


# ---- links and commands


def anchors(page: Path) -> set[str]:
    """What a heading's link is called: lower case, hyphens for blanks, no other punctuation."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text(page)), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(FENCE.sub("", text(page))):
        target, _, anchor = (match[1] or match[2]).partition("#")
        if target.startswith(("http://", "https://")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(path), f"{target} has no heading #{anchor}"


def test_the_readme_links_every_page() -> None:
    pages = [named(page) for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in text("README.md")] == []


def test_the_readme_lists_every_command() -> None:
    assert sorted(re.findall(r"^\| `vispec ([\w-]+)", text("README.md"), re.M)) == main.list_commands(click.Context(main))


def test_nothing_mentions_a_command_that_does_not_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`vispec ([a-z-]+)\b", text(page)):
            assert name in main.list_commands(click.Context(main)), f"{page.name}: vispec {name}"


PLAYED = [named(page) for page in script("make_outputs").PAGES]  # whose commands run


@pytest.mark.parametrize(("page", "code"), [block for block in blocks("sh") if block.values[0] not in PLAYED])
def test_commands_on_pages_are_used_rightly(page: str, code: str) -> None:
    for part in re.split(r" && | > | \| |\n", re.sub(r"  +#.*", "", code)):
        program, *words = shlex.split(part) or [""]
        if program.endswith("vispec"):
            command = main.get_command(click.Context(main), words[0])
            assert command is not None, part
            command.make_context(words[0], words[1:])


@pytest.mark.parametrize("page", [page for page in PAGES if "```pycon" in text(page)], ids=named)
def test_sessions_on_pages_are_what_python_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    session = doctest.DocTestParser().get_doctest(text(page), {}, page.name, str(page), 0)
    assert len(session.examples) > 2
    doctest.DocTestRunner(optionflags=options).run(session, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("page", [page for page in PAGES if "```console" in text(page)], ids=named)
def test_sessions_at_the_shell_are_what_vispec_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All such blocks of a page are one session; what a command prints is compared where something is shown of it."""
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    monkeypatch.chdir(tmp_path)
    shown = 0
    for code in (code for kind, code in FENCE.findall(text(page)) if kind == "console"):
        for part in code.split("$ vispec ")[1:]:
            command, _, printed = part.partition("\n")
            result = CliRunner().invoke(main, shlex.split(command))
            assert result.exit_code == 0, result.output
            assert not printed or result.stdout.strip() == printed.strip(), command
            shown += bool(printed)
    assert shown


def test_the_notebook_is_current() -> None:
    """Otherwise: python docs/make_notebook.py. Pictures are compared by their kind alone."""
    kept, made = json.loads(text("docs/tour.ipynb")), script("make_notebook").made()
    near = re.compile(r"at most \S+ nats|[0-9A-Za-z+/=\n]{200,}")
    assert near.sub("", json.dumps(made)) == near.sub("", json.dumps(kept))


def test_the_readme_shows_what_its_first_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the printed digits, but for how near the maximum is: that is a matter of rounding."""
    monkeypatch.chdir(ROOT)
    command, shown = (
        re.search(r"vispec (fit .*)$", text("README.md"), re.M),
        FENCE.search(text("README.md").split("output: fit")[1]),
    )
    assert command
    assert shown
    result = CliRunner().invoke(main, [*shlex.split(command[1]), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    printed, near = result.stdout.split("\nrun: ")[0].strip(), re.compile(r"at most \S+ nats")
    assert near.sub("", printed) == near.sub("", shown[2].strip())
    assert float(near.findall(printed)[0].split()[2]) <= 1e-9


# ---- specs and examples


@pytest.mark.parametrize(("page", "code"), blocks("vispec"))
def test_specs_on_pages_pass_the_checker(page: str, code: str) -> None:
    model, found = check(parse(Source("page.vispec", code)))
    assert [diagnostic.message for diagnostic in found if "it is a derived quantity" not in diagnostic.message] == []
    assert model is not None


def test_specs_quoted_by_name_are_as_they_are() -> None:
    """A block whose first line is a comment with a file's name."""
    codes = [code for page in PAGES for kind, code in FENCE.findall(text(page)) if kind == "vispec"]
    quoted = [(match[1], code) for code in codes if (match := re.match(r"# (specs/\w+\.vispec)\n", code))]
    assert len(quoted) >= 2
    for name, code in quoted:
        assert bare(code) == bare(text(name)), name


def bare(spec: str) -> list[str]:
    """The lines of a spec that say something, without the section `fit:`, which pages leave out."""
    lines = [re.sub(r"\s*#.*", "", line).rstrip() for line in spec.split("\nfit:\n")[0].splitlines()]
    return [re.sub(r"\s+", " ", line) for line in lines if line]


def test_the_example_of_use_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`<!-- run: SPEC SIZE=N -->` before a block: it runs beside the module emitted for that spec."""
    found = re.search(r"<!-- run: (\w+) (\w+)=(\d+) -->\n```python\n(.*?)```", text("docs/emitted.md"), re.S)
    assert found
    module = compile_spec(Source.read(ROOT / "specs" / f"{found[1]}.vispec"), {found[2]: int(found[3])})
    (tmp_path / f"{found[1]}.py").write_text(module, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {}
    exec(found[4], names)
    assert names["log_p"].shape == names["labels"].shape == (100,)
    assert names["weights"].sum(-1).allclose(names["log_p"].new_ones(100))
    assert {name: tuple(value.shape) for name, value in names["drawn"].items()} == {"c": (5,), "x": (5, 2)}
    assert names["model"].pi.tolist() == pytest.approx([0.2, 0.3, 0.5])


# ---- the language page has everything


def rows(part: str) -> dict[str, str]:
    """The rows of tables that begin with one name in code, by that name."""
    return dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", part, re.M))


def words_in_code(part: str) -> set[str]:
    return {word for code in re.findall(r"`([^`\n]+)`", part) for word in re.findall(r"\w+", code)}


def test_every_distribution_with_its_parameters() -> None:
    table = rows(section("docs/language.md", "Laws"))
    assert table.keys() == {*written_laws(), "Weight"}  # which stands on lengths of stretches alone
    for name, entry in written_laws().items():
        domains, params = table[name].split("|", 1)
        supports = ["category" if domain == "index" else domain for domain in (entry.support, *entry.other_supports)]
        assert re.findall(r"`(\w+)`", params) == list(entry.params), name
        assert [domain for domain in supports if domain not in domains] == [], name


def test_every_layer_with_its_options() -> None:
    table = rows(section("docs/language.md", "Nets"))
    assert table.keys() == networks().keys()
    for name, entry in networks().items():
        if "the same" in table[name]:
            continue
        written = dict(re.findall(r"`(\w+)(?:=([\w.]+))?`", table[name].split("|")[0]))
        assert list(written) == list(entry.options), name
        for option, default in written.items():
            assert not default or plain(default) == plain(entry.options[option].default), f"{name}: {option}"


def plain(value: object) -> object:
    """A default as a number where it looks like one, so that 0 and 0.0 are the same."""
    try:
        return float(str(value))
    except ValueError:
        return str(value)


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("Types", DOMAINS),
        ("Expressions", FUNCTIONS),
        ("Sizes and vocabularies", VOCAB_OPTIONS),
        ("Infer", [*estimators(), *(setting for kind in estimators().values() for setting in kind.settings)]),
        ("Fit", [*KEYS, *OPTIMIZERS]),
    ],
    ids=["types", "functions", "vocabularies", "estimators", "fit"],
)
def test_every_name(heading: str, names: Iterable[str]) -> None:
    assert set(names) - words_in_code(section("docs/language.md", heading)) == set()


def test_the_walk_of_a_factor_passes_no_file_twice() -> None:
    for table in re.findall(r"\| File \| has it as \|\n\|---\|---\|\n((?:\|.*\n)+)", text("docs/architecture.md")):
        files = re.findall(r"^\| `([\w/.]+)` \|", table, re.M)
        assert len(files) == len(set(files)) > 10
        assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_data_format() -> None:
    assert readers().keys() - set(re.findall(r"`(\.\w+)`", text("docs/data.md"))) == set()


def test_every_option_of_a_fit_and_of_commands_on_runs() -> None:
    for heading, names in (("Fit", ["fit"]), ("Using a run", ["eval", "posterior", "predict", "sample"])):
        told = set(re.findall(r"--?[a-z][a-z-]*", section("docs/training.md", heading)))
        for name in names:
            command = main.get_command(click.Context(main), name)
            assert command is not None
            options = {option.opts[0] for option in command.params if isinstance(option, click.Option)}
            assert options - told - {"--json", "--jsonl"} == set(), name


def test_every_option_of_every_other_command() -> None:
    page = text("docs/commands.md") + section("docs/training.md", "Using a run") + text("docs/comparison.md")
    told = set(re.findall(r"--?[a-z][a-z-]*", page))
    for name in main.list_commands(click.Context(main)):
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert name == "fit" or f"`vispec {name} " in page, name
        options = {option.opts[0] for option in command.params if isinstance(option, click.Option)}
        assert name == "fit" or options - told - {"--json", "--jsonl"} == set(), name


def test_every_key_of_a_score() -> None:
    shown = re.search(r"SCORE = \{(.*?)\}", section("docs/training.md", "Output for programs"), re.S)
    assert shown
    score = Score(1, 1, -1.0, True, "exact").as_json()
    assert sorted(re.findall(r'"(\w+)"', shown[1])) == sorted(score)
