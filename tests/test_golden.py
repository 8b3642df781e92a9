"""Golden outputs: every spec at every stage. After a change, `pytest --update-golden` and read the diff like code."""

import ast
from pathlib import Path

import pytest

import vispec
from vispec.graph.build import build_graph, show_graph
from vispec.lower.outputs import lower
from vispec.model.check import check_model
from vispec.model.show import show_model
from vispec.plan.planner import plan_model
from vispec.plan.show import show_plan
from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse
from vispec.torch.module import print_module

ROOT = Path(vispec.__file__).parent
SPECS = sorted(Path(__file__).parents[1].glob("specs/*.vispec"))


def kernel_names() -> dict[str, str]:
    """Which file defines each function, class and constant of the kernels."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "kernels").rglob("*.py")):
        place = str(path.relative_to(ROOT / "kernels").with_suffix("")).replace("/", ".")
        for node in ast.parse(path.read_text()).body:
            targets = getattr(node, "targets", [node])
            found |= {name: place for each in targets if (name := getattr(each, "name", getattr(each, "id", None)))}
    return found


def without_kernels(text: str) -> str:
    """A module's text with the names of its kernels in place of their definitions, which stand in vispec/kernels."""
    tree, names, lines = ast.parse(text), kernel_names(), text.splitlines()
    blocks = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    kernels = [f"# {names[node.name]}: {node.name}" for node in blocks if node.name in names]
    kept = ["\n".join(lines[node.lineno - 1 : node.end_lineno]) for node in blocks if node.name not in names]
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    head = text[: text.index('"""', 3) + 3]
    return "\n\n\n".join(["\n".join([head, "", *imports, *sorted(kernels)]), *kept]) + "\n"


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_stages(path, golden):
    source = Source(path.name, path.read_text())
    tree = parse(source)
    model = check_model(tree)
    plan = plan_model(model)
    stages = {
        "spec.vispec": format_tree(tree),
        "model.txt": show_model(model),
        "graph.txt": show_graph(build_graph(model)),
        "plan.txt": show_plan(plan),
        "module.py": without_kernels(print_module(lower(plan))),
    }
    for name, text in stages.items():
        golden(f"{path.stem}/{name}", text.rstrip("\n") + "\n")
