"""Golden outputs: every spec at every stage. After a change, `pytest --update-golden` and read the diff like code."""

from pathlib import Path

import pytest

from vispec.compile import compile_spec
from vispec.graph.build import build_graph, show_graph
from vispec.model.check import check_model
from vispec.model.show import show_model
from vispec.plan.planner import plan_model
from vispec.plan.show import show_plan
from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse

SPECS = sorted(Path(__file__).parents[1].glob("specs/*.vispec"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_stages(path, golden):
    source = Source(path.name, path.read_text())
    tree = parse(source)
    model = check_model(tree)
    stages = {
        "spec.vispec": format_tree(tree),
        "model.txt": show_model(model),
        "graph.txt": show_graph(build_graph(model)),
        "plan.txt": show_plan(plan_model(model)),
        "module.py": compile_spec(source),
    }
    for name, text in stages.items():
        golden(f"{path.stem}/{name}", text.rstrip("\n") + "\n")
