"""Random small models as spec text (hypothesis strategies), so that a test goes through the whole pipeline.

A draft grows from the outside in: each statement picks parents among the atoms that are visible where it stands, and asks
the draft for an expression of the domain that it needs."""

from collections.abc import Callable

from hypothesis import strategies as st

from vispec.verify.drafts import Atom, Draft, Draw, positive, real, simplex, unit


def parents_of(draft: Draft, atoms: list[Atom], most: int = 2, must: Atom | None = None) -> tuple[Atom, ...]:
    """Up to `most` of the visible atoms, the newest first in favour; `must` always."""
    if must is not None:
        return (must, *(parent for parent in parents_of(draft, atoms, most - 1) if parent != must))
    if not atoms or not most:
        return ()
    least = 0 if draft.draw(st.integers(0, 3)) == 0 else 1
    return tuple(draft.draw(st.lists(st.sampled_from(atoms[::-1]), min_size=least, max_size=most, unique=True)))


def latent(draft: Draft, atoms: list[Atom], role: str = "latent") -> tuple[str, Atom]:
    """A finite latent (or partial) variable with a law: its line, and itself as an atom."""
    name = draft.name("z")
    parents = parents_of(draft, atoms, 1)
    kind = draft.pick("index", "index", "category", "bit")
    if kind == "bit":
        return f"{role} {name} : bit ~ Bernoulli({unit(draft, parents)})", Atom(name, "bit")
    plate = draft.pick("k", "h")
    size = plate.upper()
    law = "Uniform()" if not parents and draft.maybe() else f"Categorical({simplex(draft, parents, size)})"
    type = f"index[{plate}]" if kind == "index" else f"category[{size}]"
    return f"{role} {name} : {type} ~ {law}", Atom(name, kind, plate if kind == "index" else size)


def observed(draft: Draft, atoms: list[Atom], must: Atom | None = None) -> tuple[str, Atom]:
    """An observation of any family, usually reading something latent."""
    name = draft.name("x")
    parents = parents_of(draft, atoms, must=must)
    make = draft.pick(_categorical, _normal, _bernoulli, _poisson, _counted, _vector)
    line, atom = make(draft, name, parents)
    tests = [parent.text for parent in parents if parent.domain == "bit"]
    if tests and draft.maybe():
        other, _ = make(draft, name, ())
        line = f"{line} if {tests[0]} else {other.split(' ~ ')[1]}"
    return f"observed {line}", atom


def _categorical(draft: Draft, name: str, parents: tuple[Atom, ...]) -> tuple[str, Atom]:
    law = simplex(draft, parents, "V")
    if draft.draw(st.integers(0, 3)) == 0:
        law = f"ordinal({real(draft, parents)}, {draft.param('ordered[V - 1]')})"
    return f"{name} : category[V] ~ Categorical({law})", Atom(name, "category", "V")


def _normal(draft: Draft, name: str, parents: tuple[Atom, ...]) -> tuple[str, Atom]:
    law = f"Normal({real(draft, parents)}, {positive(draft, parents[:1] if draft.maybe() else ())})"
    return f"{name} : real ~ {law}", Atom(name, "real")


def _bernoulli(draft: Draft, name: str, parents: tuple[Atom, ...]) -> tuple[str, Atom]:
    return f"{name} : bit ~ Bernoulli({unit(draft, parents)})", Atom(name, "bit")


def _poisson(draft: Draft, name: str, parents: tuple[Atom, ...]) -> tuple[str, Atom]:
    law = f"Poisson({positive(draft, parents)})"
    switches = [parent for parent in parents if parent.domain == "bit"]
    if switches:
        law = draft.pick(law, f"Zero() if {switches[0].text} else {law}")
    return f"{name} : count ~ {law}", Atom(name, "real")


def _counted(draft: Draft, name: str, parents: tuple[Atom, ...]) -> tuple[str, Atom]:
    """Trials, failures or successes with a probability that a bit may make 0 or 1, where there is still such a law."""
    p = unit(draft, parents)
    bits = [parent.text for parent in parents if parent.domain == "bit"]
    none, certain = (f"{bits[0]} * ({p})", f"1 - {bits[0]} * ({p})") if bits else (p, p)
    law = draft.pick(
        f"Binomial(3, {draft.pick(p, none, certain)})",
        f"Geometric({draft.pick(p, certain)})",
        f"NegativeBinomial({positive(draft, ())}, {draft.pick(p, none)})",
    )
    return f"{name} : count ~ {law}", Atom(name, "real")


