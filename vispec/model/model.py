"""The checked model: names, types, shapes and plates resolved. Nothing here can still be a user's mistake.

Expressions are resolved: each says which kind of access it is, so later stages never look a name up in a scope.
`plates` of an expression are not stored; they follow from the variables in it (see extent.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from typing import Literal

from vispec.catalog import BOUNDS, distributions
from vispec.model.types import Dim, Type
from vispec.source import Source, Span

# ---- expressions


@dataclass(frozen=True)
class Expression:
    span: Span
    type: Type

    @cached_property
    def children(self) -> tuple["Expression", ...]:
        """Direct subexpressions, in the order of the fields."""
        found: list[Expression] = []
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Expression):
                    found.append(item)
                elif isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], Expression):
                    found.append(item[1])
        return tuple(found)

    @cached_property
    def whole(self) -> tuple["Expression", ...]:
        """The expression and all below it."""
        return (self, *(inner for child in self.children for inner in child.whole))


@dataclass(frozen=True)
class Const(Expression):
    value: float | int


@dataclass(frozen=True)
class Ref(Expression):
    """A variable, param or let at its own element of every plate that it stands in (all of them are open here)."""

    name: str


@dataclass(frozen=True)
class All(Expression):
    """`y[*]`: the whole sequence along the innermost plate of y; type.star with over = that plate.

    Over a plate of known size an argument of event shape (K,) accepts it too (`z[*]` for z : bit in plate k[K] as bit[K])."""

    name: str
    plate: str


@dataclass(frozen=True)
class Prefix(Expression):
    """`x[<i]`: the elements of x before the present one of plate i; type.star with over = that plate."""

    name: str
    plate: str


@dataclass(frozen=True)
class Past(Expression):
    """`c[t-1]`: the element `lag` steps back in the chain."""

    name: str
    plate: str
    lag: int


@dataclass(frozen=True)
class Recursion(Expression):
    """`w then decay * s[t-1] + x[t-1]`: the value of the let `state` at the first element of the chain `along`, the second,
    and so on; the last is for all that follow. Each may read the past of this let and of others that are so given."""

    state: str
    along: str
    steps: tuple[Expression, ...]


@dataclass(frozen=True)
class Select(Expression):
    """`y[a]`, `trans[c[t-1]]`, `confusion[who, truth]`: the element of `name` that index-valued expressions point at.

    by: (plate, expression) for each plate of `name` that is not its own element's, outermost first. `vec[x[<i]]`: where
    type.star, one index is a sequence along type.over, and so is the value; nothing else of it varies along that plate.
    below_root: of `x[head]`, whether a condition around it says that this head is not the root."""

    name: str
    by: tuple[tuple[str, Expression], ...]
    below_root: bool = False


@dataclass(frozen=True)
class Element(Expression):
    """`jump[j - a[i-1]]`: one entry along the first event dimension of `base`, at an integer-valued expression.

    Where base.type.low is given, the integer is offset by it and clamped at the ends."""

    base: Expression
    at: Expression


@dataclass(frozen=True)
class Position(Expression):
    """A plate's own index as a number, counted from 0."""

    plate: str


@dataclass(frozen=True)
class Length(Expression):
    """`|x|`: the number of elements of `plate` (x's innermost) around here."""

    plate: str


@dataclass(frozen=True)
class SizeOf(Expression):
    """A size or vocabulary read as a number: `1 / K`."""

    name: str


@dataclass(frozen=True)
class Where(Expression):
    """`y[*] where f[*]`: the sequence reduced to the elements whose mask is 1."""

    sequence: Expression
    mask: Expression


@dataclass(frozen=True)
class NetCall(Expression):
    """A net applied; `head` is '' for a net with one unnamed head. Two heads of one call are two NetCalls equal but for it.

    A starred head runs along the plate of the first starred argument, which is type.over: the whole sequence where type.star,
    else (that plate is open here) this element's own output."""

    net: str
    args: tuple[Expression, ...]
    head: str


