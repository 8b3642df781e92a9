"""Parses by their definition: a division of each stretch in two, a symbol for each stretch of two elements at least and a
preterminal for each element. A value is a flat tuple: the preterminals of all elements, then of each node its symbol and
those of its children, the node over all first."""

from functools import cache

from torch import Tensor

from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.labelled import Labelled, labelled

MOST = 20_000  # parses


@cache
def all_parses(count: int, symbols: int, preterminals: int) -> tuple[Labelled, ...]:
    """Every parse of so many elements."""
    every = stretches(count, symbols, preterminals) if count > 1 else ()
    return tuple(labelled(count, preterminals, (*tags, *rules)) for tags, rules, _ in every)


@cache
def stretches(count: int, symbols: int, preterminals: int) -> tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...]:
    """Of each parse of a stretch its preterminals, its rules, and what stands over it as a child."""
    if count == 1:
        return tuple(((tag,), (), symbols + tag) for tag in range(preterminals))
    found = tuple(
        (left[0] + right[0], (top, left[2], right[2], *left[1], *right[1]), top)
        for first in range(1, count)
        for left in stretches(first, symbols, preterminals)
        for right in stretches(count - first, symbols, preterminals)
        for top in range(symbols)
    )
    if len(found) > MOST:
        raise NotCheckedError(f"all parses of {count} elements")
    return found


def log_density(value: Tensor, params: dict[str, Tensor]) -> Tensor:
    """log p(parse) under Grammar(root, rule): the root's symbol, and each pair of children given their parent."""
    rules = value[(len(value) + 3) // 4 :].reshape(-1, 3)  # n + 3 (n - 1) numbers
    scores = params["rule"].double()
    log_rule = scores.flatten(1).log_softmax(-1).reshape(scores.shape)
    return params["root"].double()[rules[0, 0]].log() + log_rule[rules[:, 0], rules[:, 1], rules[:, 2]].sum()
