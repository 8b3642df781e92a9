"""docs/estimates.md names the fields that there are, and the notes."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from vispec.train.estimates import make
from vispec.train.estimates.uncertainty import standard
from vispec.train.estimates.values import ABOVE, Estimate, Estimates, Folded, Term

PAGE = (Path(__file__).parents[2] / "docs" / "estimates.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", [Estimates, Estimate, Folded, Term])
def test_fields_are_those_of_the_model(model: type[BaseModel]) -> None:
    block = re.split(r"\n(?=\w)", PAGE.split("```text\n")[1].split("```")[0])
    own = next(part for part in block if part.startswith(f"{model.__name__} "))
    assert re.findall(r'"(\w+)"', own) == list(model.model_fields)


@pytest.mark.parametrize(
    "note", [standard.BOUND, standard.ENDLESS, standard.UNMET, standard.NO_MAXIMUM, standard.KEPT, make.BOUND, ABOVE]
)
def test_every_note_is_explained(note: str) -> None:
    assert f"\n| {note} |" in PAGE
