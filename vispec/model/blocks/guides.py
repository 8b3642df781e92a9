"""The guide: one law for each latent or partial variable that is sampled, and lets whose plates follow from what they read."""

from collections.abc import Sequence

from vispec.model import model as m
from vispec.model.blocks.flows import is_flow, resolve_flow
from vispec.model.laws.laws import resolve_law
from vispec.model.laws.support import Target
from vispec.model.names.scope import Context, Scope, Symbol
from vispec.model.order import Edge, edges_of, sort
from vispec.model.problems import Problems, did_you_mean, head
from vispec.model.values.resolve import resolve
from vispec.model.walk import law_parts
from vispec.syntax import tree as t

Entry = t.GuideLaw | t.GuideLet | t.GuideAuto


def declare_guide(scope: Scope, entries: Sequence[Entry]) -> None:
    """Add the guide's lets to the symbols; only the guide sees them."""
    for entry in entries:
        if not isinstance(entry, t.GuideLet):
            continue
        name = entry.name.id
        first = scope.symbols.get(name)
        if first is not None:
            cause = (first.span, "first declared here")
            message = f"`{name}` is declared twice"
            scope.problems.add(
                "V102", entry.name.span, message, f"already {first.a}", cause=cause, help="give one of them another name"
            )
        else:
            scope.symbols[name] = Symbol(name, "let", entry.name.span, entry, guide=True)


def resolve_guide_let(scope: Scope, symbol: Symbol) -> m.Expression | None:
    """The value of a guide's let, in the fewest plates in which all that it reads is there; sets the symbol's plates."""
    assert isinstance(symbol.node, t.GuideLet)
    homes = sorted(
        {s.plates for s in scope.symbols.values() if s.kind == "variable"} | {()}, key=lambda plates: (len(plates), plates)
    )
    outer, poisoned = scope.problems, set(scope.poisoned)
    attempts: list[Problems] = []
    for plates in homes:
        scope.problems, scope.poisoned = Problems(), set(poisoned)
        value = resolve(scope, Context(plates, guide=True, owner=symbol.name), symbol.node.value)
        attempts.append(scope.problems)
        if value is not None and not scope.problems.errors:
            scope.problems = outer
            symbol.plates = plates
            return value
    scope.problems = outer
    best = min(attempts, key=lambda found: (any(d.code == "V201" for d in found.found), len(found.found)))
    outer.merge(best)
    return None


def read_guide(scope: Scope, entries: Sequence[Entry]) -> tuple[m.GuideLaw, ...]:
    """The guide's laws, each in the plates of its variable."""
    found: dict[str, m.GuideLaw | None] = {}
    spans = {}
    for entry in entries:
        if not isinstance(entry, t.GuideLaw):
            continue
        name = entry.name.id
        symbol = _latent(scope, entry)
        if name in found:
            cause = (spans[name], "the first one")
            message = f"`{name}` has two guides"
            scope.problems.add("V602", entry.name.span, message, "the second one", cause=cause, help="leave one of them out")
            continue
        found[name], spans[name] = None, entry.name.span
        if symbol is None:
            continue
        context = Context(symbol.law_plates, guide=True, owner=name)
        target = Target(name, symbol.type, symbol.span)
        if isinstance(entry.law, t.Call) and is_flow(scope, entry.law):
            law = resolve_flow(scope, context, entry.law, target)
        else:
            law = resolve_law(scope, context, entry.law, target)
        found[name] = None if law is None else m.GuideLaw(name, law, entry.name.span)
    return tuple(law for law in found.values() if law is not None)


def _latent(scope: Scope, entry: t.GuideLaw) -> Symbol | None:
    """The latent or partial variable that a guide is for."""
    name = entry.name.id
    symbol = scope.symbols.get(name)
    if name in scope.poisoned:
        return None
    latents = [
        s.name for s in scope.symbols.values() if isinstance(s.node, t.Variable) and s.node.role in ("latent", "partial")
    ]
    if symbol is None:
        help = did_you_mean(name, latents, "a guide is for a latent or partial variable of the model")
        scope.problems.add("V101", entry.name.span, f"nothing is called `{name}`", "not declared", help=help)
        return None
    if name not in latents:
        message = f"`{name}` is {symbol.a}; a guide is for a latent or partial one"
        cause = (head(symbol.span, name), "declared here")
        help = "leave this line out, or write `let` for a value that the guide computes"
        scope.problems.add("V601", entry.name.span, message, "nothing to guess", cause=cause, help=help)
        return None
    return symbol


def check_guide_order(scope: Scope, guide: Sequence[m.GuideLaw], guide_lets: Sequence[m.Let], lets: Sequence[m.Let]) -> None:
    """A guide draws its variables one after the other, so none may depend on itself, not even through the model's lets."""
    edges: list[Edge] = []
    for law in guide:
        edges += edges_of(law.name, law_parts(law.law))
    for let in (*guide_lets, *lets):
        edges += edges_of(let.name, (let.value,))
    sort(scope, dict.fromkeys(edge.reader for edge in edges), edges, code="V603")
