"""A run with variables hidden: its spec with these as partial ones, of which no cell is seen; all else tells of them."""

import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vispec.compile import class_of, compile_model
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.model.walk import is_read
from vispec.plan.planner import plan_of
from vispec.syntax.parse import parse
from vispec.syntax.tree import Plate, Statement, Variable
from vispec.train.setup.given import fix
from vispec.train.sizes import size_names
from vispec.train.store.module import class_of_text
from vispec.train.store.run import Run


@dataclass(frozen=True)
class Hidden(Run):
    """targets: names of observed or partial variables."""

    targets: frozenset[str] = frozenset()

    @cached_property
    def model(self) -> Model:  # pyright: ignore[reportIncompatibleVariableOverride]
        tree = parse(self.source)
        body = tuple(hidden(statement, self.targets) for statement in tree.body)
        sizes = {name: size for name, size in self.config.sizes.items() if name in size_names(self.source)}
        return check_model(replace(tree, body=body), sizes)

    @cached_property
    def module_class(self) -> type[nn.Module]:
        text = compile_model(self.model, self.config.sizes, work=sys.maxsize)
        return class_of_text(text, class_of(text))

    def build(self) -> nn.Module:
        return fix(self.module_class(), self.model)

    @property
    def measures(self) -> bool:
        """Whether what is hidden alone tells how many elements a plate has."""
        told = {plate for v in self.model.variables if v.role != "latent" and v.name not in self.targets for plate in v.plates}
        own = {plate for name in self.targets for plate in self.model.variable[name].plates} - told
        return any(self.model.plate[plate].ragged for plate in own)

    def hide(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch without what is to be predicted."""
        names = {f"{name}_observed" for name in self.targets}
        return {name: torch.zeros_like(value) if name in names else value for name, value in batch.items()}


def predictable(run: Run) -> Run:
    """The run for predictions of all that is observed: hidden where nothing reads it and all latents are summed; else itself,
    which draws latents, and what laws read, one after the other."""
    observed = frozenset(v.name for v in run.model.variables if v.role == "observed")
    plan = plan_of(run.model)
    exactly = plan.row.combine == "exact" and plan.alternative is None
    if not exactly or any(is_read(run.model, name) for name in observed) or any(net.random for net in run.model.nets):
        return run
    found = Hidden(run.folder, run.config, run.trust, targets=observed)
    try:
        _ = found.module_class
    except SpecError:
        return run
    return found


def hidden(statement: Statement, targets: Collection[str]) -> Any:
    match statement:
        case Plate(body=body):
            return replace(statement, body=tuple(hidden(each, targets) for each in body))
        case Variable(name=name) if name.id in targets:
            return replace(statement, role="partial")
    return statement
