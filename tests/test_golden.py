"""Golden outputs: every spec at every stage. After a change, `pytest --update-golden` and read the diff like code."""

from pathlib import Path

import pytest

from vispec.emit.module import emit
from vispec.graph.build import build_graph, show_graph
from vispec.model.check import check_model
from vispec.model.show import show_model
from vispec.plan.make import make_plan
from vispec.plan.planner import plan_model
from vispec.plan.show import show_plan
from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse

SPECS = sorted(Path(__file__).parents[1].glob("specs/*.vispec"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_stages(path, golden):
    tree = parse(Source(path.name, path.read_text()))
    model = check_model(tree)
    plan = make_plan(model)
    stages = {
        "spec.vispec": format_tree(tree),
        "model.txt": show_model(model),
        "graph.txt": show_graph(build_graph(model)),
        "plan.txt": show_plan(plan_model(model)),
        "module.py": emit(plan),
    }
    for name, text in stages.items():
        golden(f"{path.stem}/{name}", text.rstrip("\n") + "\n")
