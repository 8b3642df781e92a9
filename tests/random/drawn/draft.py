"""A random spec being written: its sizes, plates, parameters and nets, and what can be read at a place."""

from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from tests.random.names import Namer

T = TypeVar("T")


@dataclass(frozen=True)
class Plate:
    """size: the text of it, '' where the data tell. count: how many elements it has, or may have."""

    name: str
    kind: str
    size: str
    count: int


@dataclass(frozen=True)
class Symbol:
    """A variable or a let. of: K of category[K] and real[K], p of index[p]. role `let` too."""

    name: str
    plates: tuple[str, ...]
    domain: str
    of: str = ""
    role: str = "given"
    vector: bool = False


@dataclass(frozen=True)
class Read:
    """One number or label that an expression may be made of: its text, its domain, and K or p of a label."""

    text: str
    domain: str
    of: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class Scope:
    """A place in the text. open: plates around it, outermost first, the data plate among them. past: how many elements of the
    innermost chain surely come before. own: the variable whose law stands here, of which only the past may be read."""

    open: tuple[Plate, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    past: int = 0
    own: Symbol | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(plate.name for plate in self.open)

    @property
    def chain(self) -> Plate | None:
        return next((plate for plate in reversed(self.open) if plate.kind == "chain"), None)


@dataclass
class Draft:
    """params: (plates in order, name, type). meant: for each table that is read, the indices by plate that were meant.

    in_order: parameters stand in plates in the order in which these are first opened, and in no other.
    outside: plates outside the data plate, by name. around: for each plate inside it, those open where it was first opened."""

    rng: Random
    namer: Namer
    sizes: dict[str, int] = field(default_factory=dict)
    plates: dict[str, Plate] = field(default_factory=dict)
    params: list[tuple[tuple[str, ...], str, str]] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    nets: list[str] = field(default_factory=list)
    meant: dict[str, set[frozenset[tuple[str, str]]]] = field(default_factory=dict)
    vocabs: list[str] = field(default_factory=list)
    in_order: bool = False
    data: str = ""
    outside: list[str] = field(default_factory=list)
    around: dict[str, set[str]] = field(default_factory=dict)

    def pick(self, *options: T) -> T:
        return self.rng.choice(options)

    def maybe(self, chance: float = 0.5) -> bool:
        return self.rng.random() < chance

    # ---- declarations

    def size(self, count: int | None = None) -> str:
        """A size of so many, or of two or three: one that is there, or a new one."""
        fitting = [name for name, value in self.sizes.items() if count in (None, value)]
        if fitting and self.maybe(0.7):
            return self.rng.choice(fitting)
        name = self.namer("K")
        self.sizes[name] = count or self.pick(2, 3)
        if count is None and self.maybe(0.12):
            self.vocabs.append(name)
        return name

    def label(self, size: str) -> str:
        """The type of a label of so many: a category, or a token where the size is a vocabulary's."""
        return f"{'token' if size in self.vocabs else 'category'}[{size}]"

    def sized_plate(self, size: str, but: tuple[str, ...] = ()) -> Plate:
        """A plate outside the data of that size, which is none of `but`."""
        there = [
            plate for name, plate in self.plates.items() if plate.size == size and name in self.outside and name not in but
        ]
        if there and self.maybe(0.85):
            return self.rng.choice(there)
        plate = Plate(self.namer("k"), "plate", size, self.count(size))
        self.plates[plate.name] = plate
        self.outside.append(plate.name)
        return plate

    def count(self, size: str) -> int:
        return self.sizes[size] if size in self.sizes else int(size)

    def param(self, type: str, plates: tuple[str, ...] = ()) -> str:
        """The name of a parameter of that type in those plates, in that order: at times one that is there."""
        there = [name for around, name, kind in self.params if (around, kind) == (plates, type)]
        if there and self.maybe(0.2):
            return self.rng.choice(there)
        name = self.namer("p")
        self.params.append((plates, name, type))
        return name

    def net(self, arguments: list[str], result: str, sequence: bool = False) -> str:
        """The name of a small net; arguments are types, starred ones where `sequence`."""
        name = self.namer("f")
        named = ", ".join(f"{self.namer('a')}: {type}" for type in arguments)
        labels = all(not type.startswith(("real", "bit", "positive", "unit", "count")) for type in arguments)
        first = ["embed(2)"] if labels else []
        middle = ["mean"] if sequence else []
        last = [self.pick("mlp([2])", "linear(3)", "mlp([])", "mlp([2], activation=tanh)")]
        self.nets.append(f"net {name}({named}) -> {result} = {' |> '.join([*first, *middle, *last])}")
        return name

    def argument(self, domain: str, of: str) -> str:
        """The type of a net's argument that takes such a label, '' where the data tell how many there are."""
        if domain == "category":
            return self.label(of)
        size = self.plates[of].size
        if not size:
            return ""
        return f"index[{of}]" if size in self.vocabs or self.maybe() else f"category[{size}]"

    # ---- the text

    def text(self, rows: list[str]) -> str:
        lines = [f"size {name} = {value}" for name, value in self.sizes.items() if name not in self.vocabs]
        lines += [f"vocab {name}" for name in self.vocabs]
        lines += [f"param {name} : {type}" for plates, name, type in self.params if not plates]
        lines += self._opened()
        lines += self.nets
        for plates, name, type in self.params:
            if len(plates) > 1:
                lines += [f"{'    ' * depth}plate {plate}:" for depth, plate in enumerate(plates)]
                lines.append(f"{'    ' * len(plates)}param {name} : {type}")
        return "\n".join([*lines, *self.shared, *rows]) + "\n"

    def _opened(self) -> list[str]:
        """Every plate outside the data once with its size, with the parameters that stand in it alone."""
        lines: list[str] = []
        for plate in self.outside:
            lines.append(f"plate {plate}[{self.plates[plate].size}]:")
            own = [f"    param {name} : {type}" for plates, name, type in self.params if plates == (plate,)]
            lines += own or [f"    param {self.namer('w')} : real"]
        return lines


# ---- what can be read


def reads(draft: Draft, scope: Scope) -> list[Read]:
    """Single values: own elements, past ones, those that an index points at; positions and lengths."""
    found: list[Read] = []
    for symbol in (*scope.symbols, *((scope.own,) if scope.own else ())):
        hidden = symbol.role in ("latent", "partial")
        for text in accesses(draft, scope, symbol):
            if symbol.vector:
                entry = f"{text}[1]" if text == symbol.name and len(symbol.plates) == 1 else f"sum({text})"
                found.append(Read(entry, "real" if symbol.domain == "real" else "count"))
            else:
                found.append(Read(text, symbol.domain, symbol.of, hidden))
    return found


def accesses(draft: Draft, scope: Scope, symbol: Symbol) -> list[str]:
    """The texts by which one element of a symbol can be read here."""
    own = symbol == scope.own
    closed = [plate for plate in symbol.plates if plate not in scope.names]
    texts = [] if own or closed else [symbol.name]
    chain = scope.chain
    if chain and not closed and chain.name in symbol.plates:
        texts += [f"{symbol.name}[{chain.name}-{lag}]" for lag in range(1, scope.past + 1)]
    if closed and not own and draft.data not in closed and draft.maybe(0.6):
        choices = [pointers(draft, scope, draft.plates[plate]) for plate in closed]
        if all(choices):
            texts.append(pointed(draft, symbol.name, symbol.plates, scope, [draft.rng.choice(c) for c in choices]))
    return texts


def pointers(draft: Draft, scope: Scope, plate: Plate) -> list[str]:
    """What can point at an element of a plate: own elements of indices, categories of its size, numbers."""
    texts = [
        s.name for s in scope.symbols if not s.vector and set(s.plates) <= set(scope.names) and points(s.domain, s.of, plate)
    ]
    return texts * 3 + [str(n) for n in range(plate.count)] * bool(plate.size) if plate.size or texts else []


def points(domain: str, of: str, plate: Plate) -> bool:
    return (domain == "index" and of == plate.name) or (domain == "category" and bool(plate.size) and of == plate.size)


def pointed(draft: Draft, name: str, plates: tuple[str, ...], scope: Scope, indices: list[str]) -> str:
    """`name[...]` with an index for each of its plates that is not open, in their order; at times open ones are written too."""
    given = dict(zip([plate for plate in plates if plate not in scope.names], indices, strict=True))
    draft.meant.setdefault(name, set()).add(frozenset(given.items()))
    spelt = draft.maybe(0.15)
    items = [given.get(plate, plate) for plate in plates if plate in given or (spelt and plate != draft.data)]
    return f"{name}[{', '.join(items)}]" if items else name


def sequences(draft: Draft, scope: Scope) -> list[tuple[str, Symbol]]:
    """Whole sequences and prefixes: their texts, and what they are of."""
    found: list[tuple[str, Symbol]] = []
    for symbol in (*scope.symbols, *((scope.own,) if scope.own else ())):
        if not symbol.plates or draft.data == symbol.plates[-1] or symbol.vector:
            continue
        last, around = symbol.plates[-1], symbol.plates[:-1]
        if not set(around) <= set(scope.names):
            continue
        here = last in scope.names
        if symbol != scope.own and (not here or symbol.role == "given" or draft.maybe(0.2)):
            found.append((f"{symbol.name}[*]", symbol))
        if here and draft.plates[last].kind == "chain" and scope.chain and scope.chain.name == last:
            found.append((f"{symbol.name}[<{last}]", symbol))
    return found
