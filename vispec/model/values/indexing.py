"""`y[a]`, `c[t-1]`, `x[<i]`, `y[*]`, `confusion[who, truth]`, `jump[j - a[i-1]]`: which element, or which of them, is meant.

Indices go by type into plates, and into the event (placing.py). The rows of the data are never pointed at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vispec.model import model as m
from vispec.model.names.names import outside
from vispec.model.names.scope import Context, Scope, Symbol
from vispec.model.problems import listed
from vispec.model.types import WHAT, WHOLE_DOMAINS, Type
from vispec.model.values.elements import index_event
from vispec.model.values.placing import Filling, Item, Places, place_indices
from vispec.model.walk import walk
from vispec.source import Span
from vispec.syntax import tree as t
from vispec.syntax.unparse import Unparser

Resolve = Callable[[Scope, Context, t.Expr], m.Expression | None]


def index_symbol(
    scope: Scope, context: Context, node: t.Index, symbol: Symbol, kind: Type, resolve: Resolve
) -> m.Expression | None:
    """An index on a variable, parameter or let."""
    for item in node.items:
        if isinstance(item, t.All | t.Before) and len(node.items) > 1:
            message = f"`{'*' if isinstance(item, t.All) else '<'}` stands alone between the brackets"
            help = f"write `{symbol.name}[*]` inside the other plates"
            scope.problems.add("V202", item.span, message, "beside another index", help=help)
            return None
    first = next(iter(node.items))
    if kind.star:
        message = f"`{symbol.name}` is a whole sequence already"
        help = (
            f"write `{symbol.name}`"
            if isinstance(first, t.All)
            else "declare the let inside the plate to have one element each"
        )
        scope.problems.add("V214", node.span, message, "cannot be indexed", cause=(symbol.span, "a sequence"), help=help)
        return None
    if isinstance(first, t.All):
        return _all(scope, context, node, symbol, kind)
    if isinstance(first, t.Before):
        return _prefix(scope, context, node, first, symbol, kind)
    items = [item for item in node.items if not isinstance(item, t.All | t.Before)]
    return _elements(scope, context, node, items, symbol, kind, resolve)


def _all(scope: Scope, context: Context, node: t.Index, symbol: Symbol, kind: Type) -> m.Expression | None:
    name = symbol.name
    if kind.domain in WHOLE_DOMAINS:
        help, what = f"write `{name}`", WHAT[kind.domain]
        scope.problems.add(
            "V210", node.span, f"`{name}` holds the {what}s of all of `{kind.plate}` already", "one value", help=help
        )
        return None
    if not [p for p in symbol.plates if not scope.plates[p].implicit]:
        message = f"`{name}` stands in no plate, so it is one value and no sequence"
        scope.problems.add(
            "V210", node.span, message, "not a sequence", cause=(symbol.span, "declared here"), help=f"write `{name}`"
        )
        return None
    plate = scope.plates[symbol.plates[-1]]
    if plate.data:
        message = f"`{name}[*]` would read all rows of the data; only a batch of them is there at a time"
        help = f"write `{name}` inside `plate {plate.name}:` for its own row"
        scope.problems.add("V211", node.span, message, "all rows", cause=(plate.span, "the data plate"), help=help)
        return None
    missing = [outer for outer in symbol.plates[:-1] if outer not in context.open]
    if missing:
        outside(scope, symbol, node.span, missing)
        return None
    return m.All(node.span, replace(kind, star=True, over=plate.name), name, plate.name)


def _prefix(scope: Scope, context: Context, node: t.Index, item: t.Before, symbol: Symbol, kind: Type) -> m.Expression | None:
    name, plate = symbol.name, item.plate.id
    if plate in scope.poisoned:
        return None
    info = scope.plates.get(plate)
    problem: str | None = None
    if info is None:
        problem, help = f"`{plate}` is not a chain", "write the name of the chain: `x[<i]`"
    elif info.kind != "chain":
        problem, help = f"`{plate}` is a plate: its elements have no order", f"write `chain {plate}:` where it is opened"
    elif plate not in symbol.plates:
        problem, help = f"`{name}` does not stand in chain `{plate}`", f"declare `{name}` inside `chain {plate}:`"
    elif plate not in context.open:
        problem, help = f"chain `{plate}` is not open here, so there is no present element", f"read all of it: `{name}[*]`"
    elif symbol.plates[-1] != plate:
        problem, help = f"`{plate}` is not the innermost plate of `{name}`", f"a prefix runs along `{symbol.plates[-1]}`"
    else:
        missing = [outer for outer in symbol.plates if outer not in context.open]
        if missing:
            outside(scope, symbol, node.span, missing)
            return None
        return m.Prefix(node.span, replace(kind, star=True, over=plate), name, plate)
    cause = (info.span, "opened here") if info else None
    scope.problems.add("V209", item.span, problem, "no prefix along this", cause=cause, help=help)
    return None


@dataclass
class _Picked:
    """The items of an index, and the step back among them: its chain and how many elements."""

    items: list[Item]
    nodes: list[t.Expr]
    past: tuple[str, int] | None = None


def _elements(
    scope: Scope, context: Context, node: t.Index, items: Sequence[t.Expr], symbol: Symbol, kind: Type, resolve: Resolve
) -> m.Expression | None:
    picked = _pick(scope, context, items, symbol, resolve)
    if picked is None:
        return None
    own = () if kind.domain in WHOLE_DOMAINS else tuple(p for p in symbol.plates if not scope.plates[p].data)
    closed = frozenset(plate for plate in own if plate not in context.open)
    rows = [p for p in symbol.plates if scope.plates[p].data and p not in context.open]
    if rows or (not picked.items and closed):
        outside(scope, symbol, node.span, rows or [plate for plate in own if plate in closed])
        return None
    places = Places(own, () if kind.star else kind.shape, closed, kind.low is not None)
    filling = place_indices(scope, node.span, symbol.name, picked.items, places)
    if filling is None:
        return None
    if not filling and picked.items:
        return _wrong_number(scope, node, symbol, picked, places)
    return _filled(scope, node, symbol, kind, picked, filling)


def _filled(scope: Scope, node: t.Index, symbol: Symbol, kind: Type, picked: _Picked, filling: Filling) -> m.Expression | None:
    """The element that the indices point at in their places."""
    by: dict[str, m.Expression] = {}
    entries: dict[int, tuple[t.Expr, m.Expression]] = {}
    good = True
    for item, expr, place in zip(picked.items, picked.nodes, filling, strict=True):
        if item.value is None or (isinstance(item.value, m.Position) and item.value.plate == place):
            continue  # a step back, or its own element
        if isinstance(place, int):
            entries[place] = (expr, item.value)
        else:
            by[place] = item.value
            good &= _points(scope, expr, item.value, place)
    if picked.past is not None and by:
        message = "a step back and another index cannot be taken at once"
        scope.problems.add("V202", node.span, message, "two kinds of index", help="name the step back with a `let` of its own")
        return None
    if not good:
        return None
    starred = next((plate for plate, index in by.items() if index.type.star), None)
    if starred is not None:
        over = by[starred].type.over
        others = [index for plate, index in by.items() if plate != starred]
        along = over in {*symbol.plates} - {starred} or any(index.type.star or _varies(scope, index, over) for index in others)
        if along or entries:
            return _beside_sequence(scope, node, symbol, starred)
        kind = replace(kind, star=True, over=over)
    base = _base(node.span, kind, symbol.name, picked, tuple((plate, by[plate]) for plate in symbol.plates if plate in by))
    rest = [entries[place] for place in sorted(entries)]
    return index_event(scope, node, base, [expr for expr, _ in rest], [value for _, value in rest], symbol)


def _varies(scope: Scope, value: m.Expression, plate: str | None) -> bool:
    """Whether anything in it has elements along the plate."""
    names = [getattr(each, "name", "") for each in walk(value)]
    return any(plate in scope.symbols[name].plates for name in names if name in scope.symbols) or any(
        isinstance(each, m.Position) and each.plate == plate for each in walk(value)
    )


def _beside_sequence(scope: Scope, node: t.Index, symbol: Symbol, plate: str) -> None:
    """Report a look-up for each element of a sequence where more than this element differs along it, or an entry is picked."""
    message = f"`{symbol.name}` is looked up for all of a sequence, along which only its index into `{plate}` may differ"
    help = f"look up one element by a let, `let e = {symbol.name}[...]`, and read the sequence of these, `e[*]` or `e[<i]`"
    scope.problems.add("V202", node.span, message, "more than that", help=help)


def _base(
    span: Span, kind: Type, name: str, picked: _Picked, by: tuple[tuple[str, m.Expression], ...]
) -> m.Ref | m.Past | m.Select:
    if picked.past is not None:
        return m.Past(span, kind, name, *picked.past)
    return m.Select(span, kind, name, by) if by else m.Ref(span, kind, name)


def _wrong_number(scope: Scope, node: t.Index, symbol: Symbol, picked: _Picked, places: Places) -> None:
    """Report indices that leave a plate without one, or that have no place."""
    count, closed = len(picked.items), [plate for plate in places.plates if plate in places.must]
    if count > len(places.all):
        cause = (symbol.span, f"`{symbol.name}` has no further plate or dimension")
        message = f"`{symbol.name}` has no elements for this index to point at"
        last = picked.items[len(places.all)]
        scope.problems.add("V214", last.span, message, "nothing to index", cause=cause, help="leave the index out")
        return
    needs = "one index" if len(closed) == 1 else f"{len(closed)} indices"
    message = f"`{symbol.name}` needs {needs} here, for {listed(closed)}, and has {count}"
    cause = (scope.plates[closed[0]].span, "opened here")
    help = f"write `{symbol.name}[{', '.join('...' for _ in closed)}]`, one index for each"
    scope.problems.add("V202", node.span, message, f"{count} given", cause=cause, help=help)


def _pick(scope: Scope, context: Context, items: Sequence[t.Expr], symbol: Symbol, resolve: Resolve) -> _Picked | None:
    """The items resolved; None where something is reported."""
    picked, good = _Picked([], []), True
    for item in items:
        if isinstance(item, t.Name) and item.id in symbol.plates and item.id in context.open and scope.plates[item.id].data:
            continue  # its own row
        text = Unparser(scope.source).expression(item)
        plate = _plate_of(item, symbol)
        if plate is None:
            value = resolve(scope, context, item)
            good &= value is not None
            of = None if value is None else value.plate if isinstance(value, m.Position) else value.type.plate
            picked.items.append(Item(item.span, text, value, of))
            picked.nodes.append(item)
            continue
        assert isinstance(item, t.Binary)
        lag = _lag(scope, context, item, plate, symbol)
        if lag is None:
            good = False
        elif picked.past is not None:
            message = "only one chain can be stepped back along at a time"
            scope.problems.add("V202", item.span, message, "a second step back", help="step back along one chain only")
            good = False
        else:
            picked.past = (plate, lag)
            picked.items.append(Item(item.span, text, None, plate))
            picked.nodes.append(item)
    return picked if good else None


def _plate_of(item: t.Expr, symbol: Symbol) -> str | None:
    """The plate p of `p - something` or `p + something`, if the indexed name stands in it."""
    if isinstance(item, t.Binary) and item.op in "+-" and isinstance(item.left, t.Name) and item.left.id in symbol.plates:
        return item.left.id
    return None


def _lag(scope: Scope, context: Context, item: t.Binary, plate: str, symbol: Symbol) -> int | None:
    """How many elements back `t - 1` is; None where that is reported."""
    info, name = scope.plates[plate], symbol.name
    opened = (info.span, "opened here")
    step = item.right.value if isinstance(item.right, t.Number) else None
    if context.past < 0 and (info.kind != "chain" or plate not in context.open):
        return None
    if info.kind != "chain":
        help = f"write `chain {plate}:` where it is opened, if its elements have an order"
        message = f"`{plate}` is a plate: its elements have no order, and so no past"
        scope.problems.add("V206", item.span, message, "no past", cause=opened, help=help)
    elif plate not in context.open:
        message = f"chain `{plate}` is not open here, so there is no present element to step back from"
        help = f"move this into `chain {plate}:`, or read the whole sequence as `{name}[*]`"
        scope.problems.add("V206", item.span, message, "no present element", cause=opened, help=help)
    elif not isinstance(step, int) or step == 0:
        message = "a step back in a chain is a whole number of at least 1, written out"
        help = f"write `{name}[{plate}-1]`"
        scope.problems.add("V208", item.right.span, message, "not a fixed step", help=help)
    elif item.op == "+":
        message = f"`{name}[{plate}+{step}]` is in the future of chain `{plate}`"
        help = f"an element may read only the past: `{name}[{plate}-{step}]`"
        scope.problems.add("V205", item.span, message, "not there yet", cause=opened, help=help)
    elif step > past_of(scope, context, plate):
        _no_past(scope, context, item, plate, name, step)
    else:
        return step
    return None


def past_of(scope: Scope, context: Context, plate: str) -> int:
    """How many elements of the chain surely come before the present one."""
    chains = [p for p in context.open if scope.plates[p].kind == "chain"]
    return context.past if chains and chains[-1] == plate else 0


def _no_past(scope: Scope, context: Context, item: t.Binary, plate: str, name: str, step: int) -> None:
    before = past_of(scope, context, plate)
    which = ("first", "second", "third")[before] if before < 3 else f"{before + 1}th"
    message = f"the {which} element of chain `{plate}` has no element {step} {'step' if step == 1 else 'steps'} before it"
    firsts = " then ".join(f"P{k}" for k in range(step))
    help = f"give the first {'element a law' if step == 1 else f'{step} elements laws'} of their own: `{firsts} then ...`"
    help = help.replace("of their own", "of its own") if step == 1 else help
    if isinstance(node := scope.symbols[context.owner].node if context.owner in scope.symbols else None, t.Let):
        help = f"say what it is at first: `let {node.name.id} = {' then '.join('0' for _ in range(step))} then ...`"
    scope.problems.add("V207", item.span, message, f"`{name}` does not reach so far back", help=help)


def _points(scope: Scope, item: t.Expr, value: m.Expression, plate: str) -> bool:
    """Whether a value can point at an element of the plate."""
    info = scope.plates[plate]
    opened = (info.span, "opened here")
    number = value.value if isinstance(value, m.Const) else None
    if isinstance(number, int):
        size = scope.values.get(info.size, info.size) if isinstance(info.size, str) else info.size
        if number < 0 or (isinstance(size, int) and number >= size):
            ends = f"0 to {size - 1}" if isinstance(size, int) else "0 up"
            message = f"plate `{plate}` has no element {number}: they count from {ends}"
            scope.problems.add("V204", item.span, message, "out of range", cause=opened)
            return False
        return True
    kind = value.type
    if not kind.shape:
        if kind.domain in ("index", "tree") and kind.plate == plate:
            return True
        if kind.domain in ("category", "token", "bit") and scope.same(kind.card, info.size):
            return True
    what = f"`{kind}`" + (f" of {scope.shown(kind.card)} values" if kind.domain == "category" and info.size is not None else "")
    if isinstance(value, m.Position | m.Length) or kind.domain in ("real", "count", "positive"):
        what = "a number"
    message = f"an index into plate `{plate}` is an `index[{plate}]`, and this is {what}"
    help = f"declare it as `index[{plate}]`" + (f" or `category[{info.size}]`" if info.size is not None else "")
    scope.problems.add("V203", item.span, message, f"does not point into `{plate}`", cause=opened, help=help)
    return False
