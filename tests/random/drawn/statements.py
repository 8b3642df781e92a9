"""Random statements: latents, partial and observed variables with their laws, givens and lets."""

from collections.abc import Sequence
from dataclasses import replace

from tests.random.drawn.draft import Draft, Read, Scope, Symbol, reads
from tests.random.drawn.values import LABELS, condition, positive, real, simplex, table, unit


def parents_of(draft: Draft, scope: Scope, most: int, must: Sequence[str] = ()) -> list[Read]:
    """Some of what can be read here, hidden values before others, no two of one variable at one place."""
    found = reads(draft, scope)
    draft.rng.shuffle(found)
    found.sort(key=lambda read: not any(read.text.startswith(name) for name in must))
    forced = [read for read in found if read.text in must][:1]
    rest = [read for read in found if read not in forced]
    rest.sort(key=lambda read: draft.rng.random() + (0 if read.hidden else 0.4))
    count = draft.rng.choices(range(most + 1), weights=[2, 6, 4, 2][: most + 1])[0]
    return [*forced, *rest[: max(0, count - len(forced))]]


def chained(draft: Draft, scope: Scope, symbol: Symbol, law, must: Sequence[str] = ()) -> str:
    """A law; in a chain, at times `A then B` (`then C`), where the later ones read the past."""
    if scope.chain is None or (scope.open[-1] != scope.chain and draft.maybe(0.8)) or draft.maybe(0.2):
        return law(replace(scope, past=0), must)
    laws = [law(replace(scope, past=0), must)]
    for past in range(1, draft.pick(2, 2, 2, 3)):
        back = f"{symbol.name}[{scope.chain.name}-{past}]"
        own = symbol if symbol.plates[-1] == scope.chain.name or draft.maybe() else None
        wanted = [*must, *([back] if own and draft.maybe(0.7) else [])]
        laws.append(law(replace(scope, past=past, own=own), wanted))
    return " then ".join(laws)


def finite(draft: Draft, scope: Scope, role: str) -> tuple[str, Symbol]:
    """A latent or partial variable with few values."""
    name = draft.namer("z")
    ragged = [
        plate
        for plate in draft.plates.values()
        if not plate.size and plate.name != draft.data and plate.name not in scope.names
    ]
    reachable = [plate for plate in ragged if inside_of(draft, plate.name) <= set(scope.names)]
    if reachable and draft.maybe(0.4):
        return pointer(draft, scope, role, name, draft.rng.choice(reachable).name)
    kind = draft.pick("index", "index", "category", "bit")
    if kind == "bit":
        symbol = Symbol(name, scope.names, "bit", "", role)
        text = chained(draft, scope, symbol, lambda s, must: f"Bernoulli({unit(draft, s, parents_of(draft, s, 2, must))})")
        return f"{role} {name} : bit ~ {text}", symbol
    size = draft.size()
    of = draft.sized_plate(size).name if kind == "index" else size
    symbol = Symbol(name, scope.names, kind, of, role)

    def law(s: Scope, must: Sequence[str]) -> str:
        if not must and draft.maybe(0.12):
            return "Uniform()"
        return f"Categorical({simplex(draft, s, parents_of(draft, s, 2, must), size)})"

    type = f"index[{of}]" if kind == "index" else draft.label(of)
    return f"{role} {name} : {type} ~ {chained(draft, scope, symbol, law)}", symbol


def inside_of(draft: Draft, plate: str) -> set[str]:
    """The plates around a plate of the data, as far as they were written down."""
    return draft.around.get(plate, set())


def pointer(draft: Draft, scope: Scope, role: str, name: str, plate: str) -> tuple[str, Symbol]:
    """A variable that points at an element of a ragged plate: all alike, by a softmax over it, or along a chain by jumps."""
    symbol = Symbol(name, scope.names, "index", plate, role)
    inner = replace(scope, open=(*scope.open, draft.plates[plate]), past=0)

    def law(s: Scope, must: Sequence[str]) -> str:
        if draft.maybe(0.4) and not must:
            return "Uniform()"
        if must and s.chain and draft.maybe(0.7):
            jump = draft.param("real[-2..2]")
            return f"Categorical(softmax({jump}[{plate} - {must[-1]}] for {plate}))"
        return f"Categorical(softmax({real(draft, inner, parents_of(draft, inner, 1))} for {plate}))"

    return f"{role} {name} : index[{plate}] ~ {chained(draft, scope, symbol, law)}", symbol