@dataclass(frozen=True)
class Evidence(Expression):
    """In a guide, what the data has of a partial variable where it is read.

    Its values, types.MISSING where they are missing, or (`seen`) whether they are there. This is data, whatever the model makes
    of what is missing, so it has no children."""

    read: "Ref | All | Past | Prefix"
    seen: bool

    @cached_property
    def children(self) -> tuple[Expression, ...]:
        return ()


@dataclass(frozen=True)
class Base(Expression):
    """In an automatic guide, the number on the line that a draw is made of, as its guide carries it to where the latent has its
    values: log(draw − low), less log(high − draw) where there is an upper end; low None stands for 0."""

    draw: Ref
    low: Expression | None
    high: Expression | None


@dataclass(frozen=True)
class Apply(Expression):
    """A function or operator of the catalog (`+ - * / ^ neg < <= > >= == != and or not exp log ... concat dot one_hot sum`)."""

    function: str
    args: tuple[Expression, ...]


@dataclass(frozen=True)
class Conditional(Expression):
    test: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True)
class For(Expression):
    """`body for j`: the vector of body over plate j, as event dimension of that size (masked past a ragged end)."""

    body: Expression
    plate: str


@dataclass(frozen=True)
class Stack(Expression):
    """`[a, b, c]`: a vector of scalars."""

    items: tuple[Expression, ...]


# ---- laws


@dataclass(frozen=True)
class Draw:
    """One distribution with its parameters resolved by name, in the order of the catalog entry. options: what it says of the
    values of a structure."""

    span: Span
    distribution: str
    args: tuple[tuple[str, Expression], ...]
    options: tuple[tuple[str, bool | str], ...] = ()


def taken_apart(draw: Draw) -> tuple[str, Draw, tuple[tuple[str, Expression], ...]]:
    """Of a law of a law its modifier's name, the law inside, and the bounds as the language calls them; of others "", itself
    and none."""
    entry = distributions()[draw.distribution]
    if entry.modifier is None or entry.law is None:
        return "", draw, ()
    words = {name: word for word, name in BOUNDS.items()}
    own = tuple((name, value) for name, value in draw.args if name not in words)
    return (
        entry.modifier.name,
        Draw(draw.span, entry.law.name, own),
        tuple((words[name], value) for name, value in draw.args if name in words),
    )


@dataclass(frozen=True)
class Choice:
    """`A if test else B` over laws."""

    span: Span
    test: Expression
    then: "Law"
    otherwise: "Law"


@dataclass(frozen=True)
class Then:
    """The laws of a chain's first, second, ... element; the last is for all that follow."""

    span: Span
    laws: tuple["Law", ...]


@dataclass(frozen=True)
class Flow:
    """A law of a guide alone: a draw of `base`, a Normal over a vector, carried through inverse autoregressive layers that also
    read `context`, a vector. settings: layers, hidden. attribute: the module's name for the layers, which the plan chooses."""

    span: Span
    base: Draw
    context: Expression | None
    settings: tuple[tuple[str, int], ...]
    attribute: str = ""


Law = Draw | Choice | Then | Flow

# ---- declarations


@dataclass(frozen=True)
class Size:
    """A size; value None where only the data can tell."""

    name: str
    value: int | None
    span: Span


@dataclass(frozen=True)
class Vocab:
    """options: min_count (int, default 1), max_size (int or None), chars (bool: characters, not words), lower (bool),
    begin (bool, or the symbol: stands before each sequence), end (bool, or the symbol: closes each sequence, so that a
    chain over it generates its own length), subword (int: how many pieces of words), unknown (bool, default true: an entry for
    all other words), from (a file of words)."""

    name: str
    options: tuple[tuple[str, int | bool | str], ...]
    span: Span


@dataclass(frozen=True)
class Embedding:
    """A table of vectors that nets share: one of `width` numbers for each of `rows` values. file: of word vectors, as the spec
    names it, where the table starts. frozen: it keeps them."""

    name: str
    rows: Dim
    width: Dim
    file: str | None
    frozen: bool
    span: Span


