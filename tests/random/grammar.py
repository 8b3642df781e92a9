"""`random_spec(seed, size)`: a whole model drawn from the language's page, small enough to be enumerated.

Blocks nest: ragged and sized plates and chains inside the data plate, plates of parameters opened again there, and plates of
the data opened again inside others. What a block declares can be read behind it, as a whole or by an index."""

from dataclasses import dataclass, replace
from random import Random

from tests.random.drawn.draft import Draft, Plate, Scope, Symbol
from tests.random.drawn.statements import finite, given, let, observed
from tests.random.names import Namer

LIMIT = 4096
"""Joint values of a row's latents and missing cells, with two elements in each ragged plate."""


@dataclass(frozen=True)
class Spec:
    """meant: for each name read at indices, which index was meant for which plate, in each reading. sizes: of vocabularies."""

    seed: int
    text: str
    meant: dict[str, set[frozenset[tuple[str, str]]]]
    sizes: dict[str, int]


def random_spec(seed: int, size: int = 3, plain: bool = True, in_order: bool = False) -> Spec:
    """A model with about `size` blocks to each level of nesting; in_order as in Draft."""
    rng = Random(seed)
    draft = Draft(rng, Namer(rng, plain), in_order=in_order)
    for _ in range(draft.pick(1, 2)):
        draft.sized_plate(draft.size())
    data = Plate(draft.namer("n"), "plate", "", 1)
    draft.plates[data.name], draft.data = data, data.name
    symbols: list[Symbol] = []
    if draft.maybe(0.1):
        symbols.append(_shared(draft))
    rows, _ = _block(draft, Scope((data,), tuple(symbols)), rng.randint(1, size), [1])
    if not any("observed " in row for row in rows):
        rows.append(observed(draft, Scope((data,)))[0])
    text = draft.text([f"plate {data.name}:", *_indented(rows)])
    return Spec(seed, text, draft.meant, {name: draft.sizes[name] for name in draft.vocabs})


def _shared(draft: Draft) -> Symbol:
    """A table that all rows share: given, in a plate outside the data."""
    plate = draft.rng.choice(draft.outside)
    name, kind = draft.namer("y"), draft.pick("real", "bit")
    draft.shared.append(f"plate {plate}:\n    given {name} : {kind}")
    return Symbol(name, (plate,), kind)


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for text in lines for line in text.split("\n")]


def _block(draft: Draft, scope: Scope, size: int, budget: list[int]) -> tuple[list[str], list[Symbol]]:
    """The lines inside some plates, and what they declare. budget: joint values so far, in a list of one."""
    lines: list[str] = []
    made: list[Symbol] = []

    def add(line: str, symbol: Symbol) -> None:
        nonlocal scope
        lines.append(line)
        made.append(symbol)
        scope = replace(scope, symbols=(*scope.symbols, symbol))

    if draft.maybe(0.35):
        add(*given(draft, scope))
    for _ in range(draft.rng.choices((0, 1, 2, 3), weights=(3, 5, 3, 1))[0]):
        if _afford(draft, scope, budget):
            add(*finite(draft, scope, draft.pick("latent", "latent", "latent", "partial")))
    if len(scope.open) < 3 and draft.maybe(0.08):
        for _ in range(draft.pick(3, 4, 5)):  # a tree, or a row, of latents
            if _afford(draft, scope, budget):
                add(*finite(draft, replace(scope, symbols=scope.symbols[-3:]), "latent"))
    if draft.maybe(0.2):
        add(*let(draft, scope))
    if draft.maybe(0.8) or not made:
        hidden = [s.name for s in made if s.role in ("latent", "partial")]
        add(*observed(draft, scope, hidden[-1:]))
    if draft.maybe(0.07):
        lines.append(observed(draft, scope, role="partial")[0] if _afford(draft, scope, budget) else "")
    depth = len(scope.open)
    for _ in range(size if depth == 1 else draft.pick(0, 0, 1)):
        if depth < 4 and draft.maybe(0.7):
            inner, inside = _plates(draft, scope, size, budget)
            lines += inner
            made += inside
            scope = replace(scope, symbols=(*scope.symbols, *inside))
    if draft.maybe(0.3):
        add(*observed(draft, scope, [s.name for s in made if s.role == "latent"][:1]))
    if draft.maybe(0.1) and _afford(draft, scope, budget):
        add(*finite(draft, scope, "latent"))
        add(*observed(draft, scope, [made[-1].name]))
    return [line for line in lines if line], made


def _plates(draft: Draft, scope: Scope, size: int, budget: list[int]) -> tuple[list[str], list[Symbol]]:
    """A block inside: a new plate or chain, ragged or sized, or one that was opened before."""
    kind = draft.rng.choices(("ragged", "chain", "sized", "sized chain", "again", "outside"), weights=(5, 6, 2, 1, 3, 3))[0]
    plate: Plate | None = None
    if kind == "again":
        there = [p for p in draft.plates.values() if p.name in draft.around and draft.around[p.name] <= set(scope.names)]
        free = [p for p in there if p.name not in scope.names]
        plate = draft.rng.choice(free) if free else None
        head = f"{plate.kind} {plate.name}:" if plate else ""
    elif kind == "outside":
        free = [draft.plates[name] for name in draft.outside if name not in scope.names]
        plate = draft.rng.choice(free) if free else None
        head = f"plate {plate.name}:" if plate else ""
    if plate is None:
        word = "chain" if "chain" in kind else "plate"
        count = 2 if "sized" in kind and draft.maybe() else 3
        known = draft.pick(str(count), draft.size(count)) if "sized" in kind else ""
        plate = Plate(draft.namer("t" if word == "chain" else "i"), word, known, draft.count(known) if known else 2)
        draft.plates[plate.name] = plate
        draft.around[plate.name] = set(scope.names)
        head = f"{word} {plate.name}{f'[{known}]' if known else ''}:"
    inner, made = _block(draft, replace(scope, open=(*scope.open, plate), past=0), max(1, size - 1), budget)
    return [head, *_indented(inner)], made


def _afford(draft: Draft, scope: Scope, budget: list[int]) -> bool:
    """Whether one more latent of three values in these plates keeps a row enumerable; if so, it is counted."""
    elements = 1
    for plate in scope.open:
        elements *= plate.count
    if budget[0] * 3**elements > LIMIT * 3:
        return False
    budget[0] *= 3**elements
    return True
