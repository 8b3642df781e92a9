"""Tree → Model: names, types, shapes, plates and laws resolved, or everything that is wrong, at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import TypeVar

from vispec.catalog import distributions
from vispec.diagnostics import Diagnostic, SpecError
from vispec.model import model as m
from vispec.model.blocks.automatic import read_auto
from vispec.model.blocks.fitting import read_fit
from vispec.model.blocks.guides import check_guide_order, declare_guide, read_guide, resolve_guide_let
from vispec.model.blocks.inference import points_of, read_infer
from vispec.model.blocks.kept import fixed_names
from vispec.model.laws.laws import resolve_law
from vispec.model.laws.stretches import law_of_stretches, law_of_whole, type_of_stretches, type_of_whole
from vispec.model.laws.support import Target
from vispec.model.names.annotations import read_type
from vispec.model.names.declare import declare
from vispec.model.names.embeddings import read_embedding
from vispec.model.names.scope import Context, PlateInfo, Scope, Symbol
from vispec.model.names.sizes import read_vocab
from vispec.model.names.stretches import Stretches
from vispec.model.names.unused import warn
from vispec.model.nets.trunks import read_net, read_signature
from vispec.model.order import Edge, edges_of, sort
from vispec.model.problems import Problems
from vispec.model.types import Type
from vispec.model.values.ranges import form_of
from vispec.model.values.resolve import resolve
from vispec.model.values.starts import read_start
from vispec.model.values.states import in_order, keeps, outside_chain, state, type_of_state
from vispec.model.walk import law_parts, prefix_of
from vispec.source import Source
from vispec.syntax import tree as t

Node = TypeVar("Node", bound=t.Statement)


def check_model(tree: t.Tree, sizes: Mapping[str, int] | None = None) -> m.Model:
    """The checked model; `sizes` override the file's. Raises SpecError with all that is wrong, warnings included."""
    model, diagnostics = check(tree, sizes)
    if model is None:
        raise SpecError(tree.source, diagnostics)
    return model


def check(tree: t.Tree, sizes: Mapping[str, int] | None = None) -> tuple[m.Model | None, tuple[Diagnostic, ...]]:
    """The model, or None where there are errors, and every diagnostic in the order of the text."""
    scope = Scope(tree.source, Problems())
    model = _Checker(scope, tree).run(sizes or {})
    found = sorted(scope.problems.found, key=lambda d: (d.primary.span.start, d.code))
    return (None if scope.problems.errors else model), tuple(found)


