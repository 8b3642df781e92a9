"""Labelled stretches: values and gradients against all ways to cut and label."""

import itertools

import pytest
import torch

from vispec.kernels.sums.segments import segments_log_prob


def ways(T, L, K):
    """All (length, label) sequences that cover T elements."""
    if T == 0:
        yield ()
    for d in range(1, min(L, T) + 1):
        for k in range(K):
            for rest in ways(T - d, L, K):
                yield ((d, k), *rest)


def by_hand(init, move, duration, seen):
    terms = []
    for way in ways(len(seen), duration.shape[1], len(init)):
        total, at = seen.new_zeros(()), 0
        for s, (d, k) in enumerate(way):
            total = total + (init[k] if s == 0 else move[way[s - 1][1], k]) + duration[k, d - 1] + seen[at : at + d, k].sum()
            at += d
        terms.append(total)
    return torch.stack(terms)


def drawn(shape, scale, zeros, generator):
    x = scale * torch.randn(shape, dtype=torch.float64, generator=generator)
    return x.masked_fill(torch.rand(shape, generator=generator) < 0.2, -torch.inf) if zeros else x


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("scale", [1, 20, 100])
@pytest.mark.parametrize(("K", "L"), [(1, 2), (2, 1), (2, 3), (3, 7)])
def test_as_all_ways(K, L, scale, zeros):
    generator, T = torch.Generator().manual_seed(K + L + scale), 5
    shapes = ((K,), (K, K), (K, L), (6, T, K))
    given = [drawn(shape, scale, zeros, generator).requires_grad_() for shape in shapes]
    length = torch.tensor([0, 1, 2, 3, 4, 5])
    found = segments_log_prob(*given, length)
    rows, counts = [], [torch.zeros_like(x) for x in given]
    for b, n in enumerate(length.tolist()):
        leaves = [x.detach().nan_to_num(neginf=-1e9).requires_grad_() for x in (*given[:3], given[3][b, :n])]
        hard = [x.detach() for x in (*given[:3], given[3][b, :n])]
        exact = by_hand(*hard).logsumexp(0) if n else torch.zeros((), dtype=torch.float64)
        rows.append(exact)
        if n and exact > -torch.inf:
            grads = torch.autograd.grad(by_hand(*leaves).logsumexp(0), leaves, allow_unused=True)
            for count, grad in zip(counts[:3], grads[:3], strict=True):
                count += (b + 1) * (0 if grad is None else grad)
            counts[3][b, :n] = (b + 1) * grads[3]
    torch.testing.assert_close(found, torch.stack(rows), rtol=1e-12, atol=1e-12)
    weights = torch.arange(1, 7, dtype=torch.float64)
    for got, want in zip(torch.autograd.grad(found, given, weights), counts, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


def test_counts():
    K, L, T = 2, 3, 6
    zeros = [torch.zeros(shape, dtype=torch.float64) for shape in ((K,), (K, K), (K, L), (T, K))]
    number = [1]
    for n in range(1, T + 1):
        number.append(sum(K * number[n - d] for d in range(1, min(L, n) + 1)))
    assert torch.isclose(segments_log_prob(*zeros).exp(), torch.tensor(float(number[T]), dtype=torch.float64))
    assert number[T] == sum(1 for _ in itertools.islice(ways(T, L, K), 10**6))