def _vector(draft: Draft, name: str, parents: tuple[Atom, ...]) -> tuple[str, Atom]:
    tables = [parent for parent in parents if parent.domain == "index" and parent.card]
    loc = f"{draft.param('real[D]', (tables[0].card,))}[{tables[0].text}]" if tables else draft.param("real[D]")
    return f"{name} : real[D] ~ Normal({loc}, {draft.param('positive[D]')})", Atom(name, "vector")


def partial(draft: Draft, atoms: list[Atom]) -> tuple[str, Atom]:
    """A finite variable with missing cells."""
    return latent(draft, atoms, "partial")


def let(draft: Draft, atoms: list[Atom]) -> tuple[str, Atom]:
    """A deterministic node."""
    name = draft.name("s")
    return f"let {name} = tanh({real(draft, parents_of(draft, atoms))})", Atom(name, "real")


def given(draft: Draft, atoms: list[Atom]) -> tuple[str, Atom]:
    """Data that the model does not explain; it reads no atoms."""
    name = draft.name("y")
    domain = draft.pick("real", "category", "bit")
    type = "category[V]" if domain == "category" else domain
    return f"given {name} : {type}", Atom(name, domain, "V" if domain == "category" else "")


# ---- plates


def readable(atoms: list[Atom]) -> list[Atom]:
    return [atom for atom in atoms if atom.domain != "vector"]


