"""The C++ files of this folder. Emitted modules carry their text."""

from pathlib import Path


def cpp(name: str) -> str:
    """The text of NAME.cpp."""
    return Path(__file__).with_name(f"{name}.cpp").read_text(encoding="utf-8")
