"""`golden(name, text)` compares with a file of tests/golden; `pytest --update-golden` writes the files, to be reviewed."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("VISPEC_NO_VERIFY", "1")  # beside every fit of a command it would be another process
    if os.environ.get("VISPEC_NEW"):
        with_program()


def with_program() -> None:
    """VISPEC_NEW=1: the tests' modules come from the tensor program."""
    import vispec.compile as old
    from vispec.lower.outputs import lower
    from vispec.model.check import check_model
    from vispec.plan.budget import budget
    from vispec.plan.planner import plan_model
    from vispec.source import Source
    from vispec.syntax.parse import parse
    from vispec.torch.module import print_module

    def compile_spec(source: Source, sizes: Mapping[str, int] | None = None, memory: int | None = None) -> str:
        return print_module(lower(plan_model(check_model(parse(source), sizes or {}), budget(None, memory))), sizes, memory)

    old.compile_spec = compile_spec


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str | Path, str], None]:
    """A check that `actual` is the text kept under `name`, a path relative to tests/golden or an absolute one."""

    def check(name: str | Path, actual: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8")
        assert path.exists(), f"{name}: run `pytest --update-golden` and read the diff"
        assert actual == path.read_text(encoding="utf-8")

    return check
