"""Arrow's compute functions; they are made when it is imported, so type checkers cannot see them."""

import sys
from typing import Any

import pyarrow as pa
import pyarrow.compute

from vispec.lazy import FRAMES

pc: Any = pyarrow.compute

LARGE = 1 << 24  # bytes; less is soon used again


class Hidden:
    """Among the finders of modules, and the first: there is no pandas."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def without_frames() -> None:
    """As Arrow makes its first array, it imports pandas, where that is installed, so as to know frames: a fifth of a second.
    It asks once, is told here that there is none, and asks again only where a frame is to be made of a table."""
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, Hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(Hidden)


def give_back(size: int) -> None:
    """What arrays of so many bytes took that are no more: Arrow keeps it for others of its own, which numbers are not."""
    if size > LARGE:
        pa.default_memory_pool().release_unused()


if not FRAMES.get():
    without_frames()
