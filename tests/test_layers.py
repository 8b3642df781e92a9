"""A module imports only from the layers above its own in docs/architecture.md; imports for annotations alone are free."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Asked for entries, it imports their packages, which import it for the types.
FINDS_ENTRIES = "vispec.catalog"
MODULES = sorted(path for path in (ROOT / "vispec").rglob("*.py") if path.stat().st_size)


@cache
def layers() -> tuple[str, ...]:
    """The first column of the drawing in docs/architecture.md, as module names, in order."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = text.split("```")[1]
    return tuple(line.replace("/", ".").removesuffix(".py") for line in re.findall(r"^(vispec/[\w/.]+)", block, re.M))


def layer(module: str) -> int:
    """The position of the most specific layer that holds `module`; -1 for the package itself."""
    found = [name for name in layers() if module == name or module.startswith(f"{name}.")]
    if not found:
        assert module in ("vispec", "vispec.__main__"), f"{module} is in no layer of docs/architecture.md"
        return -1 if module == "vispec" else len(layers())
    return layers().index(max(found, key=len))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules of vispec that a file imports, at its head or inside functions, but not under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                yield from imports(other)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "vispec")
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module and node.module.split(".")[0] == "vispec":
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if is_module(name) else node.module for name in inner)
        else:
            yield from imports(node)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def test_the_drawing_names_what_exists() -> None:
    assert len(layers()) > 10
    assert [name for name in layers() if not is_module(name)] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path))
def test_imports_follow_the_order(path: Path) -> None:
    own = layer(name_of(path))
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if name_of(path) == FINDS_ENTRIES:
        tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
    late = sorted({name for name in imports(tree) if layer(name) > own})
    assert late == [], f"{name_of(path)} imports from layers below its own: {late}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path))
def test_imports_are_absolute(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level] == []
