"""Branches that are not taken: what is printed sends the gradients that the interpreter does."""

import random

import pytest
import torch

from tests.torch.emitted import module, printed
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Density, Input, Node
from vispec.program.program import Program
from vispec.program.size import Size
from vispec.rewrite.rules import rewrite

SIZES = {"N": 5, "M": 2}


class Branches:
    """Programs of singular operations in branches, at data and parameters where they are singular."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        n, m = Axis("n", "plate", Size.of("N")), Axis("m", "plate", Size.of("M"))
        lengths = Input("len", (n,), "int", "batch")
        r = Axis("r", "plate", None, lengths)
        self.n, self.r, self.lengths = n, r, lengths
        generator = torch.Generator().manual_seed(seed)
        none = seed % 4 == 0  # not taken anywhere, so that what rows share may be singular too
        take = torch.rand(5, generator=generator) < (0.0 if none else 0.5)
        take[0] = False  # row 0 has no elements, and infinities of them
        regular = lambda *size: torch.rand(size, generator=generator, dtype=torch.float64) + 0.3  # noqa: E731
        odd = torch.tensor([0.0, 1000.0, -1000.0, 0.0, 1e5], dtype=torch.float64)
        shared = torch.tensor([0.0, -800.0], dtype=torch.float64) if none else regular(2)
        self.tensors = {
            "len": torch.tensor([0, 1, 2, 3, 3]),
            "take": take,
            "t": torch.where(take, regular(5), odd),
            "u": torch.where(take[:, None], regular(5, 3), odd[:, None] * torch.tensor([1.0, 0, -1], dtype=torch.float64)),
            "a": torch.where(take, regular(5), odd.flip(0)).requires_grad_(),
            "b": shared.clone().requires_grad_(),
            "c": shared[0].clone().requires_grad_(),
        }
        self.moving = [
            Input("a", (n,), "real", "parameter"),
            Input("b", (m,), "real", "parameter"),
            Input("c", (), "real", "parameter"),
        ]
        self.data = [Input("t", (n,), "real", "batch"), Input("u", (n, r), "real", "batch")]

    def value(self, depth: int) -> Node:
        if depth == 0:
            return self.random.choice([*self.moving, *self.moving, *self.data])
        ops = ["exp", "log", "sqrt", "div", "add", "mul", "square", "log1p", "expm1", "where", "density", "pow", "least"]
        op = self.random.choice(ops)
        one = lambda: self.value(depth - 1)  # noqa: E731
        if op == "least":  # of no elements an infinity, whose product with a gradient of 0 is no number
            return build.add(one(), build.reduce("min", build.spread(one(), (self.r,)), (self.r,)))
        if op == "where":
            return build.where(self.test(), one(), one())
        if op == "density":
            return Density("Normal", one(), (("loc", one(), ()), ("scale", build.add(build.apply("square", one()), 1), ())), ())
        if op in ("log", "sqrt"):
            return build.apply(op, build.apply("abs", one()))
        if op == "pow":
            return build.apply("pow", build.apply("abs", one()), 0.5)
        if op == "log1p":
            return build.apply("log1p", build.neg(build.apply("sigmoid", one())))
        return build.apply(op, *(one() for _ in range(1 if op in ("exp", "square", "expm1") else 2)))

    def test(self) -> Node:
        return build.lt(self.random.choice([*self.data, *self.moving]), self.random.choice([0, 0.7, 900]))


@pytest.mark.parametrize("seed", range(200))
def test_branches_that_are_not_taken_send_no_gradient(seed: int) -> None:
    grown = Branches(seed)
    found = grown.value(3)
    take = Input("take", (grown.n,), "bool", "batch")
    other = grown.random.choice([build.node(0.0), *grown.moving])
    root = build.where(take, found, other) if seed % 2 else build.where(build.apply("not", take), other, found)
    world = World(grown.tensors, SIZES)
    world.extents[grown.r] = 3
    (wanted,) = run([root], world)
    text, names = printed(rewrite(Program({"log_prob": root})), shaped=grown.data)
    parameters = {name: grown.tensors[name] for name in "abc"}
    given = module(text, names, SIZES, parameters).log_prob(grown.tensors)
    axes = ordered(root.axes)
    laid = wanted.laid(axes).expand(given.shape)
    if grown.r in axes:  # what is past the end is anything
        inside = (torch.arange(3) < grown.tensors["len"][:, None])[
            tuple(slice(None) if x in (grown.n, grown.r) else None for x in axes)
        ]
        given, laid = torch.where(inside, given, 0.0), torch.where(inside, laid, 0.0)
    torch.testing.assert_close(given, laid, rtol=1e-11, atol=1e-11)
    if laid.requires_grad:
        ours, theirs = (torch.autograd.grad(each.sum(), parameters.values(), allow_unused=True) for each in (given, laid))
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_only_what_needs_it_is_guarded() -> None:
    n = Axis("n", "plate", Size.of("N"))
    x, test = Input("x", (n,), "real", "parameter"), Input("test", (n,), "bool", "batch")
    scale = build.add(build.apply("softplus", x), 1)
    regular = build.where(
        test, build.add(build.log(x), build.apply("div", x, scale), build.exp(build.neg(build.apply("square", x)))), 0.0
    )
    (found,) = rewrite(Program({"y": regular})).outputs.values()
    assert found is regular
    fixed = build.where(test, build.exp(Input("d", (n,), "real", "batch")), 0.0)
    assert rewrite(Program({"y": fixed})).outputs["y"] is fixed
    singular = build.where(test, build.exp(x), 0.0)
    assert rewrite(Program({"y": singular})).outputs["y"] is build.where(test, build.exp(build.where(test, x, 0.0)), 0.0)
