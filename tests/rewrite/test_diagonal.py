"""A net of what is read up to each element and of something at that element: once for all where it meets behind the prefix."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.cost import Numbers
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Call, Input, Node, Part, Pick
from vispec.program.program import Program
from vispec.program.size import Size
from vispec.rewrite.diagonal import ENTRY

N, T = Axis("n", "plate", Size.of(3)), Axis("t", "plate", Size.of(4))
OTHER = copy(T)


def prefixes(y: Tensor, x: Tensor) -> Tensor:
    """The sum of x before each element, beside y of it."""
    return (x.cumsum(-1) - x) * y


def net(*settings: Any) -> Node:
    """Of y at t and what stands before t."""
    y, x = Input("y", (N, T), "real", "batch"), Input("x", (N, T), "real", "batch")
    given = ((y, (OTHER,), ""), (build.rename(x, {T: OTHER}), (OTHER,), ""))
    made = Call("net", "net", given, (((OTHER,), "real"),), (("mode", "prefix"), *settings))
    return build.pick(Part(made, 0), {OTHER: build.position(T)})


def computed(root: Node) -> Tensor:
    data = {name: torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)).double() for seed, name in enumerate("xy")}
    called: Any = SimpleNamespace(prefixes=prefixes)
    return run([root], World(data, {}, {}, {"net": called}))[0].laid((N, T))


def test_the_diagonal_is_all_that_is_computed() -> None:
    root = net(("behind", True))
    found = ENTRY.rewrite(Program({"p": root}, {}, {}), Numbers()).outputs["p"]
    assert isinstance(found, Part)
    assert found.axes == {N, T}
    torch.testing.assert_close(computed(found), computed(root))


def test_what_is_read_beside_the_elements_stays() -> None:
    assert isinstance(ENTRY.rewrite(Program({"p": net()}, {}, {}), Numbers()).outputs["p"], Pick)
