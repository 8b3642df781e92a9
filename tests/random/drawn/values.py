"""Random expressions of a domain, which read given parents: tables, arithmetic, choices, nets, sums over plates."""

from collections.abc import Sequence
from dataclasses import replace

from tests.random.drawn.draft import Draft, Plate, Read, Scope, Symbol, points, sequences

LABELS = ("index", "category")
Parents = Sequence[Read]


def real(draft: Draft, scope: Scope, parents: Parents) -> str:
    """A sum with a term for each parent, some labels together in one table, and at times a whole sequence."""
    labels = [p for p in parents if p.domain in LABELS]
    terms: list[str] = []
    if labels and draft.maybe(0.75):
        group = labels[: draft.pick(1, 2, 2, 3)]
        text, used = table(draft, scope, group, "real")
        terms.append(text)
        parents = [p for p in parents if p not in used]
    terms += [term(draft, scope, parent) for parent in parents]
    if draft.maybe(0.15) and (found := sequences(draft, scope)):
        terms.append(reduced(draft, scope, *draft.rng.choice(found)))
    if draft.maybe(0.08):
        terms.append(number_of_place(draft, scope))
    if not terms or draft.maybe(0.1):
        terms.append(table(draft, scope, [], "real")[0])
    if len(terms) > 1 and draft.maybe(0.05):
        return f"{draft.pick('sum', 'max', 'mean')}([{', '.join(terms)}])"
    text = terms[0]
    for other in terms[1:]:
        text = f"{text} {draft.pick('+', '+', '-')} {other}"
    return text


def term(draft: Draft, scope: Scope, parent: Read) -> str:
    """A real number that depends on one parent."""
    slope = draft.pick(lambda: table(draft, scope, [], "real")[0], lambda: "0.7")()
    if parent.domain in LABELS:
        return label_term(draft, scope, parent)
    if parent.domain == "bit":
        other = table(draft, scope, [], "real")[0]
        options = [f"{slope} * {parent.text}", f"({slope} if {parent.text} else {other})", f"{slope} * (1 - {parent.text})"]
        return draft.rng.choice(
            [*options, f"({slope} if not {parent.text} else 0.3)", f"{slope} ^ {parent.text}" if slope == "0.7" else options[0]]
        )
    if draft.maybe(0.15) and parent.domain == "real":
        return f"{draft.net(['real'], 'real')}({parent.text})"
    options = [
        f"{slope} * {parent.text}",
        f"tanh({parent.text})",
        f"abs({parent.text})",
        f"relu({parent.text})",
        f"max({parent.text}, {slope})",
    ]
    if parent.domain in ("positive", "unit"):
        options += [f"log({parent.text})", f"sqrt({parent.text})", f"{parent.text} ^ 2"]
    return f"0.5 * {draft.rng.choice(options)}"


def label_term(draft: Draft, scope: Scope, parent: Read) -> str:
    """A real number by one label: a choice, a net, a vector's entry, its one-hot code, its number."""
    a, b = (table(draft, scope, [], "real")[0] for _ in range(2))
    size = parent.of if parent.domain == "category" else draft.plates[parent.of].size
    options = [f"({a} if {parent.text} {draft.pick('==', '!=')} {draft.pick(0, 1)} else {b})"]
    if size:
        options += [
            f"{draft.param(f'real[{size}]')}[{parent.text}]",
            f"dot({draft.param(f'real[{size}]')}, one_hot({parent.text}))",
        ]
        if draft.maybe(0.3):
            options.append(f"{draft.net([draft.argument(parent.domain, parent.of)], 'real')}({parent.text})")
    if parent.domain == "index":
        options.append(f"{a} * {parent.text}")
    return draft.rng.choice(options)


def number_of_place(draft: Draft, scope: Scope) -> str:
    """The place in an open plate, a length, or a size, as a number."""
    inner = [plate for plate in scope.open if plate.name != draft.data]
    options = [f"0.2 * {plate.name}" for plate in inner]
    lengths = [s for s in scope.symbols if len(s.plates) > 1 and set(s.plates[:-1]) <= set(scope.names)]
    options += [f"0.1 * |{s.name}|" for s in lengths] + [f"1 / {size}" for size in draft.sizes]
    return draft.rng.choice(options) if options else "0.5"


