"""What the nodes of a model stand on: an axis for each plate, one for each event dimension, a leaf for each variable."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field, replace
from typing import Any

from vispec.model import dims
from vispec.model.extent import element_plates
from vispec.model.model import Expression, Model, Param, Variable
from vispec.model.types import INTEGER_DOMAINS, MISSING, Dim, Type
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Dtype, Input, Node, Site
from vispec.program.size import Size, floor_div, power

RAGGED = re.compile(r"\|(\w+)\|")
CONSTRAINED = frozenset({"simplex", "unit", "positive", "cholesky", "ordered"})
"""Domains whose parameters are stored before a link function."""


@dataclass
class Frame:
    """plates: name → axis. events: (size as the model has it, place from the right) → axis, so that equal shapes meet.

    told: plates whose lengths no data say. generated: whether all but what is given has a site.

    states: what a loop of states puts out → how it follows from what was before.

    hints: node → what the spec calls it. spans: node → where it says it."""

    model: Model
    plates: dict[str, Axis] = field(default_factory=dict)
    events: dict[tuple[Dim, int], Axis] = field(default_factory=dict)
    hints: dict[Node, str] = field(default_factory=dict)
    spans: dict[Node, tuple[int, int]] = field(default_factory=dict)
    roots: dict[Axis, Axis] = field(default_factory=dict)
    told: frozenset[str] = frozenset()
    generated: bool = False
    known: dict[object, Node] = field(default_factory=dict)
    states: dict[Node, Any] = field(default_factory=dict)

    def plate(self, name: str) -> Axis:
        """A plate's axis; where its size differs from row to row, with its lengths from the data."""
        if name not in self.plates:
            found = self.model.plate[name]
            size = None if found.size is None else size_of(found.size)
            lengths = None
            if found.ragged:
                key, source = (name, "lengths") if name in self.told else (found.length_key, "batch")
                lengths = Input(key, tuple(map(self.plate, found.inside)), "int", source)
            self.plates[name] = Axis(name, "plate", size, lengths)
        return self.plates[name]

    def heads(self, plate: Axis) -> Axis:
        """The root and the elements of a plate, as heads point at them."""
        if plate not in self.roots:
            lengths = None if plate.lengths is None else build.add(plate.lengths, 1)
            hint = f"{plate.hint} and root"
            if plate.size is None:
                self.roots[plate] = Axis(hint, "plate", None, lengths, None, (plate,), 1)
            else:
                self.roots[plate] = Axis(hint, "plate", plate.size + 1, lengths)
        return self.roots[plate]

    def event(self, dim: Dim, place: int) -> Axis:
        """The event dimension of a size that is so many places from the right."""
        key = (dim, place)
        if key not in self.events:
            ragged = RAGGED.fullmatch(dim) if isinstance(dim, str) else None
            if ragged is not None:
                plate = self.plate(ragged.group(1))
                self.events[key] = Axis(plate.hint, "event", plate.size, plate.lengths, plate)
            else:
                self.events[key] = Axis(str(dim), "event", size_of(dim))
        return self.events[key]

    def shape(self, type_: Type) -> tuple[Axis, ...]:
        """The event axes of a type."""
        return self.axes(type_.shape)

    def axes(self, shape: tuple[Dim, ...]) -> tuple[Axis, ...]:
        return tuple(self.event(dim, len(shape) - 1 - at) for at, dim in enumerate(shape))

    def axes_of(self, variable: Variable) -> tuple[Axis, ...]:
        """Those of a variable's numbers: its plates, then its event's."""
        return (*map(self.plate, variable.plates), *self.shape(variable.type))

    # ---- leaves

    def site(self, variable: Variable) -> Node:
        """The variable at its own element."""
        order = tuple(map(self.plate, element_plates(variable)))
        return self.named(Site(variable.name, (*order, *self.shape(variable.type)), dtype_of(variable.type)), variable.name)

    def base(self, variable: Variable) -> Node:
        """The Normal number of which a draw that is carried elsewhere is made."""
        order = (*map(self.plate, element_plates(variable)), *self.shape(variable.type))
        return Site(f"base of {variable.name}", order, "real")

    def data(self, variable: Variable) -> Node:
        """The variable in the data; past ragged ends, and in missing cells, a number that every law of its domain allows."""
        site = self.site(variable)
        assert isinstance(site, Site)
        found: Node = Input(variable.name, site.order, site.kind, "batch")
        if variable.type.domain == "parse":
            told = self.as_told(variable)
            found = build.pick(told, {told.order[-1]: 0})
        neutral = MISSING.get(variable.type.domain, 0)
        number = Const(float(neutral)) if site.kind == "real" else Const(int(neutral))
        if variable.type.domain in MISSING:
            inside = build.both(*(build.inside(axis) for axis in site.order))
            found = build.where(inside, found, number)
        if variable.role == "partial":
            found = build.where(self.observed(variable), found, number)
        return self.named(found, variable.name)

    def as_told(self, variable: Variable) -> Input:
        """A parse in the data, at each element as many numbers as its type has stored."""
        order = (*map(self.plate, element_plates(variable)), *self.axes(variable.type.stored))
        return Input(variable.name, order, "int", "batch")

    def observed(self, variable: Variable) -> Node:
        """Which cells of a partial variable the data has."""
        order = tuple(map(self.plate, element_plates(variable)))
        return Input(f"{variable.name}_observed", order, "bool", "batch")

    def parameter(self, param: Param) -> Node:
        """A parameter in its domain, through the link function of what is stored."""
        plates = tuple(map(self.plate, param.plates))
        events = self.shape(param.type)
        stored = Input(stored_names(self.model)[param.name], (*plates, *events), "real", "parameter")
        return self.named(linked(stored, param.type, events), param.name)

    def named(self, node: Node, hint: str) -> Node:
        """The node, which is called so unless it is already."""
        self.hints.setdefault(node, hint)
        return node


