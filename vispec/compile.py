"""The pipeline: text → tree → model → plan → module."""

import re
from collections.abc import Mapping, Sequence

from vispec.lower.outputs import lower, lower_with_draws
from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.plan.budget import budget
from vispec.plan.planner import plan_model, plan_of
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.torch.module import print_module


def compile_spec(
    source: Source,
    sizes: Mapping[str, int] | None = None,
    memory: int | None = None,
    work: int | None = None,
    only: Sequence[str] = (),
    native: bool | None = None,
) -> str:
    """The emitted module's text. `sizes` give values to sizes and vocabularies, over those of the spec; `memory` is how many
    bytes a sum over joint values may take at once, `work` how many terms the sums for one row may have; `only` names members,
    which then are all that there is, with what they need. native: whether the module carries kernels in C++, which it does
    where it is whole.

    Raises SpecError with everything found wrong, and UnknownMemberError for a name of no member.
    """
    return compile_model(check_model(parse(source), sizes or {}), sizes, memory, work, only, native)


def compile_model(
    model: Model,
    sizes: Mapping[str, int] | None = None,
    memory: int | None = None,
    work: int | None = None,
    only: Sequence[str] = (),
    native: bool | None = None,
) -> str:
    """The same of a checked model."""
    return print_module(lower(plan_model(model, budget(work, memory, sizes))), sizes, only, native)


def compile_draws(model: Model, sizes: Mapping[str, int] | None = None) -> str:
    """A module that tells weighted draws of what the fit drew, and nothing else."""
    found = lower_with_draws(plan_of(model))
    beside = () if found.drawn is None or found.drawn.zeros is None else ("no_chances",)
    return print_module(found, sizes, ("weighted_draws", *beside))


def class_of(text: str) -> str:
    """The name of an emitted text's model: the last class of it. It is the spec's name, but where that would hide another."""
    return re.findall(r"^class (\w+)\(nn\.Module\):", text, re.M)[-1]
