"""Everything that a fit must remember to go on as if never stopped, in one safetensors file (no pickles).

Tensors `model.*` are the parameters, `best.*` the best ones so far if any, `average.*` those that a mean is taken of,
`optimiser.*` the tensors of the optimiser's state and `rng.*` the random states of each process; the header holds the counters
and the optimiser's plain values as JSON.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vispec.train.errors import RunError
from vispec.train.loop.plateau import Series

LAST, BEST = "last.safetensors", "best.safetensors"  # of a run: all that a fit resumes from, and the module to use
Tensors = dict[str, Tensor]


class Counters(BaseModel):
    """Where a fit stands.

    restart, epoch: the present ones, from 0. position: batches of the epoch that are done. step: optimiser steps of the
    restart. loss, rows: sums over the epoch so far (nats, rows); window_*: the same since the last line of metrics.
    best: the highest score so far (log-probability per row), at best_restart and best_epoch; restart_best: the same
    within the restart, and `stale` the epochs since. cooling: the epoch since which the rate falls to its end. series: the
    objective of the restart; converged, ending: what is said of the end of the restart that has the best score. seconds: time
    spent, over all resumptions. metrics: bytes of metrics.jsonl that belong to this state. world: processes. total_*: over all
    restarts.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    restart: int = 0
    epoch: int = 0
    position: int = 0
    step: int = 0
    total_steps: int = 0
    total_epochs: int = 0
    loss: float = 0.0
    rows: int = 0
    window_loss: float = 0.0
    window_rows: int = 0
    best: float | None = None
    best_restart: int = 0
    best_epoch: int = 0
    restart_best: float | None = None
    stale: int = 0
    cooling: int | None = None
    series: Series = Series()
    converged: bool | None = None
    ending: str = ""
    seconds: float = 0.0
    metrics: int = 0
    world: int = 1
    finished: bool = False


class Checkpoint:
    """A checkpoint in memory: parameters, the best ones so far if any, optimiser state, random states, counters."""

    def __init__(
        self,
        counters: Counters,
        model: Tensors,
        best: Tensors | None,
        optimiser: Any,
        rng: Tensors,
        average: Tensors | None = None,
    ):
        self.counters, self.model, self.best, self.optimiser, self.rng = counters, model, best, optimiser, rng
        self.average = average or {}

    def to_bytes(self) -> bytes:
        """The file that holds this checkpoint."""
        tensors: Tensors = {}
        plain = pack(self.optimiser, tensors, "optimiser")
        for prefix, group in (
            ("model", self.model), ("best", self.best or {}), ("rng", self.rng), ("average", self.average),
        ):  # fmt: skip
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in group.items()}
        header = {"counters": self.counters.model_dump_json(), "optimiser": json.dumps(plain)}
        return tensor_bytes(tensors, header)

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """The checkpoint at `path`; RunError where it is none."""
        tensors, header = read_tensors(path)
        groups: dict[str, Tensors] = {"model": {}, "best": {}, "rng": {}, "average": {}}
        for key, tensor in tensors.items():
            prefix, _, name = key.partition(".")
            groups.get(prefix, {})[name] = tensor
        try:
            counters = Counters.model_validate_json(header["counters"])
            optimiser = unpack(json.loads(header["optimiser"]), tensors)
        except (KeyError, ValueError) as error:
            raise RunError(f"{path} is not a checkpoint of a fit that this version of vispec can resume") from error
        return cls(counters, groups["model"], groups["best"] or None, optimiser, groups["rng"], groups["average"])


def tensor_bytes(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> bytes:
    """A safetensors file; tensors that share memory are stored apart."""
    apart = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return save(apart, dict(header))


def read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The tensors and the header of a safetensors file; RunError where it is damaged or missing."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"cannot read {path}: {error}") from error


def pack(value: Any, tensors: Tensors, name: str) -> Any:
    """`value` as JSON, with every tensor in it moved to `tensors` under a dotted name that starts with `name`."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, pack(item, tensors, f"{name}.{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [pack(item, tensors, f"{name}.{i}") for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    return value


def unpack(value: Any, tensors: Tensors) -> Any:
    """The inverse of `pack`."""
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unpack(item, tensors) for key, item in content}
    items = [unpack(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


def random_state(device: torch.device) -> Tensors:
    """The states of the generators that a module draws from on this process."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Tensors, device: torch.device) -> None:
    """Put the generators where `random_state` found them."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
