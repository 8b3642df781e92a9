"""Data beside replicates, as values and as tables for a reader."""

from dataclasses import asdict, dataclass
from typing import Any

from vispec.diagnostics import plain


@dataclass(frozen=True)
class Beside:
    """A statistic of the data and of replicates: the mean of these, the ends of the middle 90 %, and how many of them are at
    least as large as that of the data, ties counted by half. name: of a label's share, `share of LABEL`."""

    name: str
    data: float
    mean: float
    low: float
    high: float
    above: float

    @property
    def odd(self) -> bool:
        """Whether the data are outside the middle 90 %."""
        return not self.low <= self.data <= self.high


@dataclass(frozen=True)
class Calibration:
    """shares: of cells in BINS equal parts of the unit interval, which each have as many where the model is right. distance:
    the largest difference of distribution functions (Kolmogorov); limit: what cells that are independent exceed by chance in
    5 %."""

    shares: tuple[float, ...]
    distance: float
    limit: float

    @property
    def odd(self) -> bool:
        return self.distance > self.limit


@dataclass(frozen=True)
class Checked:
    """A variable, or one number of a vector: how many of its cells the data have. calibration: of numbers; null of labels, and
    where lengths are drawn too."""

    name: str
    cells: int
    statistics: tuple[Beside, ...]
    calibration: Calibration | None = None


@dataclass(frozen=True, repr=False)
class CheckedFit:
    """left_out: variables without a law to draw from."""

    run: str
    replicates: int
    variables: tuple[Checked, ...]
    left_out: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __repr__(self) -> str:
        return "\n".join(lines(self))


def lines(found: CheckedFit) -> list[str]:
    """A table for each variable; a star marks what is outside of what the model gives."""
    odd = any(told.odd for variable in found.variables for told in variable.statistics)
    parts = [line for variable in found.variables for line in (*table(variable), "")]
    notes = [f"model: mean of {found.replicates} data sets drawn from the fitted model, and the middle 90 % of them"]
    return [*parts, *notes, *(["*: the data are outside"] if odd else [])]


def table(variable: Checked) -> list[str]:
    heads = (plain(variable.name), "data", "model", "5 %", "95 %", "")
    rows = [
        (plain(told.name), *(f"{number:.4g}" for number in (told.data, told.mean, told.low, told.high)), "*" * told.odd)
        for told in variable.statistics
    ]
    wide = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    told = [
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, wide, strict=True)))
        for row in (heads, *rows)
    ]
    if variable.calibration is not None:
        found = variable.calibration
        shares = " ".join(f"{100 * share:.0f}" for share in found.shares)
        told.append(f"ranks: {shares} % of {variable.cells} cells in each tenth")
        verdict = "more than chance allows" if found.odd else "as by chance"
        told.append(f"calibration: distance {found.distance:.3f}, {verdict} ({found.limit:.3f})")
    return [line.rstrip() for line in told]