@dataclass(frozen=True)
class Plate:
    """size None: the data tells. `inside`: the plates open around its first opening, outermost first.

    data: the outermost plate without a size, whose elements are the rows. ragged: sized by the data and inside another
    plate, so its size differs from row to row. length_key: the batch key of its lengths, `<first data variable in it>_len`.
    implicit: the data plate of a spec that has none: it has one row, and no line of the text."""

    name: str
    kind: Literal["plate", "chain"]
    size: Dim | None
    inside: tuple[str, ...]
    data: bool
    ragged: bool
    length_key: str
    span: Span
    implicit: bool = False


@dataclass(frozen=True)
class Param:
    """plates: the sized plates it stands in, so its tensor has shape plates + type.shape. start: mean and standard deviation of
    what is stored, before a link function, at the start; None: as the emitter chooses. value: where the spec says that it
    starts, in the space of its type, made of Const, SizeOf and arithmetic of those, or Stack for each dimension of its type; a
    number stands for all entries."""

    name: str
    type: Type
    plates: tuple[str, ...]
    span: Span
    start: tuple[float, float] | None = None
    value: Expression | None = None


@dataclass(frozen=True)
class Variable:
    """plates: outermost first. law None only for `given`."""

    name: str
    role: Literal["observed", "latent", "given", "partial"]
    type: Type
    plates: tuple[str, ...]
    law: Law | None
    span: Span

    @property
    def law_plates(self) -> tuple[str, ...]:
        """The plates for each element of which it has a law: all but the one that labels stand along."""
        return tuple(plate for plate in self.plates if plate != self.type.along)


@dataclass(frozen=True)
class Let:
    """A deterministic node."""

    name: str
    type: Type
    plates: tuple[str, ...]
    value: Expression
    span: Span


Setting = int | float | str | bool | Embedding | tuple["Setting", ...] | None


@dataclass(frozen=True)
class Stage:
    """A layer: a catalog entry with its settings, by option name where the spec has it (args is empty). A size is a Dim, an
    argument of the net its name, a table its declaration."""

    layer: str
    args: tuple[Setting, ...]
    kwargs: tuple[tuple[str, Setting], ...]
    prior: Law | None
    span: Span


@dataclass(frozen=True)
class Net:
    """heads: (name, type), name '' for a single unnamed one. prior: the law of each weight but those of stages with their own,
    None for plain parameters."""

    name: str
    args: tuple[tuple[str, Type], ...]
    heads: tuple[tuple[str, Type], ...]
    trunk: tuple[Stage, ...]
    prior: Law | None
    span: Span

    @property
    def random(self) -> bool:
        """Whether any of its weights is a latent variable."""
        return self.prior is not None or any(stage.prior is not None for stage in self.trunk)


@dataclass(frozen=True)
class GuideLaw:
    """The guide's factor for one latent or partial variable; it stands in the same plates."""

    name: str
    law: Law
    span: Span


@dataclass(frozen=True)
class JointGuide:
    """One guide over several latents that all rows share: `full_rank`, `low_rank` or `flow`, in unconstrained space.

    names: the latents, once the plan has chosen them; attribute: the module's name for the guide."""

    family: str
    settings: tuple[tuple[str, int], ...]
    span: Span
    names: tuple[str, ...] = ()
    attribute: str = ""


@dataclass(frozen=True)
class Estimator:
    """`score(samples=8, baseline=loo)`: a catalog entry with literal settings."""

    name: str
    settings: tuple[tuple[str, Setting], ...]
    span: Span


@dataclass(frozen=True)
class Infer:
    """What the user asked for one latent. `exact up to budget else otherwise` has estimator.name 'exact'."""

    name: str
    estimator: Estimator
    budget: int | None
    otherwise: Estimator | None
    span: Span


