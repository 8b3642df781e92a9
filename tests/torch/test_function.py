"""What is printed of a program computes what the interpreter says, values and gradients."""

import ast
import random

import pytest
import torch

from tests.torch.emitted import module, printed, source
from tests.torch.programs import POOL, Grown
from vispec.program.axis import ordered
from vispec.program.interpreter.interpret import run
from vispec.program.program import Program
from vispec.rewrite.rules import rewrite


def compare(grown: Grown, program: Program) -> None:
    world = grown.world()
    found, names = printed(rewrite(program), shaped=grown.nodes[:1])
    made = module(found, names, world.sizes, {n: world.inputs[n] for n in grown.parameters})
    given = made.log_prob(grown.given)
    given = given if isinstance(given, dict) else dict.fromkeys(program.outputs, given)
    arrays = run(list(program.outputs.values()), world)
    leaves = [world.inputs[n] for n in grown.parameters]
    for (name, node), array in zip(program.outputs.items(), arrays, strict=True):
        axes = ordered(node.axes)
        wanted = array.laid(axes).expand([world.extent(axis) for axis in axes])
        assert given[name].dtype == torch.float64
        torch.testing.assert_close(given[name].detach(), wanted.detach(), rtol=1e-12, atol=1e-12, equal_nan=True)
        if wanted.requires_grad:
            weight = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            theirs = torch.autograd.grad(
                (wanted * weight).sum(), leaves, retain_graph=True, materialize_grads=True, allow_unused=True
            )
            ours = torch.autograd.grad(
                (given[name] * weight).sum(), leaves, retain_graph=True, materialize_grads=True, allow_unused=True
            )
            for x, y in zip(ours, theirs, strict=True):
                torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-10)


def check_text(lines: list[str]) -> None:
    """No line is too long, nothing is assigned that is not read."""
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 124, text  # inside a class
    (function,) = ast.parse(text).body
    assigned = [name.id for name in ast.walk(function) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)]
    read = {name.id for name in ast.walk(function) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)}
    assert len(assigned) == len({*assigned})
    assert {*assigned} - {"_"} <= read, text


@pytest.mark.parametrize("seed", range(150))
def test_printed_programs_compute_what_the_interpreter_does(seed: int) -> None:
    grown = Grown(seed)
    grown.grow(5 + seed % 12)
    compare(grown, grown.program(1 + seed % 3))


@pytest.mark.parametrize("seed", range(40))
def test_any_name_is_safe(seed: int) -> None:
    pool = [name for name in POOL.split() if name != "self"] + ["self"]
    pool += [f"{a}_{b}" for a, b in zip(pool, random.Random(seed).sample(pool, len(pool)), strict=True)]
    grown = Grown(1000 + seed, list(dict.fromkeys(pool)))
    grown.grow(10)
    program = grown.program()
    compare(grown, program)
    found, _ = printed(rewrite(program), shaped=grown.nodes[:1])
    check_text(found.lines)
    assert source(found) == source(printed(rewrite(program), shaped=grown.nodes[:1])[0])
