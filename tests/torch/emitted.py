"""Runs what is printed of a program: as the one method of a class, in float64."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vispec.program.program import Program
from vispec.torch.function import Method, method
from vispec.torch.nodes.implementation import Target
from vispec.torch.text.names import ModuleNames
from vispec.torch.text.source_text import kernel_source, with_borrowed


def printed(program: Program, target: Target | None = None, **options: Any) -> tuple[Method, ModuleNames]:
    names = ModuleNames()
    returns = "value" if len(program.outputs) == 1 else "dict"
    return method(program, "log_prob", names, returns=returns, target=target, **options), names


def source(found: Method) -> str:
    """A file with the kernels and a class with the method."""
    by_module: dict[str, list[str]] = {}
    for module, name in with_borrowed(sorted(found.needs.kernels)):
        by_module.setdefault(module, []).append(name)
    parts = ["import torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional as F"]
    parts += [kernel_source(module, sorted(names)).strip() for module, names in sorted(by_module.items())]
    parts.append("\n".join(["class Emitted(nn.Module):", *("    " + line for line in found.lines)]))
    return "\n\n\n".join(parts) + "\n"


def module(
    found: Method,
    names: ModuleNames,
    sizes: Mapping[str, int],
    parameters: Mapping[str, Tensor] = {},
    nets: Mapping[str, Any] = {},
) -> Any:
    space: dict[str, Any] = {}
    exec(compile(source(found), "emitted", "exec"), space)
    made = space["Emitted"]()
    made.register_buffer("one", torch.ones((), dtype=torch.float64))
    for kind, values in (("size", sizes), ("parameter", parameters), ("net", nets)):
        for name, value in values.items():
            if (kind, name) in found.needs.attributes:
                plain = isinstance(value, Tensor | int | nn.Module)
                object.__setattr__(made, names.attribute(kind, name), value) if plain else setattr(
                    made, names.attribute(kind, name), value
                )
    return made
