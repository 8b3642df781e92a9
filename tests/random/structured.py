"""`structured_spec(seed)`: a model with one or two structures, labels, trees, parses or stretches, in any role, beside whatever
else a row may have: a mixture around them, elements that read their own part of it, latents of elements, missing cells, numbers
under a Gaussian, sequences inside plates."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.random.lines import Writer
from tests.random.names import Namer


@dataclass
class Rows(Writer):
    """row: statements of a row; inner: those in the elements' plate. words: what is given of each element, from the vocabulary
    vocab. mixture, groups: a latent of the row and its plate; shift: a number under a guide. states: the plate of the labels of
    stretches, while what stands in these is written."""

    row: list[str] = field(default_factory=list)
    inner: list[str] = field(default_factory=list)
    words: str = ""
    plate: str = ""
    mixture: str = ""
    groups: str = ""
    shift: str = ""
    vocab: str = ""
    states: str = ""

    def sized(self, size: str) -> str:
        name = self.name("k")
        self.top.append(f"plate {name}[{size}]")
        return name

    def net(self, arguments: str, result: str, trunk: str) -> str:
        name = self.name("net")
        self.top.append(f"net {name}({arguments}) -> {result} = {trunk}")
        return name


def structured_spec(seed: int, plain: bool = True) -> str:
    rng = Random(seed)
    w = Rows(rng, Namer(rng, plain))
    w.vocab = w.name("V")
    w.top.append(f"vocab {w.vocab}")
    w.plate, w.words = w.name("i"), w.name("y")
    data = w.name("row")
    around(w)
    reads_words = [structure(w) for _ in range(1 + w.maybe(0.2))]
    given = [f"    given {w.words} : token[{w.vocab}]"] if any(reads_words) else []
    if not any("observed" in line or "partial" in line for line in (*w.row, *w.inner)):
        w.inner.append(f"    observed {w.name('x')} : bit ~ Bernoulli(0.3)")
    plate = [f"plate {w.plate}:", *given] if given else []
    if not given and not w.inner and not any("    " in line for line in w.row):
        w.inner.append(f"    observed {w.name('x')} : bit ~ Bernoulli(0.3)")
    element = [f"plate {w.plate}:", *w.inner] if w.inner else []
    rows = [*plate, *w.row, *element]
    if w.shift and sum(w.shift in line for line in rows) == 1:  # read by nothing
        rows = [line for line in rows if w.shift not in line]
    if w.maybe(0.3):  # several sequences to a row
        size = w.pick("", "[2]")
        outer = [line for line in rows if line.startswith("@")]
        rows = [*outer, f"plate {w.name('doc')}{size}:", *(f"    {line}" for line in rows if not line.startswith("@"))]
    rows = [line.removeprefix("@") for line in rows]
    return "\n".join([*w.top, "", f"plate {data}:", *(f"    {line}" for line in rows), ""])


def around(w: Rows) -> None:
    """What stands around the structures in a row: a mixture, and a number."""
    if w.maybe(0.35):
        w.groups, w.mixture = w.sized("2"), w.name("z")
        law = w.pick("Uniform()", "Categorical([0.3, 0.7])", f"Categorical({w.param('simplex[2]')})")
        w.row.append(f"@latent {w.mixture} : index[{w.groups}] ~ {law}")
    if w.maybe(0.15):
        w.shift = w.name("e")
        w.row.append(f"@latent {w.shift} : real ~ Normal(0, 1)")


def structure(w: Rows) -> bool:
    """One structure and what its elements give rise to; whether its law reads words."""
    return w.rng.choice((labels, labels, tree, tree, grammar, spans, stretches))(w)


def role(w: Rows) -> str:
    return w.pick("latent", "latent", "observed", "partial")


# ---- structures


def labels(w: Rows) -> bool:
    size, name, kind, words = w.pick("2", "3"), w.name("t"), role(w), True
    values = w.pick(size, size, '"A", "B", "C"'[: 5 * int(size) - 2])
    if w.maybe(0.5):
        net = w.net(f"words: token[{w.vocab}]*", f"real[{size}]*", w.pick("embed(2)", "gru(2, embed=2, bidirectional=true)"))
        scores = f"{net}({w.words}[*])"
    else:
        each = w.name("s")
        if w.maybe(0.5):
            by = w.sized(w.vocab)
            table, at = w.param(f"real[{size}]", by), w.words
        else:
            table, at, words = w.param(f"real[{size}]", w.sized("2")), w.name("g"), False
            w.row += [f"plate {w.plate}:", f"    given {at} : category[2]"]
        factor = f"{w.pick('0.5', '2')} * " if w.maybe(0.3) else ""
        w.row += [f"plate {w.plate}:", f"    let {each} = {factor}{table}[{at}]"]
        scores = f"{each}[*]"
    move = w.param(f"real[{size}, {size}]", *([w.groups] if w.groups and w.maybe(0.4) else []))
    move = f"{move}[{w.mixture}]" if w.groups and f"plate {w.groups}:" in w.top[-2] else move
    w.row.append(f"{kind} {name} : labels[{w.plate}, {values}] ~ LinearChain({scores}, {move})")
    if kind == "latent" or w.maybe(0.5):
        element(w, name, size)
    return words


def tree(w: Rows) -> bool:
    name, kind, words = w.name("t"), role(w), True
    options = [each for each in ("projective=true", "roots=any") if w.maybe(0.5)]
    if w.maybe(0.6):
        net = w.net(
            f"words: token[{w.vocab}]*",
            "(head: real[2]*, dependent: real[2]*, root: real*)",
            "gru(2, embed=2, bidirectional=true)",
        )
        law = f"DependencyTree({', '.join([f'{net}({w.words}[*])', *options])})"
    else:
        law, words = f"Uniform({', '.join(options)})", False
    w.row.append(f"{kind} {name} : tree[{w.plate}] ~ {law}")
    if kind == "latent" or w.maybe(0.5):
        attached(w, name)
    return words


def grammar(w: Rows) -> bool:
    symbols, preterminals = w.pick("1", "2"), w.pick("1", "2")
    name, kind = w.name("t"), role(w)
    root = w.param(f"simplex[{symbols}]")
    both = int(symbols) + int(preterminals)
    shape = f"real[{both}, {both}]"
    how = w.rng.random()
    if how < 0.3:
        rule = w.param(f"real[{symbols}, {both}, {both}]")
    elif how < 0.8:
        rule = f"{w.param(shape, w.sized(symbols))}[*]"
    else:
        given, parents = w.name("c"), w.sized(symbols)
        w.row.append(f"given {given} : real")
        each = w.name("rule")
        net = w.net("c: real", shape, "mlp([2])")
        w.row += [f"plate {parents}:", f"    let {each} = {net}({given})"]
        rule = f"{each}[*]"
    w.row.append(f"{kind} {name} : parse[{w.plate}, {symbols}, {preterminals}] ~ Grammar({root}, {rule})")
    if kind == "latent" or w.maybe(0.5):
        element(w, name, preterminals)
    return False


def spans(w: Rows) -> bool:
    size, name, kind = w.pick("1", "2"), w.name("t"), role(w)
    net = w.net(
        f"words: token[{w.vocab}]*", f"(first: real[{size}, 2]*, last: real[{size}, 2]*)", "gru(2, embed=2, bidirectional=true)"
    )
    w.row.append(f"{kind} {name} : parse[{w.plate}, {size}] ~ SpanTree({net}({w.words}[*]))")
    if kind == "latent" or w.maybe(0.5):
        element(w, name, size)
    return True


def stretches(w: Rows) -> bool:
    size, longest = w.pick("2", "3"), w.pick("2", "3")
    name, over, length = w.name("t"), w.name("s"), w.name("d")
    states = w.sized(size)
    typed, w.states = w.pick(f"index[{states}]", f"category[{size}]"), states
    w.states = w.states if typed.startswith("index") else ""
    first = w.param(f"simplex[{size}]")
    law = f"Categorical({first})"
    if w.maybe(0.7):
        law += f" then Categorical({w.param(f'simplex[{size}]', states)}[{name}[{over}-1]])"
    head = [f"chain {over} of {w.plate}({', '.join([f'longest={longest}', *(['cut'] if w.maybe(0.4) else [])])}):"]
    body = [f"    latent {name} : {typed} ~ {law}"]
    if w.maybe(0.7):
        by = f"{w.param(f'simplex[{longest}]', states)}[{name}]" if w.maybe(0.6) else w.param(f"simplex[{longest}]")
        body.append(f"    latent {length} : length ~ Categorical({by})")
    before, w.inner = w.inner, []
    element(w, name, size)
    inner, w.inner, w.states = w.inner, before, ""
    if w.maybe(0.7):
        w.row += [*head, *body, f"    plate {w.plate}:", *(f"    {line}" for line in inner)]
    else:
        w.row += [*head, *body, f"    plate {w.plate}:", f"        observed {w.name('x')} : bit ~ Bernoulli(0.3)"]
        w.inner += inner
    return False


# ---- what elements give rise to


def element(w: Rows, label: str, size: str) -> None:
    """One or two variables that read the element's own label."""
    for _ in range(1 + w.maybe(0.3)):
        states = w.states or w.sized(size)
        more = [w.groups] if w.groups and w.maybe(0.4) else []
        at = f"[{label}]" if not more else f"[{label}, {w.mixture}]"
        own = ""
        if w.maybe(0.25):  # a latent of the element itself
            own = w.name("u")
            chances = w.param("unit", states) if w.maybe(0.7) else ""
            w.inner.append(f"    latent {own} : bit ~ Bernoulli({f'{chances}[{label}]' if chances else '0.4'})")
        kind = w.pick("observed", "observed", "partial")
        w.inner.append(f"    {kind} {w.name('x')} : {scored(w, label, states, more, at, own)}")


