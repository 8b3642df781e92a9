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

from vispec.train.store.module import evaluating


@dataclass(frozen=True)
class Origin:
    """The first line of an emitted file to make a NaN. variable: the first one that it, or what it flows into, is named
    after."""

    line: int
    text: str
    variable: str | None


@dataclass(frozen=True)
class Impossible:
    """A draw under which a row of a batch has probability 0: the row's place, and the observed variable that the first line to
    make a -inf is named after."""

    row: int
    variable: str


TRIES = 20  # draws that are looked through for one


def impossible_draw(module: nn.Module, batch: Mapping[str, Tensor], observed: Iterable[str]) -> Impossible | None:
    """A draw that makes what the data show impossible; None where none was met."""
    path = sys.modules[type(module).__module__].__dict__.get("__file__")
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    if path is None:
        return None
    for seed in range(TRIES):
        with evaluating(module, seed, device), _Watch(path, _has_impossible) as watch:
            log_prob = module.log_prob(batch)  # pyright: ignore[reportCallIssue]
        bad = (log_prob == -torch.inf).nonzero().flatten().tolist()
        texts = (linecache.getline(path, line).strip() for line in watch.lines)
        names = filter(None, (_variable(text, observed) for text in texts))
        if bad and (name := next(names, None)) is not None:
            return Impossible(bad[0], name)
    return None


def first_nan(module: nn.Module, batch: Mapping[str, Tensor], variables: Iterable[str]) -> Origin | None:
    """Where log_prob first makes a NaN out of numbers; None where it makes none."""
    path = sys.modules[type(module).__module__].__dict__.get("__file__")
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    if path is None:
        return None
    with evaluating(module, 0, device), _Watch(path) as watch:
        module.log_prob(batch)  # pyright: ignore[reportCallIssue]
    if not watch.lines:
        return None
    texts = [linecache.getline(path, line).strip() for line in watch.lines]
    named = (_variable(text, variables) for text in texts)
    return Origin(watch.lines[0], texts[0], next(filter(None, named), None))


class _Watch(TorchFunctionMode):
    """The lines of `path` that make such numbers, NaNs unless said, in the order of the computation, each before the one that
    called it."""

    def __init__(self, path: str, odd: Callable[[Any], bool] | None = None):
        super().__init__()
        self.path, self.odd = path, odd or _has_nan
        self.lines: list[int] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.odd(result):
            frame = sys._getframe(1)
            while frame is not None:
                if frame.f_code.co_filename == self.path:
                    self.lines.append(frame.f_lineno)
                frame = frame.f_back
        return result


def _has_nan(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_nan, value))
    return isinstance(value, Tensor) and value.is_floating_point() and bool(value.isnan().any())


def _has_impossible(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and bool((value == -torch.inf).any())


def _variable(text: str, variables: Iterable[str]) -> str | None:
    """The variable that an assignment is named after (`log_x = `, `log_x_2 = `), or whose density is taken
    (`normal_log_prob(x, `)."""
    found = re.match(r"(\w+) = ", text) or re.search(r"_log_prob\((\w+),", text)
    words = {found[1], re.sub(r"_\d+$", "", found[1])} if found else set[str]()
    fitting = [name for name in variables if any(word == name or word.endswith(f"_{name}") for word in words)]
    return max(fitting, key=len, default=None)
