"""Dependency trees by their definition: a head for each element, one element below the root unless a law allows several, no
heads in a circle; projective where a law says so."""

from functools import cache
from itertools import product

import torch
from torch import Generator, Tensor

from vispec.model import model as m
from vispec.structures import structures
from vispec.structures.entry import Shape
from vispec.verify.errors import NotCheckedError

MOST = 6  # elements, which have 7776 trees
Heads = tuple[int, ...]
Options = tuple[tuple[str, bool | str], ...]


def is_tree(heads: Heads, options: Options = ()) -> bool:
    """Whether a law with these options is one on such a tree. Heads are numbers from 1, 0 is the root."""
    roots, elements = heads.count(0), range(1, len(heads) + 1)
    if roots != min(1, len(heads)) and ("roots", "any") not in options:
        return False
    if not all(reaches_root(heads, start) for start in elements):
        return False
    own = [entry.holds for entry in structures().values() if entry.domain == "tree" and entry.holds is not None]
    projective = ("projective", True) not in options or is_projective(heads)
    return projective and all(holds(heads, Shape("tree", options)) for holds in own)


def is_projective(heads: Heads) -> bool:
    """Whether all elements between an element and its head hang from that head, through others; from the root all do."""
    ends = [(head, element) for element, head in enumerate(heads, 1)]
    return all(below(heads, each, head) for head, end in ends for each in range(min(head, end) + 1, max(head, end)))


def below(heads: Heads, element: int, head: int) -> bool:
    for _ in heads:
        if element == head:
            return True
        element = heads[element - 1] if element else 0
    return element == head


def reaches_root(heads: Heads, element: int) -> bool:
    for _ in heads:
        element = heads[element - 1] if element else 0
    return element == 0


@cache
def all_trees(count: int, options: Options = ()) -> tuple[Heads, ...]:
    """Every tree of so many elements that a law with these options is on."""
    if count > MOST:
        raise NotCheckedError(f"all trees of {count} elements")
    return tuple(heads for heads in product(range(count + 1), repeat=count) if is_tree(heads, options))


def options_of(variable: m.Variable) -> Options:
    return variable.law.options if isinstance(variable.law, m.Draw) else ()


def random_tree(count: int, generator: Generator, options: Options = ()) -> Tensor:
    """One of them, (count,)."""
    trees = all_trees(count, options)
    return torch.tensor(trees[int(torch.randint(len(trees), (), generator=generator))], dtype=torch.int64)


def log_density(draw: m.Draw, heads: Tensor, params: dict[str, Tensor]) -> Tensor:
    """log p(heads) under Uniform() or DependencyTree(head, dependent, root), each param one entry per element."""
    count = len(heads)
    if draw.distribution not in ("Uniform", "DependencyTree"):
        raise NotCheckedError(f"{draw.distribution} on trees")
    if not is_tree(tuple(heads.tolist()), draw.options):
        return torch.tensor(-torch.inf, dtype=torch.float64)
    scores = torch.stack([score(tree, params) for tree in all_trees(count, draw.options)])
    return score(tuple(heads.tolist()), params) - scores.logsumexp(0)


def outward(draw: m.Draw, heads: Heads, stop: Tensor, go_on: Tensor) -> Tensor:
    """log p(heads) under HeadOutward: of what the elements decide, one after the other. stop, go_on: the logarithms of the
    probabilities of each element, or of all (2, 2)."""
    if not is_tree(heads, draw.options):
        return torch.tensor(-torch.inf, dtype=torch.float64)
    stop, go_on = (each.expand(len(heads), 2, 2) for each in (stop, go_on))
    total = torch.zeros((), dtype=torch.float64)
    for element in range(1, len(heads) + 1):
        for after, side in enumerate((range(1, element), range(element + 1, len(heads) + 1))):
            taken = sum(heads[each - 1] == element for each in side)
            for number in range(taken + 1):
                total = total + (stop if number == taken else go_on)[element - 1, after, int(number == 0)]
    return total


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
