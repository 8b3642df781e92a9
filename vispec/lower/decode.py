"""Sequences that end by a symbol of their own, element by element: what each step reads, and the law of the next element."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

from vispec.factors.frame import Frame
from vispec.factors.laws import DrawLaw, Law, ThenLaw
from vispec.factors.make import factorise
from vispec.lower.generate import Generator, given_in, sunk
from vispec.lower.next import called_once, next_call
from vispec.model.model import Model, Variable
from vispec.plan.held.along import Body, at_present, lags_of
from vispec.plan.held.draws import site_of
from vispec.program import build
from vispec.program.axis import Axis, ordered
from vispec.program.node import Call, Carried, Const, Input, Map, Node, Part, Pick, Position, Rename, Source
from vispec.program.program import Program
from vispec.program.walk import nodes, with_fields


@dataclass(frozen=True)
class Decoded:
    """begin: what each step reads that is the same at all of them, by names, `rows` first, and what is drawn before. steps:
    log-probabilities of the next element, by the laws of the first elements and last that of all that follow, from inputs
    "argument": those of begin, and what `Told` names."""

    variable: Variable
    rows: Axis
    begin: Program
    orders: Mapping[str, tuple[Axis, ...]]
    steps: tuple[Program, ...]
    told: Told
    values: tuple[Axis, ...]


@dataclass(frozen=True)
class Told:
    """Names of what a step knows of the elements before. whole: all of them and one place more (rows, chain); last: the last
    one as a sequence of one, or of none (rows, last); back: those so many places back (rows); at: how many there are."""

    whole: str
    last: str
    back: Mapping[int, str]
    at: str


def decoded(model: Model, shared: Mapping[str, tuple[Axis, ...]]) -> list[Decoded]:
    """Each sequence that can be made element by element: a chain in the data's plate of one token each, whose law reads it and
    what comes before it alone. shared: as of `generate`."""
    found = [decode(model, shared, variable) for variable in model.variables if ends(model, variable)]
    return [each for each in found if each is not None]


def ends(model: Model, variable: Variable) -> bool:
    """Whether its own end symbol says how long it is."""
    vocabularies = {vocab.name for vocab in model.vocabs if dict(vocab.options).get("end")}
    if variable.role != "observed" or variable.type.domain != "token" or str(variable.type.card) not in vocabularies:
        return False
    plates = [model.plate[name] for name in variable.plates]
    if variable.type.shape or len(plates) != 2 or not plates[0].data or plates[1].kind != "chain" or not plates[1].ragged:
        return False
    pointed = any(each.type.plate == plates[1].name for each in model.variables)
    return not pointed and not given_in(model, plates[1].name) and not any(net.random for net in model.nets)


def decode(model: Model, shared: Mapping[str, tuple[Axis, ...]], variable: Variable) -> Decoded | None:
    told = frozenset(p.name for p in model.plates if p.ragged and not given_in(model, p.name))
    f = factorise(model, Frame(model, told=told, generated=True))
    g = Generator(f)
    for name, order in shared.items():
        g.share(model.variable[name], order)
    for name in model.order[: model.order.index(variable.name)]:
        if name in model.variable and name not in g.values and name not in shared:
            g.add(model.variable[name])
    if variable.name in g.values:  # a latent of the chain is drawn with it
        return None
    law = g.law(variable)
    laws = law.laws if isinstance(law, ThenLaw) else (law,)
    if g.together(variable) != [variable] or any(
        not isinstance(each, DrawLaw) or each.distribution != "Categorical" for each in laws
    ):
        return None
    steps = Steps(g.frame, model, variable)
    programs = steps.of(laws)
    drawn = {v.name: g.values[v.name] for v in model.variables if v.role != "given" and v.name in g.values}
    for name, value in drawn.items():
        if steps.rows in value.axes and name not in steps.begin:
            steps.begin[name], steps.orders[name] = value, g.order(model.variable[name])
    if steps.beyond or any(map(untold, axes_of(steps.begin.values()))):
        return None
    begin = Program(steps.begin, g.frame.hints, g.frame.spans)
    return Decoded(variable, steps.rows, begin, steps.orders, programs, steps.told, steps.values)


@dataclass
class Steps:
    """The laws of one variable's elements, each given those before. begin: what they read that is the same at all elements.
    beyond: they read draws that all rows share. once: nets that each of them calls once."""

    frame: Frame
    model: Model
    variable: Variable
    begin: dict[str, Node] = field(default_factory=dict)
    orders: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    beyond: bool = False
    once: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.rows, self.chain = (self.frame.plate(name) for name in self.variable.plates)
        self.loop, self.last = f"along {self.chain.hint} of {self.variable.name}", Axis("last", "plate")
        own = self.variable.name
        self.taken = {own, *self.model.variable, *(let.name for let in self.model.lets)}
        self.told = Told(own, free(f"{own}_last", self.taken), {}, free(f"{own}_at", self.taken))

    def of(self, laws: tuple[Law, ...]) -> tuple[Program, ...]:
        """A program for each of the first elements that has its own, and for all that follow."""
        site = site_of(self.frame, self.variable)
        laws = tuple(sunk(law, [self.variable.name]) for law in laws)
        lags = lags_of(laws, site)
        many = max(len(laws), lags + 1)
        back = range(1, max(lags, 1) + 1)
        self.told = replace(self.told, back={lag: free(f"{self.variable.name}_{lag}_back", self.taken) for lag in back})
        found = list[tuple[Body, Node]]()
        for number in range(many):
            last = number == many - 1
            now = Carried(self.loop, "now", 0, (), "int") if last else Const(number)
            places = {(site, lag): lag - 1 for lag in back}
            body = Body(self.loop, self.chain, now, None if last else number, (self.rows,), {site: 0}, {}, places)
            body.hints = self.frame.hints
            law = at_present(laws[min(number, len(laws) - 1)], body)
            assert isinstance(law, DrawLaw)
            ((_, probabilities, self.values),) = law.params
            found.append((body, build.log(probabilities)))
        self.once = frozenset.intersection(*(called_once([node]) for _, node in found))
        programs = list[Program]()
        for body, node in found:
            self.known: dict[Node, Node] = {}
            programs.append(Program({"log_prob": self.at(node, body)}, self.frame.hints, self.frame.spans))
        return tuple(programs)

    def at(self, node: Node, body: Body) -> Node:
        """A node of a body as a step computes it."""
        if node not in self.known:
            self.known[node] = self.made(node, body)
        return self.known[node]

    def made(self, node: Node, body: Body) -> Node:
        found = [*nodes([node])]
        if not any(isinstance(each, Carried) and each.loop == self.loop for each in found):
            self.beyond |= any(isinstance(each, Input) and each.source == "shared" for each in found)
            if isinstance(node, Rename) or (isinstance(node, Map) and node.op in ("real", "int", "bool")):
                return with_fields(node, lambda each: self.at(each, body))
            own = self.rows in node.axes and not isinstance(node, Position)
            return self.kept(node) if own else node
        match node:
            case Carried(what="now"):
                return Input(self.told.at, (), "int", "argument")
            case Carried(what="state", index=place):
                return Input(self.told.back[place + 1], (self.rows,), "int", "argument")
            case Carried(what="history"):
                return Input(self.told.whole, (self.rows, self.chain), "int", "argument")
            case Pick(Part(Call() as call, index), ((along, at),)) if at == body.now and (one := self.next(call, along, body)):
                return Part(one, index)
        return with_fields(node, lambda each: self.at(each, body))

    def kept(self, node: Node) -> Node:
        """What begins before the first element."""
        name = next((name for name, each in self.begin.items() if each is node), None)
        if name is None:
            hint = (
                node.name
                if isinstance(node, Input)
                else self.frame.hints.get(node, "inside" if node.dtype == "bool" else "part")
            )
            name = free(hint, {*self.begin, self.told.whole, self.told.last, self.told.at, *self.told.back.values()})
        self.begin[name] = node
        rest = node.axes - {self.rows}
        self.orders[name] = (self.rows, *ordered(rest))
        return Input(name, self.orders[name], node.dtype, "argument")

    def next(self, call: Call, along: Axis, body: Body) -> Call | None:
        """A net's call for the next element alone."""
        if call.name not in self.once:
            return None
        last = Input(self.told.last, (self.rows, self.last), "int", "argument")
        now = lambda node: self.at(body.at(build.pick(node, {along: body.now})), body)  # noqa: E731
        return next_call(call, along, self.model, lambda _: (last, self.last), now, lambda node: self.at(node, body))


def axes_of(roots: Iterable[Node]) -> set[Axis]:
    """All axes of what they are computed from."""
    return {axis for node in nodes(roots) for axis in (node.shared if isinstance(node, Source) else node.axes)}


def untold(axis: Axis) -> bool:
    """Whether no data say how many elements there are."""
    return isinstance(axis.lengths, Input) and axis.lengths.source == "lengths"


def free(name: str, taken: Set[str]) -> str:
    """The name, or one like it that is not taken."""
    while name in taken:
        name += "_"
    return name
