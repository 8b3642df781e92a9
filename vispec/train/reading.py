"""How the tables of a data set are to be read, as a user says it and a run remembers it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reading:
    """columns: by variable, the columns that feed it. index: by plate, the column that says in which of its elements a row
    stands. absent: partial variables of which there are no values. drop: leave out rows that lack a value they must have.
    remembered: plates whose keys are those of a run: a file of nested lists has no such columns, and needs none. recalled:
    variables whose columns are those of a run: they hold for tables that have them. cache: which data are encoded into a file,
    and where it lies, see `vispec.train.data.cached`."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    index: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    drop: bool = False
    remembered: frozenset[str] = frozenset()
    recalled: frozenset[str] = frozenset()
    cache: str = "auto"

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of `vispec.train.data.load`."""
        return dict(vars(self))

    def over(self, other: "Reading") -> "Reading":
        """This where it says something, else the other; what is absent is so in one data set only."""
        recalled = frozenset({*other.columns} - {*self.columns, *self.absent})
        columns = {**{name: other.columns[name] for name in other.columns if name in recalled}, **self.columns}
        index, remembered = {**other.index, **self.index}, frozenset({*other.index} - {*self.index})
        return Reading(columns, index, self.absent, self.drop or other.drop, remembered, recalled, self.cache)

    def only(self, names: frozenset[str]) -> "Reading":
        """Of these variables."""
        columns = {name: chosen for name, chosen in self.columns.items() if name in names}
        absent = tuple(name for name in self.absent if name in names)
        return Reading(columns, self.index, absent, self.drop, self.remembered, self.recalled & names, self.cache)
