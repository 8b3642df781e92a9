"""Kernels stand side by side in a module, whatever file they come from: no two have one name."""

import ast
from collections import defaultdict
from pathlib import Path

import vispec

ROOT = Path(vispec.__file__).parent


def test_no_two_kernels_have_one_name() -> None:
    found = defaultdict[str, list[str]](list)
    for path in sorted((ROOT / "kernels").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name].append(str(path.relative_to(ROOT)))
    assert len(found) > 100
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
