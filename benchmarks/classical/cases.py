"""The models: each a folder with spec.vispec, data.csv or data.jsonl, and truth.json; or, in a folder that has one truth.json
for all, specs/NAME.vispec and data/FILE."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Case:
    """truth: what truth.json says of the model. args: arguments of `fit` that name its columns."""

    name: str
    spec: Path
    data: Path
    truth: Mapping[str, Any]

    @property
    def args(self) -> Sequence[str]:
        return self.truth["args"]

    @property
    def units(self) -> Sequence[Mapping[str, Any]]:
        """Groups of columns that are in one unit, and how many scored densities have that unit."""
        return self.truth.get("units", [])


def find_cases(folder: Path, names: Sequence[str]) -> list[Case]:
    """Those named, or all; KeyError where a name is unknown."""
    if (folder / "truth.json").exists():
        found = json.loads((folder / "truth.json").read_text())
        cases = {
            name: Case(name, folder / "specs" / f"{name}.vispec", folder / "data" / truth["data"], truth)
            for name, truth in found.items()
        }
    else:
        cases = {path.parent.name: _case(path) for path in sorted(folder.glob("*/truth.json"))}
    return [cases[name] for name in names or cases]


def _case(path: Path) -> Case:
    (data,) = path.parent.glob("data.*")
    return Case(path.parent.name, path.with_name("spec.vispec"), data, json.loads(path.read_text()))
