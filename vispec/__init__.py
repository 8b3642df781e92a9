"""vispec: plate notation to standalone PyTorch modules.

In Python: `vispec.load("model.vispec").fit(table)`, and what `vispec.face` has of models, runs and errors. Nothing of it, nor
torch, is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vispec.diagnostics import SpecError as SpecError
    from vispec.face.model import Model as Model
    from vispec.face.model import load as load
    from vispec.face.run import Run as Run
    from vispec.face.run import open_run as open_run
    from vispec.train.data.diagnostics import DataError as DataError
    from vispec.train.errors import OptionError as OptionError
    from vispec.train.errors import RunError as RunError

__version__ = "0.2.0"

_HOMES = {
    "load": "vispec.face.model",
    "Model": "vispec.face.model",
    "open_run": "vispec.face.run",
    "Run": "vispec.face.run",
    "SpecError": "vispec.diagnostics",
    "DataError": "vispec.train.data.diagnostics",
    "RunError": "vispec.train.errors",
    "OptionError": "vispec.train.errors",
}
__all__ = ["DataError", "Model", "OptionError", "Run", "RunError", "SpecError", "load", "open_run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vispec' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
