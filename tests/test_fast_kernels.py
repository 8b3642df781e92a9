"""Kernels that finish their gradient by themselves: against plain autograd, where nothing underflows and where all does."""

import pytest
import torch
from torch import Tensor, nn

from vispec.distributions.discrete.categorical import categorical_log_prob
from vispec.kernels.draws.kl import kl_normal_standard, kl_normal_standard_vector
from vispec.kernels.layers.counts import count_values
from vispec.kernels.layers.sequence import after_mean, masked_mean
from vispec.kernels.sums.enumeration import enumerated_log_sum
from vispec.kernels.sums.lookup import mixed_total
from vispec.kernels.sums.mixture import normal_natural
from vispec.kernels.sums.selected import SelectedLogSoftmax, logits_log_prob
from vispec.kernels.vectors import normal_vector_log_prob

torch.manual_seed(0)


def leaf(*shape: int, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(shape, dtype=torch.float64)).requires_grad_()


def assert_equal_with_gradients(got: Tensor, expected: Tensor, *leaves: Tensor) -> None:
    """The same values, and the same gradients of a weighted sum; -inf has none."""
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
    weight = torch.randn_like(expected)
    finite = expected > -torch.inf
    found = torch.autograd.grad((got * weight)[finite].sum(), leaves, retain_graph=True)
    wanted = torch.autograd.grad((expected * weight)[finite].sum(), leaves)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_selected_log_softmax_twice_backward(scale: float) -> None:
    h, weight, bias = leaf(4, 3, scale=scale), leaf(9, 3), leaf(9)
    row, col = torch.randint(4, (5, 2)), torch.randint(9, (5, 2))
    got = SelectedLogSoftmax.apply(h, weight, bias, row, col)
    for _ in range(2):  # the first pass spends the buffer
        expected = torch.addmm(bias, h, weight.T).log_softmax(1)[row, col]
        assert_equal_with_gradients(got, expected, h, weight, bias)


@pytest.mark.parametrize("scale", [1.0, 20.0, 400.0])
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 40)])
@pytest.mark.parametrize("softmax", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize(("ragged", "known"), [(True, False), (True, True), (False, True)])
def test_mixed_total(scale: float, shape: tuple[int, ...], softmax: tuple[bool, bool], ragged: bool, known: bool) -> None:
    lead = shape[:1]
    log_weight, logits = leaf(*lead, 4, scale=scale), leaf(4, 11, scale=scale)
    log_table, value = logits.log_softmax(1), torch.randint(11, shape)
    log_p = log_weight.log_softmax(1) if softmax[0] else log_weight
    inside = torch.rand(shape) < 0.7 if ragged else torch.ones(shape, dtype=torch.bool)
    each = (log_p.view(*lead, *[1] * (len(shape) - 1), 4) + log_table.T[value]).logsumexp(-1)
    table, mask = logits if softmax[1] else log_table, inside if ragged else None
    expected = (each * inside).flatten(1).sum(1)
    counts = count_values(value.flatten(1), 11, inside.flatten(1), log_weight) if known else None
    got = mixed_total(log_weight, table, value, mask, softmax, counts)
    assert_equal_with_gradients(got, expected, log_weight, logits)


def test_mixed_total_of_few_words_of_a_large_vocabulary() -> None:
    log_weight, logits, value = leaf(3, 2), leaf(2, 5000), torch.randint(5000, (3, 4))
    expected = (log_weight[:, None] + logits.log_softmax(1).T[value]).logsumexp(-1).sum(1)
    assert_equal_with_gradients(mixed_total(log_weight, logits, value, None, (False, True)), expected, log_weight, logits)


def test_mixed_total_of_what_is_impossible() -> None:
    log_weight = torch.tensor([[-torch.inf, 0.0], [-torch.inf, -torch.inf], [0.3, 0.1], [-torch.inf, 0.0]], requires_grad=True)
    log_table = torch.tensor([[-0.5, -0.8, -900.0], [-torch.inf, -0.1, -950.0]], requires_grad=True)
    value = torch.tensor([[0, 1], [0, 1], [0, 2], [1, 1]])
    got = mixed_total(log_weight, log_table, value, None, (False, False))
    torch.testing.assert_close(got, torch.tensor([-torch.inf, -torch.inf, -0.2 - 899.7, -0.2]))
    got.masked_fill(got == -torch.inf, 0.0).sum().backward()
    assert log_weight.grad is not None
    assert log_table.grad is not None
    torch.testing.assert_close(log_weight.grad, torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]))
    torch.testing.assert_close(log_table.grad, torch.tensor([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]))


