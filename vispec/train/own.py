"""What is said where a class of the user's own, `python("package.module:Class")`, cannot be imported, made, called or read."""

import linecache
import re
from collections.abc import Mapping
from types import FrameType
from typing import Any

from torch import nn

from vispec.train.memory import frames_of

IMPORT = re.compile(r"from ([\w.]+) import (\w+)")
WANTED = "it is made with features=..., called with the net's arguments and their masks, and returns (*B, features)"


def told(error: BaseException) -> str | None:
    """Which class it is and what went wrong, if the innermost line of an emitted module was about one."""
    for frame, line in reversed(list(frames_of(error))):
        known = classes(frame.f_globals)
        text = linecache.getline(frame.f_code.co_filename, line).strip()
        if isinstance(error, ImportError) and is_emitted(frame) and (found := IMPORT.fullmatch(text)):
            return f'python("{found[1]}:{found[2]}") cannot be imported: {error}; it must be on the path, PYTHONPATH=. for here'
        if not known or not is_emitted(frame):
            continue
        about = class_of(frame, text, known)
        if about is None:
            return None
        return f'python("{about.__module__}:{about.__name__}"): {type(error).__name__}: {error}; {WANTED}'
    return None


def is_emitted(frame: FrameType) -> bool:
    """Whether it is in a text that vispec wrote."""
    return "emitted by vispec" in (frame.f_globals.get("__doc__") or linecache.getline(frame.f_code.co_filename, 1))


def classes(names: Mapping[str, Any]) -> list[type[nn.Module]]:
    """Those among a file's names that are neither its own nor torch's."""
    found = [each for each in names.values() if isinstance(each, type) and issubclass(each, nn.Module)]
    return [each for each in found if each.__module__ != names.get("__name__") and not each.__module__.startswith("torch")]


def class_of(frame: FrameType, text: str, known: list[type[nn.Module]]) -> type[nn.Module] | None:
    """The one that a line makes, or that the net has whose line it is."""
    made = next((each for each in known if f"{each.__name__}(" in text), None)
    mine = frame.f_locals.get("self")
    parts = [type(each) for each in mine.children()] if made is None and isinstance(mine, nn.Module) else []
    return made or next((each for each in known if each in parts), None)
