"""A program's value in float64, plain and slow, with the noise of its draws given: what all else is tested against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce as fold
from typing import TYPE_CHECKING, Any

from vispec.program import walk
from vispec.program.axis import Axis, ordered
from vispec.program.interpreter.interpret_ops import MAPS, along, density, drawn, linked, reduced, scanned
from vispec.program.node import (
    OF_NETS,
    Call,
    Concat,
    Const,
    Contract,
    Density,
    Draw,
    Extent,
    Flag,
    Input,
    Link,
    Loop,
    Map,
    Merge,
    Node,
    Noise,
    Number,
    Part,
    Pick,
    Position,
    Reduce,
    Rename,
    Scan,
    Shift,
    Site,
    Spread,
    Stop,
    Structure,
    Tail,
    Zeros,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Array:
    """A tensor and its axes in order."""

    tensor: Tensor
    axes: tuple[Axis, ...]

    def laid(self, axes: tuple[Axis, ...]) -> Tensor:
        """The tensor with these axes in order, those that it has not of size 1."""
        assert {*self.axes} <= {*axes}, f"{self.axes} are not all in {axes}"
        own = self.tensor.permute([self.axes.index(axis) for axis in axes if axis in self.axes])
        return own[tuple(slice(None) if axis in self.axes else None for axis in axes)]


@dataclass
class World:
    """What a program is run in.

    inputs: tensors by (source, name), or by name alone. sizes: of the spec. noise: tensors by site, with the axes of the
    draw in the order of `ordered`, a list with one for each step of a loop; without it draws are drawn. calls: nets and
    kernels by name. structures: what gives the log-sum of a structure, by kind. training: the flag."""

    inputs: Mapping[Any, Tensor] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    noise: Mapping[str, Tensor] = field(default_factory=dict)
    calls: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    structures: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)
    training: bool = False

    def __post_init__(self) -> None:
        self.extents: dict[Axis, int] = {}

    def extent(self, axis: Axis) -> int:
        """How many elements an axis has."""
        origin = axis.origin
        if origin in self.extents:
            return self.extents[origin]
        if origin.more:
            return self.extent(origin.of[0]) + origin.more
        if origin.kind == "joint":
            values, *rest = origin.of
            return self.extent(values) ** fold(lambda n, each: n * self.extent(each), rest, 1)
        if origin.of:
            return fold(lambda n, each: n * self.extent(each), origin.of, 1)
        assert origin.size is not None, f"nothing says how many elements {axis} has"
        return origin.size.value(self.sizes)

    def input(self, node: Input) -> Tensor:
        return self.inputs[node.source, node.name] if (node.source, node.name) in self.inputs else self.inputs[node.name]


def run(roots: list[Node], world: World) -> list[Array]:
    """The value of each root."""
    order = list(walk.nodes(roots))
    for node in order:  # inputs say how long their axes are
        if isinstance(node, Input | Site):
            _measure(node, world)
    values: dict[Node, Any] = {}
    inside = walk.inside_loops(order)
    for node in order:
        if not inside[node]:
            values[node] = evaluate(node, values, world)
    return [values[root] for root in roots]


def _measure(node: Input | Site, world: World) -> None:
    tensor = world.input(node) if isinstance(node, Input) else world.inputs[node.name]
    assert tensor.dim() == len(node.order), f"{node.name} has shape {tuple(tensor.shape)}, its axes are {node.order}"
    for axis, size in zip(node.order, tensor.shape, strict=True):
        known = axis.origin.size
        if known is None or (known.names and not known.names <= {*world.sizes}):
            assert world.extents.setdefault(axis.origin, size) == size, f"{node.name} has {size} elements along {axis}"


def evaluate(node: Node, values: Mapping[Node, Any], world: World) -> Any:
    """The value of one node from those of its arguments."""
    import torch

    from vispec.program.interpreter.interpret_loop import looped

    match node:
        case Input() | Site():
            tensor = world.input(node) if isinstance(node, Input) else world.inputs[node.name]
            return Array(tensor.double() if node.kind == "real" else tensor, node.order)
        case Const(value):
            kind = {"real": torch.float64, "int": torch.int64, "bool": torch.bool}[node.dtype]
            return Array(torch.tensor(value, dtype=kind), ())
        case Number(size):
            return Array(torch.tensor(size.value(world.sizes)), ())
        case Extent(axis):
            return Array(torch.tensor(world.extent(axis)), ())
        case Position(axis):
            return Array(torch.arange(world.extent(axis)), (axis,))
        case Zeros(order):
            return Array(torch.zeros([world.extent(axis) for axis in order], dtype=torch.float64), order)
        case Flag():
            return Array(torch.tensor(world.training), ())
        case Map(op, operands):
            axes = ordered(node.axes)
            return Array(MAPS[op](*(values[each].laid(axes) for each in operands)).clone(), axes)
        case Rename(arg, pairs):
            new: dict[Axis, Axis] = dict(pairs)
            old: Array = values[arg]
            return Array(old.tensor, tuple(new.get(axis, axis) for axis in old.axes))
        case Spread(arg):
            axes = ordered(node.axes)
            shape = [world.extent(axis) for axis in axes]
            return Array(values[arg].laid(axes).expand(shape), axes)
        case Stop(arg):
            return Array(values[arg].tensor.detach(), values[arg].axes)
        case Part(source, index):
            return values[source][index]
        case Link(op, arg, over):
            axes = (*(a for a in ordered(node.axes) if a not in over), *over)
            return Array(linked(op, values[arg].laid(axes), mask(over, axes, values, world)), axes)
        case Reduce(op, arg, over):
            kept = ordered(node.axes)
            axes = (*kept, *over)
            inside = mask(over, axes, values, world)
            return Array(reduced(op, values[arg].laid(axes), len(over), inside), kept)
        case Scan(op, arg, axis, empty):
            axes = (*(a for a in ordered(node.axes) if a is not axis), axis)
            shape = [world.extent(a) for a in axes]
            return Array(scanned(op, values[arg].laid(axes).expand(shape), values[empty].laid(axes).expand(shape)), axes)
        case Pick():
            return picked(node, values, world)
        case Shift(arg, axis, lag, fill):
            axes = ordered(node.axes)
            at = axes.index(axis)
            shape = [world.extent(a) for a in axes]
            return Array(along(values[arg].laid(axes).expand(shape), values[fill].laid(axes).expand(shape), at, lag), axes)
        case Concat(parts, axis):
            axes = (*(a for a in ordered(node.axes) if a is not axis), axis)
            around = [world.extent(a) for a in axes[:-1]]
            laid = [_one_after(values[part], own, axes, around) for part, own in parts]
            kind = torch.float64 if node.dtype == "real" else laid[0].dtype
            return Array(torch.cat([each.to(kind) for each in laid], -1), axes)
        case Merge(arg, over, merged):
            axes = (*ordered(node.axes - {merged}), *over)
            shape = [world.extent(each) for each in axes]
            full = values[arg].laid(axes).expand(shape)
            world.extents.setdefault(merged.origin, full.shape[len(axes) - len(over) :].numel())
            return Array(full.flatten(len(axes) - len(over)), (*axes[: len(axes) - len(over)], merged))
        case Tail(arg, whole, start, rest):
            cut = values[arg]
            at = cut.axes.index(whole)
            world.extents.setdefault(rest.origin, max(cut.tensor.shape[at] - start, 0))
            left = cut.tensor.narrow(at, min(start, cut.tensor.shape[at]), max(cut.tensor.shape[at] - start, 0))
            return Array(left, tuple(rest if each is whole else each for each in cut.axes))
        case Contract(factors, over):
            axes = (*ordered(node.axes), *over)
            product = fold(torch.mul, (values[each].laid(axes) for each in factors))
            return Array(product.sum(tuple(range(len(axes) - len(over), len(axes)))), axes[: len(axes) - len(over)])
        case Density():
            return density(node, values, world)
        case Draw() | Noise():
            return drawn(node, values, world)
        case Call():
            return called(node, values, world)
        case Structure(kind, given):
            return world.structures[kind](node, [values[each] for each in given], world, values)
        case Loop():
            return looped(node, values, world)
    raise TypeError(f"nothing says what {type(node).__name__} is")


def mask(over: tuple[Axis, ...], axes: tuple[Axis, ...], values: Mapping[Node, Any], world: World) -> Tensor | None:
    """Which elements along `over` count, laid along axes; None where all do."""
    import torch

    found = None
    for axis in over:
        if axis.lengths is None:
            continue
        lengths = values[axis.lengths]
        place = Array(torch.arange(world.extent(axis)), (axis,))
        around = tuple(dict.fromkeys((*axes, *lengths.axes)))
        inside = place.laid(around) < lengths.laid(around)
        assert around == axes or inside.shape[len(axes) :].numel() == 1, f"lengths of {axis} differ along what is not there"
        inside = inside.reshape(inside.shape[: len(axes)])
        found = inside if found is None else found & inside
    return found


def picked(node: Pick, values: Mapping[Node, Any], world: World) -> Array:
    import torch

    table = values[node.table]
    at = dict(node.at)
    axes = ordered(node.axes)
    shape = [world.extent(axis) for axis in axes]
    index = []
    for axis in table.axes:
        own = values[at[axis]] if axis in at else Array(torch.arange(world.extent(axis)), (axis,))
        index.append(own.laid(axes).clamp(0, max(world.extent(axis) - 1, 0)))
    return Array(table.tensor[tuple(index)].expand(shape), axes)


def _one_after(value: Array, own: Axis | None, axes: tuple[Axis, ...], around: list[int]) -> Tensor:
    """A part of a concatenation along the last of `axes`."""
    if own is None:
        return value.laid(axes[:-1]).expand(around).unsqueeze(-1)
    laid = value.laid((*axes[:-1], own))
    return laid.expand(*around, laid.shape[-1])


def named(node: Call) -> Callable[..., Any]:
    """A kernel by the name of its module and its own; the divergence of two laws by their names."""
    from importlib import import_module

    import torch

    if node.kind == "kernel":
        module, _, name = node.name.partition(":")
        return getattr(import_module(module), name)
    q, p = node.name.split(":")
    count = dict(node.settings)["of_q"]

    def divergence(*params: Tensor, of_q: int, q_names: tuple[str, ...], p_names: tuple[str, ...]) -> Tensor:
        laws = torch.distributions
        one = getattr(laws, q)(**dict(zip(q_names, params[:count], strict=True)))
        other = getattr(laws, p)(**dict(zip(p_names, params[count:], strict=True)))
        return laws.kl_divergence(one, other)

    return divergence


def told(setting: Any, values: Mapping[Node, Any], world: World) -> Any:
    """A setting of a call: a node's value, the number of an axis' elements, or what it is."""
    if isinstance(setting, Node):
        return plain(values[setting])
    if isinstance(setting, tuple):
        return tuple(told(each, values, world) for each in setting)
    return world.extent(setting) if isinstance(setting, Axis) else setting


def called(node: Call, values: Mapping[Node, Any], world: World) -> list[Array]:
    """The outputs of a net or a kernel, called with tensors whose own axes come last."""

    shared = ordered(node.shared)
    args: list[Tensor] = []
    keywords: dict[str, Tensor] = {}
    for given, own, name in node.given:
        tensor = values[given].laid((*shared, *own))
        if name:
            keywords[name] = tensor
        else:
            args.append(tensor)
    settings = {key: told(each, values, world) for key, each in node.settings}
    for what in OF_NETS:
        settings.pop(what, None)
    function = world.calls.get(node.name) or named(node)
    mode = settings.pop("mode", "whole") if node.kind == "net" else "whole"
    if mode != "whole":
        function = getattr(function, "prefixes" if mode == "prefix" else mode)
    found = function(*args, **keywords, **settings)
    outs = list(found) if isinstance(found, tuple) else [found]
    for out, (own, _) in zip(outs, node.results, strict=True):
        for axis, size in zip(own, out.shape[out.dim() - len(own) :], strict=True):
            if axis.origin.size is None and axis.origin.kind == "rows":  # how many there are, the call alone tells
                world.extents.setdefault(axis.origin, size)
    return [Array(out, (*shared, *own)) for out, (own, _) in zip(outs, node.results, strict=True)]


def plain(value: Array) -> Any:
    """A setting: a number or a truth, or what is no tensor."""
    import torch

    return value.tensor.item() if isinstance(value.tensor, torch.Tensor) and not value.axes else value.tensor
