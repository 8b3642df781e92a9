"""Few numbers of many elements, one by one: against products and factors of whole matrices."""

import pytest
import torch
from torch import Tensor

from vispec.kernels.sums.gaussian import eliminate, gram
from vispec.kernels.sums.gaussian_few import eliminate_few, gram_at, gram_of

GROUPS, ROWS = 7, 6


def drawn(numbers: int) -> tuple[list[Tensor], Tensor]:
    """Columns, of which the last is the same in all groups, and which elements count; what does not is nan."""
    chance = torch.Generator().manual_seed(numbers)
    inside = torch.rand(GROUPS, ROWS, generator=chance) < 0.7
    columns = [torch.randn(GROUPS, ROWS, generator=chance, dtype=torch.double) for _ in range(numbers - 1)]
    columns = [column.masked_fill(~inside, torch.nan) for column in columns]
    columns.append(torch.randn(ROWS, generator=chance, dtype=torch.double))
    return [column.requires_grad_() for column in columns], inside


def as_matrix(columns: list[Tensor], inside: Tensor) -> Tensor:
    rows = torch.stack([column.expand(inside.shape) for column in columns], -1)
    return gram(torch.where(inside[..., None], rows, 0.0))


def assert_same(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...], leaves: list[Tensor]) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12, equal_nan=True)
    weights = [torch.randn_like(each) for each in wanted]
    one, other = (
        torch.autograd.grad(sum((w * each).sum() for w, each in zip(weights, parts, strict=True)), leaves)  # type: ignore
        for parts in (found, wanted)
    )
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("numbers", "size"), [(2, 1), (3, 2), (4, 1), (5, 4), (6, 3)])
@pytest.mark.parametrize("improper", [False, True])
def test_they_are_eliminated_alike(numbers: int, size: int, improper: bool):
    columns, inside = drawn(numbers)
    inside = inside | improper & columns[0].isfinite()
    prior = torch.arange(size).remainder(2).double().expand(GROUPS, size) if improper else None
    found = eliminate_few(gram_of(*columns, inside=inside), prior, size=size)
    assert_same(found, eliminate(as_matrix(columns, inside), prior, size=size), columns)


def test_sums_at_an_index():
    columns, inside = drawn(3)
    index = torch.randint(4, (GROUPS, ROWS), generator=torch.Generator().manual_seed(0))
    found = gram_at(index, *columns, size=4, inside=inside)
    wanted = torch.stack([as_matrix(columns, inside & (index == place)) for place in range(4)], 1)
    assert_same((found,), (wanted,), columns)


@pytest.mark.parametrize("least", [0.0, -1.0])
def test_what_is_not_positive_definite_is_nan(least: float):
    matrix = torch.eye(3, dtype=torch.double).expand(2, 3, 3).clone()
    matrix[1, 1, 1] = least
    half = eliminate_few(matrix, torch.zeros(2, 2), size=2)[1]
    assert half.isnan().tolist() == [False, True]
    assert half.isnan().equal(eliminate(matrix, torch.zeros(2, 2), size=2)[1].isnan())


def test_there_is_no_second_derivative():
    columns, inside = drawn(3)
    rest, _ = eliminate_few(gram_of(*columns, inside=inside), size=2)
    with pytest.raises(RuntimeError, match="first derivative only"):
        torch.autograd.grad(rest.sum(), columns, create_graph=True)


def test_they_compile_whole():
    columns, inside = drawn(3)
    index = torch.randint(4, (GROUPS, ROWS), generator=torch.Generator().manual_seed(0))

    def both(*columns: Tensor) -> tuple[Tensor, ...]:
        sums = gram_of(*columns, inside=inside), gram_at(index, *columns, size=4, inside=inside)
        return tuple(part for each in sums for part in eliminate_few(each, size=2))

    assert_same(torch.compile(both, fullgraph=True, backend="aot_eager")(*columns), both(*columns), columns)
