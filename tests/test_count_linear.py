"""The linear layer of counts, against counting and multiplying; both of its ways, with masks, weights and nothing to count."""

import pytest
import torch
from torch import Tensor

from vispec.kernels.layers.counts import count_values
from vispec.kernels.layers.dense import CountLinear


def by_counting(layer: CountLinear, words: Tensor, share: Tensor) -> Tensor:
    counts = torch.nn.functional.one_hot(words, len(layer.weight)).double() * share[..., None]
    return counts.sum(-2) @ layer.weight + (0 if layer.bias is None else layer.bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("values", [9, 3000])
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_counts_times_weights(lead: tuple[int, ...], values: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = CountLinear(values, 5, bias).double()
    words, mask = torch.randint(values, (*lead, 6)), torch.rand(*lead, 6) < 0.6
    got, expected = layer(words, mask), by_counting(layer, words, mask.double())
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(layer(words, mask, count_values(words, values, mask, layer.weight)), expected)
    weight = torch.randn_like(expected)
    found, wanted = (torch.autograd.grad((x * weight).sum(), list(layer.parameters())) for x in (got, expected))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(layer(words, None), by_counting(layer, words, torch.ones(*lead, 6).double()))


def test_weights_of_a_relaxed_mask_have_gradients() -> None:
    torch.manual_seed(0)
    layer, words = CountLinear(9, 5).double(), torch.randint(9, (4, 6))
    share = torch.rand(4, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda share: layer(words, share), share)


def test_masks_of_more_dimensions_and_nothing_to_count() -> None:
    torch.manual_seed(0)
    layer, words, mask = CountLinear(9, 5).double(), torch.randint(9, (4, 1, 6)), torch.rand(4, 3, 6) < 0.5
    torch.testing.assert_close(layer(words, mask), by_counting(layer, words.expand(4, 3, 6), mask.double()))
    empty = layer(torch.zeros(4, 0, dtype=torch.long), None)
    torch.testing.assert_close(empty, layer.bias.expand(4, 5))
    empty.relu_().sum().backward()  # an activation may write over it
    torch.testing.assert_close(layer.bias.grad, 4 * (layer.bias > 0).double())
