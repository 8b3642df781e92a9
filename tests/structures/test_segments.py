"""Labelled stretches: values, gradients, the best and draws against all ways to cut and label."""

import itertools
from collections import Counter

import pytest
import torch

from vispec.kernels.sums.algebra import maximum
from vispec.kernels.sums.segments import segments_by, segments_log_prob, segments_sample


def ways(T, L, K):
    """All (length, label) sequences that cover T elements."""
    if T == 0:
        yield ()
    for d in range(1, min(L, T) + 1):
        for k in range(K):
            for rest in ways(T - d, L, K):
                yield ((d, k), *rest)


def by_hand(init, move, duration, seen, cut=False):
    terms = []
    for way in ways(len(seen), duration.shape[1], len(init)):
        total, at = seen.new_zeros(()), 0
        for s, (d, k) in enumerate(way):
            lasting = duration[k, d - 1 :].logsumexp(0) if cut and s == len(way) - 1 else duration[k, d - 1]
            total = total + (init[k] if s == 0 else move[way[s - 1][1], k]) + lasting + seen[at : at + d, k].sum()
            at += d
        terms.append(total)
    return torch.stack(terms)


def drawn(shape, scale, zeros, generator):
    x = scale * torch.randn(shape, dtype=torch.float64, generator=generator)
    return x.masked_fill(torch.rand(shape, generator=generator) < 0.2, -torch.inf) if zeros else x


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("scale", [1, 20, 100])
@pytest.mark.parametrize(("K", "L"), [(2, 3), (3, 7)])
def test_as_all_ways(K, L, scale, zeros, cut):
    generator, T = torch.Generator().manual_seed(K + L + scale), 4
    shapes = ((K,), (K, K), (K, L), (5, T, K))
    given = [drawn(shape, scale, zeros, generator).requires_grad_() for shape in shapes]
    length = torch.tensor([0, 1, 2, 3, 4])
    found = segments_log_prob(*given, length, cut)
    rows, counts = [], [torch.zeros_like(x) for x in given]
    for b, n in enumerate(length.tolist()):
        leaves = [x.detach().nan_to_num(neginf=-1e9).requires_grad_() for x in (*given[:3], given[3][b, :n])]
        hard = [x.detach() for x in (*given[:3], given[3][b, :n])]
        exact = by_hand(*hard, cut).logsumexp(0) if n else torch.zeros((), dtype=torch.float64)
        rows.append(exact)
        if n and exact > -torch.inf:
            grads = torch.autograd.grad(by_hand(*leaves, cut).logsumexp(0), leaves, allow_unused=True)
            for count, grad in zip(counts[:3], grads[:3], strict=True):
                count += (b + 1) * (0 if grad is None else grad)
            counts[3][b, :n] = (b + 1) * grads[3]
    torch.testing.assert_close(found, torch.stack(rows), rtol=1e-12, atol=1e-12)
    weights = torch.arange(1, 6, dtype=torch.float64)
    for got, want in zip(torch.autograd.grad(found, given, weights), counts, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)
    best = segments_by(maximum, *given, length, cut)
    for b, n in enumerate(length.tolist()):
        hard = [x.detach() for x in (*given[:3], given[3][b, :n])]
        torch.testing.assert_close(best[b], by_hand(*hard, cut).max() if n else best.new_zeros(()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cut", [False, True])
def test_tables_of_each_row(cut):
    generator = torch.Generator().manual_seed(0)
    K, L, T = 2, 3, 4
    given = [drawn((5, *shape), 1, False, generator).requires_grad_() for shape in ((K,), (K, K), (K, L), (T, K))]
    found = segments_log_prob(*given, cut=cut)
    exact = torch.stack([by_hand(*row, cut).logsumexp(0) for row in zip(*given, strict=True)])
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-12)
    weights = drawn((5,), 1, False, generator)
    for got, want in zip(torch.autograd.grad(found, given, weights), torch.autograd.grad(exact, given, weights), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


def test_counts():
    """2^(n - 1) ways to cut n elements, at scores of nothing."""
    K, L, T = 2, 3, 6
    zeros = [torch.zeros(shape, dtype=torch.float64) for shape in ((K,), (K, K), (K, L), (T, K))]
    number = [1]
    for n in range(1, T + 1):
        number.append(sum(K * number[n - d] for d in range(1, min(L, n) + 1)))
    assert torch.isclose(segments_log_prob(*zeros).exp(), torch.tensor(float(number[T]), dtype=torch.float64))
    assert number[T] == sum(1 for _ in itertools.islice(ways(T, L, K), 10**6))
    one = [torch.zeros(shape, dtype=torch.float64) for shape in ((1,), (1, 1), (1, 20), (20, 1))]
    assert torch.isclose(segments_log_prob(*one).exp(), torch.tensor(2.0**19, dtype=torch.float64))


def test_what_is_past_the_length_is_not_read():
    generator = torch.Generator().manual_seed(1)
    K, L, T = 2, 3, 6
    given = [drawn(shape, 1, False, generator) for shape in ((K,), (K, K), (K, L), (2, T, K))]
    length = torch.tensor([3, 5])
    spoilt = given[3].clone()
    spoilt[0, 3:], spoilt[1, 5:] = torch.nan, torch.inf
    for cut in (False, True):
        plain = given[3].clone().requires_grad_(), spoilt.requires_grad_()
        sums = [segments_log_prob(*given[:3], seen, length, cut) for seen in plain]
        assert torch.equal(*sums)
        assert torch.equal(*(torch.autograd.grad(z.sum(), x)[0] for z, x in zip(sums, plain, strict=True)))


@pytest.mark.parametrize("cut", [False, True])
def test_draws(cut):
    """Each way with its probability, told by the labels of all elements."""
    generator, count = torch.Generator().manual_seed(2), 20_000
    K, L, T = 2, 2, 3
    given = [drawn(shape, 1, False, generator) for shape in ((K,), (K, K), (K, L), (T, K))]
    torch.manual_seed(0)
    found = segments_sample(*given[:3], given[3].expand(count, T, K), cut=cut)
    exact = Counter[tuple[int, ...]]()
    for way, p in zip(ways(T, L, K), by_hand(*given, cut).softmax(0).tolist(), strict=True):
        exact[tuple(k for d, k in way for _ in range(d))] += p
    share = Counter(map(tuple, found.tolist()))
    for labels, p in exact.items():
        assert abs(share[labels] / count - p) < 5 * (p * (1 - p) / count) ** 0.5


def test_whole_graph_compiles():
    generator = torch.Generator().manual_seed(3)
    K, L, T = 2, 3, 5
    given = [drawn(shape, 1, False, generator).requires_grad_() for shape in ((K,), (K, K), (K, L), (3, T, K))]
    length = torch.tensor([5, 0, 3])
    compiled = torch.compile(segments_log_prob, fullgraph=True, backend="aot_eager")
    for cut in (False, True):
        found, wanted = compiled(*given, length, cut), segments_log_prob(*given, length, cut)
        torch.testing.assert_close(found, wanted)
        for one, other in zip(*(torch.autograd.grad(z.sum(), given) for z in (found, wanted)), strict=True):
            torch.testing.assert_close(one, other)


def test_sequences_of_no_elements():
    given = [torch.zeros(shape, dtype=torch.float64) for shape in ((2,), (2, 2), (2, 3), (4, 0, 2))]
    for cut in (False, True):
        assert segments_log_prob(*given, cut=cut).tolist() == [0.0] * 4
        assert segments_by(maximum, *given, cut=cut).tolist() == [0.0] * 4


def by_hand_of_wholes(init, move, duration, seen, whole, cut=False):
    """The same with a score of each stretch, whole (T, K, L)."""
    terms = []
    for way in ways(len(seen), duration.shape[1], len(init)):
        starts = itertools.accumulate((d for d, _ in way), initial=0)
        terms.append(sum(whole[at, k, d - 1] for (d, k), at in zip(way, starts, strict=False)))
    return by_hand(init, move, duration, seen, cut) + torch.stack(terms)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("scale", [1, 20, 100])
@pytest.mark.parametrize(("K", "L"), [(1, 3), (2, 6)])
def test_whole_stretches(K, L, scale, zeros, cut):
    """Values, expected counts of each stretch and the best, where what a stretch is as a whole has a score."""
    generator, T = torch.Generator().manual_seed(K + L + scale), 4
    shapes = ((K,), (K, K), (K, L), (4, T, K), (4, T, K, L))
    given = [drawn(shape, scale, zeros, generator).requires_grad_() for shape in shapes]
    spoilt = given[4].detach().clone()
    for b in range(4):
        for t in range(T):
            spoilt[b, t, :, max(b + 1 - t, 0) :] = torch.nan  # past the ends
    length, spoilt = torch.tensor([1, 2, 3, 4]), spoilt.requires_grad_()
    found = segments_log_prob(*given[:4], length, cut, spoilt)
    best = segments_by(maximum, *given[:4], length, cut, spoilt)
    wanted, counts = [], torch.zeros_like(given[4])
    for b in range(4):
        tables = [x.detach() for x in (*given[:3], given[3][b, : b + 1])]
        scores = by_hand_of_wholes(*tables, given[4][b].detach(), cut)
        wanted.append(scores.logsumexp(0))
        torch.testing.assert_close(best[b], scores.max(), rtol=1e-12, atol=1e-12)
        if wanted[-1] > -torch.inf:
            leaf = given[4][b].detach().nan_to_num(neginf=-1e9).requires_grad_()
            soft = [x.nan_to_num(neginf=-1e9) for x in tables]
            (grad,) = torch.autograd.grad(by_hand_of_wholes(*soft, leaf, cut).logsumexp(0), leaf)
            counts[b] = (b + 1) * grad
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-12, atol=1e-12)
    weights = torch.arange(1, 5, dtype=torch.float64)
    (got,) = torch.autograd.grad(found, spoilt, weights)
    torch.testing.assert_close(got, counts, rtol=1e-9, atol=1e-12)


def test_whole_graph_of_wholes_compiles():
    generator = torch.Generator().manual_seed(3)
    given = [drawn(shape, 1, False, generator).requires_grad_() for shape in ((1,), (1, 1), (1, 7), (3, 5, 1), (3, 5, 1, 7))]
    length = torch.tensor([5, 0, 3])

    def log_z(*given):
        return segments_log_prob(*given[:4], length, whole=given[4])

    compiled = torch.compile(log_z, fullgraph=True, backend="aot_eager")
    found, wanted = compiled(*given), log_z(*given)
    torch.testing.assert_close(found, wanted)
    for one, other in zip(*(torch.autograd.grad(z.sum(), given) for z in (found, wanted)), strict=True):
        torch.testing.assert_close(one, other)
