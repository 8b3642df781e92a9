"""Functions of single numbers: Python's own, or torch scalars of float64, which autograd follows. Lists are vectors."""

import math
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Number = float | int | Tensor


def measured(dim: int | str, sizes: Mapping[str, int]) -> int:
    """A size in numbers. That of a symbolic one is arithmetic over names, which may be Python's keywords."""
    if isinstance(dim, int):
        return dim
    return int(eval(re.sub(r"[A-Za-z_]\w*", lambda name: str(sizes[name[0]]), dim), {"__builtins__": {}}))


class UndefinedError(Exception):
    """The language gives this no value: the mean of nothing, an element that is not there."""


def lifted(of_float: Callable[[float], float], of_tensor: Callable[[Tensor], Tensor]) -> Callable[[Number], Number]:
    return lambda x: of_tensor(x) if isinstance(x, Tensor) else of_float(x)


def safe_log(x: float) -> float:
    if x < 0:
        raise UndefinedError(f"log({x})")
    return math.log(x) if x > 0 else -math.inf


exp = lifted(math.exp, torch.exp)
log = lifted(safe_log, torch.log)
sqrt = lifted(math.sqrt, torch.sqrt)
tanh = lifted(math.tanh, torch.tanh)
absolute = lifted(abs, torch.abs)
relu = lifted(lambda x: max(x, 0.0), torch.relu)
lgamma = lifted(math.lgamma, torch.lgamma)


def softplus(x: Number) -> Number:
    """log(1 + exp(x)), from the side where nothing overflows."""
    return relu(x) + log1p(exp(-absolute(x)))


log1p = lifted(math.log1p, torch.log1p)


def sigmoid(x: Number) -> Number:
    if isinstance(x, Tensor):
        return torch.sigmoid(x)
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def value_of(x: Number) -> float:
    return float(x.detach()) if isinstance(x, Tensor) else float(x)


def logsumexp(numbers: list[Number]) -> Number:
    """log Σ exp, relative to the largest."""
    top = max(value_of(x) for x in numbers)
    if top == -math.inf:
        return -math.inf
    return top + log(total([exp(x - top) for x in numbers]))


def total(numbers: list[Number]) -> Number:
    result: Number = 0
    for number in numbers:
        result = result + number
    return result


def log_softmax(numbers: list[Number]) -> list[Number]:
    whole = logsumexp(numbers)
    return [x - whole for x in numbers]


def times(count: Number, log_p: Number) -> Number:
    """count · log p, 0 where the count is 0 whatever p is."""
    return 0.0 if value_of(count) == 0 else count * log_p


def broadcast(function: Callable[..., Number], *values):
    """Of single numbers, entry by entry where some are lists."""
    lists = [v for v in values if isinstance(v, list)]
    if not lists:
        return function(*values)
    if len({len(v) for v in lists}) != 1:
        raise ValueError("vectors of different lengths")
    return [broadcast(function, *(v[i] if isinstance(v, list) else v for v in values)) for i in range(len(lists[0]))]


def largest(a: Number, b: Number) -> Number:
    """Of equal ones half of the gradient goes to each, as torch's own maximum has it."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.maximum(torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64))
    return max(a, b)


def divide(a: Number, b: Number) -> Number:
    if value_of(b) == 0:
        raise UndefinedError("a division by 0")
    return a / b
