"""torch, and kernels of other files, imported at their first use: catalog entries may hold kernels while `vispec check` stays
free of torch."""

from collections.abc import Callable
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
else:

    class _Lazy:
        def __init__(self, name: str):
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(import_module(self._name), attribute)

    torch = _Lazy("torch")


FRAMES: ContextVar[bool] = ContextVar("FRAMES", default=True)
"""Whether a caller in Python may give frames of pandas; the `vispec` program, whose input is files, says that none does."""


def kernel(module: str, name: str) -> Callable[..., Any]:
    """A function of a file of kernels, for kernels that use it; the emitter copies it with them (torch/source_text.py)."""

    def call(*args: Any) -> Any:
        return getattr(import_module(module), name)(*args)

    return call


__all__ = ["FRAMES", "kernel", "torch"]
