"""Laws of the stretches of a chain: their labels, each after the one before, their lengths, and what they are as a whole.

They are tables: init (K,), of the first label; move (K, K), of a label after another, the same for all where no past is read;
duration (K, L), of a length under a label, or (L,), the same under all. What a line of the spec says of one stretch,
`Categorical(move[k[s-1]])`, is the row of such a table. `Weight(...)` of a length is a table too, of numbers that need not be
probabilities; where it reads the length of the stretch, `exp(-|t|^2)`, it is that at each length.
"""

from collections.abc import Sequence
from dataclasses import replace

from vispec.model import model as m
from vispec.model.graphs import mentioned
from vispec.model.laws.laws import resolve_law
from vispec.model.laws.support import Target
from vispec.model.names.annotations import read_type
from vispec.model.names.names import find
from vispec.model.names.scope import Context, PlateInfo, Scope
from vispec.model.names.stretches import Stretches
from vispec.model.types import Dim, Domain, Type
from vispec.model.values.conform import const, domain_fits, is_ragged_sequence, shape_of
from vispec.model.values.resolve import NUMBER, resolve
from vispec.model.walk import rebuilt
from vispec.source import Span
from vispec.syntax import tree as t

LAW = "Segments"


def type_of_stretches(scope: Scope, found: Stretches, plates: tuple[str, ...]) -> Type | None:
    """The type of the labels of all elements, by stretches."""
    node = found.label.type
    element = read_type(scope, node, "variable", plates)
    if element is None:
        return None
    if element.domain not in ("category", "index") or element.shape or element.card is None or element.along is not None:
        message = f"the label of a stretch is one of a fixed number of values, and this is `{element}`"
        help = "declare it as `category[K]`, or as `index[p]` of a plate with a size"
        scope.problems.add("V307", node.span, message, "not a label", help=help)
        return None
    plate = scope.plates[found.plate]
    if plate.data:
        message = f"stretches of the data plate `{plate.name}` would be of its rows: only a batch of them is there at a time"
        help = f"open a plate of rows around the chain: `plate row:`, and `plate {plate.name}:` inside"
        scope.problems.add("V307", found.span, message, "along rows", cause=(plate.span, "the data plate"), help=help)
        return None
    labels, card = element.labels, element.card
    return Type("segments", card=card, plate=found.plate, labels=labels, element=element, longest=found.longest)


def law_of_stretches(scope: Scope, context: Context, found: Stretches, kind: Type | None) -> m.Draw | None:
    """One law on all stretches together; None where a part of it is reported."""
    name, law = found.label.name.id, found.label.law
    laws: Sequence[t.Expr] = law.laws if isinstance(law, t.Then) else () if law is None else (law,)
    if len(laws) > 2:
        message = "the law of a label reads that of the stretch before, and of no other"
        help = "write the law of the first stretch, `then` that of all that follow"
        scope.problems.add("V323", laws[2].span, message, "a third law", help=help)
        return None
    past = f"{name}[{found.chain}-1]"
    if kind is None or kind.card is None or (found.labelled and not laws):
        return None
    parts: dict[str, m.Expression | None] = {}
    if laws:
        parts["init"] = _table(scope, context, found, laws[0], None, kind.card)
    if len(laws) > 1:
        parts["move"] = _table(scope, context, found, laws[1], (past, kind.card), kind.card)
    if found.length is not None and found.length.law is not None:
        by = (name, kind.card) if found.labelled else None
        match found.length.law:
            case t.Call(function=t.Name(id="Weight"), args=(weight,), kwargs=()):
                parts["weight"] = _weights(scope, context, found, weight, by)
            case law:
                parts["duration"] = _table(scope, context, found, law, by, found.longest)
    args = tuple((role, value) for role, value in parts.items() if value is not None)
    if len(args) < len(parts):
        return None
    options = (("cut", True),) if found.cut else ()
    return m.Draw(found.label.span if law is None else law.span, LAW, args, options)