@pytest.mark.parametrize(("value", "loc", "scale"), [((5, 1, 3), (2, 5, 4, 3), (3,)), ((3,), (2, 3), ()), ((3,), (3,), (5, 3))])
def test_normal_vectors(value: tuple[int, ...], loc: tuple[int, ...], scale: tuple[int, ...]) -> None:
    x, mu, sigma = leaf(*value), leaf(*loc), leaf(*scale).detach().exp().requires_grad_()
    expected = torch.distributions.Normal(mu, sigma).log_prob(x).sum(-1)
    assert_equal_with_gradients(normal_vector_log_prob(x, mu, sigma), expected, x, mu, sigma)


def test_natural_parameters() -> None:
    x, mu, sigma = leaf(6, 3), leaf(4, 3), leaf(4, 3).detach().exp().requires_grad_()
    const, weight, statistics = normal_natural(x, mu, sigma)
    got = statistics @ weight.T + const
    assert_equal_with_gradients(got, torch.distributions.Normal(mu, sigma).log_prob(x[:, None]).sum(-1), x, mu, sigma)


def test_a_linear_layer_before_the_mean() -> None:
    layers = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    x, mask = leaf(4, 1, 6, 3), torch.rand(4, 9, 6) < 0.5
    mask[0, 0] = False  # nothing counts
    assert_equal_with_gradients(after_mean(layers, x, mask), layers(masked_mean(x, mask)), x, *layers.parameters())


@pytest.mark.parametrize(
    ("each", "memory", "sizes"), [(1, 2**40, [32]), (2**20, 2**25, [16, 16]), (2**20, 2**24, [16, 16]), (2**20, 1, [1] * 32)]
)
def test_joint_values_in_one_piece_in_several_and_twice(each: int, memory: int, sizes: list[int]) -> None:
    """Of 32 joint values of 2^20 bytes a CPU takes 16 at a time; they fit 2^25 bytes, but not 2^24."""
    score, shift, pieces = leaf(3, 5), leaf(3), list[int]()

    def log_joint(index: Tensor, context: Tensor, rows: Tensor) -> Tensor:
        pieces.append(len(index))
        return ((score[:, None] * (index[:, None] >> torch.arange(5) & 1)).sum(-1) + context[rows, None]).square()

    context = (shift.exp(), torch.tensor([2, 0, 1]))
    got = enumerated_log_sum(log_joint, context, 32, each, memory, lambda: (score,))
    assert pieces == sizes
    assert_equal_with_gradients(got, log_joint(torch.arange(32), *context).logsumexp(1), score, shift)
    assert len(pieces) == 1 + len(sizes) * (1 if 32 * each <= memory else 2)


@pytest.mark.parametrize(
    ("logits", "value"),
    [
        ((4, 1, 7), (4, 6)),
        ((7,), (4, 6)),
        ((1, 3, 1, 7), (4, 3, 6)),
        ((4, 3, 7), (4, 1)),
        ((4, 0, 7), (4, 0)),
        ((0, 1, 7), (0, 5)),
        ((2, 1, 7), (2, 0)),
    ],
)
def test_one_row_of_logits_for_many_values(logits: tuple[int, ...], value: tuple[int, ...]) -> None:
    score, index = leaf(*logits), torch.randint(7, value)
    table = score.log_softmax(-1).expand(*torch.broadcast_shapes(logits[:-1], value), 7)
    expected = table.gather(-1, index.expand(table.shape[:-1])[..., None])[..., 0]
    assert_equal_with_gradients(categorical_log_prob(index, score.log_softmax(-1)), expected, score)


@pytest.mark.parametrize(
    ("logits", "value"), [((4, 3, 7), (4, 1)), ((4, 0, 7), (4, 0)), ((5, 7), (5,)), ((4, 3, 2), (4, 1)), ((5, 2), (5,))]
)
def test_logits_at_one_value_each(logits: tuple[int, ...], value: tuple[int, ...]) -> None:
    score, index = leaf(*logits), torch.randint(logits[-1], value)
    expected = score.log_softmax(-1).gather(-1, index.expand(logits[:-1])[..., None])[..., 0]
    assert_equal_with_gradients(logits_log_prob(score, index), expected, score)


def test_normal_divergences_of_vectors() -> None:
    loc, scale = leaf(3, 5), torch.rand(3, 5, dtype=torch.double).add_(0.1).requires_grad_()
    expected = kl_normal_standard(loc, scale).sum(-1)
    assert_equal_with_gradients(kl_normal_standard_vector(loc, scale), expected, loc, scale)
