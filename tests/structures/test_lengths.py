"""How many elements there are may differ along axes where nothing else does: kernels take their arguments together."""

import pytest
import torch
from torch import Tensor

from vispec.kernels.sums.algebra import maximum
from vispec.kernels.sums.chain import chain_log_prob
from vispec.kernels.sums.segments import segments_log_prob, segments_total
from vispec.kernels.trees.grammar import grammar_log_prob, grammar_total
from vispec.kernels.trees.projective import projective_log_prob, projective_total
from vispec.kernels.trees.spans import spans_log_prob, spans_total
from vispec.kernels.trees.tree import tree_log_prob, tree_total

N, K = 4, 2
SHAPES = {
    "tree": (tree_log_prob, tree_total, [(N, N + 1)]),
    "projective": (projective_log_prob, projective_total, [(N, N + 1)]),
    "spans": (spans_log_prob, spans_total, [(N, N, K), (N, K)]),
    "grammar": (grammar_log_prob, grammar_total, [(K,), (K, 2 * K, 2 * K), (N, K)]),
    "segments": (segments_log_prob, segments_total, [(K,), (K, K), (K, 3), (N, K)]),
    "chain": (chain_log_prob, None, [(K,), (1, K, K), (N, K)]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_lengths_may_have_axes_of_their_own(name: str) -> None:
    log_prob, total, shapes = SHAPES[name]
    generator = torch.Generator().manual_seed(0)
    length = torch.tensor([[2, 3, 4], [4, 3, 2]])

    def scores() -> list[Tensor]:
        return [torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True) for shape in shapes]

    for given in (scores(), [each.expand(5, 1, 1, *each.shape) for each in scores()]):
        around = (*given[0].shape[: -len(shapes[0])][:-2], 2, 3)
        whole = [each.expand(*around, *shape) for each, shape in zip(given, shapes, strict=True)]
        found, expected = log_prob(*given, length), log_prob(*whole, length.expand(around))
        assert found.shape == around
        torch.testing.assert_close(found, expected)
        for mine, other in zip(
            torch.autograd.grad(found.sum(), given, retain_graph=True),
            torch.autograd.grad(expected.sum(), given, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(mine, other)
        if total is not None:
            torch.testing.assert_close(total(maximum, *given, length), total(maximum, *whole, length.expand(around)))