def type_of_whole(scope: Scope, found: Stretches, plates: tuple[str, ...]) -> Type | None:
    """The type of what is said of whole stretches, at the first element of each: one value for each length."""
    assert found.whole is not None
    node, of = found.whole.type, found.whole.of
    kind = read_type(scope, node, "variable", plates)
    if kind is None:
        return None
    if kind.domain != "token" or kind.shape:
        message = f"a stretch as a whole is a word of a vocabulary, and `{found.whole.name.id}` is `{kind}`"
        help = "declare `vocab WORD`, which holds all stretches of the data, and this as `token[WORD]`"
        scope.problems.add("V307", node.span, message, "not a word", help=help)
        return None
    assert isinstance(of, t.Index)
    assert isinstance(of.base, t.Name)
    return replace(kind, shape=(found.longest,), whole_of=(found.label.name.id, of.base.id))


def law_of_whole(scope: Scope, found: Stretches, plates: tuple[str, ...], kind: Type | None) -> m.Law | None:
    """The law of what stretches are as a whole, at the first element of each."""
    assert found.whole is not None
    assert found.whole.law is not None
    name = found.whole.name
    scalar = None if kind is None else replace(kind, shape=(), whole_of=None)
    law = resolve_law(scope, Context(plates, owner=name.id), found.whole.law, Target(name.id, scalar, name.span))
    return law if _consists_of_tokens(scope, found, plates) else None


def _consists_of_tokens(scope: Scope, found: Stretches, plates: tuple[str, ...]) -> bool:
    """Whether the elements of which a whole stretch consists are tokens that data give."""
    assert found.whole is not None
    assert isinstance(found.whole.of, t.Index)
    assert isinstance(found.whole.of.base, t.Name)
    symbol = find(scope, Context(plates, owner=found.whole.name.id), found.whole.of.base)
    if symbol is None or symbol.type is None:
        return False
    span, usage = found.whole.of.span, f"`given {symbol.name} : token[V]` in `plate {found.plate}:`"
    node = symbol.node
    if not isinstance(node, t.Variable) or node.role != "given" or symbol.plates != plates or symbol.type.domain != "token":
        message = f"a stretch consists of tokens that are given in plate `{found.plate}`, and `{symbol.name}` is none of these"
        cause = (symbol.span, f"{symbol.a} of type `{symbol.type}`")
        scope.problems.add("V323", span, message, "not given tokens", cause=cause, help=f"declare {usage}")
        return False
    vocab = scope.symbols[str(symbol.type.card)].node
    assert isinstance(vocab, t.Vocab)
    for option in vocab.options:
        if isinstance(option, t.Keyword) and option.name in ("begin", "end", "subword"):
            message = f"a stretch consists of what stands in the data, and `{symbol.type.card}` has `{option.name}`"
            scope.problems.add(
                "V323", span, message, f"has `{option.name}`", cause=(option.span, "said here"), help="leave it out"
            )
            return False
    return True


def _weights(
    scope: Scope, context: Context, found: Stretches, value: t.Expr, by: tuple[str, Dim] | None
) -> m.Expression | None:
    """A positive number for each length: a table, or its row, as those of probabilities are, or what reads the length."""
    assert found.length is not None
    read = {found.chain, found.label.name.id} & {*mentioned(value)} if found.labelled else set[str]()
    if read and by is not None and isinstance(value, t.Index) and [*map(text, value.items)] == [by[0]]:
        rows = resolve(scope, context, _all_rows(scope, context, value))
        good = rows is not None and _fits(scope, rows, value.span, (by[1],), found.longest, "positive")
        return rows if good else None
    if read:
        message = (
            f"a weight reads the length of a stretch, `|{found.plate}|`, or is the row of a table, and here is `{min(read)}`"
        )
        scope.problems.add("V323", value.span, message, "not a row of a table", help=f"write `Weight(exp(-|{found.plate}|))`")
        return None
    weight = resolve(scope, context, value)
    if weight is None or shape_of(scope, weight):
        return weight if weight is not None and _fits(scope, weight, value.span, (), found.longest, "positive") else None
    name = found.length.name.id
    scope.plates[name] = PlateInfo(name, "plate", found.longest, (), found.length.span)

    def at_each(node: m.Expression) -> m.Expression | None:
        """The number of a length, from 0 on, and one more in its place."""
        if not isinstance(node, m.Length) or node.plate != found.plate:
            return None
        return m.Apply(node.span, node.type, "+", (m.Position(node.span, NUMBER, name), const(1, node.span)))

    each = rebuilt(weight, at_each)
    if not domain_fits(scope, each, "positive"):
        message, help = "a weight is a positive number, and this may be another", f"write `Weight(exp(-|{found.plate}|))`"
        scope.problems.add("V409", value.span, message, f"`{weight.type}`", help=help)
        return None
    return m.For(value.span, Type("positive", (found.longest,)), each, name)


