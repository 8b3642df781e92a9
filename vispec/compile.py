"""The pipeline: text → tree → model → plan → module."""

from collections.abc import Mapping

from vispec.emit.module import emit
from vispec.model.check import check_model
from vispec.plan.make import make_plan
from vispec.source import Source
from vispec.syntax.parse import parse


def compile_spec(source: Source, sizes: Mapping[str, int] | None = None) -> str:
    """The emitted module's text. `sizes` give values to sizes and vocabularies, over those of the spec.

    Raises SpecError with everything found wrong.
    """
    tree = parse(source)
    model = check_model(tree, sizes or {})
    plan = make_plan(model)
    return emit(plan, sizes)

