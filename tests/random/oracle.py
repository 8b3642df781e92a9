"""Brute force on a checked model: every joint value of a row's unknown cells, one after the other, in float64.

Nothing here is shared with the compiler, nor with `vispec verify`. A factor is a table over the unknown cells that it reads,
which are found by reading; the joint of an assignment is the sum of the tables' entries at it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from tests.random.brute.densities import DENSITIES
from tests.random.brute.interpreter import (
    Cell,
    Place,
    UndefinedError,
    Value,
    World,
    evaluate,
    heads,
    linked,
    listed,
    truth,
    whole,
)
from tests.random.brute.scalars import Number, log, log_softmax, total, value_of
from vispec.model import model as m
from vispec.model.types import FINITE_DOMAINS, INTEGER_DOMAINS

MOST = 20_000


class TooLargeError(Exception):
    """More assignments than brute force goes through."""


@dataclass(frozen=True)
class Answer:
    """log_prob (): nats, differentiable. marginals: of each unknown cell, a probability for each of its values."""

    log_prob: Tensor
    marginals: Mapping[Cell, list[float]]


def answer(world: World) -> Answer:
    """The log-probability of a row, and what is known of each unknown cell."""
    cells, skipped = unknown(world)
    supports = [support(world, cell) for cell in cells]
    if math.prod(map(len, supports)) > MOST:
        raise TooLargeError(f"{math.prod(map(len, supports))} assignments")
    domain = dict(zip(cells, supports, strict=True))
    joint = torch.zeros([len(values) for values in supports], dtype=torch.float64)
    for variable in world.model.variables:
        if variable.law is None or not in_rows(world, variable):
            continue
        for at in world.places(variable.plates):
            if world.cell(variable.name, at) not in skipped:
                joint = joint + spread(*factor(variable, at, world, domain), cells)
    flat = joint.reshape(-1)
    possible = flat[flat > -math.inf]
    log_prob = torch.logsumexp(possible, 0) if len(possible) else torch.tensor(-math.inf, dtype=torch.float64)
    mass = (joint.detach() - log_prob.detach()).exp() if len(possible) else joint.detach() * torch.nan
    return Answer(log_prob, {cell: _marginal(mass, i) for i, cell in enumerate(cells)})


def _marginal(mass: Tensor, axis: int) -> list[float]:
    others = [other for other in range(mass.ndim) if other != axis]
    return (mass.sum(others) if others else mass).tolist()


def in_rows(world: World, variable: m.Variable) -> bool:
    return any(world.model.plate[plate].data for plate in variable.plates)


def unknown(world: World) -> tuple[list[Cell], set[Cell]]:
    """The cells to sum over; and missing ones with infinitely many values, which integrate to 1 as nothing reads them."""
    finite: list[Cell] = []
    rest: set[Cell] = set()
    for variable in world.model.variables:
        if variable.role in ("latent", "partial") and in_rows(world, variable):
            cells = [world.cell(variable.name, at) for at in world.places(variable.plates)]
            missing = [cell for cell in cells if cell not in world.data]
            if variable.type.domain in FINITE_DOMAINS:
                finite += missing
            else:
                rest.update(missing)
    return finite, rest


def support(world: World, cell: Cell) -> list[Value]:
    """All values of a cell; those of an event shape are lists."""
    variable = world.model.variable[cell[0]]
    kind = variable.type
    at = dict(zip(world.rowless(variable.plates), cell[1], strict=True))
    if kind.domain == "bit":
        single: list[Value] = [0.0, 1.0]
    elif kind.card is not None:
        single = list(range(world.size(kind.card)))
    else:
        single = list(range(world.count(str(kind.plate), at)))
    if not kind.shape:
        return single
    return [list(values) for values in product(single, repeat=math.prod(world.size(dim) for dim in kind.shape))]


def factor(variable: m.Variable, at: Place, world: World, domain: Mapping[Cell, list[Value]]) -> tuple[list[Cell], Tensor]:
    """The cells that one log-density depends on, and its table over their values.

    The cells are found by reading: where one more is read than was thought, all is done again with it."""
    needed: list[Cell] = []
    while True:
        entries: list[Number] = []
        for choice in product(*(domain[cell] for cell in needed)):
            world.unknown, world.read = dict(zip(needed, choice, strict=True)), set()
            try:
                entries.append(log_density(variable, at, world))
            except UndefinedError:
                if world.read <= set(needed):
                    raise
            if not world.read <= set(needed):
                break
        more = sorted(world.read - set(needed))
        if not more:
            shape = [len(domain[cell]) for cell in needed]
            return needed, torch.stack([entry(x) for x in entries]).reshape(shape)
        if missing := [cell for cell in more if cell not in domain]:
            raise UndefinedError(f"{missing[0]} is read and has no value")
        needed += more


def entry(x: Number) -> Tensor:
    """A scalar; what is impossible has no gradient."""
    if value_of(x) != value_of(x):
        raise UndefinedError("nan")
    return x if isinstance(x, Tensor) and value_of(x) > -math.inf else torch.tensor(value_of(x), dtype=torch.float64)


def spread(needed: list[Cell], table: Tensor, cells: list[Cell]) -> Tensor:
    """The table with an axis for each of `cells`, of size 1 where it does not depend on it."""
    order = sorted(range(len(needed)), key=lambda i: cells.index(needed[i]))
    table = table.permute(order) if order else table
    sizes = iter(table.shape)
    return table.reshape([next(sizes) if cell in needed else 1 for cell in cells])


# ---- laws


def log_density(variable: m.Variable, at: Place, world: World) -> Number:
    """log of the law of one cell at its value, all entries of its event together."""
    draw = chosen(variable, variable.law, at, world)
    value = world.variable(variable.name, at)
    entries = value if isinstance(value, list) else [value]
    if draw.distribution == "Categorical":
        (argument,) = (expression for _, expression in draw.args)
        table = log_probs(argument, at, world)
        return (
            total([(table[i] if isinstance(table[i], list) else table)[whole(x)] for i, x in enumerate(entries)])
            if isinstance(table[0], list)
            else total([table[whole(x)] for x in entries])
        )
    if draw.distribution == "Uniform" and variable.type.domain in FINITE_DOMAINS:
        return -len(entries) * math.log(len(support_of_scalar(variable, at, world)))
    args = [evaluate(expression, at, world) for _, expression in draw.args]
    density = DENSITIES[draw.distribution]
    return total([density(x, *(a[i] if isinstance(a, list) else a for a in args)) for i, x in enumerate(entries)])


def support_of_scalar(variable: m.Variable, at: Place, world: World) -> range:
    kind = variable.type
    if kind.domain == "bit":
        return range(2)
    return range(world.size(kind.card) if kind.card is not None else world.count(str(kind.plate), at))


def chosen(variable: m.Variable, law: m.Law | None, at: Place, world: World) -> m.Draw:
    """The draw that counts here, by the place in the chain and by conditions."""
    match law:
        case m.Draw():
            return law
        case m.Choice(test=test, then=then, otherwise=otherwise):
            return chosen(variable, then if truth(test, at, world) else otherwise, at, world)
        case m.Then(laws=laws):
            chain = [plate for plate in variable.plates if world.model.plate[plate].kind == "chain"][-1]
            return chosen(variable, laws[min(at[chain], len(laws) - 1)], at, world)
    raise UndefinedError(f"law {type(law).__name__}")


def log_probs(e: m.Expression, at: Place, world: World) -> list:
    """The logarithm of a simplex, without passing by its probabilities where it comes from logits."""
    match e:
        case m.Apply(function="softmax", args=(logits,)):
            return log_softmax(evaluate(logits, at, world))
        case m.NetCall() if e.type.domain == "simplex" and not e.type.star:
            return log_softmax(heads(e, at, world))
        case m.Conditional(test=test, then=then, otherwise=otherwise):
            return log_probs(then if truth(test, at, world) else otherwise, at, world)
    probs = evaluate(e, at, world)
    return [[log(p) for p in row] if isinstance(row, list) else log(row) for row in probs]


# ---- a world out of a module and a batch


def parameter_values(model: m.Model, raw: Mapping[str, Tensor]) -> dict[str, Value]:
    """Parameters as the model reads them, nested lists of scalars, from what is stored: `docs/language.md`'s link functions."""

    def link(tensor: Tensor, param: m.Param, depth: int) -> Value:
        if depth:
            return [link(part, param, depth - 1) for part in tensor.unbind(0)]
        return linked(listed(tensor), param.type)

    return {param.name: link(raw[param.name], param, len(param.plates)) for param in model.params}


