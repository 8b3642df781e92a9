"""What verification found: one line per check, as a table and as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vispec.screen import folded, tabled


@dataclass(frozen=True)
class Check:
    """cases: numbers compared. error: the largest difference, None where there was nothing to compare.
    skipped: why brute force could not tell, None where it could. A skipped check is neither passed nor failed."""

    name: str
    cases: int = 0
    error: float | None = None
    tolerance: float = 0.0
    skipped: str | None = None
    failure: str | None = None

    @property
    def differs(self) -> bool:
        """Whether the module was found to disagree; nan is disagreement."""
        return self.failure is not None or (self.error is not None and not self.error <= self.tolerance)

    @property
    def verdict(self) -> str:
        if self.differs:
            return "DIFFERS"
        return "ok" if self.skipped is None and self.cases else "not checked"

    @property
    def note(self) -> str | None:
        """The failure, or why there was no comparison."""
        nothing = "nothing to compare" if self.verdict == "not checked" else None
        return self.failure or self.skipped or nothing


@dataclass(frozen=True)
class Report:
    """sizes: what the spec's sizes were shrunk to. terms: the largest number of assignments enumerated for a row."""

    spec: str
    sizes: Mapping[str, int]
    terms: int
    checks: tuple[Check, ...] = field(default=())

    @property
    def differs(self) -> bool:
        return any(check.differs for check in self.checks)

    @property
    def unchecked(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.verdict == "not checked")

    def __str__(self) -> str:
        sizes = ", ".join(f"{name}={value}" for name, value in self.sizes.items())
        head = (
            f"{self.spec}"
            + (f" with {sizes}" if sizes else "")
            + f"; up to {self.terms} assignment{'s' * (self.terms != 1)} a row, float64"
        )
        table = [("check", "cases", "max error", "tolerance", "", ""), *map(_cells, self.checks)]
        return "\n".join((*folded(head, rest="  "), "", *tabled(table), "", self.summary))

    @property
    def summary(self) -> str:
        wrong = sum(check.differs for check in self.checks)
        missing = len(self.unchecked)
        passed = len(self.checks) - wrong - missing
        return f"{passed} agree, {wrong} differ, {missing} not checked"

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        checks = [
            {
                "check": check.name,
                "cases": check.cases,
                "error": check.error,
                "tolerance": check.tolerance,
                "verdict": check.verdict,
                "note": check.note,
            }
            for check in self.checks
        ]
        return {"spec": self.spec, "ok": not self.differs, "sizes": dict(self.sizes), "terms": self.terms, "checks": checks}


def _cells(check: Check) -> tuple[str, ...]:
    error = "" if check.error is None else f"{check.error:.1e}"
    tolerance = "" if check.error is None else f"{check.tolerance:.0e}"
    return (check.name, str(check.cases), error, tolerance, check.verdict, check.note or "")
