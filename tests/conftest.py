"""`golden(name, text)` compares with a file of tests/golden; `pytest --update-golden` writes the files, to be reviewed.

VISPEC_SLOW=3/8 leaves out of the tests that slow.txt names, mostly fits to their end, all but the third eighth."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden")
SLOW = Path(__file__).with_name("slow.txt")


os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores: more threads would wait for each other


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("VISPEC_NO_VERIFY", "1")  # beside every fit of a command it would be another process
    os.environ.setdefault("VISPEC_NATIVE", "off")  # what is compared to the last bit must not depend on what is in a cache


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files instead of comparing with them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if share := os.environ.get("VISPEC_SLOW"):
        part, parts = map(int, share.split("/"))
        slow = set(SLOW.read_text(encoding="utf-8").split())
        left_out = [
            item
            for item in items
            if item.nodeid.partition("[")[0] in slow and zlib.crc32(item.nodeid.encode()) % parts != part % parts
        ]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


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
