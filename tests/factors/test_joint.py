"""Factors by the interpreter: at random values of everything unknown, their sum is the joint density by the oracle."""

from pathlib import Path

import pytest
import torch

from vispec.factors.frame import element_plates
from vispec.factors.make import Factors, factorise
from vispec.model.model import Model
from vispec.model.types import INTEGER_DOMAINS, WHOLE_DOMAINS
from vispec.named import get
from vispec.program import build
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Call
from vispec.program.walk import nodes
from vispec.source import Source
from vispec.structures import sums
from vispec.verify.build import Built, randomise
from vispec.verify.build import build as build_module
from vispec.verify.data import _draw, random_batch, read_rows
from vispec.verify.oracle.oracle import log_joint
from vispec.verify.oracle.row import Row, in_data, place_of, shape_of

SPECS = sorted(Path(__file__).parents[2].joinpath("specs").glob("*.vispec"))
ROWS = 3


def trees(model: Model) -> bool:
    return any(v.type.domain in WHOLE_DOMAINS for v in model.variables)


def world_of(built: Built, batch: dict[str, torch.Tensor], sites: dict[str, torch.Tensor], f: Factors) -> World:
    """The batch, the parameters and nets of the module, and a value for each site."""
    module, model = built.module, built.model
    inputs: dict[object, torch.Tensor] = {("batch", name): value for name, value in batch.items()}
    inputs |= dict(sites)
    for name, value in module.named_parameters():
        inputs["parameter", name] = value
    calls = {net.name: get(module, net.name) for net in model.nets}
    return World(inputs, dict(built.sizes), calls=calls, structures=sums())


def unknowns(model: Model, sizes, batch, rows: list[Row], generator) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Random values for latents and missing cells: whole tensors, and by cell for each row."""
    whole, assigned = dict[str, torch.Tensor](), [dict() for _ in rows]
    for variable in model.variables:
        if variable.role not in ("latent", "partial"):
            continue
        own = in_data(model, variable.plates)
        lead = [len(rows)] if own else []
        extent = [extent_of(model, sizes, p, batch) for p in element_plates(variable) if not model.plate[p].data]
        shape = (*lead, *extent, *shape_of(variable.type, sizes))
        integer = variable.type.domain in INTEGER_DOMAINS
        value = torch.zeros(shape, dtype=torch.int64 if integer else torch.float64)
        if variable.role == "partial":
            value = batch[variable.name].clone()
        for at, row in enumerate(rows if own else rows[:1]):
            for cell in row.cells(variable):
                if cell in row.values:
                    continue
                card = row.card(variable.type, place_of(model, variable, cell)) if integer else 0
                drawn = _draw(variable.type, shape_of(variable.type, sizes), card, sizes, generator)
                value[(at, *cell[1]) if own else cell[1]] = drawn
                for each in [at] if own else range(len(rows)):
                    assigned[each][cell] = drawn
        whole[variable.name] = value
    return whole, assigned


def extent_of(model: Model, sizes, plate: str, batch) -> int:
    from vispec.verify.data import extent_of as extent

    return extent(model, sizes, model.plate[plate], batch)


def compare(source: Source, seed: int = 0) -> None:
    built = build_module(source, {})
    model = built.model
    if trees(model) or any(net.random for net in model.nets):
        pytest.skip("the law of a tree or a parse is a structure; a net with random weights is another at each call")
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator)
    batch = random_batch(model, built.sizes, ROWS, generator)
    rows = read_rows(model, built.sizes, batch, ROWS)
    sites, assigned = unknowns(model, built.sizes, batch, rows, generator)
    f = factorise(model)
    world = world_of(built, batch, sites, f)
    data = next(plate.name for plate in model.plates if plate.data)
    parts = []
    for name, found in f.factors.items():
        if in_data(model, model.variable[name].plates):
            assert found.log_prob is not None
            kept = f.frame.plates[data]
            for node in (found.log_prob, *(() if found.norm is None else (found.norm,))):
                inner = [axis for axis in found.stands if axis is not kept and (node is found.log_prob or axis in node.axes)]
                parts.append(build.spread(build.reduce("sum", node, inner), (kept,)))
    (total,) = run([build.add(*parts)], world)
    wanted = torch.stack([log_joint(model, built.module, row, each) for row, each in zip(rows, assigned, strict=True)])
    torch.testing.assert_close(total.tensor, wanted.detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_joint_density_of_every_spec(path: Path) -> None:
    source = Source(str(path), path.read_text(encoding="utf-8"))
    with torch.no_grad():
        compare(source)


def test_nets_are_called_once_per_head() -> None:
    """Two heads of one call are parts of one node."""
    text = """size D
net f(x: real[D]) -> (loc: real, scale: positive) = linear(2)
plate n:
    given x : real[D]
    observed y : real ~ Normal(f(x))
"""
    from vispec.model.check import check_model
    from vispec.syntax.parse import parse

    source = Source("a.vispec", text)
    found = factorise(check_model(parse(source), {})).factors["y"].log_prob
    assert found is not None
    assert sum(isinstance(node, Call) for node in nodes([found])) == 1
