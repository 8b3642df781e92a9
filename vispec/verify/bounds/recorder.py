"""The noise that a module draws while it runs."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

NORMAL_NOISE = ("randn_like", "randn", "normal_", "normal", "normal_functional")


class Recorder(TorchDispatchMode):
    """Keeps a copy of the result of every operation that draws from a Normal."""

    def __init__(self) -> None:
        super().__init__()
        self.noise: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in NORMAL_NOISE:
            self.noise.append(result.detach().clone())
        return result
