"""Whether a resumed fit is the one that was begun."""

from collections.abc import Sequence

from vispec.model.model import Model
from vispec.train.data.matching.match import parse_arguments, slots_of
from vispec.train.errors import RunError
from vispec.train.setup.distributed import Group
from vispec.train.store.manifest import WAY_OUT, changed_data, read_manifest
from vispec.train.store.run import Run


def same(condition: bool, problem: str) -> None:
    """RunError where a condition of going on does not hold."""
    if not condition:
        raise RunError(f"this run cannot be resumed: {problem}")


def same_data(run: Run, data: Sequence[str], content: bool, group: Group) -> None:
    """RunError where data are not those that the run was begun with, as far as its manifest knows them."""
    problem = None
    if group.main and not run.trust:
        manifest = read_manifest(run.folder)
        problem = changed_data(manifest, data, content) if manifest is not None else None
    problem = group.pick(problem)
    same(problem is None, f"{problem}; {WAY_OUT}")


def data_files(model: Model, *arguments: Sequence[str]) -> list[str]:
    """The paths in arguments that name data."""
    found: list[str] = []
    for each in filter(None, arguments):
        bare, named = parse_arguments(model, each, slots_of(model))
        found += [*bare, *(path for paths in named.values() for path in paths)]
    return found
