"""Where in the parameters of a law a start can reach: what is stored is read by links and picks, at an index for each axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from vispec.factors.laws import ChoiceLaw, DrawLaw, Law, ThenLaw
from vispec.factors.make import Factors
from vispec.model.model import Apply as ModelApply
from vispec.model.model import Const, Draw, Model, Param, Ref, SizeOf, Stack, Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.model.walk import law_parts, walk
from vispec.plan.guides import is_point, is_shared, point_of
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Input, Link, Map, Node, Part, Pick, Position, Reduce, Rename, Scan, Shift, Site, Spread
from vispec.program.walk import nodes, reads, substitute

Tests = tuple[tuple[Node, bool], ...]


@dataclass(frozen=True)
class Branch:
    """A law that some elements have: those for which each test is as said, and, along a chain, at `step` or from `since` on."""

    law: DrawLaw
    tests: Tests = ()
    chain: Axis | None = None
    step: int | None = None
    since: int | None = None


@dataclass(frozen=True)
class Stored:
    """What numbers are kept in: an input of a parameter, with the functions that lead to its domain, or a head of a net."""

    node: Node
    domain: str
    functions: tuple[str, ...]
    order: tuple[Axis, ...]
    param: Param | None = None

    @property
    def name(self) -> object:
        """What starts once: a parameter, or a head of a net whatever it is called with."""
        if self.param is not None:
            return self.param.name
        assert isinstance(self.node, Part)
        assert isinstance(self.node.source, Call)
        return self.node.source.name, self.node.index


@dataclass(frozen=True)
class Place:
    """Something stored as what the parameter `name` of a law is for some elements.

    by: for each dimension of its groups the axis that it has and the index along it. events: its other axes, which come after
    those. link: the function around it. tests: as those of a branch."""

    name: str
    stored: Stored
    by: tuple[tuple[Axis, Node], ...] = ()
    events: tuple[Axis, ...] = ()
    link: str = ""
    tests: Tests = ()


@dataclass(frozen=True)
class Reading:
    """How a node reads what is stored: functions from the innermost on, and the index along each axis."""

    stored: Stored
    functions: tuple[str, ...]
    at: Mapping[Axis, Node]


def branches(law: Law, tests: Tests = ()) -> Iterator[Branch]:
    """All distributions of a law."""
    match law:
        case DrawLaw():
            yield Branch(law, tests)
        case ChoiceLaw(test, then, otherwise):
            yield from branches(then, (*tests, (test, True)))
            yield from branches(otherwise, (*tests, (test, False)))
        case ThenLaw(axis, laws):
            for step, each in enumerate(laws):
                last = step == len(laws) - 1
                for found in branches(each, tests):
                    yield replace(found, chain=axis, step=None if last else step, since=step if last else None)
        case _:
            return


@dataclass
class Places:
    """points: the site of each latent whose point estimate can start → its parameter. inputs: what is stored, by its input."""

    f: Factors
    points: dict[Node, Node] = field(default_factory=dict)
    inputs: dict[Node, Stored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        model, frame = self.f.model, self.f.frame
        for param in model.params:
            node = frame.parameter(param)
            (stored,) = reads(node, Input)
            bare = Stored(stored, "", (), stored.order, param)
            self.inputs[stored] = bare
            found = self.reading(node)
            assert found is not None
            self.inputs[stored] = replace(bare, domain=param.type.domain, functions=found.functions)
        for variable in model.variables:
            if (point := point_param(model, variable)) is not None:
                self.points[frame.site(variable)] = frame.parameter(point)

    def of(self, name: str, node: Node, domain: str) -> Iterator[Place]:
        """What is stored that a law's parameter is, for some elements or under a link, and of a sum one that is added to the
        rest."""
        (node,) = substitute([node], self.points)
        yield from self.places(name, node, domain)

    def places(self, name: str, node: Node, domain: str) -> Iterator[Place]:
        found = self.reading(node)
        place = None if found is None else as_place(name, found, domain)
        if place is not None:
            yield place
            return
        match node:
            case Spread(arg):
                yield from self.places(name, arg, domain)
            case Map("where", (test, then, otherwise)):
                for part, truth in ((then, True), (otherwise, False)):
                    for each in self.places(name, part, domain):
                        yield replace(each, tests=((test, truth), *each.tests))
            case Map("exp" | "sigmoid" as link, (inner,)) if domain != "real":
                yield from (replace(each, link=link) for each in self.places(name, inner, "real") if not each.link)
            case Map("add" | "sub") if domain == "real":
                every = [each for part in addends(node) for each in self.places(name, part, domain)]
                yield from sorted(every, key=lambda each: len(each.by))[:1]

    def reading(self, node: Node) -> Reading | None:
        """The one thing stored that a node is, but for links, picks and moved axes; None for all that is computed otherwise."""
        match node:
            case Input() if node in self.inputs:
                return Reading(self.inputs[node], (), {axis: Position(axis) for axis in node.order})
            case Part(Call("net", net) as call, index) if not self.f.model.net[net].random:
                own, head = call.outputs[index].own, self.f.model.net[net].heads[index][1]
                functions = ("softplus",) if head.domain == "positive" else ()
                return Reading(Stored(node, head.domain, functions, own), (), {axis: Position(axis) for axis in own})
            case Map(op, (arg,)) | Link(op, arg):
                inner = self.reading(arg)
                return None if inner is None else replace(inner, functions=(*inner.functions, op))
            case Spread(arg):
                return self.reading(arg)
            case Pick(arg, at):
                inner, where = self.reading(arg), dict(at)
                if inner is None or inner.stored.param is None:
                    return None
                return replace(inner, at={axis: build.pick(index, where) for axis, index in inner.at.items()})
            case Rename(arg, pairs):
                inner, new = self.reading(arg), dict(pairs)
                if inner is None or inner.stored.param is None:
                    return None
                return replace(inner, at={axis: build.rename(index, new) for axis, index in inner.at.items()})
        return None


def as_place(name: str, found: Reading, domain: str) -> Place | None:
    """A reading as a place of a domain, if it is one: whole, or one row of it, through the link of its domain and one more."""
    stored = found.stored
    own, more = found.functions[: len(stored.functions)], found.functions[len(stored.functions) :]
    if own != stored.functions:
        return None
    if more and (more not in (("exp",), ("sigmoid",)) or stored.domain != "real" or domain == "real"):
        return None
    if not more and stored.domain != domain:
        return None
    if stored.param is None:
        heads = domain in ("real", "positive") and not more
        return Place(name, stored, (), stored.order) if heads else None
    if stored.param.start is not None:
        return None
    whole = [axis.kind == "event" and isinstance(i, Position) and i.axis.kind == "event" for axis, i in found.at.items()]
    groups = whole.index(True) if True in whole else len(whole)
    if not all(whole[groups:]):
        return None
    by = tuple((axis, found.at[axis]) for axis in stored.order[:groups])
    if any(axis.kind == "event" for axis, _ in by) and stored.domain != "real":
        return None
    return Place(name, stored, by, stored.order[groups:], "".join(more))


def addends(node: Node) -> list[Node]:
    """What is added up, without what is subtracted."""
    match node:
        case Map("add", operands):
            return [part for each in operands for part in addends(each)]
        case Map("sub", (left, _)):
            return addends(left)
        case Map("where") | Part():
            return []
        case Spread(arg):
            return addends(arg)
    return [node]


def point_param(model: Model, latent: Variable) -> Param | None:
    """The parameter that holds a latent's point estimate, if one prior is that of all its elements: where each has its own, the
    data do not say which of them is which."""
    if latent.law is None or not is_shared(latent, model) or not is_point(latent.name, model):
        return None
    parts = (part for each in law_parts(latent.law) for part in walk(each))
    same = all(isinstance(part, Const | SizeOf | ModelApply | Stack) for part in parts)
    point = point_of(latent, model)  # between ends it is computed of what is stored
    return model.param[point.name] if same and isinstance(latent.law, Draw) and isinstance(point, Ref) else None


# ---- what is told of elements


def latents_in(model: Model, node: Node) -> set[str]:
    """The latent and partial variables that a node reads."""
    found = {site.name for site in reads(node, Site)}
    return {v.name for v in model.variables if v.name in found and v.role in ("latent", "partial")}


def sites_read(roots: Iterable[Node]) -> Iterator[Node]:
    """What nodes read of variables: own elements, and those at an index, whose index may read others."""
    yield from (root for root in roots if isinstance(root, Site))
    for node in nodes(roots):
        if isinstance(node, Pick) and isinstance(node.table, Site):
            yield node
        args = (index for _, index in node.at) if isinstance(node, Pick) else node.args
        yield from (arg for arg in args if isinstance(arg, Site))


def finite(variable: Variable) -> bool:
    """Whether one value of the variable is one of finitely many."""
    return variable.type.domain in FINITE_DOMAINS and not variable.type.shape


def follows(model: Model, node: Node) -> bool:
    """Whether it has a value once finite latents have one: it reads no parameter, no net, and of what is latent no past, no
    other kind and no whole sequence."""
    for part in nodes([node]):
        match part:
            case Input(source="parameter") | Call("net"):
                return False
            case Site(name) if name not in model.variable or not finite(model.variable[name]):
                return False
            case Shift(arg) | Reduce(_, arg) | Scan(_, arg) if latents_in(model, arg):
                return False
    return True
