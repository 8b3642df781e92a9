"""The first pass: every name of the file and every plate, before any type or expression is looked at."""

from collections.abc import Mapping, Sequence

from vispec.catalog import written_laws
from vispec.model.names.rows import choose_data_plate
from vispec.model.names.scope import Kind, PlateInfo, Scope, Symbol
from vispec.model.names.sizes import read_sizes, size_of
from vispec.model.names.stretches import check_inside, declare_words, read_stretches
from vispec.model.problems import listed
from vispec.model.types import Dim
from vispec.model.values.functions import FUNCTIONS
from vispec.syntax import tree as t

KINDS: Mapping[type[t.Node], Kind] = {
    t.Size: "size",
    t.Vocab: "vocabulary",
    t.Embedding: "embedding",
    t.Net: "net",
    t.Param: "parameter",
    t.Variable: "variable",
    t.Let: "let",
}


def declare(scope: Scope, body: tuple[t.Statement, ...], sizes: Mapping[str, int]) -> None:
    """Fill the scope's symbols, sizes and plates; `sizes` are values from outside that override the file's."""
    for kind in (t.Size, t.Vocab, t.Embedding, t.Net):
        for node in body:
            if isinstance(node, kind):
                _add(scope, node, ())
    read_sizes(scope, [s.node for s in scope.symbols.values() if isinstance(s.node, t.Size)], sizes)
    _walk(scope, body, ())
    choose_data_plate(scope, body)
    check_inside(scope)
    for symbol in scope.symbols.values():
        _stands_rightly(scope, symbol)
    if not any(isinstance(s.node, t.Variable) and s.node.role in ("observed", "partial") for s in scope.symbols.values()):
        _nothing_observed(scope, body)


def _add(
    scope: Scope, node: t.Size | t.Vocab | t.Embedding | t.Net | t.Param | t.Variable | t.Let, plates: tuple[str, ...]
) -> None:
    name = node.name
    symbol = Symbol(name.id, KINDS[type(node)], name.span, node, plates)
    if _is_new(scope, symbol):
        scope.symbols[name.id] = symbol


def _is_new(scope: Scope, symbol: Symbol) -> bool:
    """Report a name that is declared already, or that could not be told from one of the language."""
    name = symbol.name
    first = scope.symbols.get(name)
    if first is not None:
        cause = (first.span, "first declared here")
        help = "give one of them another name"
        scope.problems.add("V102", symbol.span, f"`{name}` is declared twice", f"already {first.a}", cause=cause, help=help)
        return False
    if symbol.kind == "net" and name in written_laws():
        message = f"a net cannot be called `{name}`: that is a distribution of the language"
        scope.problems.add("V119", symbol.span, message, "taken", help="give the net another name")
        scope.poisoned.add(name)
    elif symbol.kind == "net" and name in FUNCTIONS:
        message = f"`{name}(...)` is this net here, not the function of the language"
        help = "give the net another name where you need the function"
        scope.problems.add("V119", symbol.span, message, "hides a function", help=help, severity="warning")
    return True


def _walk(scope: Scope, body: Sequence[t.Statement], plates: tuple[str, ...]) -> None:
    for node in body:
        if isinstance(node, t.Plate) and node.stretches is not None:
            _open_stretches(scope, node, plates)
        elif isinstance(node, t.Plate):
            _open(scope, node, plates)
            _walk(scope, node.body, plates if node.name.id in plates else (*plates, node.name.id))
        elif isinstance(node, t.Param | t.Variable | t.Let):
            if isinstance(node, t.Variable) and node.of is not None:
                _of_nothing(scope, node.of)
            _add(scope, node, plates)


def _of_nothing(scope: Scope, of: t.Expr) -> None:
    message = "`of` says of which elements a stretch consists, and no stretches are here"
    help = "write this line in a `chain s of t(longest=30):`, beside `plate t:`; or leave `of` out"
    scope.problems.add("V323", of.span, message, "not of stretches", help=help)


def _open_stretches(scope: Scope, node: t.Plate, plates: tuple[str, ...]) -> None:
    """A chain of stretches: its label, and what stands in the plate that they are stretches of."""
    found = read_stretches(scope, node)
    if found is None:
        _walk(scope, [each for each in node.body if isinstance(each, t.Plate)], plates)
        scope.poisoned |= {node.name.id} | {each.name.id for each in node.body if isinstance(each, t.Variable)}
        return
    for symbol in declare_words(scope, node, found, plates):
        if _is_new(scope, symbol):
            scope.symbols[symbol.name] = symbol
    _add(scope, found.label, plates)
    scope.stretches[found.label.name.id] = found
    if found.whole is not None:
        _add(scope, found.whole, (*plates, found.plate))
        kind = scope.plates[found.plate].kind if found.plate in scope.plates else "plate"
        assert node.stretches is not None
        _open(scope, t.Plate(node.span, kind, node.stretches.of, None, (), node.head_span), plates)
    if found.inner is not None:
        _walk(scope, (found.inner,), plates)


