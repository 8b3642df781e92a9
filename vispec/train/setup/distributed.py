"""Several processes on one fit (torchrun): each takes a share of every minibatch, and sums of gradients are exchanged.

The parameters stay equal on all processes because each applies the same update to the same summed gradient.
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # imported later, its default arguments would keep the group, and its threads, alive
from torch import Tensor

from vispec.train.errors import RunError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Group:
    """The processes of this fit. Rank 0 owns the run folder."""

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        return self.rank == 0

    def share(self, indices: Array) -> Array:
        """This process's part of a minibatch: every `world`-th row."""
        return indices[self.rank :: self.world]

    def sum_(self, tensor: Tensor) -> Tensor:
        """The sum over processes, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def same_(self, tensor: Tensor) -> Tensor:
        """The tensor of rank 0 on every process, in place."""
        if self.world > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every process, in the order of ranks."""
        if self.world == 1:
            return [tensor]
        everyone = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(everyone, tensor)
        return everyone

    def pick(self, value: Any) -> Any:
        """The value that rank 0 holds, on every process."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def join() -> Group:
    """The group that torchrun's environment describes, or this process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return Group()
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return Group(dist.get_rank(), dist.get_world_size())


def leave(group: Group) -> None:
    """End the exchange."""
    if group.world > 1 and dist.is_initialized():
        dist.destroy_process_group()


def choose_device(name: str, group: Group) -> torch.device:
    """The device of this process: `auto` takes a GPU if there is one; of several GPUs, `cuda` takes the process's own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RunError(f"device `{name}` cannot be used here: {str(error).splitlines()[0]}") from error
    return device