def _table(
    scope: Scope, context: Context, found: Stretches, law: t.Expr, by: tuple[str, Dim] | None, size: Dim
) -> m.Expression | None:
    """The probabilities of a Categorical law, a row for each value of what it is read at, or one row for all."""
    match law:
        case t.Call(function=t.Name(id="Categorical"), args=(probs,), kwargs=()):
            pass
        case t.Call(function=t.Name(id="Categorical"), args=(), kwargs=(t.Keyword(name="probs", value=probs),)):
            pass
        case _:
            message = "labels and lengths of stretches have tables of probabilities for laws, and this is none"
            scope.problems.add("V323", law.span, message, "not a table", help=_ways_out(found, by))
            return None
    rows: tuple[Dim, ...] = ()
    read = {found.chain, found.label.name.id} & {*mentioned(probs)}
    if by is not None and read and isinstance(probs, t.Index) and [*map(text, probs.items)] == [by[0]]:
        whole = _all_rows(scope, context, probs)
        value, rows = resolve(scope, context, whole), (by[1],)
    elif read:
        message = f"this law reads `{min(read)}` otherwise than as the row of a table" if by else "nothing is before the first"
        scope.problems.add("V323", probs.span, message, "not a row of a table", help=_ways_out(found, by))
        return None
    else:
        value = resolve(scope, context, probs)
    if value is None or not _fits(scope, value, probs.span, rows, size):
        return None
    return value


def _ways_out(found: Stretches, by: tuple[str, Dim] | None) -> str:
    if by is None:
        return "write `Categorical(init)`, with one probability for each label"
    return f"write `Categorical(table[{by[0]}])`; a `let` in a plate with a size computes the rows of a table"


def text(item: t.Node) -> str:
    """`k` and `k[s-1]`, as far as these are such."""
    match item:
        case t.Name(id=name):
            return name
        case t.Index(base=t.Name(id=name), items=(t.Binary(op="-", left=t.Name(id=chain), right=t.Number(value=1)),)):
            return f"{name}[{chain}-1]"
    return ""


def _all_rows(scope: Scope, context: Context, probs: t.Index) -> t.Expr:
    """The whole table: all elements of the plate that it stands in, or the value itself."""
    symbol = scope.symbols.get(probs.base.id) if isinstance(probs.base, t.Name) else None
    if symbol is not None and any(plate not in context.open for plate in symbol.plates):
        return replace(probs, items=(t.All(probs.items[0].span),))
    return probs.base


def _fits(scope: Scope, value: m.Expression, span: Span, rows: tuple[Dim, ...], size: Dim, domain: Domain = "simplex") -> bool:
    """Whether a table has so many probabilities, or numbers of another domain, in so many rows or alone."""
    shape = () if is_ragged_sequence(scope, value) else shape_of(scope, value)
    right = domain_fits(scope, value, domain)
    if right and scope.same_shape(shape, (*rows, size)):
        return True
    each = "".join(f", in {scope.shown(count)} rows" for count in rows)
    found = f"here are ({', '.join(map(scope.shown, shape))})" if right and shape else f"this is `{value.type}`"
    what = "probabilities" if domain == "simplex" else "weights"
    message = f"this law needs {scope.shown(size)} {what}{each}, and {found}"
    help = f"declare it as `{domain}[{size}]`" + "".join(f" in a plate of {count} elements" for count in rows)
    scope.problems.add("V409", span, message, "not such a table", help=help)
    return False