def stored_names(model: Model) -> dict[str, str]:
    """What is stored of each parameter: itself, or unconstrained numbers under a name that nothing in the spec has."""
    declared = (*model.params, *model.variables, *model.lets, *model.nets, *model.sizes, *model.vocabs, *model.embeddings)
    taken, found = {each.name for each in declared}, dict[str, str]()
    for param in model.params:
        name = f"raw_{param.name}" if param.type.domain in CONSTRAINED else param.name
        while name in taken and name != param.name:
            name += "_"
        taken.add(name)
        found[param.name] = name
    return found


def linked(raw: Node, type_: Type, events: tuple[Axis, ...]) -> Node:
    """Unconstrained numbers in the domain of a type."""
    match type_.domain:
        case "simplex":
            return build.link("softmax", raw, events[-1:])
        case "unit":
            return build.apply("sigmoid", raw)
        case "positive":
            return build.apply("softplus", raw)
        case "cholesky":
            return build.link("to_cholesky", raw, events[-2:])
        case "ordered":
            return build.link("to_ordered", raw, events[-1:])
    return raw


def shape_of(f: Frame, e: Expression) -> tuple[Dim, ...]:
    """The event shape of an argument; a plate of known size is a vector."""
    if not e.type.star or e.type.over is None:
        return e.type.shape
    size = f.model.plate[e.type.over].size
    return (f"|{e.type.over}|" if size is None else size, *e.type.shape)


def dtype_of(type_: Type) -> Dtype:
    """Labels are whole numbers; bits and counts are numbers like any other."""
    return "int" if type_.domain in INTEGER_DOMAINS else "real"


def scalar(type_: Type) -> Type:
    """The type of one element of a sequence."""
    return replace(type_, star=False, over=None)


def size_of(dim: Dim) -> Size:
    """A size of the model as a polynomial."""
    if isinstance(dim, int):
        return Size.of(dim)
    return _size(dims.read(dim))


def _size(node: ast.expr) -> Size:
    match node:
        case ast.Constant(value=int(value)):
            return Size.of(value)
        case ast.Name(id=name):
            return Size.of(name[:-1])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_size(operand)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _size(left), _size(right)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return floor_div(a, b)
                case ast.Pow():
                    return power(a, b)
    raise ValueError(f"not a size: {ast.dump(node)}")
