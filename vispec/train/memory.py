"""What is said where memory does not suffice: which line of the emitted module asked for how much, and what takes less."""

import inspect
import linecache
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from vispec.train.errors import RunError

SHORT = re.compile(r"can't allocate memory|not enough memory|out of memory|bad_alloc|unable to allocate", re.IGNORECASE)
ASKED = re.compile(r"allocate ([\d.]+) (bytes|[KMGT]i?B)", re.IGNORECASE)
SHAPED = re.compile(r"^\s*(\w+)(?:, \w+)* = .*# \(([^()]*)\)")
UNITS = "BKMGT"


@dataclass(frozen=True)
class Place:
    """A line of an emitted module that was being computed: its method's locals."""

    module: nn.Module
    line: int
    text: str
    above: tuple[str, ...]
    names: Mapping[str, Any]


@contextmanager
def enough() -> Iterator[None]:
    """Within, a lack of memory is a RunError that says where."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_lack(error):
            raise RunError(told(error)) from error
        raise


def is_lack(error: BaseException) -> bool:
    """Whether memory did not suffice, on whatever device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or SHORT.search(str(error)) is not None


def told(error: BaseException) -> str:
    """What was asked for, by which line, and what takes less."""
    frames = list(frames_of(error))
    batch = next((b for frame, _ in reversed(frames) if isinstance(b := frame.f_locals.get("batch"), Mapping) and b), None)
    place = next((found for frame, line in reversed(frames) if (found := place_of(frame, line))), None)
    module = next(filter(None, (module_of(frame) for frame, _ in reversed(frames))), None)
    amount = size_of(str(error))
    fact = f"there is not enough memory{f': {amount} more were asked for' if amount else ''}"
    if place is not None:
        fact += f" by line {place.line} of the module, {described(place, number_of(str(error)))}"
    elif any(frame.f_code.co_name == "backward" for frame, _ in frames):
        fact += ", on the way back from the loss to its gradient"
        if module is not None and batch and (like := as_large(str(error), module, batch)):
            fact += f": as much as {like} takes"
    advice = []
    rows = next((len(value) for value in batch.values() if isinstance(value, Tensor) and value.dim()), 0) if batch else 0
    if rows > 1:
        advice.append(f"these are {rows} rows at once: --batch {max(1, rows // 8)} takes an eighth of what grows with them")
    if hasattr(module, "memory"):
        advice.append("--memory bounds what a sum over joint values takes at once")
    return "; ".join([fact, *advice])


def frames_of(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Where an error passed, from the outside in, with the lines."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def emitted(value: object) -> nn.Module | None:
    """A module that vispec wrote."""
    return value if isinstance(value, nn.Module) and hasattr(value, "log_prob") else None


def module_of(frame: FrameType) -> nn.Module | None:
    """The emitted module that a frame is about."""
    mine = frame.f_locals.get("self")
    return next(filter(None, map(emitted, (mine, frame.f_locals.get("module"), getattr(mine, "module", None)))), None)


def place_of(frame: FrameType, line: int) -> Place | None:
    """The line, if it is one of a method of an emitted module."""
    module = emitted(frame.f_locals.get("self"))
    path, first = frame.f_code.co_filename, frame.f_code.co_firstlineno
    text = linecache.getline(path, line).strip()
    if module is None or not text:
        return None
    return Place(module, line, text, tuple(linecache.getline(path, each) for each in range(first, line)), frame.f_locals)


def described(place: Place, asked: int) -> str:
    """What the line computes, with the size of each axis that is known, or follows from the bytes asked for; else its text."""
    found = shaped(place.text)
    if found is None:
        return f"`{place.text}`"
    name, axes = found
    sizes = axes_of(place.module, place.above, place.names)
    return f"for {sized(name, axes, solved(axes, sizes, asked, width(place.module)) or sizes)}"


def solved(axes: Sequence[str], sizes: Mapping[str, int], asked: int, width: int) -> Mapping[str, int] | None:
    """Sizes by which a value of these axes takes the bytes asked for, if there are such: one may be not known."""
    unknown = [axis for axis in axes if axis not in sizes and not axis.isdecimal()]
    rest = width * prod(int(axis) if axis.isdecimal() else sizes.get(axis, 1) for axis in axes)
    if not asked or len(unknown) > 1 or not rest or asked % rest or (not unknown and asked != rest):
        return None
    return {**sizes, **{axis: asked // rest for axis in unknown}}


def width(module: nn.Module) -> int:
    """Bytes of a number."""
    return next((parameter.element_size() for parameter in module.parameters()), 4)


def shaped(line: str) -> tuple[str, list[str]] | None:
    """The name that a line of an emitted module gives a value, and the axes that stand behind it."""
    found = SHAPED.match(line)
    return (found[1], [each.strip() for each in found[2].split(",") if each.strip()]) if found else None


def sized(name: str, axes: Sequence[str], sizes: Mapping[str, int]) -> str:
    return f"`{name}` of the shape ({', '.join(f'{each} = {sizes[each]}' if each in sizes else each for each in axes)})"


def axes_of(module: nn.Module, lines: Iterable[str], names: Mapping[str, Any]) -> dict[str, int]:
    """Sizes by name: those of the spec, which the module was made for, and of the axes of what lines have computed."""
    made = inspect.signature(type(module).__init__).parameters
    sizes = {name: each.default for name, each in made.items() if isinstance(each.default, int)}
    for name, axes in filter(None, map(shaped, lines)):
        value = names.get(name)
        if isinstance(value, Tensor) and value.dim() == len(axes):
            sizes |= dict(zip(axes, value.shape, strict=True))
    return sizes


def as_large(message: str, module: nn.Module, batch: Mapping[str, Any]) -> str | None:
    """A value of the log-probability that takes the bytes asked for, as its gradient does."""
    try:
        lines = inspect.getsource(type(module).log_prob).splitlines()  # pyright: ignore[reportAttributeAccessIssue]
    except (OSError, TypeError):
        return None
    sizes, asked = axes_of(module, lines, batch), number_of(message)
    for name, axes in filter(None, map(shaped, lines)):
        if len(axes) > 1 and (fitting := solved(axes, sizes, asked, width(module))) is not None:
            return sized(name, axes, fitting)
    return None


def number_of(message: str) -> int:
    """The bytes that an allocator names; 0 where it names none."""
    found = ASKED.search(message)
    return int(float(found[1])) if found and found[2].lower() == "bytes" else 0


def size_of(message: str) -> str | None:
    """The amount that an allocator names, as 2.8 GB."""
    found = ASKED.search(message)
    if found is None:
        return None
    if found[2].lower() != "bytes":
        return f"{found[1]} {found[2]}"
    number, power = float(found[1]), 0
    while number >= 1000 and power + 1 < len(UNITS):
        number, power = number / 1000, power + 1
    return f"{number:.3g} {UNITS[power].strip('B')}B"
