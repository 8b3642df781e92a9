"""Which names of a spec are sizes, and the check of a spec at sizes that data told. Needs no torch."""

from collections.abc import Mapping

from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.plan.gaussian.recognise import recognised
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.syntax.tree import Size, Vocab


def size_names(source: Source) -> tuple[str, ...]:
    """The sizes that a spec declares, vocabularies aside."""
    return tuple(statement.name.id for statement in parse(source).body if isinstance(statement, Size))


def vocabulary_names(source: Source) -> tuple[str, ...]:
    """The vocabularies that a spec declares."""
    return tuple(statement.name.id for statement in parse(source).body if isinstance(statement, Vocab))


def check(source: Source, sizes: Mapping[str, int]) -> Model:
    """The checked model at those of `sizes` that are sizes of the spec; the others are of its vocabularies."""
    declared = size_names(source)
    return recognised(check_model(parse(source), {name: size for name, size in sizes.items() if name in declared}))
