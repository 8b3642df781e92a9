"""Random models that read tables by indices: parameters, shared latents, lets and given data in one to three plates, opened in
random orders and nestings, read at random elements in random spellings. What a read means is drawn first; its text follows."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

SIZES = {"A": 2, "B": 3, "2": 2, "3": 3}
At = Mapping[str, int]


@dataclass(frozen=True)
class Own:
    """The own element of an open plate, or of one that a comprehension runs over; or its number, as an entry."""

    plate: str


@dataclass(frozen=True)
class Number:
    value: int


@dataclass(frozen=True)
class Pointer:
    """A variable that points: an `index[plate]`, or a category or bit whose size is written `size`. nest: where it stands."""

    name: str
    type: str
    plate: str | None
    size: str
    nest: tuple[str, ...]
    latent: bool

    def law(self) -> str:
        return f"latent {self.name} : {self.type} ~ Uniform()" if self.latent else f"given {self.name} : {self.type}"


Filler = Own | Number | Pointer


@dataclass(frozen=True)
class Read:
    """One element of a table: what fills each of its plates, and each of its entries. over: the plate of a comprehension."""

    table: "Table"
    at: tuple[Filler, ...]
    over: str | None = None


@dataclass(frozen=True)
class Table:
    """plates: as it is nested. event: the written size of its one entry, if it has one. terms: of a let, what it adds up."""

    name: str
    role: str
    type: str
    plates: tuple[str, ...]
    event: tuple[str, ...] = ()
    terms: tuple[tuple[float, Read], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """An observed variable with its nest in the row: Normal of a sum of reads, or Bernoulli or Categorical of one."""

    name: str
    law: str
    nest: tuple[str, ...]
    terms: tuple[tuple[float, Read], ...]


@dataclass
class Draft:
    """A model as it is drawn. plates: the written size of each."""

    random: Random
    plates: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    pointers: list[Pointer] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    row_lets: list[Table] = field(default_factory=list)
    openings: list[tuple[str, ...]] = field(default_factory=list)  # of plates, before all else

    def nest(self, most: int = 3) -> tuple[str, ...]:
        """Some of the plates in any order."""
        return tuple(self.random.sample(list(self.plates), self.random.randint(0, min(most, len(self.plates)))))

    # ---- drawing

    def filler(self, size: str, plate: str | None, open: tuple[str, ...], pointers: list[Pointer], must_index: bool) -> Filler:
        """What fills a plate, or with `plate` None an entry. must_index: not a category or number."""
        found: list[Filler] = []
        if plate is not None:
            found += [Own(plate)] * 2 * (plate in open)
            found += [pointer for pointer in pointers if pointer.plate == plate] * 2
        if not must_index:
            found += [pointer for pointer in pointers if pointer.plate is None and pointer.size == size]
            found += [Number(self.random.randrange(SIZES[size]))]
        return self.random.choice(found)

    def read(self, table: Table, open: tuple[str, ...], pointers: list[Pointer], whole: bool = False) -> Read:
        """A read of one number (with `whole`, of the event) where these plates are open. A category may not fill an open plate
        if an entry of the same size is left: that cannot be written."""
        closed = [plate for plate in table.plates if plate not in open]
        over = self.random.choice(closed) if closed and not whole and self.random.random() < 0.2 else None
        inside = (*open, *([over] if over else []))
        at: list[Filler] = []
        for plate in table.plates:
            own = plate in inside and (whole or self.random.random() < 0.5)
            firm = whole and plate in inside
            at.append(Own(plate) if own else self.filler(self.plates[plate], plate, inside, pointers, firm))
        for size in () if whole else table.event:
            at.append(self.filler(size, None, inside, pointers, False))
        return Read(table, tuple(at), over)

    def sum_of(self, open: tuple[str, ...], pointers: list[Pointer], tables: list[Table]) -> tuple[tuple[float, Read], ...]:
        numbers = [table for table in tables if not table.type.startswith("simplex")]
        chosen = [self.random.choice(numbers) for _ in range(self.random.randint(1, 3))]
        return tuple((self.random.choice((1.0, 0.5, -2.0)), self.read(table, open, pointers)) for table in chosen)

    # ---- writing

    def written(self, read: Read, open: tuple[str, ...], plain: bool) -> str:
        """The read in one of its spellings; `plain`: every index in its place."""
        inside = (*open, *([read.over] if read.over else []))
        texts = [written(filler) for filler in read.at]
        own = [isinstance(filler, Own) for filler in read.at]
        firm = [not isinstance(filler, Number) and filler.plate is not None for filler in read.at]
        if not plain:
            keep = [not each or self.random.random() < 0.4 for each in own]
            texts = [text for text, kept in zip(texts, keep, strict=True) if kept]
            firm = [each for each, kept in zip(firm, keep, strict=True) if kept]
            texts = shuffled(self.random, texts, firm)
        elif all(own) and set(read.table.plates) <= set(inside) and self.random.random() < 0.5:
            texts = []
        if read.table.plates[-1:] == (read.over,) and all(own) and self.random.random() < 0.5:
            return f"sum({read.table.name}[*])"
        text = read.table.name + (f"[{', '.join(texts)}]" if texts else "")
        return f"sum({text} for {read.over})" if read.over else text

    def adding(self, terms: tuple[tuple[float, Read], ...], open: tuple[str, ...], plain: bool) -> str:
        return " + ".join(f"{weight} * {self.written(read, open, plain)}" for weight, read in terms)

    def text(self, plain: bool) -> str:
        """The spec."""
        sized: set[str] = set()
        lines = ["size A = 2", "size B = 3"]
        outer = [table for table in self.tables if table.role != "given"]
        blocks = [(nest, []) for nest in self.openings] + [(t.plates, self.statements(t, plain)) for t in outer]
        for nest, inside in blocks:
            lines += self.nested(nest, inside or ["param " + f"unused_{len(lines)} : real"], sized)
        lines.append("plate n:")
        for table in self.tables:
            if table.role == "given":
                lines += ["    " + line for line in self.nested(table.plates, [f"given {table.name} : real"], sized)]
        for pointer in self.pointers:
            lines += ["    " + line for line in self.nested(pointer.nest, [pointer.law()], sized)]
        for let in self.row_lets:
            lines += ["    " + line for line in self.nested(let.plates, self.statements(let, plain), sized)]
        for outcome in self.outcomes:
            value = self.adding(outcome.terms, outcome.nest, plain)
            law = {"real": f"Normal({value}, 1)"}.get(outcome.law, "")
            if not law:
                only = self.written(outcome.terms[0][1], outcome.nest, plain)
                law = f"Bernoulli({only})" if outcome.law == "bit" else f"Categorical({only})"
            inside = [f"observed {outcome.name} : {outcome.law} ~ {law}"]
            lines += ["    " + line for line in self.nested(outcome.nest, inside, sized)]
        return "\n".join(lines) + "\n"

    def statements(self, table: Table, plain: bool) -> list[str]:
        if table.role == "let":
            return [f"let {table.name} = {self.adding(table.terms, table.plates, plain)}"]
        return [f"{table.role} {table.name} : {table.type}" + (" ~ Normal(0, 1)" if table.role == "latent" else "")]

    def nested(self, nest: tuple[str, ...], inside: list[str], sized: set[str]) -> list[str]:
        """Lines in plates, whose sizes are written once."""
        lines = []
        for depth, plate in enumerate(nest):
            lines.append("    " * depth + f"plate {plate}" + ("" if plate in sized else f"[{self.plates[plate]}]") + ":")
            sized.add(plate)
        return lines + ["    " * len(nest) + line for line in inside]


def written(filler: Filler) -> str:
    return filler.plate if isinstance(filler, Own) else str(filler.value) if isinstance(filler, Number) else filler.name


def shuffled(random: Random, texts: list[str], firm: list[bool]) -> list[str]:
    """Indices of plates in any order between what must stand in its place."""
    found: list[str] = []
    for movable, group in itertools.groupby(zip(texts, firm, strict=True), key=lambda each: each[1]):
        part = [text for text, _ in group]
        found += random.sample(part, len(part)) if movable else part
    return found


def drawn(seed: int) -> Draft:
    """A random model."""
    random = Random(seed)
    names = random.sample(["item", "k", "judge", "week", "word"], 3)
    draft = Draft(random, {name: random.choice(list(SIZES)) for name in names})
    draft.openings = [draft.nest() for _ in range(random.randint(0, 2))]
    draft.openings = [nest for nest in draft.openings if nest]
    for number in range(random.randint(2, 4)):
        role = random.choice(("param", "param", "latent", "given"))
        size = random.choice(list(SIZES))
        kinds = (("real", ()), ("unit", ()), (f"real[{size}]", (size,)), (f"simplex[{size}]", (size,)))
        kind, event = random.choice(kinds) if role == "param" else kinds[0]
        draft.tables.append(Table(f"m{number}", role, kind, draft.nest(), event))
    draft.tables.append(Table("m9", "param", "real", tuple(names[: random.randint(1, 3)])))
    outer = [t for t in draft.tables if t.role != "given" and not t.type.startswith("simplex")]
    for number in range(random.randint(0, 2)):
        nest = draft.nest()
        draft.tables.append(Table(f"v{number}", "let", "real", nest, (), draft.sum_of(nest, [], outer)))
    for name in names:  # a plate that nothing opens has no size
        if not any(name in nest for nest in (*(t.plates for t in draft.tables if t.role != "given"), *draft.openings)):
            draft.openings.append((name,))
    for number in range(random.randint(1, 2)):
        outcome(draft, number)
    return draft


def outcome(draft: Draft, number: int) -> None:
    """An observed variable with indices of its own: some in the row, some in the outermost of its plates."""
    random, nest = draft.random, draft.nest()
    own: list[Pointer] = []
    for place in range(random.randint(1, 3)):
        plate = random.choice((None, *draft.plates))
        size = draft.plates[plate] if plate else random.choice(list(SIZES))
        kind = f"index[{plate}]" if plate else "bit" if size == "2" and random.random() < 0.5 else f"category[{size}]"
        where = nest[:1] if random.random() < 0.4 else ()
        latent = (place < 2 and not where and random.random() < 0.6) or (place == 0 and random.random() < 0.3)
        own.append(Pointer(f"c{number}{place}", kind, plate, size, where, latent))
    draft.pointers += own
    law = random.choice(("real", "real", "bit", "category"))
    units = [t for t in draft.tables if t.type == "unit"]
    simplexes = [t for t in draft.tables if t.type.startswith("simplex")]
    if law == "bit" and units:
        terms = ((1.0, read_of_one(draft, random.choice(units), nest, own, False)),)
    elif law == "category" and simplexes:
        table = random.choice(simplexes)
        terms = ((1.0, read_of_one(draft, table, nest, own, True)),)
        law = f"category[{table.event[0]}]"
    else:
        law, terms = "real", draft.sum_of(nest, own, draft.tables)
        if random.random() < 0.5:
            terms += ((1.0, let_in_row(draft, number, nest, own)),)
    draft.outcomes.append(Outcome(f"x{number}", law, nest, terms))


def let_in_row(draft: Draft, number: int, nest: tuple[str, ...], own: list[Pointer]) -> Read:
    """A read of a deterministic node of each row; of one that depends on a latent, its own element."""
    plates = tuple(plate for plate in draft.nest() if plate in nest)
    usable = [pointer for pointer in own if {*pointer.nest} <= {*plates}]
    let = Table(f"h{number}", "let", "real", plates, (), draft.sum_of(plates, usable, draft.tables))
    draft.row_lets.append(let)
    hidden = any(isinstance(f, Pointer) and f.latent for _, read in let.terms for f in read.at)
    return Read(let, tuple(map(Own, plates))) if hidden else draft.read(let, nest, own)


def read_of_one(draft: Draft, table: Table, nest: tuple[str, ...], own: list[Pointer], whole: bool) -> Read:
    """A read that is no sum: of probabilities, a sum is none."""
    while (read := draft.read(table, nest, own, whole)).over is not None:
        pass
    return read
