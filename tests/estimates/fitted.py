"""Small models at the maximum of their log-probability, without a fit of the command line, and their estimates."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.train.data import Dataset, load
from vispec.train.estimates.make import Fitted, Say, make_estimates
from vispec.train.estimates.uncertainty.numbers import Whole
from vispec.train.estimates.values import Estimate, Estimates
from vispec.train.newton.curvature import hessian
from vispec.train.sizes import check
from vispec.train.store.module import class_of_text

Columns = Mapping[str, tuple[str, ...]]


def table(folder: Path, columns: Mapping[str, Any]) -> str:
    """A file of rows."""
    path = folder / "d.jsonl"
    rows = zip(*(np.asarray(values).tolist() for values in columns.values()), strict=True)
    path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    return str(path)


@contextmanager
def exact_numbers() -> Iterator[None]:
    """Batches in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def maximise(f: Whole, steps: int) -> None:
    """L-BFGS from where the module is, then Newton's steps along what the data decide; the module is left there."""
    x = f.vector().requires_grad_()
    search = torch.optim.LBFGS([x], max_iter=steps, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe")

    def closure() -> float:
        value, x.grad = f(x.detach())
        return value

    search.step(closure)  # pyright: ignore[reportArgumentType]
    at = x.detach().clone()
    for _ in range(3):
        second = hessian(f, at, torch.ones_like(at))
        at = at - torch.linalg.pinv(second, rtol=1e-7) @ f(at)[1]
    f.put(at)


@exact_numbers()
def estimates(
    text: str,
    data: str,
    columns: Columns | None = None,
    start: Mapping[str, Any] | None = None,
    steps: int = 200,
    say: Say = lambda text: None,
) -> Estimates:
    """Of a spec fitted to a file. start: values of some parameters to begin at. say: what hears of long work."""
    source = Source("model.vispec", text)
    rows: Dataset = load(check(source, {}), [data], columns or {}, None, {}, more=True)
    compiled = compile_spec(source, rows.sizes)
    torch.manual_seed(0)
    module = class_of_text(compiled, class_of(compiled))().double()
    for name, value in (start or {}).items():
        with torch.no_grad():
            setattr(module, name, torch.nn.Parameter(value) if name in dict(module.named_parameters()) else value)
    if steps:
        maximise(Whole(module, rows, rows.order(rows.num_rows)), steps)
    fitted = Fitted(check(source, rows.sizes), module, rows.encoders, rows.columns, {}, rows.num_rows, say=say)
    return make_estimates(fitted, rows)


def by_title(found: Estimates) -> dict[str, Estimate]:
    return {entry.title: entry for entry in found.parameters}
