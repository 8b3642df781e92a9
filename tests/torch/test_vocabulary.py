"""Log-probabilities over a vocabulary, some positions at a time: values and gradients are those of all logits at once."""

import pytest
import torch
from torch import Tensor, nn

from vispec.kernels.sums import vocabulary
from vispec.kernels.sums.vocabulary import vocabulary_log_prob

SIZE = 7


@pytest.fixture(params=[1, 20, 10_000])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Logits at once: one position, two, all."""
    monkeypatch.setattr(vocabulary, "AT_ONCE", request.param)
    return request.param


def case(lead: tuple[int, ...]) -> tuple[Tensor, nn.Linear, Tensor, Tensor]:
    torch.manual_seed(1)
    out = nn.Linear(4, SIZE).double()
    h = torch.randn(*lead, 4, dtype=torch.float64, requires_grad=True)
    return h, out, torch.randint(0, SIZE, lead[-2:]), torch.rand(lead[-2:]) < 0.6


def plain(h: Tensor, out: nn.Linear, value: Tensor, inside: Tensor | None, smoothing: float = 0.0) -> Tensor:
    log_p = out(h).log_softmax(-1)
    found = log_p.gather(-1, value.expand(h.shape[:-1])[..., None])[..., 0]
    found = (1 - smoothing) * found + smoothing * log_p.sum(-1) / SIZE
    return found if inside is None else torch.where(inside, found, 0.0)


@pytest.mark.parametrize(("masked", "smoothing"), [(False, 0.0), (True, 0.0), (True, 0.3)])
@pytest.mark.parametrize("weights", ["one", "rows", "positions", "alike"])
@pytest.mark.parametrize("lead", [(3, 5), (2, 3, 5), (1, 1)])
def test_values_and_gradients(pieces: int, lead: tuple[int, ...], weights: str, masked: bool, smoothing: float) -> None:
    h, out, value, inside = case(lead)
    mask = inside if masked else None
    told = {
        "one": torch.tensor(-2.5),
        "rows": torch.randn(lead[-2], 1),
        "positions": torch.randn(lead),
        "alike": torch.tensor(1.0),
    }
    by = told[weights].double()
    got = vocabulary_log_prob(h, out, value, mask, alike=weights != "alike", smoothing=smoothing)
    expected = plain(h, out, value, mask, smoothing)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    inputs = (h, out.weight, out.bias)
    for a, b in zip(
        torch.autograd.grad((got * by).sum(), inputs), torch.autograd.grad((expected * by).sum(), inputs), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_gradient_can_be_differentiated(pieces: int) -> None:
    h, out, value, _ = case((2, 3))
    of = lambda h, w, b: vocabulary.VocabularyLogProb.apply(h.flatten(0, 1), w, b, value.flatten(), True, 0.2)  # noqa: E731
    assert torch.autograd.gradgradcheck(of, (h, out.weight, out.bias))


def test_a_second_backward_pass_finds_the_same(pieces: int) -> None:
    h, out, value, inside = case((3, 5))
    total = vocabulary_log_prob(h, out, value, inside).sum() * 3
    first = torch.autograd.grad(total, (h, out.weight), retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(total, (h, out.weight)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_no_position_counts(pieces: int) -> None:
    h, out, value, _ = case((2, 3))
    got = vocabulary_log_prob(h, out, value, torch.zeros(2, 3, dtype=torch.bool))
    assert not got.any()
    got.sum().backward()
    assert h.grad is not None
    assert not h.grad.any()


def test_no_table_of_all_logits_is_made() -> None:
    """By the largest tensor that any operation puts out."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            found = func(*args, **(kwargs or {}))
            for each in found if isinstance(found, tuple | list) else (found,):
                largest = max(largest, each.numel() if isinstance(each, Tensor) else 0)
            return found

    out, h = nn.Linear(4, 10_000), torch.randn(40, 50, 4, requires_grad=True)
    with Watch():
        vocabulary_log_prob(h, out, torch.zeros(40, 50, dtype=torch.long)).sum().backward()
    assert largest <= vocabulary.AT_ONCE


def test_products_are_in_the_precision_of_what_is_read() -> None:
    """As under autocast: the sums stay in float32."""
    h, out, value, inside = case((3, 5))
    h, out = h.detach().bfloat16().requires_grad_(), out.float()
    got = vocabulary_log_prob(h, out, value, inside)
    assert got.dtype == torch.float32
    expected = plain(h.float(), out, value, inside)
    torch.testing.assert_close(got, expected, rtol=0, atol=0.05)
    (by_h, by_weight) = torch.autograd.grad(got.sum(), (h, out.weight))
    assert (by_h.dtype, by_weight.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(by_weight, torch.autograd.grad(expected.sum(), out.weight)[0], rtol=0, atol=0.05)
