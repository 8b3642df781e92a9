"""Which line of an emitted module first makes a number that is none (NaN), and which variable of the spec the line is about."""

import linecache
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vispec.train.module import evaluating


@dataclass(frozen=True)
class Origin:
    """A line of an emitted file. variable: the one it computes something about, None where its name tells nothing."""

    line: int
    text: str
    variable: str | None


def first_nan(module: nn.Module, batch: Mapping[str, Tensor], variables: Iterable[str]) -> Origin | None:
    """Where log_prob first makes a NaN out of numbers; None where it makes none."""
    path = sys.modules[type(module).__module__].__dict__.get("__file__")
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    if path is None:
        return None
    with evaluating(module, 0, device), _Watch(path) as watch:
        module.log_prob(batch)  # pyright: ignore[reportCallIssue]
    if watch.line is None:
        return None
    text = linecache.getline(path, watch.line).strip()
    return Origin(watch.line, text, _variable(text, variables))


class _Watch(TorchFunctionMode):
    """Remembers the line of `path` that made the first NaN."""

    def __init__(self, path: str):
        super().__init__()
        self.path, self.line = path, None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.line is None and _has_nan(result):
            frame = sys._getframe(1)
            while frame is not None and frame.f_code.co_filename != self.path:
                frame = frame.f_back
            self.line = None if frame is None else frame.f_lineno
        return result


def _has_nan(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_nan, value))
    return isinstance(value, Tensor) and value.is_floating_point() and bool(value.isnan().any())


def _variable(text: str, variables: Iterable[str]) -> str | None:
    """The variable that an assignment's name ends with, as `log_x = ...` is about x."""
    found = re.match(r"(\w+) = ", text)
    fitting = [name for name in variables if found and (found[1] == name or found[1].endswith(f"_{name}"))]
    return max(fitting, key=len, default=None)
