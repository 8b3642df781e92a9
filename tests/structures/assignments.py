"""Sums over all assignments of a structure, to compare with."""

import torch
from torch import Tensor

from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Node
from vispec.structures import sums


def value(node: Node, inputs: dict[str, Tensor]) -> Tensor:
    return run([node], World(inputs=inputs, structures=sums()))[0].tensor


def close(node: Node, inputs: dict[str, Tensor], terms: list[Tensor]) -> None:
    """The node's value and gradients are those of the log-sum of all terms."""
    wanted, found = torch.stack(terms), value(node, inputs)
    best = wanted.max().detach()
    if best == -torch.inf:
        assert found == -torch.inf
        return
    total = (wanted[wanted > -torch.inf] - best).exp().sum().log() + best
    torch.testing.assert_close(found, total, rtol=1e-10, atol=1e-10)
    names = [name for name, x in inputs.items() if x.requires_grad]
    one = torch.autograd.grad(found, [inputs[name] for name in names], allow_unused=True)
    other = torch.autograd.grad(total, [inputs[name] for name in names], allow_unused=True)
    for name, x, y in zip(names, one, other, strict=True):
        zero = torch.zeros_like(inputs[name])
        torch.testing.assert_close(zero if x is None else x, zero if y is None else y, rtol=1e-8, atol=1e-8, msg=name)


def is_tree(heads: tuple[int, ...]) -> bool:
    """Whether one element hangs from the root, 0, and all others from it through others; head h + 1 is element h."""
    if not heads:
        return True
    if heads.count(0) != 1:
        return False
    for element in range(len(heads)):
        at, steps = element + 1, 0
        while at and steps <= len(heads):
            at, steps = heads[at - 1], steps + 1
        if at:
            return False
    return True
