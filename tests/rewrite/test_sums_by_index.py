"""Sums by index: what a pointer's elements say, added where they point, printed as one addition by index."""

import pytest
import torch

from tests.torch.emitted import module, printed
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Call, Input
from vispec.program.program import Program
from vispec.program.size import Size
from vispec.rewrite.rules import Rules, rewrite


def case(ragged: bool, whole: bool) -> tuple[Program, dict[str, torch.Tensor], Axis]:
    """log f_e(z) = Σ of what ratings that point at e say, over the rows too where there is one sum for all."""
    row, who, z = Axis("row", "plate"), Axis("who", "plate", Size.of(5)), Axis("z", "values", Size.of(2))
    length = Input("len", (row,), "int", "batch")
    rating = Axis("rating", "plate", None, length if ragged else None)
    torch.manual_seed(0)
    tensors = {
        "at": torch.randint(0, 5, (3, 4)),
        "x": torch.randn(3, 4, 2, dtype=torch.float64).requires_grad_(),
        "len": torch.tensor([4, 0, 2]),
    }
    index, x = Input("at", (row, rating), "int", "batch"), Input("x", (row, rating, z), "real", "batch")
    here = build.eq(index, build.position(who))
    found = build.reduce("sum", build.where(here, x, 0.0), (row, rating) if whole else (rating,))
    return Program({"total": found}), tensors, who


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_sums_by_index(ragged: bool, whole: bool) -> None:
    program, tensors, _ = case(ragged, whole)
    rewritten = rewrite(program, Rules(numbers=Numbers()))
    assert any(isinstance(node, Call) for node in rewritten.nodes())
    plain = run([program.outputs["total"]], World(inputs=tensors))[0]
    (made,) = run([rewritten.outputs["total"]], World(inputs=tensors))
    axes = ordered(program.outputs["total"].axes)
    torch.testing.assert_close(made.laid(axes), plain.laid(axes))
    weights = torch.randn(plain.laid(axes).shape, dtype=torch.float64)
    one = torch.autograd.grad((plain.laid(axes) * weights).sum(), tensors["x"])[0]
    other = torch.autograd.grad((made.laid(axes) * weights).sum(), tensors["x"])[0]
    torch.testing.assert_close(one, other)
    found, names = printed(rewritten)
    batch = {name: x for name, x in tensors.items() if ragged or name != "len"}
    value = module(found, names, {}).log_prob(batch)
    torch.testing.assert_close(value, plain.laid(axes))
