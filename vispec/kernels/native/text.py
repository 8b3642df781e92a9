"""The C++ files of this folder. Emitted modules carry their text."""

from pathlib import Path


def cpp(*names: str) -> str:
    """The texts of NAME.cpp, one after the other."""
    return "\n".join(Path(__file__).with_name(f"{name}.cpp").read_text(encoding="utf-8") for name in names)
