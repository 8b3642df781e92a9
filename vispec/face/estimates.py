"""Estimates in Python: shown as `vispec params` shows them, a table for other libraries, arrays by name."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from vispec.train.estimates.show import show
from vispec.train.estimates.values import Estimates
from vispec.train.store.report import estimates_table


class Parameters:
    """All estimates of a run. `run.params()["mu"]` is an array of the numbers of `mu`; pandas, polars and others read the whole
    as a table, a line for each number."""

    def __init__(self, estimates: Estimates):
        self.estimates = estimates

    def __repr__(self) -> str:
        return "\n".join(show(self.estimates))

    def _repr_html_(self) -> str:
        return estimates_table(self.estimates)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(entry.name for entry in self.estimates.parameters))

    def __getitem__(self, name: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """Its estimates (*plates, *event); a number has no dimensions."""
        return self._array(name, "estimate")

    def se(self, name: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """Their standard errors (*plates, *event), NaN where there is none; the table says why."""
        return self._array(name, "se")

    def _array(self, name: str, field: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        entries = [entry for entry in self.estimates.parameters if entry.name == name]
        if not entries:
            raise KeyError(f"there are no estimates of {name!r}; there are {', '.join(self)}")
        shape = tuple(max(place) + 1 for place in zip(*(entry.index for entry in entries), strict=True))
        found = np.full(shape, np.nan)
        for entry in entries:
            value = getattr(entry, field)
            found[entry.index] = np.nan if value is None else value
        return found

    @property
    def table(self) -> Any:
        """Of Arrow: name, labels, estimate, se, low, high, note: a line for each number."""
        rows = self.estimates.parameters
        text = pa.list_(pa.string())
        return pa.table(
            {
                "parameter": pa.array([entry.title for entry in rows], pa.string()),
                "name": pa.array([entry.name for entry in rows], pa.string()),
                "labels": pa.array([list(map(str, entry.labels)) for entry in rows], text),
                **{
                    field: pa.array([getattr(entry, field) for entry in rows], pa.float64())
                    for field in ("estimate", "se", "low", "high")
                },
                "note": pa.array([entry.note for entry in rows], pa.string()),
            }
        )

    def to_pandas(self) -> Any:
        """The table as a DataFrame of pandas."""
        return self.table.to_pandas()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)
