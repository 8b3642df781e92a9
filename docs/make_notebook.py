"""Writes tour.ipynb: its cells, run one after another, with what they show as Jupyter keeps it."""

import ast
import base64
import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import matplotlib

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tour.ipynb"

CELLS = (
    """# A tour

Old Faithful's eruptions last two minutes or four, and the longer one was, the longer one waits for the next. A mixture
says so: from a table to a diagram, a fit, estimates, and what the data say of each row. Run it from the root of the
repository.""",
    """
import pandas

import vispec

table = pandas.read_csv("specs/data/faithful.csv")
table.head(3)
""",
    """## The model

A spec is text in plate notation; in a notebook a model is its diagram.""",
    """
model = vispec.load('''
size K = 2
param share : simplex[K]
plate kind[K]:
    param length    : real
    param length_sd : positive
    param wait      : real
    param wait_sd   : positive

plate eruption:
    latent  c         : index[kind] ~ Categorical(share)
    partial eruptions : real ~ Normal(length[c], length_sd[c])
    partial waiting   : real ~ Normal(wait[c], wait_sd[c])
''', name="eruptions")
model
""",
    "`check` says what will be summed exactly, and at what cost; `compile` prints the module that is trained.",
    "model.check()",
    'print(str(model.compile(only=["log_prob"])).split("def log_prob")[1])',
    "## The fit",
    """
import tempfile

folder = tempfile.mkdtemp()
run = model.fit(table, out=f"{folder}/run", quiet=True, verify=False)
params = run.params(order="share")
params
""",
    'params["wait"].round(1), params.se("wait").round(1)',
    """## What the data say of each row

`posterior` answers in the kind of table that it was given: here the probabilities of the two kinds, row by row.""",
    """
short = run.posterior(table)["c"].str[0 if run.params()["share"][0] < 0.5 else 1]
short.round(3).head(3)
""",
    """
from matplotlib.figure import Figure

figure = Figure(figsize=(5, 3.2), layout="constrained")
axes = figure.add_subplot(xlabel="eruption (minutes)", ylabel="wait for the next (minutes)")
points = axes.scatter(table.eruptions, table.waiting, c=short, cmap="coolwarm", s=12)
figure.colorbar(points, label="P(short)")
figure
""",
    """## Prediction

What is missing in a row is predicted from what the row shows: how long to wait after an
eruption of two minutes, of three, of four.""",
    """
new = pandas.DataFrame({"eruptions": [2.0, 3.0, 4.0], "waiting": [None, None, None]}, dtype=float)
new.join(run.predict(new, "quantiles(.05, .5, .95)").filter(like="waiting").round(1))
""",
)


def made() -> dict[str, Any]:
    """The notebook."""
    matplotlib.use("agg")
    space: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        cells = [
            code(text.strip("\n"), number, space) if is_code(text) else markdown(text, number)
            for number, text in enumerate(CELLS)
        ]
    finally:
        os.chdir(before)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def is_code(text: str) -> bool:
    try:
        return bool(ast.parse(text).body)
    except SyntaxError:
        return False


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def markdown(text: str, number: int) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": f"m{number}", "metadata": {}, "source": lines(text)}


def code(text: str, number: int, space: dict[str, Any]) -> dict[str, Any]:
    """A cell and its outputs: what it prints, and the value of its last line."""
    *body, last = ast.parse(text).body
    said, outputs, value = io.StringIO(), list[dict[str, Any]](), None
    with contextlib.redirect_stdout(said):
        exec(compile(ast.Module(body, []), "cell", "exec"), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), space)
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), space)
    if said.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines(said.getvalue())})
    if value is not None:
        data = {kind: lines(shown) for kind, shown in forms(value).items()}
        outputs.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    cell = {"cell_type": "code", "execution_count": number, "id": f"c{number}", "metadata": {}}
    return {**cell, "outputs": outputs, "source": lines(text)}


def forms(value: Any) -> dict[str, str]:
    """What a notebook keeps of a value."""
    found = {"text/plain": repr(value)}
    for kind, method in (("text/html", "_repr_html_"), ("image/svg+xml", "_repr_svg_")):
        if (shown := getattr(value, method, lambda: None)()) is not None:
            found[kind] = shown
    if hasattr(value, "savefig"):
        drawn = io.BytesIO()
        value.savefig(drawn, format="png", dpi=80)
        found = {"text/plain": "a figure", "image/png": base64.b64encode(drawn.getvalue()).decode()}
    return found


if __name__ == "__main__":
    PAGE.write_text(json.dumps(made(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
