"""Several processes on one fit: each takes a share of every minibatch, and sums of gradients are exchanged.

The parameters stay equal on all processes because each applies the same update to the same summed gradient. The processes are
those of a group that is there already, or those that torchrun has started, which may start them again. Each attempt meets under
a prefix of its own in the store that torchrun keeps for all, or it would find the addresses of the one before;
there it reads which run to go on with.
"""

import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # imported later, its default arguments would keep the group, and its threads, alive
from torch import Tensor
from torch.distributed import PrefixStore, Store  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.rendezvous import rendezvous

from vispec.train.errors import LostError, RunError

Array = np.ndarray[Any, Any]
GRACE = 1.0  # seconds in which a process that is still there reports that an exchange has failed


@dataclass(frozen=True)
class Group:
    """The processes of this fit. Rank 0 owns the run folder. talk: the process group, None for torch's default one. store: what
    the processes of one attempt write to, memory: what all attempts do; None where nobody keeps one."""

    rank: int = 0
    world: int = 1
    talk: dist.ProcessGroup | None = None
    store: Store | None = None
    memory: Store | None = None

    @property
    def main(self) -> bool:
        return self.rank == 0

    def share(self, indices: Array) -> Array:
        """This process's part of a minibatch: every `world`-th row."""
        return indices[self.rank :: self.world] if self.world > 1 else indices

    # ---- what is exchanged

    def sum_(self, tensor: Tensor) -> Tensor:
        """The sum over processes, in place."""
        if self.world > 1:
            with self._exchange():
                dist.all_reduce(tensor, group=self.talk)
        return tensor

    def same_(self, tensor: Tensor) -> Tensor:
        """The tensor of rank 0 on every process, in place."""
        if self.world > 1:
            with self._exchange():
                dist.broadcast(tensor, src=0, group=self.talk)
        return tensor

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every process, in the order of ranks."""
        if self.world == 1:
            return [tensor]
        everyone = [torch.empty_like(tensor) for _ in range(self.world)]
        with self._exchange():
            dist.all_gather(everyone, tensor, group=self.talk)
        return everyone

    def pick(self, value: Any) -> Any:
        """The value that rank 0 holds, on every process."""
        if self.world == 1:
            return value
        box = [value]
        with self._exchange():
            dist.broadcast_object_list(box, src=0, group=self.talk)
        return box[0]

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """LostError where an exchange fails because others are gone."""
        try:
            yield
        except RuntimeError as error:
            traceback.clear_frames(error.__traceback__)  # they hold the group, whose connections could not be closed
            lost = self._lost()
            if lost is None:
                raise
            raise lost from None

    def _lost(self) -> LostError | None:
        """Who is gone, after an exchange has failed: who does not report this soon, or has told another reason to leave."""
        leave(self, "")  # so that those who wait for this process hear of it too
        if self.store is None:
            return LostError("another process of this fit is gone", True)
        others = [rank for rank in range(self.world) if rank != self.rank]
        end, reports = time.monotonic() + GRACE, dict[int, str]()
        try:
            while len(reports) < len(others) and time.monotonic() < end:
                time.sleep(0.02)
                reports = {rank: self.store.get(left(rank)).decode() for rank in others if self.store.check([left(rank)])}
        except RuntimeError:  # the store was kept by the first process, and is gone with it
            return LostError(f"process 0 of {self.world} is gone", self.rank == 1)
        gone = [f"process {rank} of {self.world} is gone" for rank in others if rank not in reports]
        gone += [f"process {rank} of {self.world} has ended: {reason}" for rank, reason in reports.items() if reason]
        first = self.rank == min([self.rank, *(rank for rank, reason in reports.items() if not reason)])
        return LostError("; ".join(gone), first) if gone else None

    # ---- what the next attempt knows

    def remember(self, name: str, value: str) -> None:
        """Keep a value for the attempts after this one."""
        if self.memory is not None:
            self.memory.set(name, value)

    def recall(self, name: str) -> str | None:
        """The value that this attempt or one before it has kept."""
        return self.memory.get(name).decode() if self.memory is not None and self.memory.check([name]) else None


def left(rank: int) -> str:
    """Where a process writes why it has left; nothing, where an exchange has failed."""
    return f"left/{rank}"


@contextmanager
def joined(started: bool = True) -> Iterator[Group]:
    """The group of this fit, which the others see this process leave, and why; see `join`."""
    group = join(started)
    try:
        yield group
    except BaseException as error:
        leave(group, "" if isinstance(error, LostError) else str(error) or type(error).__name__)
        raise
    leave(group)


def join(started: bool = True) -> Group:
    """The processes of a group that is there already, or this one alone. started: or those that torchrun's environment
    describes."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if dist.is_initialized():
        talk = dist.new_group(backend=backend)  # of our own, with what we need on any device
        assert isinstance(talk, dist.ProcessGroup)
        return Group(dist.get_rank(), dist.get_world_size(), talk)
    kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    if not started or (int(os.environ.get("WORLD_SIZE", "1")) <= 1 and not kept):
        return Group()
    try:
        found, rank, world = next(rendezvous("env://"))
        attempt = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{world}"
        memory = PrefixStore("vispec", found) if kept else None
        store = PrefixStore(f"vispec/{attempt}", found)
        if world > 1:
            dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"the processes of this fit did not meet: {str(error).splitlines()[0]}") from error
    return Group(rank, world, None, store, memory)


def leave(group: Group, reason: str | None = None) -> None:
    """End the exchange. reason: what the others are told, if they are still at it."""
    if group.store is not None and reason is not None:
        with suppress(RuntimeError):
            group.store.set(left(group.rank), reason)
    if (group.world > 1 or group.talk is not None) and dist.is_initialized():
        with suppress(ValueError):  # it has left already
            dist.destroy_process_group(group.talk)


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