def reduced(draft: Draft, scope: Scope, text: str, symbol: Symbol) -> str:
    """A number out of a whole sequence or a prefix."""
    empty = "<" in text and not scope.past
    if symbol.domain in LABELS:
        size = symbol.of if symbol.domain == "category" else draft.plates[symbol.of].size
        if size and draft.maybe(0.5):
            return f"{draft.net([f'{draft.argument(symbol.domain, symbol.of)}*'], 'real', sequence=True)}({text})"
        if symbol.domain == "category" or "<" in text or symbol.plates[-1] in scope.names:
            return "0.3"
        return f"0.2 * sum({symbol.name} for {symbol.plates[-1]})"
    beside = [other for other in scope.symbols if other.plates == symbol.plates and other != symbol]
    masks = [other for other in beside if other.domain == "bit" and not other.vector]
    if text.endswith("[*]") and symbol.domain == "real" and masks and draft.maybe():
        mask = draft.rng.choice(masks)
        return f"{draft.net(['real*'], 'real', sequence=True)}({text} where {mask.name}[*])"
    if symbol.domain in ("real", "bit") and draft.maybe(0.2):
        return f"{draft.net([f'{symbol.domain}*'], 'real', sequence=True)}({text})"
    if text.endswith("[*]") and symbol.plates[-1] not in scope.names and draft.maybe(0.4):
        return comprehension(draft, scope, symbol)
    return f"0.3 * {'sum' if empty else draft.pick('sum', 'sum', 'mean', 'max', 'min')}({text})"


def comprehension(draft: Draft, scope: Scope, symbol: Symbol) -> str:
    """`sum(... for p)` with the symbol's own element in it, at times with another parent."""
    plate = draft.plates[symbol.plates[-1]]
    inside = replace(scope, open=(*scope.open, plate), past=0)
    body = real(draft, inside, [Read(symbol.name, symbol.domain, symbol.of)])
    return f"0.3 * {draft.pick('sum', 'mean', 'max')}({body} for {plate.name})"


def positive(draft: Draft, scope: Scope, parents: Parents) -> str:
    """A scale or a rate."""
    labels = [p for p in parents if p.domain in LABELS]
    if not parents:
        return draft.pick(lambda: table(draft, scope, [], "positive")[0], lambda: "1.5")()
    if len(labels) == len(parents) and draft.maybe(0.7):
        text, used = table(draft, scope, labels, "positive")
        rest = [p for p in parents if p not in used]
        return text if not rest else f"{text} * exp(tanh({real(draft, scope, rest)}))"
    if draft.maybe(0.15):
        test = condition(draft, scope, parents[0])
        return f"({positive(draft, scope, parents[1:])} if {test} else {positive(draft, scope, ())})"
    return f"{draft.pick('softplus', 'exp')}(tanh({real(draft, scope, parents)}))" + draft.pick("", "", " + 0.5")


def unit(draft: Draft, scope: Scope, parents: Parents) -> str:
    """A probability."""
    if not parents:
        return draft.pick(lambda: table(draft, scope, [], "unit")[0], lambda: "0.3")()
    labels = [p for p in parents if p.domain in LABELS]
    if len(labels) == len(parents) and draft.maybe(0.65):
        text, used = table(draft, scope, labels, "unit")
        rest = [p for p in parents if p not in used]
        return text if not rest else f"{text} * ({unit(draft, scope, rest)})"
    kind = draft.rng.random()
    if kind < 0.1:
        return f"({unit(draft, scope, parents[1:])} if {condition(draft, scope, parents[0])} else {unit(draft, scope, ())})"
    if kind < 0.12:
        return condition(draft, scope, parents[0])
    if kind < 0.15:
        return (
            f"1 - {unit(draft, scope, parents)}"
            if len(parents) == 1 and parents[0].domain in LABELS
            else f"0.9 * ({condition(draft, scope, parents[0])})"
        )
    if kind < 0.2:
        return f"1 - exp(-({positive(draft, scope, [p for p in parents if p.domain in LABELS][:1])}))"
    if kind < 0.25 and all(p.domain == "real" for p in parents):
        return f"{draft.net(['real'] * len(parents), 'unit')}({', '.join(p.text for p in parents)})"
    return f"sigmoid({real(draft, scope, parents)})"


