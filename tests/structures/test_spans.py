"""Sums over trees of labelled stretches against all of them one by one; and parses as data tell them."""

import math

import pytest
import torch
from torch import Tensor

from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.kernels.trees.brackets import is_parse, labels_told, told_of
from vispec.kernels.trees.spans import decide_spans, spans_by, spans_log_prob, spans_score, spans_total
from vispec.verify.oracle.parses import agrees, all_parses, of_told, phrases, random_parse, told

LABELS = 2
LENGTHS = (4, 3, 1)


def nodes(tree: tuple[int, ...]) -> list[tuple[int, int, int]]:
    count = (len(tree) + 3) // 4
    return [*((i, i, tree[i]) for i in range(count)), *(node[:3] for node in phrases(tree, LABELS))]


def every(n: int, scores: Tensor, seen: Tensor) -> Tensor:
    """The score of each tree."""
    trees = all_parses(n, None, LABELS)
    at = torch.tensor([nodes(tree) for tree in trees])
    tags = torch.tensor([tree[:n] for tree in trees])
    return scores[at[..., 0], at[..., 1], at[..., 2]].sum(1) + seen[torch.arange(n), tags].sum(1)


def random(scale: float, holes: float, seed: int, n: int = 4) -> list[Tensor]:
    torch.manual_seed(seed)
    drawn = [scale * torch.randn(shape, dtype=torch.float64) for shape in ((3, n, n, LABELS), (3, n, LABELS))]
    return [each.masked_fill(torch.rand(each.shape) < holes, -torch.inf).requires_grad_() for each in drawn]


@pytest.mark.parametrize("by", [spans_log_prob, lambda *given: spans_by(log_sum_exp, *given)])
@pytest.mark.parametrize(("scale", "holes"), [(1, 0), (20, 0), (100, 0), (1, 0.3), (100, 0.3), (0, 0)])
def test_sum_and_gradients(by, scale: float, holes: float):
    for seed in range(3):
        given = random(scale, holes, seed)
        found = by(*given, torch.tensor(LENGTHS))
        each = [every(n, given[0][row], given[1][row]) for row, n in enumerate(LENGTHS)]
        wanted = torch.stack([s[s > -torch.inf].logsumexp(0) if (s > -torch.inf).any() else s[0] for s in each])
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
        possible = wanted > -torch.inf
        if possible.any():
            got, expected = (torch.autograd.grad(each[possible].sum(), given, allow_unused=True) for each in (found, wanted))
            for a, b in zip(got, expected, strict=True):
                torch.testing.assert_close(a, b.nan_to_num(), rtol=1e-7, atol=1e-9)


def test_number_of_trees():
    """At scores of zero Z is how many there are: Catalan's number times the labels of the 2 n - 1 nodes."""
    for n in range(1, 10):
        zeros = torch.zeros(1, n, n, 3, dtype=torch.float64), torch.zeros(1, n, 3, dtype=torch.float64)
        trees = math.comb(2 * n - 2, n - 1) // n
        assert spans_log_prob(*zeros).item() == pytest.approx(math.log(trees) + (2 * n - 1) * math.log(3))


def test_no_elements():
    found = spans_log_prob(torch.zeros(2, 0, 0, 3), torch.zeros(2, 0, 3))
    assert found.tolist() == [-math.inf, -math.inf]
    assert spans_log_prob(torch.zeros(2, 2, 2, 3), torch.zeros(2, 2, 3), torch.tensor([0, 1]))[0] == -math.inf


@pytest.mark.parametrize("scale", [1, 20])
def test_best_tree_and_score(scale: float):
    for seed in range(3):
        scores, seen = random(scale, 0.1, seed)
        best = decide_spans(scores, seen, torch.tensor(LENGTHS), "mode")
        found = spans_total(maximum, scores, seen, torch.tensor(LENGTHS))
        for row, n in enumerate(LENGTHS):
            values = every(n, scores[row], seen[row])
            torch.testing.assert_close(found[row], values.max())
            if values.max() > -torch.inf:
                tree = all_parses(n, None, LABELS)[int(values.argmax())]
                assert best[row, :n].tolist() == told(tree, LABELS).tolist()
                score = spans_score(scores[row, :n, :n], best[row, :n]) + seen[row, torch.arange(n), best[row, :n, 0]].sum()
                torch.testing.assert_close(score, values.max())


def test_samples():
    scores, seen = (each.detach() for each in random(1.0, 0.0, 1))
    mass = every(3, scores[0], seen[0]).softmax(0)
    drawn = decide_spans(scores[:1, :3, :3].expand(4000, 3, 3, LABELS), seen[:1, :3], None, "sample")
    trees = {tree: at for at, tree in enumerate(all_parses(3, None, LABELS))}
    counts = torch.zeros(len(trees), dtype=torch.float64)
    for each in drawn:
        counts[trees[of_told(each, LABELS)]] += 1
    assert float((counts / 4000 - mass).abs().sum()) < 0.15
    torch.testing.assert_close(spans_by(sampled, scores, seen), spans_log_prob(scores, seen))


def test_what_data_tell():
    """Stretches that are left possible are those of the trees that agree with what is told."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        seen = random_parse(4, None, LABELS, generator, partly=True)
        seen[:, 0] = -1
        labels = labels_told(seen)
        left = [tree for tree in all_parses(4, None, LABELS) if agrees(tree, seen, LABELS)]
        for first in range(4):
            for last in range(first + 1, 4):
                names = {name for tree in left for a, b, name, _ in phrases(tree, LABELS) if (a, b) == (first, last)}
                wanted = {-2: set(), -1: {0, 1}}.get(int(labels[first, last]), {int(labels[first, last])})
                assert names == wanted, (seen, first, last)


def test_what_is_a_parse():
    for tree in all_parses(4, None, LABELS)[::97]:
        whole = told(tree, LABELS)
        assert is_parse(whole)
        assert of_told(whole, LABELS) == tuple(tree)
        marked = torch.zeros(2, 4, 4, LABELS)
        for first, last, name in nodes(tree):
            marked[int(first == last), first, last, name] = 1
        assert told_of(marked[0], marked[1].diagonal().mT).tolist() == whole.tolist()
        for at in range(4):
            for place in range(4):
                broken = whole.clone()
                broken[at, place] = -1
                assert bool(is_parse(broken)) == bool(place and whole[at, 1] < 0), (whole, at, place)
        padded = torch.cat([whole, torch.full((2, 4), 3)])
        assert is_parse(padded, torch.tensor(4))
        assert not is_parse(padded)
    assert is_parse(torch.tensor([[0, -1, -1, -1]]))
    assert not is_parse(torch.tensor([[0, -1, -1, -1]]), fewest=2)
