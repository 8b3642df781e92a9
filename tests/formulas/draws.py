"""What an emitted module drew in one call of `log_prob`: the variable of that name when it returns, and the axes that its
comment gives."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch import Tensor
from torch.distributions import Normal

from tests.formulas.value import Draw, must
from vispec.model import model as m
from vispec.verify.bounds.recorder import Recorder
from vispec.verify.oracle.densities import torch_family
from vispec.verify.oracle.expressions import Scene
from vispec.verify.oracle.flow import carried
from vispec.verify.oracle.row import Cell, in_data, place_of
from vispec.verify.trial import Trial


class MethodLocals:
    """The variables of `log_prob` of a module as it returns."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def __enter__(self) -> "MethodLocals":
        self.before = sys.getprofile()
        sys.setprofile(self.see)
        return self

    def see(self, frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code.co_name == "log_prob" and "batch" in frame.f_locals:
            self.found = dict(frame.f_locals)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self.before)


def axes_of(text: str, name: str) -> list[str]:
    """What stands in the comment of the statement that a method gives a variable its value by."""
    body = text[text.index("    def log_prob(") :]
    found = re.search(rf"^        {name} = (?:.|\n)*?# \(([^)\n]*)\)", body, re.MULTILINE)
    assert found, f"{name} is not drawn in log_prob"
    return [axis for axis in re.split(r", ?", found[1]) if axis]


def drawn_in_rows(trial: Trial, name: str, values: Mapping[str, Any]) -> tuple[Tensor, list[str]]:
    """All draws of one variable, and their axes by name, those of the event left out: they come last."""
    variable, tensor = trial.built.model.variable[name], values[name]
    axes = axes_of(trial.built.text, name)
    assert len(axes) == tensor.ndim, (name, axes, tensor.shape)
    return tensor.double(), axes[: tensor.ndim - len(variable.type.shape)]


@dataclass(frozen=True)
class Drawn:
    """log_prob (B,): what the module says of each row. values, flows: of each variable for each row, its draws and, of those
    whose guide is a flow, log q of them. noise: all Normal numbers that the call drew."""

    log_prob: Tensor
    values: Mapping[str, list[Draw]]
    flows: Mapping[str, list[Draw]]
    samples: int
    noise: tuple[Tensor, ...]


def draws_of(trial: Trial, names: list[str]) -> Drawn:
    """One call of `log_prob` on all rows."""
    model, rows, shared = trial.built.model, range(trial.count), trial.shared.samples
    guides = {entry.name: entry.law for entry in model.guide}
    with MethodLocals() as inside, Recorder() as recorder:
        log_prob = trial.emitted(trial.batch)
    found, flows, samples = dict[str, list[Draw]](), dict[str, list[Draw]](), len(shared)
    for name in names:
        variable = model.variable[name]
        if not in_data(model, variable.plates):
            found[name] = [lambda s, cell, _: shared[s % len(shared)][cell] for _ in rows]
            continue
        tensor, axes = drawn_in_rows(trial, name, inside.found)
        samples = max(samples, len(tensor)) if axes[0] == "s*" else samples
        found[name] = [reader(model, variable, tensor, axes, row) for row in rows]
        if isinstance(law := guides.get(name), m.Flow):
            noise = next(each for each in recorder.noise if each.shape == tensor.shape)
            noises = [reader(model, variable, noise, axes, row) for row in rows]
            flows[name] = [flow_of(trial, law, found[name][row], noises[row], row) for row in rows]
    return Drawn(log_prob, found, flows, samples, tuple(recorder.noise))


def flow_of(trial: Trial, law: m.Flow, value: Draw, noise: Draw, row: int) -> Draw:
    """log q of each draw by the Jacobian of the map, which must bring the noise to it."""

    built = trial.built

    def log_q(sample: int, cell: Cell, bound: Mapping[Cell, Tensor]) -> Tensor | None:
        scene, at = (
            Scene(built.model, built.module, trial.rows[row]),
            place_of(built.model, built.model.variable[cell[0]], cell),
        )
        scene.assignment = bound
        base, own, drawn = torch_family(law.base, at, scene), noise(sample, cell, bound), value(sample, cell, bound)
        assert isinstance(base, Normal)
        found, log_q = carried(law, base.loc + base.scale * must(own), at, scene)
        assert bool((found - must(drawn)).abs().max() < 1e-9), "other noise than that of the draw"
        return log_q

    return log_q

    return log_q


def reader(model: m.Model, variable: m.Variable, tensor: Tensor, axes: list[str], row: int) -> Draw:
    """Reads one row of all draws; along the axis of another variable's values at the one that is bound."""
    data = {plate.name for plate in model.plates if plate.data}

    def read(sample: int, cell: Cell, bound: Mapping[Cell, Tensor]) -> Tensor | None:
        at, values = place_of(model, variable, cell), {name: value for (name, _), value in bound.items()}
        index: list[int] = []
        for axis, size in zip(axes, tensor.shape, strict=False):
            if axis not in ("s*", *data, *at) and axis not in values:
                return None
            place = sample if axis == "s*" else row if axis in data else at[axis] if axis in at else int(values[axis])
            index.append(min(place, size - 1))
        return tensor[tuple(index)]

    return read
