"""Dependency trees by their definition: a head for each element, one element below the root, no heads in a circle."""

from functools import cache
from itertools import product

import torch
from torch import Generator, Tensor

from vispec.model import model as m
from vispec.verify.errors import NotCheckedError

MOST = 6  # elements, which have 7776 trees
Heads = tuple[int, ...]


def is_tree(heads: Heads) -> bool:
    """Heads are numbers from 1, 0 is the root."""
    return heads.count(0) == min(1, len(heads)) and all(reaches_root(heads, start) for start in range(1, len(heads) + 1))


def reaches_root(heads: Heads, element: int) -> bool:
    for _ in heads:
        element = heads[element - 1] if element else 0
    return element == 0


@cache
def all_trees(count: int) -> tuple[Heads, ...]:
    """Every tree of so many elements."""
    if count > MOST:
        raise NotCheckedError(f"all trees of {count} elements")
    return tuple(heads for heads in product(range(count + 1), repeat=count) if is_tree(heads))


def random_tree(count: int, generator: Generator) -> Tensor:
    """One of them, (count,)."""
    trees = all_trees(count)
    return torch.tensor(trees[int(torch.randint(len(trees), (), generator=generator))], dtype=torch.int64)


def log_density(draw: m.Draw, heads: Tensor, params: dict[str, Tensor]) -> Tensor:
    """log p(heads) under Uniform() or DependencyTree(head, dependent, root), each param one entry per element."""
    count = len(heads)
    if draw.distribution not in ("Uniform", "DependencyTree"):
        raise NotCheckedError(f"{draw.distribution} on trees")
    if not is_tree(tuple(heads.tolist())):
        return torch.tensor(-torch.inf, dtype=torch.float64)
    scores = torch.stack([score(tree, params) for tree in all_trees(count)])
    return score(tuple(heads.tolist()), params) - scores.logsumexp(0)


def score(heads: Heads, params: dict[str, Tensor]) -> Tensor:
    """The sum over the arcs of a tree; 0 without parameters."""
    total = torch.zeros((), dtype=torch.float64)
    for element, head in enumerate(heads) if params else ():
        arc = params["dependent"][element] @ params["head"][head - 1] if head else params["root"][element]
        total = total + arc
    return total


def arc_marginals(trees: tuple[Heads, ...], mass: Tensor) -> Tensor:
    """p(head of i = h), (n, 1 + n), of trees with these probabilities (N,)."""
    heads = torch.tensor(trees, dtype=torch.int64).reshape(len(trees), -1)
    one_hot = torch.nn.functional.one_hot(heads, heads.shape[1] + 1)
    return (one_hot.double() * mass[:, None, None]).sum(0)