def worlds(
    model: m.Model, sizes: Mapping[str, int], batch: Mapping[str, Tensor], rows: int, nets, raw: Mapping[str, Tensor]
) -> list[World]:
    """One world for each row of a padded batch."""
    parameters = parameter_values(model, raw)
    return [world_of(model, sizes, batch, row, nets, parameters) for row in range(rows)]


def world_of(
    model: m.Model, sizes: Mapping[str, int], batch: Mapping[str, Tensor], row: int, nets, parameters: Mapping[str, Value]
) -> World:
    world = World(model, sizes, nets, parameters, {}, {})
    lengths: dict[tuple[str, tuple[int, ...]], int] = {}
    world.lengths = lengths
    for plate in model.plates:
        if plate.ragged:
            for at in world.places(plate.inside):
                lengths[plate.name, tuple(at.values())] = int(batch[plate.length_key][(row, *at.values())])
    data: dict[Cell, Value] = {}
    for variable in model.variables:
        if variable.role == "latent":
            continue
        lead = (row,) if in_rows(world, variable) else ()
        for at in world.places(variable.plates):
            index = (*lead, *at.values())
            if variable.role != "partial" or bool(batch[f"{variable.name}_observed"][index]):
                value = batch[variable.name][index]
                data[world.cell(variable.name, at)] = (
                    value.long() if variable.type.domain in INTEGER_DOMAINS else value.double()
                ).tolist()
    world.data = data
    return world


__all__ = ["Answer", "TooLargeError", "UndefinedError", "answer", "nn", "worlds"]