@dataclass(frozen=True)
class FitEntry:
    """key (optimizer, batch, epochs, clip, ...) with a plain setting, or a call with its settings by name: adam(lr=1e-3) has
    value "adam" and call (("lr", 1e-3),); `offset : x(21)` has value "x" and call (("by", 21),); `batch : 4096 tokens` has call
    (("unit", "tokens"),). `fixed` has the names as a tuple, `weight` its variable's name."""

    key: str
    value: Setting
    call: tuple[tuple[str, Setting], ...]
    span: Span


@dataclass(frozen=True)
class Schedule:
    """`anneal : kl from 0 to 1 over 10 epochs`: what = 'kl'."""

    key: str
    what: str
    start: float
    stop: float
    over: float
    unit: Literal["epochs", "steps"]
    span: Span


@dataclass(frozen=True)
class Model:
    """A checked spec. `name` is the CamelCase class name (from the file's name). Declarations keep the order of the text.
    fresh: of a fitted model, plates with elements that the fit did not meet, and the number of the first of these.
    gaussian: the latents that are integrated exactly, as jointly Gaussian ones, None where nobody has looked yet; pairs: those
    that are by conjugate pairs; reasons: why others are not, by name."""

    name: str
    source: Source
    sizes: tuple[Size, ...]
    vocabs: tuple[Vocab, ...]
    plates: tuple[Plate, ...]
    params: tuple[Param, ...]
    nets: tuple[Net, ...]
    variables: tuple[Variable, ...]
    lets: tuple[Let, ...]
    order: tuple[str, ...]  # names of variables and lets, each after all that its law or value reads
    guide: tuple[GuideLaw, ...]
    guide_lets: tuple[Let, ...]
    infer: tuple[Infer, ...]
    fit: tuple[FitEntry | Schedule, ...]
    joint: JointGuide | None = None
    embeddings: tuple[Embedding, ...] = ()
    fresh: tuple[tuple[str, int], ...] = ()
    gaussian: tuple[str, ...] | None = None
    reasons: tuple[tuple[str, str], ...] = ()
    pairs: tuple[str, ...] = ()

    @cached_property
    def fixed(self) -> tuple[str, ...]:
        """The parameters, tables, nets and point estimates that a fit keeps as they start."""
        named = next((entry.value for entry in self.fit if entry.key == "fixed"), ())  # type: ignore[union-attr]
        return (*named, *(table.name for table in self.embeddings if table.frozen))  # type: ignore[misc]

    @cached_property
    def integrated(self) -> tuple[str, ...]:
        """The latents that are integrated exactly."""
        return (*(self.gaussian or ()), *self.pairs)

    @cached_property
    def weight(self) -> str | None:
        """The given variable that says how many rows each row stands for."""
        return next((entry.value for entry in self.fit if entry.key == "weight"), None)  # type: ignore[union-attr,return-value]

    @cached_property
    def plate(self) -> Mapping[str, Plate]:
        return {plate.name: plate for plate in self.plates}

    @cached_property
    def single(self) -> Plate | None:
        """The implicit data plate of one row, where the spec has no data plate."""
        return next((plate for plate in self.plates if plate.implicit), None)

    @cached_property
    def variable(self) -> Mapping[str, Variable]:
        return {variable.name: variable for variable in self.variables}

    @cached_property
    def param(self) -> Mapping[str, Param]:
        return {param.name: param for param in self.params}

    @cached_property
    def net(self) -> Mapping[str, Net]:
        return {net.name: net for net in self.nets}

    @cached_property
    def let(self) -> Mapping[str, Let]:
        return {let.name: let for let in self.lets}

    @cached_property
    def calls(self) -> tuple[NetCall, ...]:
        """Every call of a net in the laws, lets and guide."""
        return tuple(calls_in((self.variables, self.lets, self.guide, self.guide_lets)))


def calls_in(part: object) -> Iterator[NetCall]:
    """Every call of a net in a part of a model."""
    if isinstance(part, NetCall):
        yield part
    if isinstance(part, tuple):
        for item in part:
            yield from calls_in(item)
    elif is_dataclass(part) and not isinstance(part, Span | Type):
        for name in part.__dataclass_fields__:
            yield from calls_in(getattr(part, name))
