"""Whether runs score the same rows, so that their log-probabilities can be compared."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from vispec.train.data import Dataset
from vispec.train.errors import RunError
from vispec.train.scores.rows import Rows
from vispec.train.setup.same import data_files
from vispec.train.store.manifest import read_manifest
from vispec.train.store.run import Run

AT_ONCE = 4096
GIVE = "name DATA to compare both on the same rows"


def same_files(runs: Sequence[Run]) -> None:
    """RunError where two runs were fitted to files that differ, or to other parts of them."""
    first, *others = runs
    for other in others:
        if (ours := seals(first)) != (theirs := seals(other)) and None not in (ours, theirs):
            files = (", ".join(run.config.data) for run in (first, other))
            raise RunError(f"{first.folder} and {other.folder} were fitted to other data ({' and '.join(files)}); {GIVE}")
        if first.config.rows != other.config.rows:
            raise RunError(
                f"{first.folder} was fitted to {first.config.rows} rows and {other.folder} to {other.config.rows}; {GIVE}"
            )


def seals(run: Run) -> list[str | None] | None:
    """The hashes of the files that a run was fitted to; None where nobody knows them, or they are trusted."""
    manifest = None if run.trust else read_manifest(run.folder)
    if manifest is None:
        return None
    known = [manifest.data.get(path) for path in data_files(run.model, run.config.data)]
    found = [None if datum is None else datum.sha256 for datum in known]
    return None if None in found else sorted(found, key=str)


def same_rows(runs: Sequence[Run], data: Sequence[Dataset]) -> None:
    """RunError where what two runs score of their rows is not the same."""
    (first, ours), *others = zip(runs, data, strict=True)
    told = [digest(first, ours)] if others else []
    for other, theirs in others:
        if ours.num_rows != theirs.num_rows:
            raise RunError(f"{first.folder} scores {ours.num_rows} rows and {other.folder} scores {theirs.num_rows}")
        if told[0] != digest(other, theirs):
            raise RunError(
                f"{first.folder} and {other.folder} score other values: {scored(first, ours)}, and {scored(other, theirs)}; "
                "log-probabilities of other values cannot be compared"
            )


def were_fitted(runs: Sequence[Run], data: Sequence[Dataset], training: Sequence[Dataset | None]) -> bool:
    """Whether data are the rows that the runs were fitted to; RunError where that is so for some of them only."""
    pairs = list(zip(runs, data, training, strict=True))
    found = [known is not None and digest(run, each) == digest(run, known) for run, each, known in pairs]
    if any(found) and not all(found):
        fitted, new = (runs[found.index(kind)].folder for kind in (True, False))
        raise RunError(
            f"{fitted} was fitted to these DATA and {new} was not: leave them out, or name rows that are new to both"
        )
    return all(found)


def scored(run: Run, data: Dataset) -> str:
    """What is scored, for a reader."""
    names = (f"`{name}`" for name, _ in data.observed)
    weight = f", weighed by `{data.weight}`" if data.weight is not None else ""
    return f"{data.tokens()} of {', '.join(names)}{weight}"


def digest(run: Run, data: Dataset) -> bytes:
    """A hash of what is scored in each row, as the data have it, whatever variables it belongs to; and of the rows' weights."""
    found = hashlib.sha256()
    data = data.in_precision("float64")
    names = [name for name, _ in data.observed]
    for indices in data.order(AT_ONCE):
        batch = data.batch(indices)
        rows = Rows(run.model, run.encoders, batch)
        seen = {name: batch[f"{name}_observed"] for name in names if f"{name}_observed" in batch}
        values = rows.values({name: batch[name] for name in names})
        masks = rows.numbers(seen) if seen else [{} for _ in values]
        for row, mask, weight in zip(values, masks, data.weights(indices), strict=True):
            leaves = sorted(str(leaf) for name in names for leaf in told(row[name], mask.get(name, True)))
            found.update(repr((leaves, float(weight))).encode())
    return found.digest()


def told(value: Any, seen: Any) -> Iterator[float | str]:
    """The values that are there."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from told(item, seen[i] if isinstance(seen, list) else seen)
    elif seen:
        yield value if isinstance(value, str) else float(value)