def _open(scope: Scope, node: t.Plate, plates: tuple[str, ...]) -> None:
    name = node.name.id
    size = None if node.size is None else size_of(scope, node.size)
    plate = scope.plates.get(name)
    if plate is not None:
        _reopen(scope, node, plate, size, plates)
        return
    scope.plates[name] = PlateInfo(name, node.kind, size, plates, node.head_span)
    symbol = Symbol(name, node.kind, node.name.span, node, plates)
    if _is_new(scope, symbol):
        scope.symbols[name] = symbol
    if node.size is not None and size is None:
        scope.plates[name].size = 1  # any size keeps it from passing for the data plate
        scope.plates[name].wrong = True


def _reopen(scope: Scope, node: t.Plate, plate: PlateInfo, size: Dim | None, plates: tuple[str, ...]) -> None:
    """A plate opened before is the same plate; what is said about it a second time must agree."""
    name, opened = plate.name, (plate.span, "first opened here")
    if name in plates:
        message = f"plate `{name}` is opened inside itself"
        scope.problems.add(
            "V109", node.name.span, message, "open already", cause=opened, help="give the inner plate another name"
        )
        return
    if node.kind != plate.kind:
        message = f"`{name}` is a {plate.kind} there and a {node.kind} here"
        help = f"write `{plate.kind} {name}:` in both places, or use another name"
        scope.problems.add("V111", node.head_span, message, f"opened as a {node.kind}", cause=opened, help=help)
    if size is not None and node.size is not None and not scope.same(size, plate.size):
        message = f"plate `{name}` is opened again with another size"
        first = "left to the data" if plate.size is None else scope.shown(plate.size)
        help = f"write `{node.kind} {name}:`; it is the same plate as there"
        scope.problems.add("V110", node.size.span, message, f"the size was {first}", cause=opened, help=help)
    missing = [outer for outer in plate.inside if outer not in plates] if plate.size is None else []
    if missing:
        message = f"plate `{name}` is opened again outside {listed(missing)}, on which its size depends"
        help = f"open it inside `{missing[-1]}`, or give this plate another name"
        scope.problems.add("V112", node.name.span, message, "its size is not known here", cause=opened, help=help)


def _stands_rightly(scope: Scope, symbol: Symbol) -> None:
    """Parameters have as many values as the spec says; data has rows."""
    unsized = [scope.plates[p] for p in symbol.plates if scope.plates[p].size is None]
    if isinstance(symbol.node, t.Param) and unsized:
        message = f"parameter `{symbol.name}` stands in plate `{unsized[0].name}`, whose size only the data tells"
        help = "move it out of the plate, or let a net compute it from the data"
        cause = (unsized[0].span, "no size")
        scope.problems.add("V115", symbol.span, message, "how many values has it?", cause=cause, help=help)
        symbol.plates = tuple(p for p in symbol.plates if scope.plates[p].size is not None)
    if not isinstance(symbol.node, t.Variable) or symbol.node.role == "latent":
        return
    if symbol.plates and scope.plates[symbol.plates[-1]].first is None:
        scope.plates[symbol.plates[-1]].first = symbol.name
    rows = next((plate for plate in scope.plates.values() if plate.data), None)
    if any(scope.plates[plate].wrong for plate in symbol.plates):
        return
    if symbol.node.role != "given" and rows is not None and rows.name not in symbol.plates:
        message = f"`{symbol.name}` is {symbol.node.role}, but stands outside the data plate `{rows.name}`"
        help = f"move this line into `plate {rows.name}:`; what all rows share, and no law scores, is `given`"
        scope.problems.add("V116", symbol.span, message, "no rows here", cause=(rows.span, "the rows of the data"), help=help)


def _nothing_observed(scope: Scope, body: tuple[t.Statement, ...]) -> None:
    variables = [s for s in scope.symbols.values() if isinstance(s.node, t.Variable)]
    nodes = [s.span for s in variables] or [node.span for node in body[:1]]
    if nodes:
        help = "declare what the data holds: `observed x : real ~ Normal(0, 1)`"
        scope.problems.add(
            "V120", nodes[-1], "nothing in this model is observed, so there is nothing to fit", "no data", help=help
        )
