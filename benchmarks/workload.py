"""What one benchmark compares: programs that compute the same log-probability from the same parameters and data."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from vispec.compile import compile_spec
from vispec.source import Source

Tensors = Mapping[str, Tensor]
Program = Callable[[Tensors, Tensors], Tensor]

EMITTED = "emitted"


@dataclass(frozen=True)
class Workload:
    """spec: a file of benchmarks/specs; sizes: what its module's constructor takes.

    parameters have the names of the emitted module's state and are shared by all programs; a program turns parameters and
    batch into the log-probability of the whole batch, and so does the reference, as plainly as possible. `hand` is what one
    writes in eager PyTorch without much ado. Programs that draw noise draw the same float32 numbers from the same seed."""

    spec: str
    sizes: Mapping[str, int]
    parameters: Tensors
    batch: Tensors
    reference: Program
    programs: Mapping[str, Program]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.programs, EMITTED)


@dataclass(frozen=True)
class Contender:
    """leaves: the parameters that it trains; loss: minus the log-probability of the batch, a scalar."""

    leaves: Tensors
    loss: Callable[[], Tensor]

    def step(self) -> Tensor:
        """Forward and backward; the gradients are in `leaves`."""
        for leaf in self.leaves.values():
            leaf.grad = None
        value = self.loss()
        value.backward()
        return value.detach()


def emitted_module(workload: Workload) -> Any:
    """An instance of the class that the compiler emits for the workload's spec."""
    name = workload.spec.removesuffix(".vispec")
    text = compile_spec(Source.read(Path(__file__).with_name("specs") / workload.spec), workload.sizes)
    module = sys.modules[f"emitted_{name}"] = ModuleType(f"emitted_{name}")  # torch.compile looks modules up by name
    exec(compile(text, f"{name}.py", "exec"), vars(module))
    return getattr(module, name.capitalize())(**workload.sizes)


def contender(workload: Workload, name: str, compiled: bool = False) -> Contender:
    """The program `name` with parameters of its own."""
    if name == EMITTED:
        module = emitted_module(workload)
        module.load_state_dict(dict(workload.parameters))
        rows = len(next(iter(workload.batch.values())))
        loss = torch.compile(module.loss, fullgraph=True) if compiled else module.loss
        return Contender(dict(module.named_parameters()), lambda: loss(workload.batch, rows))
    leaves = {key: value.clone().requires_grad_() for key, value in workload.parameters.items()}
    program = torch.compile(workload.programs[name]) if compiled else workload.programs[name]
    return Contender(leaves, lambda: -program(leaves, workload.batch))


def errors(workload: Workload, got: Contender) -> tuple[float, float]:
    """Relative errors, against the float64 reference, of the log-probability and of its gradient (of the worst parameter)."""
    exact = {key: value.double().requires_grad_() for key, value in workload.parameters.items()}
    batch = {key: value.double() if value.is_floating_point() else value for key, value in workload.batch.items()}
    torch.manual_seed(0)
    expected = -workload.reference(exact, batch)
    expected.backward()
    torch.manual_seed(0)
    value = got.step()
    value_error = float((value.double() - expected.detach()).abs() / expected.detach().abs())
    assert got.leaves.keys() == exact.keys(), "the programs have different parameters"
    return value_error, max(relative(leaf.grad, exact[key].grad) for key, leaf in got.leaves.items())


def relative(found: Tensor | None, exact: Tensor | None) -> float:
    """‖found - exact‖ / ‖exact‖."""
    assert found is not None
    assert exact is not None
    return float((found.double() - exact).norm() / exact.norm())
