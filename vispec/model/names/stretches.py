"""`chain s of t(longest=30):`, whose elements are consecutive stretches of the elements of plate t.

In it stand the label of a stretch, a `latent` with a finite type; its length, a `latent` of the type `length`, or none; what it
is as a whole, `observed word : token[WORD] ~ Categorical(lexicon) of x[*]`; and `plate t:`, which is the stretch: what is
declared there stands in t, and reads the label of the stretch that it is in. What would be the stretch's own there, and not the
whole plate's (`|t|`, `x[<t]`, `x[*]`), is not compiled and reported. Where there is a whole, there need be no label, and then
the chain's name is that of the latent, and no `plate t:`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from vispec.model.names.scope import Scope, Symbol
from vispec.model.names.sizes import size_of
from vispec.model.problems import Cause
from vispec.model.types import Dim
from vispec.source import Span
from vispec.syntax import tree as t

LENGTH = "length"
"""The type of how many elements a stretch has."""


@dataclass(frozen=True)
class Stretches:
    """chain: its name. plate: of whose elements. longest: the most elements of a stretch. cut: whether the last one may go on
    beyond the data. label: where none is written, one of one value, with the chain's name and no law. whole: what says what a
    stretch is as a whole. inner: `plate t:` in it."""

    chain: str
    plate: str
    longest: Dim
    cut: bool
    label: t.Variable
    length: t.Variable | None
    whole: t.Variable | None
    inner: t.Plate | None
    span: Span

    @property
    def labelled(self) -> bool:
        """Whether stretches have labels in the text."""
        return self.label.law is not None


def read_stretches(scope: Scope, node: t.Plate) -> Stretches | None:
    """What the block says; None where something is missing or has no place in it, which is reported."""
    assert node.stretches is not None
    plate = node.stretches.of.id
    settings = _settings(scope, node.stretches)
    lengths = [e for e in node.body if isinstance(e, t.Variable) and e.type.domain == LENGTH]
    wholes = [e for e in node.body if isinstance(e, t.Variable) and e.of is not None]
    labels = [e for e in node.body if isinstance(e, t.Variable) and e not in (*lengths, *wholes)]
    inner = [e for e in node.body if isinstance(e, t.Plate) and e.name.id == plate and e.stretches is None]
    known = [*labels[:1], *lengths[:1], *wholes[:1], *inner[:1]]
    for entry in node.body:
        if entry not in known:
            _out_of_place(scope, node, entry)
            return None
    if not inner and not wholes:
        message = f"nothing says what the elements of a stretch of `{plate}` are like"
        help = f"open `plate {plate}:` in it, which is the stretch"
        scope.problems.add("V323", node.head_span, message, f"no `plate {plate}:` in it", help=help)
    if not labels and not wholes:
        message = "a stretch has a label, or is something as a whole, and neither is declared"
        help = f"declare `latent k : category[K] ~ Categorical(init) then Categorical(move[k[{node.name.id}-1]])`"
        scope.problems.add("V323", node.head_span, message, "no label", help=help)
    if settings is None or not (wholes or (inner and labels)):
        return None
    if wholes and not _is_whole(scope, node, wholes[0]):
        return None
    longest, cut = settings
    for entry in (*labels, *lengths):
        if entry.role != "latent":
            message = f"a stretch has no labels and lengths in the data, and `{entry.name.id}` is {entry.role}"
            scope.problems.add("V323", entry.span, message, "not compiled", help="declare it as `latent`")
            return None
    if cut and not lengths:
        message = "the last stretch is `cut` by the law of its length, and there is none"
        help = "declare `latent d : length ~ Categorical(duration)`, or leave `cut` out"
        scope.problems.add("V323", node.head_span, message, "no law of lengths", help=help)
        return None
    label = labels[0] if labels else _one_label(node)
    length, whole = (each[0] if each else None for each in (lengths, wholes))
    return Stretches(node.name.id, plate, longest, cut, label, length, whole, inner[0] if inner else None, node.head_span)


def _one_label(node: t.Plate) -> t.Variable:
    """The label of stretches that have none in the text: one of one value."""
    one = t.TypeOf(node.name.span, "category", (t.Number(node.name.span, 1),), False)
    return t.Variable(node.head_span, "latent", node.name, one, None)


def _is_whole(scope: Scope, node: t.Plate, entry: t.Variable) -> bool:
    """Whether what a stretch is as a whole is observed, and told by all elements of a variable."""
    assert node.stretches is not None
    plate, usage = node.stretches.of.id, "`observed word : token[WORD] ~ Categorical(lexicon) of x[*]`"
    if entry.role != "observed":
        message = f"what a stretch is as a whole is told by its elements: it is observed, and `{entry.name.id}` is {entry.role}"
        scope.problems.add("V323", entry.span, message, entry.role, help=f"write {usage}")
        return False
    match entry.of:
        case t.Index(base=t.Name(), items=(t.All(),)):
            pass
        case _:
            message = f"a stretch consists of the elements of a variable in plate `{plate}`"
            scope.problems.add("V323", entry.of.span if entry.of else entry.span, message, "not these", help=f"write {usage}")
            return False
    return True


def _settings(scope: Scope, node: t.Stretches) -> tuple[Dim, bool] | None:
    """The most elements of a stretch, and whether the last one may be cut."""
    longest: Dim | None = None
    cut, usage = False, f"`of {node.of.id}(longest=30)`, or `of {node.of.id}(longest=30, cut)`"
    for setting in node.settings:
        match setting:
            case t.Keyword(name="longest", value=value) if longest is None:
                longest = size_of(scope, value)
                if longest is None:
                    return None
            case t.Name(id="cut") if not cut:
                cut = True
            case _:
                message = "a chain of stretches is told how long they are at most, and whether the last one may be cut"
                scope.problems.add("V323", setting.span, message, "neither of these", help=f"write {usage}")
                return None
    if longest is None:
        message = "how many elements has a stretch at most?"
        scope.problems.add("V323", node.span, message, "no `longest`", help=f"write {usage}")
        return None
    return longest, cut


def _out_of_place(scope: Scope, node: t.Plate, entry: t.Statement) -> None:
    assert node.stretches is not None
    plate = node.stretches.of.id
    message = "in a chain of stretches stand the label of a stretch, its length, and the stretch itself, one of each"
    help = f"move this line into `plate {plate}:`, or out of `chain {node.name.id}`"
    if isinstance(entry, t.Plate) and entry.name.id != plate:
        help = f"its elements are those of `{plate}`: write `plate {plate}:`"
    span = entry.head_span if isinstance(entry, t.Plate) else entry.span
    cause = (node.head_span, "opened here")
    scope.problems.add("V323", span, message, "has no place in it", cause=cause, help=help)


def declare_words(scope: Scope, node: t.Plate, found: Stretches, plates: tuple[str, ...]) -> Iterator[Symbol]:
    """The names that stand for no value: the chain, which counts stretches, and the length of one."""
    if found.labelled:
        yield Symbol(found.chain, "chain of stretches", node.name.span, node, plates)
    if found.length is not None:
        yield Symbol(found.length.name.id, "length of stretches", found.length.name.span, node, plates)
    scope.used |= {found.chain, found.plate} | ({found.length.name.id} if found.length is not None else set())


def check_inside(scope: Scope) -> None:
    """Report what is read inside stretches and would be the stretch's own."""
    for found in scope.stretches.values():
        cause = (found.span, f"`{found.plate}` is a stretch in it")
        whole = () if found.whole is None else (found.whole.law,)
        for entry in (*whole, *(() if found.inner is None else found.inner.body)):
            for span, what in _own_of_stretch(scope, found.plate, entry):
                _not_whole(scope, span, what, found.plate, cause)


