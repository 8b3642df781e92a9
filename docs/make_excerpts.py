"""Refreshes what the pages quote from vispec, and their pictures: that of the README, and one of each spec of the tutorial.

`<!-- excerpt: SPEC METHOD... -->` before a code block: methods of the module emitted for that spec.
`<!-- program: SPEC -->`: the program of log_prob that its plan is lowered to.
`<!-- estimators -->`: the next line names those that the planner takes.
"""

import ast
import re
from pathlib import Path
from textwrap import dedent

from vispec.compile import compile_spec
from vispec.estimators import estimators
from vispec.graph.build import build_graph
from vispec.graph.drawing.draw import draw
from vispec.lower.outputs import lower
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.program.show import show
from vispec.source import Source
from vispec.syntax.parse import parse

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
EXCERPT = re.compile(r"(<!-- excerpt: (\w+) ([\w ]+) -->\n```python\n).*?(```)", re.S)
PROGRAM = re.compile(r"(<!-- program: (\w+) -->\n```\n).*?(```)", re.S)
NAMES = re.compile(r"(<!-- estimators -->\nCompiled in this version:).*")
SPEC = re.compile(r"```vispec\n# (\w+)\.vispec\n(.*?)```", re.S)


def methods(spec: str, names: list[str]) -> str:
    """These methods of the module emitted for specs/<spec>.vispec, in the order of `names`, not indented."""
    text = compile_spec(Source.read(ROOT / "specs" / f"{spec}.vispec"))
    module = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)][-1]
    lines = text.splitlines()
    found = {
        node.name: lines[(node.decorator_list or [node])[0].lineno - 1 : node.end_lineno]
        for node in module.body
        if isinstance(node, ast.FunctionDef)
    }
    return "\n\n\n".join(dedent("\n".join(found[name])) for name in names) + "\n"


def program(spec: str) -> str:
    """The printed program of log_prob, before it is rewritten."""
    model = check_model(parse(Source.read(ROOT / "specs" / f"{spec}.vispec")), {})
    return show(lower(plan_model(model)).log_prob)


def refreshed(page: str) -> str:
    """The page with its quotations as vispec says them now."""
    page = EXCERPT.sub(lambda match: match[1] + methods(match[2], match[3].split()) + match[4], page)
    page = PROGRAM.sub(lambda match: match[1] + program(match[2]) + match[3], page)
    names = ", ".join(f"`{name}`" for name in sorted(estimators()))
    return NAMES.sub(lambda match: f"{match[1]} {names}.", page)


def pictures() -> dict[str, Source]:
    """What they are of, by the names of their files."""
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    steps = {f"tutorial_{name}.svg": Source(f"{name}.vispec", spec) for name, spec in SPEC.findall(tutorial)}
    return {"mixture.svg": Source.read(ROOT / "specs" / "gaussian_mixture.vispec"), **steps}


def draw_picture(source: Source, path: Path) -> None:
    draw(build_graph(check_model(parse(source), {})), path)


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(refreshed(each.read_text(encoding="utf-8")), encoding="utf-8")
    for name, source in pictures().items():
        draw_picture(source, ROOT / "docs" / "img" / name)
