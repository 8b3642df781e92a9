"""torch, and kernels of other files, imported at their first use: catalog entries may hold kernels while `vispec check` stays
free of torch."""

import gc
import sys
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


def ahead(*modules: str) -> None:
    """Import modules without a look for garbage meanwhile, and leave what they made out of all looks later: modules stay, and
    torch, of which there are a million objects, takes a fifth longer where these are gone through again and again."""
    looks, new = gc.isenabled(), [name for name in modules if name not in sys.modules]
    gc.disable()
    try:
        for name in new:
            import_module(name)
    finally:
        if new:
            gc.freeze()
        if looks:
            gc.enable()


def kernel(module: str, name: str) -> Callable[..., Any]:
    """A function of a file of kernels, for kernels that use it; the emitter copies it with them (torch/source_text.py)."""

    def call(*args: Any) -> Any:
        return getattr(import_module(module), name)(*args)

    return call


__all__ = ["FRAMES", "ahead", "kernel", "torch"]