def _not_whole(scope: Scope, span: Span, what: str, plate: str, cause: Cause) -> None:
    message = f"{what} would be of the stretch alone here, which is not compiled"
    help = f"what is of the whole of `{plate}` is computed outside of the chain: by a `let` in `plate {plate}:` there"
    scope.problems.add("V324", span, message, "of a stretch", cause=cause, help=help)


def _own_of_stretch(scope: Scope, plate: str, node: object) -> Iterator[tuple[Span, str]]:
    """Where syntax reads the plate as a whole, its order, or its length."""
    match node:
        case t.Name(id=name, span=span) if name == plate:
            yield span, f"an order of `{plate}`"
            return
        case t.Index(base=t.Name(id=name), items=items, span=span) if _stands_in(scope, name, plate):
            if any(isinstance(item, t.All) for item in items):
                yield span, f"`{name}[*]`"
                return
        case t.Length(operand=t.Name(id=name), span=span) if name == plate or _stands_in(scope, name, plate):
            yield span, f"`|{name}|`"
            return
        case t.Then(span=span):
            yield span, "the first element, of which `then` speaks,"
            return
        case t.Plate(stretches=t.Stretches(), head_span=span):
            yield span, "this chain"
            return
    if isinstance(node, tuple):
        parts = node
    else:
        parts = [getattr(node, each.name) for each in fields(node)] if isinstance(node, t.Node) else ()
    for part in parts:
        yield from _own_of_stretch(scope, plate, part)


def _stands_in(scope: Scope, name: str, plate: str) -> bool:
    """Whether a name has elements along the plate, and along no other inside of it."""
    symbol = scope.symbols.get(name)
    return symbol is not None and symbol.plates[-1:] == (plate,)
