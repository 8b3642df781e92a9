"""Of what data consist, so that each part has a log-probability of its own, and these add up to that of all.

Rows, where the spec has a data plate. Else the one row has parts: elements of its one outermost plate, which are independent
given the parameters, so that they are the rows of the same spec with this plate as its data plate; or the steps of its one
outermost chain, each given those before it: log p(x_t | x_<t) = log p(x_≤t) − log p(x_<t), each of them that of a shorter row.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vispec.diagnostics import SpecError
from vispec.model import model as m
from vispec.model.extent import first_plate
from vispec.model.walk import law_parts, read_values, walk
from vispec.syntax.tree import Plate, Tree
from vispec.train.errors import RunError
from vispec.train.store.changed import Changed
from vispec.train.store.run import Run

AT_ONCE = 64  # beginnings of a chain
Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Units:
    """plate: along which they stand. each: their log-probabilities (N,) in a batch, as the module has them."""

    kind: Literal["row", "element", "step"]
    plate: str
    each: Callable[[nn.Module, Batch], Tensor]


@dataclass(frozen=True)
class Apart(Changed):
    """The spec with an outermost plate that has no size, so that there may be any number of its elements."""

    plate: str = ""

    def change(self, tree: Tree) -> Tree:
        return replace(tree, body=tuple(self.unsized(statement) for statement in tree.body))

    def unsized(self, statement: Any) -> Any:
        own = isinstance(statement, Plate) and statement.name.id == self.plate
        return replace(statement, size=None) if own else statement

    def following(self) -> Callable[[nn.Module], nn.Module]:
        """From a module of the spec as it is to one of the spec that is changed, with the same parameters."""
        try:
            own = self.build().eval()
        except SpecError as error:
            raise RunError(f"elements of `{self.plate}` cannot be told apart: {error.diagnostics[0].message}") from error

        def follow(module: nn.Module) -> nn.Module:
            state, numbers = module.state_dict(), next(module.parameters(), torch.zeros(()))
            own.to(numbers.device, numbers.dtype).load_state_dict({name: state[name] for name in own.state_dict()})
            return own

        return follow


def units_of(run: Run) -> Units:
    """RunError where no part has a log-probability of its own, with the reason."""
    model = run.model
    if model.single is None:
        plate = next(plate.name for plate in model.plates if plate.data)
        return Units("row", plate, lambda module, batch: module.log_prob(batch))  # pyright: ignore[reportCallIssue]
    scored = [variable for variable in model.variables if variable.role in ("observed", "partial")]
    outer = {first_plate(model, variable.name) for variable in scored}
    plate = outer.pop() if len(outer) == 1 else None
    if plate is None:
        raise RunError("the data are one row, which does not consist of the elements of one plate")
    outside = [v.name for v in model.variables if v.role == "latent" and first_plate(model, v.name) != plate]
    if outside:
        raise RunError(f"`{outside[0]}` stands outside `{plate}`, whose elements therefore are not independent")
    pointed = any(variable.type.plate == plate for variable in model.variables)
    if pointed or any(plate in whole(part) for part in expressions(model)):
        raise RunError(f"the whole of `{plate}` is read, so that no part of it has a log-probability of its own")
    ordered = model.plate[plate].kind == "chain" or any(getattr(part, "plate", "") == plate for part in pasts(model))
    return steps(run, plate) if ordered else elements(run, plate)


def expressions(model: m.Model) -> Iterator[m.Expression]:
    """All that laws read, and deterministic nodes that laws read."""
    laws = [part for variable in model.variables if variable.law is not None for part in law_parts(variable.law)]
    for part in (*laws, *read_values(model)):
        yield from walk(part)


def whole(part: m.Expression) -> frozenset[str]:
    """The plates of which an expression reads more than the present element and those before it."""
    match part:
        case m.All(plate=plate) | m.Length(plate=plate) | m.For(plate=plate):
            return frozenset({plate})
        case m.Select(by=by):
            return frozenset(plate for plate, _ in by)
    return frozenset()


def pasts(model: m.Model) -> Iterator[m.Expression]:
    """Expressions that read elements before the present one."""
    return (part for part in expressions(model) if isinstance(part, m.Past | m.Prefix))


def inside(model: m.Model, plate: str) -> dict[str, int]:
    """The keys of a batch whose values have an axis for this plate, and which."""
    found = {variable.name: variable.plates.index(plate) for variable in model.variables if plate in variable.plates}
    lengths = {each.length_key: each.inside.index(plate) for each in model.plates if each.ragged and plate in each.inside}
    return found | {f"{name}_observed": axis for name, axis in found.items()} | lengths


def elements(run: Run, plate: str) -> Units:
    """Those of a plate, as rows of a module of its own."""
    follow, own = Apart(run.folder, run.config, run.trust, plate=plate).following(), inside(run.model, plate)
    data = {variable.name for variable in run.model.variables if variable.role != "latent"}

    def each(module: nn.Module, batch: Batch) -> Tensor:
        if any(name in data and name not in own for name in batch):
            raise RunError(f"what stands outside `{plate}` is given, and is not told to its elements")
        rows = {name: value[0] for name, value in batch.items() if name in own}
        return follow(module).log_prob(rows)  # pyright: ignore[reportCallIssue]

    return Units("element", plate, each)


def steps(run: Run, chain: str) -> Units:
    """Those of a chain, by as many rows that end there."""
    ragged = run.model.plate[chain].ragged
    apart = run if ragged else Apart(run.folder, run.config, run.trust, plate=chain)
    follow = apart.following() if isinstance(apart, Apart) else lambda module: module
    own, key = inside(apart.model, chain), apart.model.plate[chain].length_key

    def each(module: nn.Module, batch: Batch) -> Tensor:
        if not getattr(module, "exact", False):
            raise RunError("the log-probability is a bound, and differences of bounds say nothing of a step")
        length = int(batch[key][0]) if key in batch else next(v.shape[own[name]] for name, v in batch.items() if name in own)
        ends = [torch.arange(i + 1, min(i + AT_ONCE, length) + 1) for i in range(0, length, AT_ONCE)]
        same = follow(module)
        known = torch.cat([beginnings(same, batch, key, own, end) for end in ends]) if ends else torch.zeros(0)
        return known.diff(prepend=known.new_zeros(1))

    return Units("step", chain, each)


def beginnings(module: nn.Module, batch: Batch, key: str, own: Mapping[str, int], ends: Tensor) -> Tensor:
    """log p of the first so many elements (B,) of the one row of a batch."""
    rows = {name: value.narrow(own[name], 0, int(ends[-1])) if name in own else value for name, value in batch.items()}
    several = {name: value.expand(len(ends), *value.shape[1:]) for name, value in rows.items()}
    lengths = ends.to(next(iter(batch.values())).device)
    return module.log_prob({**several, key: lengths})  # pyright: ignore[reportCallIssue]
