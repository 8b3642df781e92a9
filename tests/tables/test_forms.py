"""The same random table in every form gives the same numbers: labels, ids, order, missing cells."""

import json
import random
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest
import torch
from tabled import Files, files

__all__ = ["files"]

SPEC = """\
size K
size G
param p : simplex[K]
plate g[G]:
    param mu : real
plate n:
    given    grp : index[g]
    partial  y   : category[K] ~ Categorical(p)
    partial  x   : real ~ Normal(mu[grp], 1)
    observed b   : bit ~ Bernoulli(0.5)
"""
WORDS: list[list[Any]] = [["red", "green", "blue"], ["a", "B", "é"], ["07", "7", "x"]]
LABELS = [[0, 1, 2], [1, 2, 10], [10, 2, -3], [True, False], [0.5, 1.5, 10.0], *WORDS]
MISSING = ["", "NA", "?", "nan", "null", "None", "N/A"]


def column(rng: random.Random, values: list[Any], count: int, missing: bool) -> list[Any]:
    """Values, each of which occurs, some of them missing."""
    found = [*values, *(rng.choice(values) for _ in range(count - len(values)))]
    rng.shuffle(found)
    return [*values, *(None if missing and rng.random() < 0.3 else value for value in found)]


def written(rng: random.Random, value: Any) -> str:
    """A cell of a CSV file: a missing one in any way, a whole number perhaps as a float, as pandas does."""
    if value is None:
        return rng.choice(MISSING)
    if isinstance(value, bool):
        return rng.choice([str(value), str(value).lower()])
    if isinstance(value, int) and rng.random() < 0.5:
        return f"{value}.0"
    return str(value)


@pytest.mark.parametrize("seed", range(200))
def test_a_random_table_in_every_form(files: Files, seed: int) -> None:
    rng = random.Random(seed)
    labels, ids, count = rng.choice(LABELS), rng.choice(LABELS), rng.randint(3, 12)
    rows = {
        "grp": column(rng, ids, count, missing=False),
        "y": column(rng, labels, count, missing=True),
    }
    length = min(map(len, rows.values()))
    rows = {name: values[:length] for name, values in rows.items()}
    rows["x"] = [None if rng.random() < 0.3 else rng.choice([1, 2.5, -3.0]) for _ in range(length)]
    rows["b"] = [rng.random() < 0.5 for _ in range(length)]
    objects = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    mark = rng.choice(",;")
    lines = [mark.join(rows), *(mark.join(written(rng, value) for value in row.values()) for row in objects)]
    floats = {
        name: [None if v is None else float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in values]
        for name, values in rows.items()
    }
    forms = {
        "d.csv": "\n".join(lines) + "\n",
        "d.jsonl": "".join(json.dumps(row) + "\n" for row in objects),
        "d.json": json.dumps(objects),
        "d.parquet": {name: pa.array(values) for name, values in floats.items()},
        "e.parquet": {name: pa.array(values).dictionary_encode() for name, values in floats.items()},
    }
    read = {name: files.read(SPEC, name, content) for name, content in forms.items()}
    plain = {name: [row[name] for row in objects] for name in rows}
    held = {
        "pandas": pandas.DataFrame(plain, index=rng.sample(range(100), length)),
        "categories": pandas.DataFrame(plain).astype({"y": "category"}),
        "polars": polars.DataFrame(plain, strict=False),
        "Arrow": pa.table(floats),
        "columns": plain,
        "arrays": {name: np.array(values) for name, values in plain.items()},
        "rows": objects,
    }
    read |= {name: files.held(SPEC, data) for name, data in held.items()}
    first, *others = (data.batch(range(data.num_rows)) for data in read.values())
    assert all(batch.keys() == first.keys() for batch in others)
    assert all(torch.equal(batch[name], first[name]) for batch in others for name in first)
    assert len({str(data.encoders.labels) for data in read.values()}) == 1
    assert len({str(data.sizes) for data in read.values()}) == 1
