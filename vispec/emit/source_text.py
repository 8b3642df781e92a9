"""The source text of kernels, taken from their files without importing them."""

import ast
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def kernel_source(module: str, names: Iterable[str]) -> str:
    """The top-level definitions `names` of a module and those of the same file that they use, in the file's order.

    Raises KeyError for a name that the file does not define."""
    text, table = definitions(module)
    wanted: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in table:
            raise KeyError(f"{module} does not define {name!r}")
        if name not in wanted:
            wanted.add(name)
            used = {node.id for node in ast.walk(table[name]) if isinstance(node, ast.Name)}
            pending += sorted(used & table.keys())
    chosen = sorted({id(table[name]): table[name] for name in wanted}.values(), key=lambda node: node.lineno)
    return join([segment(text, node) for node in chosen])


@cache
def definitions(module: str) -> tuple[str, dict[str, Definition]]:
    """A module's text and its top-level functions, classes and constants by name."""
    text = path_of(module).read_text(encoding="utf-8")
    table: dict[str, Definition] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            table[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            table |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return text, table


def path_of(module: str) -> Path:
    """The module's file; imports the packages around it, which hold no torch, but not the module."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise KeyError(f"there is no module {module}")
    return Path(spec.origin)


def segment(text: str, node: Definition) -> str:
    """The lines of a definition, its decorators and the comment lines right above it included."""
    lines = text.splitlines()
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])


def join(segments: list[str]) -> str:
    """Two blank lines around functions and classes, none between constants."""
    text = ""
    for before, after in zip(["", *segments], segments, strict=False):
        close = before and not is_block(before) and not is_block(after)
        text += ("" if not before else "\n" if close else "\n\n\n") + after
    return text + "\n"


def is_block(text: str) -> bool:
    line = next(line for line in text.splitlines() if not line.startswith("#"))
    return line.startswith(("def ", "class ", "@"))
