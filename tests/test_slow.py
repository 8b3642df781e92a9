"""What slow.txt names is there: a test that was renamed would run in every commit, or its file be gone unseen."""

import ast
from pathlib import Path

import pytest

from tests.conftest import SLOW

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", SLOW.read_text(encoding="utf-8").split())
def test_a_slow_test_is_there(name: str) -> None:
    file, *classes, function = name.split("::")
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    for each in classes:
        body = next(part.body for part in body if isinstance(part, ast.ClassDef) and part.name == each)
    assert any(isinstance(part, ast.FunctionDef) and part.name == function for part in body)
