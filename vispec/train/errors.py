"""How a fit or a command on a run can end without a result. The command line maps each to its exit code; none is a bug."""

from pathlib import Path
from typing import Any


class RunError(Exception):
    """A run folder, device or option that cannot be used; the message says what to do instead (exit 1)."""


class OptionError(Exception):
    """A setting from outside the spec that cannot be; a usage error (exit 2)."""


class DivergenceError(Exception):
    """The objective or a gradient left the real numbers; `variable` names where it happened first (exit 3)."""

    def __init__(self, variable: str | None, message: str):
        self.variable = variable
        super().__init__(message)


class VerificationError(Exception):
    """The emitted module is wrong, by the comparisons in `verdict`; what the fit has done is in its folder (exit 4)."""

    def __init__(self, message: str, verdict: dict[str, Any]):
        self.verdict = verdict
        super().__init__(message)


class InterruptionError(Exception):
    """The user stopped the fit; its checkpoint is in `folder` (exit 130)."""

    def __init__(self, folder: Path):
        self.folder = folder
        super().__init__(f"interrupted; the checkpoint is in {folder}")


class LostError(Exception):
    """Other processes of the same fit are gone (exit 5). first: whether this is the first of those that are left, which says
    it."""

    def __init__(self, message: str, first: bool):
        self.first = first
        super().__init__(message)