class _Checker:
    """One run over a tree: the declarations first, then whatever reads them."""

    def __init__(self, scope: Scope, tree: t.Tree) -> None:
        self.scope, self.tree = scope, tree
        self.lets: dict[str, m.Let] = {}

    def run(self, sizes: Mapping[str, int]) -> m.Model:
        scope = self.scope
        declare(scope, self.tree.body, sizes)
        guide = [entry for section in self._of(t.Guide) for entry in section.entries]
        declare_guide(scope, guide)
        self._embeddings()
        self._types()
        self._resolve_lets()
        vocabs = tuple(read_vocab(scope, s.node) for s in self._symbols() if isinstance(s.node, t.Vocab))
        nets = [read_net(scope, s.node, scope.nets[s.name]) for s in self._symbols() if isinstance(s.node, t.Net)]
        variables = tuple(v for s in self._symbols() if isinstance(s.node, t.Variable) and (v := self._variable(s, s.node)))
        laws = read_guide(scope, guide)
        joint = read_auto(scope, guide, variables)
        infer = self._infer(guide)
        entries = [entry for section in self._of(t.Fit) for entry in section.entries]
        fit = read_fit(scope, entries, points_of(infer))
        params = self._params(fixed_names(entries))
        lets = tuple(let for let in self._lets(guide=False))
        guide_lets = tuple(self._lets(guide=True))
        order = self._order(variables, lets)
        check_guide_order(scope, laws, guide_lets, lets)
        edges = _edges(variables, (*lets, *guide_lets), laws)
        warn(scope, edges, {edge.source for edge in _edges(variables, lets, ())}, laws, infer, fit)
        return m.Model(
            name=class_name(self.tree.source),
            source=self.tree.source,
            sizes=tuple(m.Size(s.name, scope.values.get(s.name), s.span) for s in self._symbols() if s.kind == "size"),
            vocabs=vocabs,
            plates=tuple(self._plate(plate) for plate in scope.plates.values()),
            params=params,
            nets=tuple(net for net in nets if net is not None),
            variables=variables,
            lets=lets,
            order=order,
            guide=laws,
            guide_lets=guide_lets,
            infer=infer,
            fit=fit,
            joint=joint,
            embeddings=tuple(scope.embeddings.values()),
        )

    def _of(self, kind: type[Node]) -> Iterator[Node]:
        return (node for node in self.tree.body if isinstance(node, kind))

    def _symbols(self) -> list[Symbol]:
        return sorted(self.scope.symbols.values(), key=lambda symbol: symbol.span.start)

    def _embeddings(self) -> None:
        for symbol in self._symbols():
            if isinstance(symbol.node, t.Embedding):
                table = read_embedding(self.scope, symbol.node)
                if table is None:
                    self.scope.poisoned.add(symbol.name)
                else:
                    self.scope.embeddings[symbol.name] = table

    def _types(self) -> None:
        """The types of parameters and variables, and the signatures of nets."""
        for symbol in self._symbols():
            if isinstance(symbol.node, t.Param):
                symbol.type = read_type(self.scope, symbol.node.type, "parameter", symbol.plates)
            elif isinstance(symbol.node, t.Variable) and symbol.name in self.scope.stretches:
                symbol.type = type_of_stretches(self.scope, self.scope.stretches[symbol.name], symbol.plates)
            elif isinstance(symbol.node, t.Variable) and (found := self._whole(symbol)) is not None:
                symbol.type = type_of_whole(self.scope, found, symbol.plates)
            elif isinstance(symbol.node, t.Variable):
                symbol.type = read_type(self.scope, symbol.node.type, "variable", symbol.plates)
                if symbol.type is not None and symbol.type.domain == "parse" and symbol.node.role == "given":
                    message = f"a parse has a law, and `{symbol.name}` is given, which is not compiled"
                    help = "declare it as `observed`, with a law; what stands inside the plate reads the labels of its elements"
                    self.scope.problems.add("V307", symbol.node.type.span, message, "given", help=help)
                    symbol.type = None
                if symbol.type is not None and symbol.type.along is not None:
                    self._stand_along(symbol, symbol.type.along)
            elif isinstance(symbol.node, t.Net):
                self.scope.nets[symbol.name] = read_signature(self.scope, symbol.node)

    def _stand_along(self, symbol: Symbol, along: str) -> None:
        """Labels have an element along a plate in which they are not declared."""
        assert isinstance(symbol.node, t.Variable)
        symbol.plates, plate = (*symbol.plates, along), self.scope.plates[along]
        if plate.first is None and symbol.node.role != "latent":
            plate.first = symbol.name

    def _params(self, fixed: frozenset[str]) -> tuple[m.Param, ...]:
        """The parameters, with their starts where these are written."""
        found: list[m.Param] = []
        for s in self._symbols():
            if isinstance(s.node, t.Param) and s.type:
                start = None if s.node.value is None else read_start(self.scope, s.node, s.type, s.name in fixed)
                found.append(m.Param(s.name, s.type, s.plates, s.span, value=start))
        return tuple(found)

    def _whole(self, symbol: Symbol) -> Stretches | None:
        """The stretches of which a variable says what they are as a whole."""
        return next((found for found in self.scope.stretches.values() if found.whole is symbol.node), None)

    def _variable(self, symbol: Symbol, node: t.Variable) -> m.Variable | None:
        """The variable with its law, whose problems are reported even where the type is wrong."""
        law = None
        if (found := self.scope.stretches.get(symbol.name)) is not None:
            law = law_of_stretches(self.scope, Context(symbol.plates, owner=symbol.name), found, symbol.type)
        elif (found := self._whole(symbol)) is not None:
            law = law_of_whole(self.scope, found, symbol.plates, symbol.type)
        elif node.law is not None:
            target = Target(symbol.name, symbol.type, symbol.span)
            law = resolve_law(self.scope, Context(symbol.law_plates, owner=symbol.name), node.law, target)
        if symbol.type is None or (law is None and node.law is not None):
            return None
        return m.Variable(symbol.name, node.role, symbol.type, symbol.plates, law, symbol.span)

    def _resolve_lets(self) -> None:
        """The value and type of every let, each after those that it reads."""
        scope = self.scope
        symbols = {symbol.name: symbol for symbol in self._symbols() if isinstance(symbol.node, t.Let | t.GuideLet)}
        states: list[Symbol] = []
        for name in in_order(scope, symbols):
            symbol = symbols[name]
            if name in scope.poisoned:
                continue
            if isinstance(symbol.node, t.Let) and isinstance(symbol.node.value, t.Then):
                symbol.type = self._state_type(symbol, symbol.node, symbol.node.value)
                if symbol.type is None:
                    scope.poisoned.add(name)
                else:
                    states.append(symbol)
            else:
                self._keep(symbol, self._let_value(symbol))
        for symbol in states:
            assert isinstance(symbol.node, t.Let)
            assert isinstance(symbol.node.value, t.Then)
            assert symbol.type is not None
            self._keep(symbol, state(scope, symbol, symbol.node, symbol.node.value, symbol.type))

    def _keep(self, symbol: Symbol, value: m.Expression | None) -> None:
        """A let's value, or that it has none."""
        if value is not None and (prefix := prefix_of(value)):
            message = f"`{symbol.name}` would be another sequence at each element of `{prefix.plate}`, and a let is one value"
            help = f"write `{prefix.name}[<{prefix.plate}]` where it is read"
            self.scope.problems.add("V304", value.span, message, "all that stands before", help=help)
            value = None
        if value is None:
            self.scope.poisoned.add(symbol.name)
            return
        symbol.type, symbol.value = value.type, value
        self.scope.ranges.lets[symbol.name] = form_of(self.scope, value)
        self.lets[symbol.name] = m.Let(symbol.name, value.type, symbol.plates, value, symbol.span)

    def _state_type(self, symbol: Symbol, node: t.Let, value: t.Then) -> Type | None:
        return None if outside_chain(self.scope, symbol, value) else type_of_state(self.scope, symbol, node, value.laws)

    def _let_value(self, symbol: Symbol) -> m.Expression | None:
        if symbol.guide:
            return resolve_guide_let(self.scope, symbol)
        assert isinstance(symbol.node, t.Let)
        kind = None if symbol.node.type is None else read_type(self.scope, symbol.node.type, "variable", symbol.plates)
        if kind is not None and kind.along is not None and symbol.node.type is not None:
            message = f"`labels` is a type of variables, and `{symbol.name}` is a let"
            help = f"declare it inside `{kind.along}`, as `{replace(kind, along=None)}`"
            self.scope.problems.add("V307", symbol.node.type.span, message, "not a value", help=help)
            return None
        value = resolve(self.scope, Context(symbol.plates, owner=symbol.name), symbol.node.value)
        if value is None or (symbol.node.type is not None and kind is None):
            return None
        return value if kind is None or keeps(self.scope, symbol, symbol.node, value, kind) else None

    def _lets(self, guide: bool) -> Iterator[m.Let]:
        symbols = (s for s in self._symbols() if s.kind == "let" and s.guide == guide)
        return (self.lets[s.name] for s in symbols if s.name in self.lets)

    def _infer(self, guide: Sequence[t.GuideLaw | t.GuideLet | t.GuideAuto]) -> tuple[m.Infer, ...]:
        entries = [entry for section in self._of(t.Infer) for entry in section.entries]
        guided = frozenset(entry.name.id for entry in guide if isinstance(entry, t.GuideLaw))
        priors = frozenset(
            s.name
            for s in self._symbols()
            if isinstance(s.node, t.Net) and (s.node.prior or any(stage.prior for stage in s.node.trunk))
        )
        return read_infer(self.scope, entries, guided, priors)

    def _order(self, variables: Sequence[m.Variable], lets: Sequence[m.Let]) -> tuple[str, ...]:
        declared = sorted((*variables, *lets), key=lambda node: node.span.start)
        return sort(self.scope, [node.name for node in declared], _edges(variables, lets, ()))

    def _plate(self, plate: PlateInfo) -> m.Plate:
        key = f"{plate.first or plate.name}_len"
        return m.Plate(
            plate.name, plate.kind, plate.size, plate.inside, plate.data, plate.ragged, key, plate.span, plate.implicit
        )


def _edges(variables: Sequence[m.Variable], lets: Sequence[m.Let], guide: Sequence[m.GuideLaw]) -> list[Edge]:
    """All dependencies; a guide's are those of its variable."""
    edges: list[Edge] = []
    for variable in (*variables, *guide):
        edges += edges_of(variable.name, law_parts(variable.law) if variable.law is not None else (), grown_along(variable))
    for variable in variables:
        for each in variable.type.whole_of or ():
            edges.append(Edge(variable.name, each, variable.span))
    for let in lets:
        edges += edges_of(let.name, (let.value,))
    return edges


def grown_along(variable: m.Variable | m.GuideLaw) -> str | None:
    """The plate of a tree whose elements decide what hangs from them."""
    law = variable.law
    grows = isinstance(law, m.Draw) and distributions()[law.distribution].decisions is not None
    return variable.type.plate if grows and isinstance(variable, m.Variable) else None


def class_name(source: Source) -> str:
    """The module's class: the file's name in CamelCase."""
    words = re.findall(r"[^\W_]+", PurePath(source.name).stem)
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name.isidentifier() else f"Model{name}"
