"""Sums over parses against all parses one by one."""

from functools import cache

import pytest
import torch
from torch import Tensor

from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.kernels.trees.grammar import decide_grammar, grammar_by, grammar_log_prob, grammar_total

S, P = 2, 2
Parse = tuple[tuple[tuple[int, int, int], ...], tuple[int, ...], int]  # rules used, preterminals, the symbol on top


@cache
def parses(n: int) -> tuple[Parse, ...]:
    """All with a symbol or, of one element, a preterminal on top."""
    if n == 1:
        return tuple(((), (p,), S + p) for p in range(P))
    return tuple(
        (((top, a[2], b[2]), *a[0], *b[0]), a[1] + b[1], top)
        for k in range(1, n)
        for a in parses(k)
        for b in parses(n - k)
        for top in range(S)
    )


def scores(n: int, root: Tensor, rule: Tensor, seen: Tensor) -> Tensor:
    each = [
        root[top] + sum(rule[r] for r in used) + sum(seen[i, p] for i, p in enumerate(tags))  # type: ignore[misc]
        for used, tags, top in parses(n)
        if n > 1
    ]
    return torch.stack(each) if each else torch.full((1,), -torch.inf, dtype=torch.float64)


def random(scale: float, holes: float, seed: int, n: int = 4) -> list[Tensor]:
    torch.manual_seed(seed)
    shapes = ((S,), (S, S + P, S + P), (3, n, P))
    drawn = [scale * torch.randn(shape, dtype=torch.float64) for shape in shapes]
    return [each.masked_fill(torch.rand(each.shape) < holes, -torch.inf).requires_grad_() for each in drawn]


LENGTHS = (4, 3, 1)


@pytest.mark.parametrize("by", [grammar_log_prob, lambda *given: grammar_by(log_sum_exp, *given)])
@pytest.mark.parametrize(("scale", "holes"), [(1, 0), (20, 0), (100, 0), (1, 0.3), (100, 0.3), (0, 0)])
def test_sum_and_gradients(by, scale: float, holes: float):
    for seed in range(2):
        given = random(scale, holes, seed)
        found = by(*given, torch.tensor(LENGTHS))
        each = [scores(n, given[0], given[1], given[2][row]) for row, n in enumerate(LENGTHS)]
        wanted = torch.stack([s[s > -torch.inf].logsumexp(0) if (s > -torch.inf).any() else s[0] for s in each])
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
        possible = wanted > -torch.inf
        expected = (
            torch.autograd.grad(wanted[possible].sum(), given, allow_unused=True, materialize_grads=True)
            if possible.any()
            else [torch.zeros_like(g) for g in given]
        )
        got = torch.autograd.grad(found.masked_fill(~possible, 0).sum(), given, allow_unused=True, materialize_grads=True)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b.nan_to_num(), rtol=1e-7, atol=1e-9)


def phrases(n: int) -> dict[Parse, tuple[tuple[int, int, int], ...]]:
    """Of each parse the stretches of two elements at least: first and last element, symbol."""

    def walk(used: list[tuple[int, int, int]], start: int, label: int) -> tuple[int, list[tuple[int, int, int]]]:
        if label >= S:
            return start + 1, []
        _, left, right = used.pop(0)
        middle, one = walk(used, start, left)
        end, other = walk(used, middle, right)
        return end, [(start, end - 1, label), *one, *other]

    return {each: tuple(walk([*each[0]], 0, each[2])[1]) for each in parses(n)}


@pytest.mark.parametrize("by", [grammar_log_prob, lambda *given: grammar_by(log_sum_exp, *given)])
@pytest.mark.parametrize(("scale", "holes"), [(1, 0), (20, 0.2), (100, 0.2), (0, 0.3)])
def test_scores_besides(by, scale: float, holes: float):
    """A score for each symbol over each stretch, -inf where it may not stand."""
    root, rule, seen = random(1, 0, 0)
    drawn = scale * torch.randn(3, 4, 4, S, dtype=torch.float64)
    over = drawn.masked_fill(torch.rand(drawn.shape) < holes, -torch.inf).requires_grad_()
    found = by(root, rule, seen, torch.tensor(LENGTHS), over)
    each = [(scores(n, root, rule, seen[row]) + beside(over[row], n)).logsumexp(0) for row, n in enumerate(LENGTHS[:2])]
    wanted = torch.stack([*each, found[2].detach()])
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    for row in (wanted > -torch.inf).nonzero()[:, 0].tolist():
        given = (root, rule, seen, over)
        got, expected = (torch.autograd.grad(each[row], given, retain_graph=True) for each in (found, wanted))
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b.nan_to_num(), rtol=1e-7, atol=1e-9)


def beside(over: Tensor, n: int) -> Tensor:
    return torch.stack([sum(over[each] for each in found) for found in phrases(n).values()])  # type: ignore[misc]


def test_number_of_parses():
    """At scores of zero Z is how many there are: Catalan's number times the labels."""
    zeros = [torch.zeros(shape, dtype=torch.float64) for shape in ((3,), (3, 5, 5), (1, 8, 2))]
    catalan = 429  # binary trees over 8 elements
    assert grammar_log_prob(*zeros).exp().item() == pytest.approx(catalan * 3**7 * 2**8)


def test_best_parse():
    for seed in range(5):
        given = random(2.0, 0.2, seed)
        found = grammar_total(maximum, *given, torch.tensor(LENGTHS))
        for row, n in enumerate(LENGTHS):
            every = scores(n, given[0], given[1], given[2][row])
            torch.testing.assert_close(found[row], every.max())
            if every.max() > -torch.inf:
                (tags,) = torch.autograd.grad(found[row], given[2], retain_graph=True)
                assert tuple(tags[row, :n].argmax(-1).tolist()) == parses(n)[int(every.argmax())][1]


def test_samples():
    root, rule, seen = (each.detach() for each in random(1.0, 0.0, 1))
    every = scores(3, root, rule, seen[0]).softmax(0)
    drawn = decide_grammar(root, rule, seen[:1, :3].expand(4000, 3, P), None, "sample")[..., 0]
    marginal = torch.stack([every[[tags[i] == 1 for _, tags, _ in parses(3)]].sum() for i in range(3)])
    torch.testing.assert_close(drawn.double().mean(0), marginal, atol=0.04, rtol=0)
    value = grammar_by(sampled, root, rule, seen)
    torch.testing.assert_close(value, grammar_log_prob(root, rule, seen))


@pytest.mark.parametrize("holes", [0, 0.3])
def test_rules_of_each_row(holes: float):
    """Tables of each row give each row's sum, and gradients of its own."""
    root, rule, seen = random(1.0, holes, 2)
    tops, rules = (
        torch.stack([each.detach(), each.detach().flip(0), each.detach() * 2]).requires_grad_() for each in (root, rule)
    )
    found = grammar_log_prob(tops, rules, seen, torch.tensor(LENGTHS))
    alone = [grammar_log_prob(tops[row], rules[row], seen[row], torch.tensor(n)) for row, n in enumerate(LENGTHS)]
    torch.testing.assert_close(found, torch.stack(alone))
    weights = torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64)
    got, wanted = (torch.autograd.grad((each * weights)[:2].sum(), (tops, rules, seen)) for each in (found, torch.stack(alone)))
    torch.testing.assert_close(got, wanted)