def plain_block(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """Statements of a row or of a plate: givens, latents, observations, and plates inside."""
    lines: list[str] = []
    atoms = list(atoms)
    for make in _statements(draft, depth):
        line, atom = make(draft, readable(atoms))
        lines.append(line)
        atoms.append(atom)
    if depth < 2 and draft.maybe():
        lines += draft.pick(_plate, _plate, _chain, _chain, _echo, _selection, _addressed, gathered, _crossed)(
            draft, readable(atoms), depth
        )
    return lines


def _statements(draft: Draft, depth: int) -> list[Callable[..., tuple[str, Atom]]]:
    """One or two latents at the row, one below, then what is seen; at times something given or partial."""
    latents = draft.draw(st.integers(0, 2 if depth == 0 else 1))
    head: list[Callable[..., tuple[str, Atom]]] = [given] if draft.maybe() else []
    rare = [make for make in (partial, let) if draft.draw(st.integers(0, 3)) == 0]
    return [*head, *([latent] * latents), *rare, *([observed] * draft.draw(st.integers(1, 2)))]


def _indented(head: str, body: list[str]) -> list[str]:
    return [head, *(f"    {line}" for line in body)]


def _plate(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """A plate inside: ragged, or of two elements in every row."""
    return _indented(f"plate {draft.name('i')}{draft.pick('', '', '[2]')}:", plain_block(draft, atoms, depth + 1))


def _crossed(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """The plate of parameters opened again: every row has a partial value in each of its elements, params of its own there."""
    own = draft.param("simplex[H]", ("k", "h"))
    truth = draft.name("z")
    table = draft.param("simplex[H]")
    label = f"partial {draft.name('x')} : category[H] ~ Categorical({own}[{truth}])"
    return [f"latent {truth} : index[h] ~ Categorical({table})", *_indented("plate k:", [label])]


def _chain(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """A chain of order one over an index or a bit, with an emission."""
    chain, name = draft.name("t"), draft.name("c")
    outer = parents_of(draft, atoms, 1)
    plate = draft.pick("k", "h")
    size = plate.upper()
    past = Atom(f"{name}[{chain}-1]", "index", plate)
    extra = tuple(parent for parent in outer if (parent.domain, parent.card) != ("index", plate))
    first = f"Categorical({simplex(draft, outer, size)})" if draft.maybe() else "Uniform()"
    role = draft.pick("latent", "latent", "partial")
    law = f"{first} then Categorical({simplex(draft, (past, *extra), size)})"
    time = [Atom(chain, "real")] if draft.maybe() else []
    atom = Atom(name, "index", plate)
    emission, _ = observed(draft, [*time, *atoms], atom)
    body = [f"{role} {name} : index[{plate}] ~ {law}", emission]
    if depth == 0:
        body += draft.pick(_nothing, _nothing, _coupled, _inside, gathered)(draft, [*atoms, atom], depth)
    return _indented(f"chain {chain}:", [line.replace("TIME", chain) for line in body])


def _nothing(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    return []


def _coupled(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """A second chain beside the first, which reads it or is read with it."""
    name, first = draft.name("c"), atoms[-1]
    past = Atom(f"{name}[TIME-1]", "bit")
    read = draft.pick((past,), (past, first))
    line = f"latent {name} : bit ~ Bernoulli({unit(draft, ())}) then Bernoulli({unit(draft, read)})"
    seen = observed(draft, [first], Atom(name, "bit"))[0]
    return [line, seen]


def _inside(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """A plate at each step of a chain."""
    return _indented(f"plate {draft.name('i')}{draft.pick('', '[2]')}:", plain_block(draft, atoms, 2))


def gathered(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """Bits of a small plate whose sum another law reads: every joint value of them."""
    plate, name = draft.name("j"), draft.name("z")
    line = f"latent {name} : bit ~ Bernoulli({unit(draft, parents_of(draft, atoms, 1))})"
    seen = [observed(draft, atoms, Atom(name, "bit"))[0]] if draft.maybe() else []
    total = Atom(f"{draft.pick('sum', 'mean', 'max')}({name}[*])", "real")
    return [*_indented(f"plate {plate}[2]:", [line, *seen]), observed(draft, atoms, total)[0]]


def _echo(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """A latent whose past is read by another law, and at times not by its own."""
    chain = draft.name("t")
    line, atom = latent(draft, atoms)
    past = Atom(f"{atom.text}[{chain}-1]", atom.domain, atom.card)
    body = [line]
    if draft.maybe():
        name = draft.name("c")
        body.append(f"latent {name} : bit ~ Bernoulli({unit(draft, ())}) then Bernoulli({unit(draft, (past,))})")
        body.append(observed(draft, [], Atom(name, "bit"))[0])
    name, make = draft.name("x"), draft.pick(_categorical, _normal, _bernoulli)
    first, _ = make(draft, name, parents_of(draft, [*atoms, atom], 1))
    later, _ = make(draft, name, (past, *parents_of(draft, [*atoms, atom], 1)))
    return _indented(f"chain {chain}:", [*body, f"observed {first} then {later.split(' ~ ')[1]}"])


def _addressed(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """Latents in a plate of two, of which the data say which one another law reads."""
    source, address = draft.name("j"), draft.name("a")
    line, atom = latent(draft, atoms)
    seen, _ = observed(draft, [], atom)
    at = draft.pick(address, address, "1")
    emission, _ = observed(draft, atoms, Atom(f"{atom.text}[{at}]", atom.domain, atom.card))
    inner = [f"given {address} : index[{source}]", emission] if at == address else [emission]
    where = _indented(f"plate {draft.name('i')}:", inner) if draft.maybe() else inner
    return [*_indented(f"plate {source}[2]:", [line, seen]), *where]


def _selection(draft: Draft, atoms: list[Atom], depth: int) -> list[str]:
    """Observations that each point at an element of a given ragged plate; independent or in a chain with learnt jumps."""
    source, pointer, target = draft.name("j"), draft.name("a"), draft.name("i")
    line, atom = given(draft, [])
    kind = draft.pick("plate", "chain")
    law = "Uniform()"
    if kind == "chain":
        jump = draft.param("real[-2..2]")
        law = f"Uniform() then Categorical(softmax({jump}[{source} - {pointer}[{target}-1]] for {source}))"
    chosen = Atom(f"{atom.text}[{pointer}]", atom.domain, atom.card)
    emission, _ = observed(draft, [], chosen)
    body = [f"latent {pointer} : index[{source}] ~ {law}", emission]
    return [*_indented(f"plate {source}:", [line]), *_indented(f"{kind} {target}:", body)]


@st.composite
def spec_texts(draw: Draw) -> str:
    """The text of a random spec with a data plate n, at least one observation in it, and sizes of 2 to 4."""
    draft = Draft(draw, {"K": draw(st.integers(2, 3)), "H": 2, "V": draw(st.integers(2, 4)), "D": 2})
    draft.rows += plain_block(draft, [], 0)
    return draft.text()


@st.composite
def single_texts(draw: Draw) -> str:
    """The text of a random spec without a data plate: every plate of a row has a size, and so have some of its chains."""
    draft = Draft(draw, {"K": draw(st.integers(2, 3)), "H": 2, "V": draw(st.integers(2, 4)), "D": 2})
    body = plain_block(draft, [], 0)
    while all(line.split()[0] != "chain" for line in body) and draft.maybe():
        body = plain_block(draft, [], 0)
    head, _, _ = draft.text().partition("plate n:\n")
    return head + "\n".join(_sized(draft, line) for line in body) + "\n"


def _sized(draft: Draft, line: str) -> str:
    """A line that opens a plate, or at times a chain, given a size; any other as it is."""
    word, _, rest = line.strip().partition(" ")
    opens = rest.endswith(":") and "[" not in rest and not (word == "plate" and rest in ("k:", "h:"))
    if not opens or (word == "chain" and draft.maybe()) or word not in ("plate", "chain"):
        return line
    return f"{line[:-1]}[{draft.pick(1, 2, 3)}]:"
