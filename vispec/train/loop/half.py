"""`precision : bf16`: while a module learns, the products within its nets are in bfloat16, by torch.autocast.

Parameters, gradients and what nets give are float32, and so are the sums of the model, which are in log space and need its
digits; what a net is read at before its last layer stays narrow, as that layer is a product too. A module that is scored
computes in float32 alone. So does one on a processor without instructions for bfloat16, where a fit says so: torch would have
no LSTM there, and products that take fifty times as long.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from vispec.model.model import Model
from vispec.named import get, has
from vispec.plan.guides import complete_guides

ABSENT = "this processor has no instructions for bf16: nets learn in float32, which is faster on it"
WAYS = ("forward", "features", "prefixes", "prefix_features")  # in which a net is called


def has_halves(device: torch.device) -> bool:
    """Whether it has instructions for bfloat16."""
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def in_halves(module: nn.Module, model: Model, device: torch.device) -> None:
    """Let its nets compute so from now on."""
    for net in complete_guides(model).nets:
        if has(module, net.name):
            found = get(module, net.name)
            for way in WAYS:
                if hasattr(found, way):
                    wide = "features" not in way
                    setattr(found, way, halved(getattr(found, way), found, device, wide))


def halved(method: Callable[..., Any], net: nn.Module, device: torch.device, wide: bool) -> Callable[..., Any]:
    """The method of a net under autocast."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not net.training:
            return method(*args, **kwargs)
        with torch.autocast(device.type, torch.bfloat16):
            found = method(*args, **kwargs)
            return tree_map(widened, found) if wide else found

    return call


def widened(value: Any) -> Any:
    """A tensor of bfloat16 as float32."""
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.bfloat16 else value