def scored(w: Rows, label: str, states: str, more: list[str], at: str, own: str) -> str:
    """Type and law of what reads a label."""
    how = w.pick("category", "real", "bit", "count", "choice")
    if how == "category":
        return f"category[3] ~ Categorical({w.param('simplex[3]', states, *more)}{at})"
    if how == "bit":
        p = f"{w.param('unit', states, *more)}{at}"
        return f"bit ~ Bernoulli({f'{p} if {own} else 0.2' if own else p})"
    if how == "count":
        return f"count ~ Poisson({w.param('positive', states, *more)}{at})"
    mean = f"{w.param('real', states, *more)}{at}" if how == "real" else f"(1 if {label} == 0 else -1)"
    terms = [mean, *([f"2 * {own}"] if own else []), *([w.shift] if w.shift and w.maybe(0.7) else [])]
    return f"real ~ Normal({' + '.join(terms)}, {w.pick('1', w.param('positive'))})"


def attached(w: Rows, head: str) -> None:
    """Variables that read the head of their element."""
    kind, x = w.pick("observed", "observed", "partial"), w.name("x")
    how = w.pick("number", "word", "label", "given")
    if how == "number":
        a = w.param("real")
        w.inner.append(f"    {kind} {x} : real ~ Normal({a} * {x}[{head}]{f' + {w.shift}' if w.shift else ''}, 1)")
    elif how == "word":
        net = w.net(f"word: token[{w.vocab}]", f"simplex[{w.vocab}]", "embed(2)")
        w.inner.append(f"    {kind} {x} : token[{w.vocab}] ~ Categorical({net}({x}[{head}]))")
    elif how == "given":
        g = w.name("g")
        w.row += [f"plate {w.plate}:", f"    given {g} : real"]
        w.inner.append(f"    {kind} {x} : bit ~ Bernoulli(sigmoid({w.param('real')} + {g}[{head}]))")
    else:
        u, g = w.name("u"), w.name("x")
        p = w.param("unit")
        w.inner.append(f"    latent {u} : bit ~ Bernoulli({p})")
        w.inner.append(f"    {kind} {g} : real ~ Normal({u} - {u}[{head}], 1)")
