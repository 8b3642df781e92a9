"""What has estimates in a module: its parameters, and the deterministic nodes that parameters alone decide; as named
numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vispec.model.constant import constant_lets
from vispec.model.model import Model, Param
from vispec.model.types import Type
from vispec.named import get, has, stored
from vispec.train.estimates.labels import Label, Labels
from vispec.train.estimates.values import Scale

Edge = Literal["", "simplex", "unit", "step", "ray"]
"""Where the domain of a constrained number ends that one unconstrained number moves: at 0 in a simplex, at 0 and 1, at 0 for
the difference of ordered numbers or a Cholesky factor's diagonal, at 0 on the positive reals; "": nowhere."""


@dataclass(frozen=True)
class Node:
    """A tensor (*plates, *event) with a name of the spec. attribute: what holds its unconstrained numbers, "" where others do.
    point: for a latent that is a point estimate, the parameter that holds it. place: that latent's among the module's shared
    ones where it lies between ends, so that the parameter, of the domain `share`, is only a share of the way."""

    name: str
    type: Type
    plates: tuple[str, ...]
    attribute: str = ""
    point: str = ""
    place: int | None = None
    share: str = ""

    @property
    def derived(self) -> bool:
        return not self.attribute

    def value(self, module: nn.Module) -> Tensor:
        """Its numbers as the module has them, in constrained space."""
        if self.place is not None:
            return module.shared()[self.place]  # pyright: ignore[reportCallIssue]
        return get(module, self.point or self.name)

    def above(self, index: tuple[int, ...]) -> bool:
        """Whether a place is above a Cholesky factor's diagonal, where it has no number but 0."""
        return self.type.domain == "cholesky" and index[-1] > index[-2]

    def scale(self, index: tuple[int, ...]) -> Scale:
        """On which scale the interval of a number is symmetric."""
        if self.type.domain == "cholesky":
            return "positive" if index[-1] == index[-2] else "real"
        return {"positive": "positive", "unit": "unit", "simplex": "unit"}.get(self.type.domain, "real")  # pyright: ignore[reportReturnType]

    def edge(self, index: tuple[int, ...]) -> Edge:
        """Where the number at this place of its own unconstrained ones leads to an end of the domain."""
        domain = self.share or self.type.domain
        if (domain == "cholesky" and index[-1] == index[-2]) or (domain == "ordered" and index[-1] > 0):
            return "step"
        return {"simplex": "simplex", "unit": "unit", "positive": "ray"}.get(domain, "")  # pyright: ignore[reportReturnType]

    def labels(self, names: Labels, model: Model, shape: tuple[int, ...]) -> "Axes":
        return Axes(tuple(tuple(axis) for axis in names.axes(model, self.plates, self.type, shape, self.name)))


@dataclass(frozen=True)
class Axes:
    """The labels along each axis of a node."""

    names: tuple[tuple[Label, ...], ...]

    def at(self, index: tuple[int, ...]) -> tuple[Label, ...]:
        return tuple(axis[i] for axis, i in zip(self.names, index, strict=True))


def parameter_node(param: Param, module: nn.Module, model: Model) -> Node:
    return Node(param.name, param.type, param.plates, stored(module, model, param))


def nodes_of(model: Model, module: nn.Module) -> list[Node]:
    """Parameters in the order of the spec, then the deterministic nodes of them that are numbers; those that the module has."""
    parameters = [parameter_node(param, module, model) for param in model.params if has(module, param.name)]
    derived = [Node(let.name, let.type, let.plates) for let in constant_lets(model) if has(module, let.name)]
    return parameters + [node for node in derived if moves(node.value(module))]


def moves(value: Tensor) -> bool:
    """Whether it is a number that some parameter changes."""
    return value.is_floating_point() and value.requires_grad


def jacobian(value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The derivatives (n, d) of each number of a tensor by all numbers of the parameters, flattened in their order."""
    rows = [
        torch.autograd.grad(number, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        for number in value.reshape(-1)
    ]
    return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