def observed(draft: Draft, scope: Scope, must: Sequence[str] = (), role: str = "observed") -> tuple[str, Symbol]:
    """Something seen, under one law, one of two by a condition, or a chain of laws. A partial one is read by nothing."""
    name = draft.namer("x")
    make = draft.pick(*KINDS)
    type, domain, of, vector, law = make(draft)
    if role == "partial" and (vector or domain not in ("bit", "category")):  # what is missing there may not be read
        return f"partial {name} : {type} ~ {law(scope, parents_of(draft, scope, 2))}", Symbol(
            name, scope.names, domain, of, role
        )
    symbol = Symbol(name, scope.names, domain, of, role, vector)

    def either(s: Scope, wanted: Sequence[str]) -> str:
        parents = parents_of(draft, s, 3, wanted)
        if parents and draft.maybe(0.15):
            test = condition(draft, s, parents[0])
            return f"{law(s, parents[1:])} if {test} else {law(s, parents_of(draft, s, 1))}"
        return law(s, parents)

    return f"{role} {name} : {type} ~ {chained(draft, scope, symbol, either, must)}", symbol


def _bit(draft: Draft):
    return "bit", "bit", "", False, lambda s, ps: f"Bernoulli({unit(draft, s, ps)})"


def _category(draft: Draft):
    size = draft.size()
    return draft.label(size), "category", size, False, lambda s, ps: f"Categorical({simplex(draft, s, ps, size)})"


def _real(draft: Draft):
    family = draft.pick("Normal", "Normal", "Normal", "Laplace", "Cauchy")

    def law(s: Scope, ps) -> str:
        label = next((p for p in ps if p.domain in LABELS), None)
        if family == "Normal" and label and draft.maybe(0.1) and (argument := draft.argument(label.domain, label.of)):
            return f"Normal({draft.net([argument], '(loc: real, scale: positive)')}({label.text}))"
        scale = positive(draft, s, ps[:1] if draft.maybe(0.2) else ())
        return f"{family}({real(draft, s, ps)}, {scale})"

    return "real", "real", "", False, law


def _count(draft: Draft):
    family = draft.pick("Poisson", "Poisson", "Geometric", "Binomial")

    def law(s: Scope, ps) -> str:
        if family == "Poisson":
            return "Zero()" if ps and draft.maybe(0.03) else f"Poisson({positive(draft, s, ps)})"
        return f"Geometric({unit(draft, s, ps)})" if family == "Geometric" else f"Binomial(9, {unit(draft, s, ps)})"

    return "count", "count", "", False, law


def _positive(draft: Draft):
    family = draft.pick("Exponential", "Gamma", "LogNormal")

    def law(s: Scope, ps) -> str:
        if family == "Exponential":
            return f"Exponential({positive(draft, s, ps)})"
        first = positive(draft, s, ps) if family == "Gamma" else real(draft, s, ps)
        return f"{family}({first}, {positive(draft, s, ())})"

    return "positive", "positive", "", False, law


def _vector(draft: Draft):
    size = draft.size()

    def law(s: Scope, ps) -> str:
        loc, _ = table_of(draft, s, ps, f"real[{size}]")
        return f"Normal({loc}, {draft.pick('0.8', draft.param('positive'), draft.param(f'positive[{size}]'))})"

    return f"real[{size}]", "real", size, True, law


def _bits(draft: Draft):
    size = draft.size()
    return f"bit[{size}]", "bit", size, True, lambda s, ps: f"Bernoulli({table_of(draft, s, ps, f'unit[{size}]')[0]})"


def table_of(draft: Draft, scope: Scope, parents, type: str):
    return table(draft, scope, [p for p in parents if p.domain in LABELS], type)


KINDS = (_bit, _category, _category, _real, _real, _count, _positive, _vector, _bits)


def given(draft: Draft, scope: Scope) -> tuple[str, Symbol]:
    """Data that nothing explains."""
    name = draft.namer("y")
    kind = draft.pick("real", "category", "bit", "index", "positive", "count")
    if kind in ("category", "index"):
        size = draft.size()
        ragged = [p.name for p in scope.open[1:] if not p.size]
        of = size if kind == "category" else draft.rng.choice([draft.sized_plate(size).name] * 2 + ragged)
        return f"given {name} : {f'index[{of}]' if kind == 'index' else draft.label(of)}", Symbol(name, scope.names, kind, of)
    return f"given {name} : {kind}", Symbol(name, scope.names, kind)


def let(draft: Draft, scope: Scope) -> tuple[str, Symbol]:
    """A value with a name of its own."""
    name = draft.namer("h")
    inner = replace(scope, past=0)
    parents = parents_of(draft, inner, 2)
    kind = draft.pick("real", "real", "positive", "unit", "bit")
    make = {"real": real, "positive": positive, "unit": unit}
    if kind == "bit" and parents:
        return f"let {name} = {condition(draft, inner, parents[0])}", Symbol(name, scope.names, "bit", "", "let")
    kind = "real" if kind == "bit" else kind
    text = make[kind](draft, inner, parents)
    numeric = any(character.isalpha() for character in text)
    return f"let {name} = {text}" if numeric else f"let {name} = tanh({text})", Symbol(name, scope.names, "real", "", "let")
