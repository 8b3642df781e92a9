"""A run whose spec is read otherwise than it was fitted: with variables hidden, or with sums in place of draws. Its module is
compiled anew from the changed spec, and has the parameters of the run."""

import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn

from vispec.compile import class_of, compile_draws, compile_model
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.model.walk import is_read
from vispec.plan.gaussian.recognise import recognised
from vispec.plan.planner import plan_of
from vispec.syntax.parse import parse
from vispec.syntax.tree import Fit, Guide, Infer, Plate, Statement, Tree, Variable
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.setup.given import fix
from vispec.train.sizes import size_names
from vispec.train.store.checkpoint import Tensors
from vispec.train.store.module import class_of_text
from vispec.train.store.run import Run


@dataclass(frozen=True)
class Changed(Run):
    """work: terms that the sums for one row may have; what was planned once, was allowed. fresh: plates with elements that the
    fit did not meet, and the first of these. labelled: words and labels with those of such elements behind the others."""

    work: int | None = sys.maxsize
    fresh: tuple[tuple[str, int], ...] = ()
    labelled: Encoders | None = None

    @classmethod
    def of(cls, run: Run, **more: Any) -> Self:
        """The run, read so too."""
        kept = {"fresh": run.fresh, "labelled": run.labelled} if isinstance(run, Changed) else {}
        return cls(run.folder, run.config, run.trust, **kept, **more)

    def change(self, tree: Tree) -> Tree:
        """The spec as it is read."""
        return tree

    @cached_property
    def model(self) -> Model:  # pyright: ignore[reportIncompatibleVariableOverride]
        sizes = {name: size for name, size in self.config.sizes.items() if name in size_names(self.source)}
        return replace(recognised(check_model(self.change(parse(self.source)), sizes)), fresh=self.fresh)

    @cached_property
    def encoders(self) -> Encoders:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.labelled or super().encoders

    @cached_property
    def module_class(self) -> type[nn.Module]:  # pyright: ignore[reportIncompatibleVariableOverride]
        text = compile_model(self.model, self.config.sizes, work=self.work)
        return class_of_text(text, class_of(text))

    def build(self) -> nn.Module:
        return fix(self.module_class(), self.model)

    def parameters(self) -> Tensors:
        """Those that the changed module has; what an estimator alone reads is not among them. Those of elements that the fit
        did not meet are 0, and nothing asks for them."""
        known = self.module_class().state_dict()
        return {name: widened(value, known[name]) for name, value in super().parameters().items() if name in known}


def widened(value: Tensor, like: Tensor) -> Tensor:
    """A tensor with zeros behind its elements, in the shape of another."""
    if value.shape == like.shape or value.dim() != like.dim():
        return value
    return nn.functional.pad(
        value, [n for a, b in zip(reversed(value.shape), reversed(like.shape), strict=True) for n in (0, b - a)]
    )


@dataclass(frozen=True)
class Hidden(Changed):
    """targets: observed or partial variables, read as partial ones of which no cell is seen: all else tells of them."""

    targets: frozenset[str] = frozenset()

    def change(self, tree: Tree) -> Tree:
        return replace(tree, body=tuple(hidden(statement, self.targets) for statement in tree.body))

    @property
    def measures(self) -> bool:
        """Whether what is hidden alone tells how many elements a plate has."""
        told = {plate for v in self.model.variables if v.role != "latent" and v.name not in self.targets for plate in v.plates}
        own = {plate for name in self.targets for plate in self.model.variable[name].plates} - told
        return any(self.model.plate[plate].ragged for plate in own)

    def hide(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch without what is to be predicted."""
        names = {f"{name}_observed" for name in self.targets}
        parses = {
            name for name in self.targets if self.model.variable[name].type.domain == "parse"
        }  # their phrases are told too
        return {
            name: torch.zeros_like(value) if name in names else torch.full_like(value, -1) if name in parses else value
            for name, value in batch.items()
        }


def hidden(statement: Statement, targets: Collection[str]) -> Any:
    match statement:
        case Plate(body=body):
            return replace(statement, body=tuple(hidden(each, targets) for each in body))
        case Variable(name=name) if name.id in targets:
            return replace(statement, role="partial")
    return statement


def predictable(run: Run) -> Run:
    """The run for predictions of all that is observed: hidden where nothing reads it and all latents are summed; else itself,
    which draws latents, and what laws read, one after the other."""
    observed = frozenset(v.name for v in run.model.variables if v.role == "observed")
    plan = plan_of(run.model)
    exactly = plan.row.combine == "exact" and plan.alternative is None
    if not exactly or any(is_read(run.model, name) for name in observed) or any(net.random for net in run.model.nets):
        return run
    found = Hidden.of(run, targets=observed)
    try:
        _ = found.module_class
    except SpecError:
        return run
    return found


@dataclass(frozen=True)
class Summed(Changed):
    """With all latents summed that can be, within the budget of any spec, whatever drew them in the fit, and from what."""

    work: int | None = None

    def change(self, tree: Tree) -> Tree:
        return replace(tree, body=tuple(each for each in tree.body if not isinstance(each, Infer | Guide | Fit)))


@dataclass(frozen=True)
class Weighed(Changed):
    """As it was fitted; its module tells weighted draws of what the fit drew, and nothing else."""

    @cached_property
    def module_class(self) -> type[nn.Module]:  # pyright: ignore[reportIncompatibleVariableOverride]
        text = compile_draws(self.model, self.config.sizes)
        return class_of_text(text, class_of(text))
