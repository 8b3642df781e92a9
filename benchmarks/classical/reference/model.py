"""What a reference is: a log-likelihood in plain float64 torch, of parameters in the constrained space, named as in the spec.

Nothing here or beside it uses vispec. Free numbers become parameters by the maps of `constrain`; simplexes have one free number
too many, so that none of their entries is special.
"""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MODELS = Path(__file__).parents[1] / "models"
Domain = tuple[str, tuple[int, ...]]  # its name, and the shape of the parameter with its plates before it
Values = dict[str, Tensor]


@dataclass(frozen=True)
class Reference:
    """log_lik(data, **parameters) is the log-likelihood of all rows, in nats. start: values from which the search begins; other
    starts differ by normal noise of deviation `spread` in the free numbers. proper: whether a maximum is meant."""

    log_lik: Callable[..., Tensor]
    domains: dict[str, Domain]
    args: list[str]
    start: Mapping[str, Any]
    starts: int
    spread: float
    proper: Callable[[Values], bool]


REFERENCES: dict[str, Reference] = {}


def reference(
    args: str = "",
    start: Mapping[str, Any] | None = None,
    starts: int = 1,
    spread: float = 1.0,
    proper: Callable[[Values], bool] | None = None,
    **domains: str,
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Registers a log-likelihood by its name. A domain is written as in a spec, with its whole shape: w="real 5"."""

    def register(log_lik: Callable[..., Tensor]) -> Callable[..., Tensor]:
        parsed = {name: (text.split()[0], tuple(map(int, text.split()[1:]))) for name, text in domains.items()}
        every = lambda values: True  # noqa: E731
        found = Reference(log_lik, parsed, args.split(), start or {}, starts, spread, proper or every)
        REFERENCES[log_lik.__name__] = found
        return log_lik

    return register


def free_size(domain: Domain) -> int:
    """How many free numbers stand behind a parameter."""
    kind, shape = domain
    return prod(shape[:-2]) * shape[-1] * (shape[-1] + 1) // 2 if kind == "cholesky" else prod(shape)


def constrain(domains: dict[str, Domain], free: Tensor) -> Values:
    """Parameters in the constrained space from free numbers (d,)."""
    parts = free.split([free_size(domain) for domain in domains.values()])
    return {name: of_free(*domain, part) for (name, domain), part in zip(domains.items(), parts, strict=True)}


def of_free(kind: str, shape: tuple[int, ...], free: Tensor) -> Tensor:
    if kind == "cholesky":
        lower = torch.zeros(shape[-1], shape[-1], dtype=free.dtype)
        lower = lower.index_put(tuple(torch.tril_indices(shape[-1], shape[-1])), free)
        return lower.tril(-1) + lower.diagonal().exp().diag()
    free = free.reshape(shape)
    if kind == "ordered":
        return torch.cat([free[..., :1], free[..., 1:].exp()], -1).cumsum(-1)
    maps = {"real": lambda x: x, "positive": torch.exp, "unit": torch.sigmoid, "simplex": lambda x: x.softmax(-1)}
    return maps[kind](free)


def to_free(kind: str, shape: tuple[int, ...], value: Any) -> Tensor:
    """Free numbers of a value in the constrained space; without one, 0, 1, the middle, a unit matrix."""
    if value is None:
        return torch.zeros(free_size((kind, shape)), dtype=torch.float64)
    value = torch.as_tensor(value, dtype=torch.float64).expand(shape)
    if kind == "cholesky":
        logs = value.tril(-1) + value.diagonal().log().diag()
        return logs[tuple(torch.tril_indices(shape[-1], shape[-1]))]
    if kind == "ordered":
        return torch.cat([value[..., :1], value.diff(dim=-1).log()], -1).flatten()
    maps = {"real": lambda x: x, "positive": torch.log, "unit": torch.logit, "simplex": torch.log}
    return maps[kind](value).flatten()


def read(name: str) -> dict[str, Any]:
    """The data by column: CSV as float64 (n,); a JSON line with one series as float64 tensors; more lines as lists of them."""
    table = MODELS / name / "data.csv"
    if table.exists():
        rows = list(csv.DictReader(table.open()))
        return {key: torch.tensor([float(row[key]) for row in rows], dtype=torch.float64) for key in rows[0]}
    rows = [json.loads(line) for line in (MODELS / name / "data.jsonl").read_text().splitlines()]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    if len(rows) == 1:
        return {key: torch.tensor(values[0], dtype=torch.float64) for key, values in columns.items()}
    return columns


def matrix(data: dict[str, Tensor], *without: str) -> Tensor:
    """All columns but these, (n, D)."""
    return torch.stack([column for name, column in data.items() if name not in without], 1)
