"""The estimates of a module of every spec: a table or a sentence, whatever the spec has."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.estimates.make import Fitted, make_estimates
from vispec.train.estimates.show import as_csv, show
from vispec.train.estimates.values import Estimates
from vispec.verify.build import build, randomise
from vispec.verify.data import Batch, random_batch, take

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.vispec"))
ROWS = 5


class Table:
    """Rows in memory."""

    def __init__(self, model: Model, whole: Batch):
        self.model, self.whole, self.num_rows = model, whole, ROWS

    def batch(self, indices: Any) -> Batch:
        return take(self.model, self.whole, torch.as_tensor(indices))

    def order(self, size: int, generator: torch.Generator | None = None, bucket: bool = False) -> list[Any]:
        return [np.arange(ROWS)[i : i + size] for i in range(0, ROWS, size)]

    def tokens(self) -> int:
        return ROWS


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_table_or_a_sentence(path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    built = build(Source.read(path), {})
    randomise(built, generator)
    model = check_model(parse(Source.read(path)), built.sizes)
    batch = random_batch(built.model, built.sizes, ROWS, generator)
    if path.stem == "herds":  # no more sick animals than there are
        batch["size"] = batch["size"] + batch["x"]
    result = {"train": {"log_prob": -1.0, "bound": "lower"}}
    found = make_estimates(Fitted(model, built.module, Encoders(), {}, result, ROWS), Table(model, batch))
    assert Estimates.model_validate_json(found.model_dump_json()) == found
    names = {entry.name for entry in found.parameters} | {each.name for each in found.folded}
    assert names >= {param.name for param in model.params if hasattr(built.module, param.name)}
    assert names >= {net.name for net in model.nets if hasattr(built.module, net.name)}
    lines = show(found)
    assert all(any(line.startswith(name) for line in lines) for name in names)
    assert as_csv(found).count("\n") == 1 + len(found.parameters)
    assert all(entry.se is not None or entry.note for entry in found.parameters)
