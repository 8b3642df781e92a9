"""Parses as data have them. told (*B, n, 4), int64: of each element its own label, and of a phrase of two elements at least its
first element, its last one, and its label; a first element of -1 says that there is no phrase, a label of -1 that it is not
known. A whole parse has each phrase at the element after which it is divided, so that the last element has none. Past a row's
length (*B,) nothing is read.
"""

import torch
from torch import Tensor

from vispec.kernels.sums.algebra import maximum, sampled


def phrases_of(told: Tensor, length: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Which stretches are phrases (*B, n, n), by first and last element, and their labels, -1 where none is known."""
    n = told.shape[-2]
    first, last, label = told[..., 1:].unbind(-1)
    there = (first >= 0) & (first < last) & counted(told, length)
    at = (first * n + last).masked_fill(~there, n * n)  # one cell more, which is cut off
    cells = (*told.shape[:-2], n * n + 1)
    labels = told.new_full(cells, -1).scatter(-1, at, label)
    phrases = torch.zeros(cells, dtype=torch.bool, device=told.device).scatter(-1, at, there)
    return phrases[..., :-1].unflatten(-1, (n, n)), labels[..., :-1].unflatten(-1, (n, n))


def counted(told: Tensor, length: Tensor | None) -> Tensor:
    """Which elements count (*B, n)."""
    at = torch.arange(told.shape[-2], device=told.device)
    return (at >= 0).expand(told.shape[:-1]) if length is None else at < length.unsqueeze(-1)


def labels_told(told: Tensor, length: Tensor | None = None) -> Tensor:
    """The label of each stretch (*B, n, n) by first and last element: -1 where any may stand, and -2 where none may, as a
    phrase that is told crosses it. A binary tree without such stretches has all the phrases that are told."""
    phrases, labels = phrases_of(told, length)
    each = phrases.long()
    begun = each.cumsum(-2) - each  # by i and last element b: phrases a..b from before i
    upto = begun.cumsum(-1)
    over_first = (upto - begun) - (upto - begun).diagonal(0, -2, -1).unsqueeze(-1)  # ... with i <= b < j
    open_ = each.flip(-1).cumsum(-1).flip(-1) - each  # by first element a and j: phrases a..b that end after j
    before = open_.cumsum(-2)
    over_last = before.diagonal(0, -2, -1).unsqueeze(-2) - before  # ... with i < a <= j
    stretch = torch.ones_like(phrases).triu()
    return torch.where(stretch & (over_first + over_last > 0), -2, labels)


def is_parse(told: Tensor, length: Tensor | None = None, fewest: int = 1) -> Tensor:
    """Whether phrases are those of one whole parse of so many elements at least, bool (*B,): all labels known, each phrase
    divided after the element at which it stands, into phrases or single elements, and one over all."""
    n, own, label = told.shape[-2], told[..., 0], told[..., 3]
    inside, phrases = counted(told, length), phrases_of(told, length)[0]
    at, lengths = torch.arange(n, device=told.device), inside.sum(-1)
    node = at < lengths.unsqueeze(-1) - 1
    first, last = (told[..., k].clamp(0, max(n - 1, 0)) for k in (1, 2))
    there = phrases | torch.eye(n, dtype=torch.bool, device=told.device)
    divided = (told[..., 1] >= 0) & (first <= at) & (at < last) & (told[..., 2] < lengths.unsqueeze(-1)) & (label >= 0)
    divided &= cell(there, first, at) & cell(there, (at + 1).clamp(max=n - 1), last)
    whole = cell(there, torch.zeros_like(lengths).unsqueeze(-1), (lengths.unsqueeze(-1) - 1).clamp(min=0)).squeeze(-1)
    return whole & (divided | ~node).all(-1) & ((own >= 0) | ~inside).all(-1) & (lengths >= fewest)


def algebra_of(rule: str):
    """Under which a sum's gradient is one parse, by the rule "mode" or "sample"; ValueError for others."""
    if rule not in ("mode", "sample"):
        raise ValueError(f"a parse is told by the rule mode or sample, not by {rule!r}")
    return maximum if rule == "mode" else sampled


def told_of(nodes: Tensor, own: Tensor, length: Tensor | None = None) -> Tensor:
    """A parse as data tell it (*B, n, 4), of which nodes (*B, n, n, S) are 1 at the labels of its phrases and own (*B, n, P) at
    those of its elements. No phrases where there is none, and 0 past the ends."""
    n, inside = own.shape[-2], counted(own, length)
    at = torch.arange(n, device=own.device)
    wide = at - at[:, None]  # (n, n), by first and last element
    there = (nodes.amax(-1) > 0.5) & (wide > 0)
    around = (at[:, None] <= at[:, None, None]) & (at > at[:, None, None])  # by the place of a division: before and after it
    size = torch.where(around & there.unsqueeze(-3), wide, n).flatten(-2)  # (*B, n, n n)
    least, which = size.min(-1) if n else (size.sum(-1), size.sum(-1))
    label = nodes.argmax(-1).flatten(-2).gather(-1, which)
    told = torch.stack([own.argmax(-1), which // max(n, 1), which % max(n, 1), label], -1)
    none = (torch.arange(4, device=own.device) > 0) & (least == n).unsqueeze(-1)
    return told.masked_fill(none, -1).masked_fill(~inside.unsqueeze(-1), 0)


def cell(chart: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """chart (*B, n, n) at these places (*B, m)."""
    at = first * chart.shape[-1] + last
    return chart.flatten(-2).gather(-1, at.expand(*chart.shape[:-2], at.shape[-1]))


def rules_told(told: Tensor, symbols: int, length: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Of a whole parse by a grammar the symbol over all (*B,), and of each phrase, at the element after which it is divided,
    parent, left and right child (*B, n, 3), preterminals from the number of symbols on; 0 where there is none."""
    n, inside = told.shape[-2], counted(told, length)
    at, lengths = torch.arange(n, device=told.device), inside.sum(-1, keepdim=True)
    chart = torch.where(
        torch.eye(n, dtype=torch.bool, device=told.device), symbols + told[..., 0:1], phrases_of(told, length)[1]
    )
    first, last = (told[..., k].clamp(0, max(n - 1, 0)) for k in (1, 2))
    top = cell(chart, torch.zeros_like(lengths), (lengths - 1).clamp(min=0)).squeeze(-1)
    rules = [
        told[..., 3],
        cell(chart, first, at.expand_as(first)),
        cell(chart, (at + 1).clamp(max=n - 1).expand_as(first), last),
    ]
    return top.clamp(0, symbols - 1), torch.stack(rules, -1).clamp(min=0).masked_fill((at >= lengths - 1).unsqueeze(-1), 0)


def grammar_score(root: Tensor, rule: Tensor, told: Tensor, length: Tensor | None = None) -> Tensor:
    """The score of one whole parse (*B,): root[symbol over all] and rule[parent, left, right] of each phrase. root (S,) or
    (*B, S), rule (S, S + P, S + P) or (*B, S, S + P, S + P), in nats."""
    S, width = root.shape[-1], rule.shape[-1]
    top, rules = rules_told(told, S, length)
    batch, node = top.shape, counted(told, length)
    node = torch.arange(told.shape[-2], device=told.device) < node.sum(-1, keepdim=True) - 1
    at = (rules[..., 0] * width + rules[..., 1]) * width + rules[..., 2]
    each = rule.flatten(-3)
    each = each[at] if each.dim() == 1 else each.expand(*batch, -1).gather(-1, at)
    over = root[top] if root.dim() == 1 else root.expand(*batch, -1).gather(-1, top.unsqueeze(-1)).squeeze(-1)
    return over + torch.where(node, each, 0.0).sum(-1)