def simplex(draft: Draft, scope: Scope, parents: Parents, size: str) -> str:
    """A distribution over `size` values."""
    labels = [p for p in parents if p.domain in LABELS]
    rest = [p for p in parents if p.domain not in LABELS]
    kind = draft.rng.random()
    if parents and kind < 0.12:
        first = condition(draft, scope, parents[0])
        return f"({simplex(draft, scope, parents[1:], size)} if {first} else {simplex(draft, scope, (), size)})"
    if kind < 0.17:
        return f"ordinal({real(draft, scope, parents)}, {draft.param(f'ordered[{size} - 1]')})"
    if kind < 0.25 and (plate := sized(draft, scope, size)):
        inside = replace(scope, open=(*scope.open, plate))
        return f"softmax({real(draft, inside, [*parents, Read(plate.name, 'real')])} for {plate.name})"
    if kind < 0.32 and len(labels) == 1 and not rest and (argument := draft.argument(labels[0].domain, labels[0].of)):
        return f"{draft.net([argument], f'simplex[{size}]')}({labels[0].text})"
    text, used = table(draft, scope, labels, f"{'real' if rest else 'simplex'}[{size}]")
    for bit in rest:
        text += f" + {draft.param(f'real[{size}]')} * {bit.text}"
    text = f"softmax({text})" if rest else text
    for label in [p for p in labels if p not in used]:
        text = f"({text} if {label.text} == 0 else {draft.param(f'simplex[{size}]')})"
    return text


def sized(draft: Draft, scope: Scope, size: str) -> Plate | None:
    """A plate of that size that is not open here."""
    plate = draft.sized_plate(size, scope.names)
    return plate if plate.name not in scope.names else None


def condition(draft: Draft, scope: Scope, parent: Read) -> str:
    """Something true or false about a parent, at times with logic."""
    texts = {
        "bit": [parent.text, f"not {parent.text}", f"{parent.text} == 1"],
        "category": [f"{parent.text} == 0", f"{parent.text} != 1"],
        "index": [f"{parent.text} == 0", f"{parent.text} > 0", f"{parent.text} != 1"],
    }
    text = draft.rng.choice(texts.get(parent.domain, [f"{parent.text} > 0.1", f"{parent.text} < 0.9"]))
    inner = [plate for plate in scope.open if plate.name != draft.data]
    if inner and draft.maybe(0.1):
        text = f"{text} {draft.pick('and', 'or')} {inner[-1].name} > 0"
    elif draft.maybe(0.08):
        text = f"{text} or not {text}" if " " not in text else f"not ({text})"
    return text


# ---- tables


def table(draft: Draft, scope: Scope, labels: Parents, type: str) -> tuple[str, list[Read]]:
    """A parameter of a type read at some labels: in a plate for each, in any order, and at times in open plates too.

    Gives also the labels that found a plate."""
    plates: dict[str, Read | None] = {}
    for label in labels[:3]:
        plate = plate_for(draft, scope, label, tuple(plates))
        if plate is not None:
            plates[plate] = label
    outside = [plate.name for plate in scope.open if plate.name in draft.outside and plate.name not in plates]
    for plate in outside:
        if draft.maybe(0.6):
            plates[plate] = None
    order = list(plates)
    draft.rng.shuffle(order)
    if draft.in_order:
        order.sort(key=draft.outside.index)
    name = draft.param(type, tuple(order))
    items = {plate: label.text for plate in order if (label := plates[plate])}
    draft.meant.setdefault(name, set()).add(frozenset(items.items()))
    spelt = draft.maybe(0.15)
    written = [items.get(plate, plate) for plate in order if plate in items or spelt]
    return f"{name}[{', '.join(written)}]" if written else name, [label for label in plates.values() if label]


def plate_for(draft: Draft, scope: Scope, label: Read, taken: tuple[str, ...]) -> str | None:
    """A plate outside the data, not open here, into which a label points."""
    if label.domain == "index":
        plate = draft.plates[label.of]
        good = plate.name in draft.outside and plate.name not in taken and plate.name not in scope.names
        return plate.name if good else None
    plate = draft.sized_plate(label.of, (*taken, *scope.names)) if label.of in draft.sizes else None
    good = (
        plate is not None and plate.name not in taken and plate.name not in scope.names and points("category", label.of, plate)
    )
    return plate.name if good and plate else None
