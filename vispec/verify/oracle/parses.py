"""Parses by their definition: a division of each stretch in two, a symbol for each stretch of two elements at least and a
preterminal for each element. A value is a flat tuple: the preterminals of all elements, then of each node its symbol and
those of its children, preterminals after the symbols, the node over all first. Where labels are of one kind they are both."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Generator, Tensor

from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.labelled import Labelled, labelled

MOST = 20_000  # parses


@cache
def all_parses(count: int, symbols: int | None, preterminals: int) -> tuple[Labelled, ...]:
    """Every parse of so many elements; of one element by labels of one kind alone."""
    every = stretches(count, preterminals if symbols is None else symbols, preterminals) if count else ()
    return tuple(labelled(count, preterminals, (*tags, *rules)) for tags, rules, _ in every if count > 1 or symbols is None)


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


def phrases(value: Sequence[int], symbols: int) -> list[tuple[int, int, int, int]]:
    """Of each node its first and last element, its label, and the element after which it is divided; the node over all
    first."""
    count = (len(value) + 3) // 4
    rules = [tuple(value[at : at + 3]) for at in range(count, len(value), 3)]
    found = list[tuple[int, int, int, int]]()

    def last_of(first: int, label: int) -> int:
        if label >= symbols:
            return first
        (_, left, right), place = rules[len(found)], len(found)
        found.append((first, first, label, first))
        middle = last_of(first, left)
        last = last_of(middle + 1, right)
        found[place] = (first, last, label, middle)
        return last

    if rules:
        last_of(0, rules[0][0])
    return found


def told(value: Sequence[int], symbols: int) -> Tensor:
    """As data tell it (n, 4), see kernels/trees/brackets.py."""
    count = (len(value) + 3) // 4
    rows = [[tag, -1, -1, -1] for tag in value[:count]]
    for first, last, label, middle in phrases(value, symbols):
        rows[middle][1:] = first, last, label
    return torch.tensor(rows, dtype=torch.int64).reshape(count, 4)


def agrees(value: Sequence[int], seen: Tensor, symbols: int) -> bool:
    """Whether a parse has all that is seen of it (n, 4), where labels that are not known are -1."""
    count = (len(value) + 3) // 4
    there = {(first, last): label for first, last, label, _ in phrases(value, symbols)}
    for at, (own, first, last, label) in enumerate(seen[:count].tolist()):
        if own not in (-1, value[at]):
            return False
        if 0 <= first < last and ((first, last) not in there or label not in (-1, there[first, last])):
            return False
    return True


def of_told(seen: Tensor, symbols: int) -> tuple[int, ...]:
    """The value of a whole parse as data tell it."""
    label = {(first, last): name for _, first, last, name in seen.tolist() if 0 <= first < last}
    middle = {(first, last): at for at, (_, first, last, _) in enumerate(seen.tolist()) if 0 <= first < last}
    tags = seen[:, 0].tolist()

    def name(first: int, last: int) -> int:
        return label[first, last] if first < last else symbols + tags[first]

    def rules(first: int, last: int) -> tuple[int, ...]:
        if first == last:
            return ()
        at = middle[first, last]
        return (name(first, last), name(first, at), name(at + 1, last), *rules(first, at), *rules(at + 1, last))

    return (*tags, *rules(0, len(tags) - 1)) if tags else ()


def of_nodes(nodes: Sequence[Sequence[int]], symbols: int | None, card: int) -> tuple[int, ...]:
    """The value of a parse whose nodes are told, those of elements by labels after the symbols where these are apart."""
    there = [(first, last, label) for first, last, label in nodes if first >= 0]
    spans = {(first, last) for first, last, _ in there}
    seen = torch.full(((len(there) + 1) // 2, 4), -1)
    for first, last, label in there:
        if first == last:
            seen[first, 0] = label - (symbols or 0)
            continue
        at = next(k for k in range(first, last) if (first, k) in spans and (k + 1, last) in spans)
        seen[at, 1:] = torch.tensor([first, last, label])
    return of_told(seen, card if symbols is None else symbols)


def random_parse(count: int, symbols: int | None, preterminals: int, generator: Generator, partly: bool) -> Tensor:
    """One of them as data tell it; partly: without some of its phrases, and without some of their labels."""
    every = all_parses(count, symbols, preterminals)
    if not every:
        return torch.full((count, 4), -1)
    value = every[int(torch.randint(len(every), (), generator=generator))]
    found = told(value, preterminals if symbols is None else symbols)
    if partly:
        dropped, unknown = torch.rand(2, count, generator=generator) < 0.5
        found[dropped, 1:] = -1
        found[unknown, 3] = -1
    return found


def span_density(value: Tensor, params: dict[str, Tensor]) -> Tensor:
    """log p(tree) under SpanTree(first, last): the score of its nodes, elements with them, among those of all trees."""
    first, last = (params[name].double() for name in ("first", "last"))
    scores, labels, count = torch.einsum("ilh,jlh->ijl", first, last), first.shape[1], (len(value) + 3) // 4

    def score(each: Sequence[int]) -> Tensor:
        nodes = [*((i, i, each[i]) for i in range(count)), *(node[:3] for node in phrases(each, labels))]
        return torch.stack([scores[node] for node in nodes]).sum()

    every = torch.stack([score(each) for each in all_parses(count, None, labels)])
    return score(value.tolist()) - every.logsumexp(0)
