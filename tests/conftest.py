"""`golden(name, text)` compares with a file of tests/golden; `pytest --update-golden` writes the files, to be reviewed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden")


os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores: more threads would wait for each other


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("VISPEC_NO_VERIFY", "1")  # beside every fit of a command it would be another process
    os.environ.setdefault("VISPEC_NATIVE", "off")  # what is compared to the last bit must not depend on what is in a cache


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
