"""Which cast of a spec does not hold: `unit(k / m)` of x, in which row of the data, with which value."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vispec.kernels import casts
from vispec.train.store.module import evaluating

KERNELS = {name: kernel for name, kernel in inspect.getmembers(casts, inspect.isfunction) if name.startswith("surely_")}
Watch = Callable[[str, Tensor, Tensor], None]


def broken_cast(module: nn.Module, batch: Mapping[str, Tensor], rows: Sequence[int] | Any) -> str | None:
    """The first cast that does not hold in a batch, as a sentence; None where all do. rows: their numbers in the data."""
    if not KERNELS.keys() & _names(module).keys():
        return None
    found: list[tuple[str, Tensor, Tensor]] = []
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    with evaluating(module, 0, device), _watched(module, lambda *seen: found.append(seen)):
        bad = ~module.log_prob(batch).isfinite()  # pyright: ignore[reportCallIssue]
    for said, value, outside in found:
        if bool(outside.any()):
            return _told(said, value, outside, bad, rows)
    return None


def _told(said: str, value: Tensor, outside: Tensor, bad: Tensor, rows: Sequence[int] | Any) -> str:
    """The row is told where the values have one for each row, and that one's log-probability is not finite."""
    domain = said[1:].split("(")[0]
    where = ""
    if outside.dim() and len(outside) == len(bad):
        those = (outside.reshape(len(bad), -1).any(1) & bad).nonzero().flatten().tolist()
        if those:
            where, value, outside = f"row {int(rows[those[0]]) + 1} of the data: ", value[those[0]], outside[those[0]]
    numbers = value[outside] if domain != "simplex" else value.reshape(-1, value.shape[-1])[outside.any(-1).flatten()][0]
    return f"{where}{said} is no {domain}: {_shown(numbers)}"


def _shown(numbers: Tensor) -> str:
    found = [f"{number:.6g}" for number in numbers.flatten().tolist()]
    return found[0] if len(found) == 1 else f"[{', '.join(found[:8])}]"


def _names(module: nn.Module) -> dict[str, Any]:
    """The global names of the emitted file."""
    return inspect.unwrap(type(module).log_prob).__globals__  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def _watched(module: nn.Module, watch: Watch) -> Iterator[None]:
    """Inside, each cast tells what it is given, and where that lies outside of its domain."""

    def watching(kernel: Callable[[Tensor, str], Tensor]) -> Callable[[Tensor, str], Tensor]:
        def cast(value: Tensor, said: str) -> Tensor:
            result = kernel(value, said)
            watch(said, value, result.isnan())
            return result

        return cast

    names = _names(module)
    kept = {name: names[name] for name in KERNELS if name in names}
    names.update({name: watching(kernel) for name, kernel in kept.items()})
    try:
        yield
    finally:
        names.update(kept)
