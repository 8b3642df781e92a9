"""Modules of the specs in tests/cases/program, in float64."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.random.compare import loaded
from vispec.compile import compile_spec
from vispec.source import Source

HERE = Path(__file__).parent / "program"
HALF_LOG = 0.5 * math.log(2 * math.pi)


def module(name: str, **values: Any) -> Any:
    """The module of one of the specs, in float64, its parameters in constrained space."""
    return made((HERE / f"{name}.vispec").read_text(), **values)


def made(text: str, **values: Any) -> Any:
    found: Any = loaded(compile_spec(Source("case.vispec", text))).double().eval()
    for name, value in values.items():
        if isinstance(held := getattr(found, name), torch.nn.Parameter):
            held.data = real(value).reshape(held.shape)
        else:
            setattr(found, name, real(value))
    return found


def real(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def close(found: Tensor, right: Any, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found.double(), real(right), rtol=tolerance, atol=tolerance)
