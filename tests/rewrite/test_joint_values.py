"""Products over a plate for each joint value of its latents: by digits as by the kernel, interpreted and printed."""

import pytest
import torch

from tests.torch.emitted import module, printed
from vispec.kernels.sums.unrolled import over_joint_values
from vispec.plan.order.steps import Digits
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.cost import Numbers
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Call, Input, Node
from vispec.program.program import Program
from vispec.program.size import Size
from vispec.rewrite.rules import Rules, rewrite


def case(latents: int, ragged: bool, varies: bool, more: bool) -> tuple[Node, dict[str, torch.Tensor]]:
    """Σ over i, and over others in turn, of a table of one or two latents' values at each element."""
    row, k = Axis("row", "plate"), Axis("k", "plate", Size.of(2))
    i = Axis("i", "plate", None if ragged else Size.of(3), Input("len", (row,), "int", "batch") if ragged else None)
    values = [Axis(f"v{n}", "values", Size.of(n + 2)) for n in range(latents)]
    joint = [Axis(f"s{n}", "joint", None, None, None, (v, i)) for n, v in enumerate(values)]
    order = (row, *([k] if more else []), *([i] if varies else []), *values)
    sizes = {row: 4, k: 2, i: 3} | {v: n + 2 for n, v in enumerate(values)}
    torch.manual_seed(0)
    tensors = {
        "x": torch.randn([sizes[axis] for axis in order], dtype=torch.float64).requires_grad_(),
        "len": torch.tensor([0, 1, 2, 3]),
        "y": torch.zeros(4, 3, dtype=torch.float64),
    }
    found: Node = Input("x", order, "real", "batch")
    digits = [Digits((), "", 0, v, i, ((v, s, 0),), False) for v, s in zip(values, joint, strict=True)]
    found = build.pick(found, {v: each.digit(s, 0) for each, v, s in zip(digits, values, joint, strict=True)})
    found = build.reduce("sum", found, (i, k) if more else (i,))
    length = build.reduce("sum", Input("y", (row, i), "real", "batch"), (i,))  # says how many elements there are
    return build.add(found, length), tensors


@pytest.mark.parametrize("latents", [1, 2])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("more", [False, True])
def test_joint_values(latents: int, ragged: bool, varies: bool, more: bool) -> None:
    node, tensors = case(latents, ragged, varies, more)
    rewritten = rewrite(Program({"total": node}), Rules(numbers=Numbers()))
    assert any(isinstance(each, Call) for each in rewritten.nodes())
    axes = ordered(node.axes)
    plain, made = (run([each], World(inputs=tensors))[0].laid(axes) for each in (node, rewritten.outputs["total"]))
    torch.testing.assert_close(made, plain)
    weights = torch.randn(plain.shape, dtype=torch.float64)
    one, other = (torch.autograd.grad((each * weights).sum(), tensors["x"])[0] for each in (plain, made))
    torch.testing.assert_close(one, other)
    found, names = printed(rewritten)
    torch.testing.assert_close(module(found, names, {}).log_prob(tensors), plain)


def test_of_no_elements_there_is_one_joint_value() -> None:
    assert over_joint_values(torch.zeros(3, 0, 2)).shape == (3, 1)
    assert over_joint_values(torch.zeros(3, 0, 2, 4), 2).shape == (3, 1, 1)
