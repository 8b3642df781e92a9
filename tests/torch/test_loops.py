"""Loops along a chain as they are printed: states, what was put out before, steps of their own, noise in them."""

import pytest
import torch

from tests.torch.emitted import module, printed
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Call, Carried, Const, Input, Loop, Node, Noise, Part
from vispec.program.program import Program
from vispec.program.size import Size
from vispec.rewrite.rules import rewrite

N, T, D = Axis("n", "plate"), Axis("t", "plate"), Axis("D", "event", Size.of("D"))
X = Input("x", (N, T, D), "real", "batch")
W = Input("w", (D,), "real", "parameter")
NOW = Carried("l", "now", 0, (), "int")


def state(index: int, *own: Axis) -> Node:
    return Carried("l", "state", index, (N, *own), "real")


def autoregression() -> Loop:
    """z_t = tanh(w z_{t-1} + x_t), and a second state that is read two steps on."""
    z, y = state(0, D), state(1)
    at = build.pick(X, {T: NOW})
    step = build.apply("tanh", build.add(build.mul(W, z), at, build.exp(W)))
    total = build.add(build.mul(y, 0.5), build.reduce("sum", z, (D,)))
    first = build.pick(X, {T: Const(0)})
    return Loop("l", T, ((first, Const(0.5)), (step, total)), (N,), ())


def remembering() -> Loop:
    """z_t = the sum of w x_t and all before, by what was put out."""
    history = Carried("l", "history", 0, (N, D, T), "real")
    before = build.where(build.lt(build.position(T), NOW), history, 0.0)
    step = build.add(build.mul(W, build.pick(X, {T: NOW})), build.mul(0.3, build.reduce("sum", before, (T,))))
    return Loop("l", T, ((step,),), (N,), ())


def by_step() -> Loop:
    """Different bodies for the first two elements; a net in the last."""
    z = state(0, D)
    net = Part(Call("net", "f", ((z, (D,), ""),), (((D,), "real"), ((D,), "real")), ()), 1)
    double = build.mul(z, 2)
    # both have the same text below them, which is computed in each branch
    second = build.add(build.apply("sin", double), build.apply("square", double))
    last = build.add(net, build.apply("cos", double), build.apply("square", double), NOW)
    return Loop("l", T, ((build.spread(W, (N,)),), (second,), (last,)), (N,), ())


class Net(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x.sin()


@pytest.mark.parametrize("make", [autoregression, remembering, by_step])
@pytest.mark.parametrize("length", [1, 4])
def test_loops(make, length: int) -> None:
    loop = make()
    outputs = {f"z{index}": Part(loop, index) for index in range(len(loop.outputs))}
    outputs["x"] = build.reduce("sum", build.mul(X, W), (T,))
    outputs["sum"] = build.reduce("sum", build.apply("square", outputs["z0"]), (T,))
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(2, generator=generator, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, length, 2, generator=generator, dtype=torch.float64)
    text, names = printed(rewrite(Program(outputs)), shaped=[X])
    made = module(text, names, {"D": 2}, {"w": w}, {"f": Net()})
    found = made.log_prob({"x": x})
    wanted = run(list(outputs.values()), World({"x": x, "w": w}, {"D": 2}, calls={"f": Net()}))
    for (name, node), array in zip(outputs.items(), wanted, strict=True):
        order = tuple(sorted(node.axes, key=lambda axis: (axis.kind == "event", axis.serial)))
        torch.testing.assert_close(found[name], array.laid(order), rtol=1e-12, atol=1e-12)
        if not array.tensor.requires_grad:
            continue
        ours, theirs = (torch.autograd.grad(each.sum(), w, retain_graph=True)[0] for each in (found[name], array.tensor))
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_what_a_loop_does_not_change_stands_before_it() -> None:
    text, _ = printed(rewrite(Program({"z": Part(autoregression(), 0)})))
    start = next(at for at, line in enumerate(text.lines) if line.strip().startswith("for t in"))
    assert any("self.w.exp()" in line for line in text.lines[:start])
    assert not any(".exp()" in line for line in text.lines[start:])


def test_branches_draw_by_themselves() -> None:
    """Noise of two branches with one site is two numbers of noise."""
    noise = Noise("z", "normal", (N, D))
    loop = Loop("l", T, ((build.add(noise, build.pick(X, {T: Const(0)})),), (build.add(state(0, D), noise),)), (N,), ("z",))
    new = rewrite(Program({"z": Part(loop, 0)}))
    sites = [node.site for node in new.nodes() if isinstance(node, Noise)]
    assert len(sites) == len({*sites}) == 2
