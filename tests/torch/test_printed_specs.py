"""The joint density of every spec, latents given, as it is printed: equal to the interpreter's, gradients of parameters too."""

from pathlib import Path

import pytest
import torch

from tests.factors.test_joint import in_data, trees, unknowns, world_of
from tests.torch.emitted import module, printed
from tests.torch.test_function import check_text
from vispec.factors.make import factorise
from vispec.named import get
from vispec.program import build
from vispec.program.interpreter.interpret import run
from vispec.program.node import Input, Node, Site
from vispec.program.program import Program
from vispec.program.walk import nodes, substitute
from vispec.rewrite.rules import rewrite
from vispec.source import Source
from vispec.verify.build import build as build_module
from vispec.verify.build import randomise
from vispec.verify.data import random_batch, read_rows

SPECS = sorted(Path(__file__).parents[2].joinpath("specs").glob("*.vispec"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_joint_densities_are_printed(path: Path) -> None:
    built = build_module(Source(str(path), path.read_text(encoding="utf-8")), {})
    model = built.model
    if trees(model) or any(net.random for net in model.nets):
        pytest.skip("the law of a tree is a structure; a net with random weights is another at each call")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        randomise(built, generator)
    batch = random_batch(model, built.sizes, 3, generator)
    rows = read_rows(model, built.sizes, batch, 3)
    sites, _ = unknowns(model, built.sizes, batch, rows, generator)
    f = factorise(model)
    kept = f.frame.plates[next(plate.name for plate in model.plates if plate.data)]
    parts = [
        each for name, each in f.factors.items() if in_data(model, model.variable[name].plates) and each.log_prob is not None
    ]
    total = [build.spread(build.reduce("sum", p.log_prob, [a for a in p.stands if a is not kept]), (kept,)) for p in parts]
    found = {node: Input(f"{node.name}*", node.order, node.kind, "batch") for node in nodes(total) if isinstance(node, Site)}
    new: list[Node] = substitute(total, found)
    hints = {found.get(node, node): hint for node, hint in f.frame.hints.items()}
    program = Program({f"log_{part.name}": node for part, node in zip(parts, new, strict=True)}, hints)
    shaped = [
        Input(v.name, tuple(map(f.frame.plate, v.plates)) + f.frame.shape(v.type), "real", "batch")
        for v in model.variables
        if v.role != "latent"
    ]
    text, names = printed(rewrite(program), shaped=shaped)
    check_text(text.lines)
    print("\n".join(text.lines))
    parameters = dict(built.module.named_parameters())
    nets = {net.name: get(built.module, net.name) for net in model.nets}
    made = module(text, names, built.sizes, parameters, nets)
    given = made.log_prob({**batch, **{f"{name}*": value for name, value in sites.items()}})
    given = given if isinstance(given, dict) else dict.fromkeys(program.outputs, given)
    world = world_of(built, batch, {**sites, **{f"{name}*": value for name, value in sites.items()}}, f)
    leaves = [value for value in parameters.values() if value.requires_grad]
    for (name, _), wanted in zip(program.outputs.items(), run(total, world), strict=True):
        torch.testing.assert_close(given[name], wanted.tensor, rtol=1e-10, atol=1e-10)
        if wanted.tensor.requires_grad:
            ours, theirs = (
                torch.autograd.grad(x.sum(), leaves, allow_unused=True, materialize_grads=True, retain_graph=True)
                for x in (given[name], wanted.tensor)
            )
            for x, y in zip(ours, theirs, strict=True):
                torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-8)
