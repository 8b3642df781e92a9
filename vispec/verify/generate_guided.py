"""Random small models with continuous latents under Normal guides, beside finite ones that are summed out inside."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from vispec.verify.drafts import Atom, Draft, Draw, positive, real, simplex, unit
from vispec.verify.generate import gathered, given, latent, observed, parents_of, plain_block, readable


@dataclass
class Guided:
    """A draft, with the lines of its guide. drawn: its continuous latents. read: what a guide may read at each depth."""

    draft: Draft
    guide: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)


def continuous(guided: Guided, atoms: list[Atom], known: list[Atom]) -> tuple[list[str], Atom]:
    """A latent with a guide: its line, and itself as an atom. known: what its guide may read."""
    draft = guided.draft
    name = draft.name("u")
    parents = parents_of(draft, atoms)
    law = f"Normal({real(draft, parents)}, {positive(draft, parents[:1] if draft.maybe() else ())})"
    sources = parents_of(draft, known)
    guided.guide.append(f"{name} ~ Normal({real(draft, sources)}, {positive(draft, sources[:1] if draft.maybe() else ())})")
    guided.drawn.append(name)
    return [f"latent {name} : real ~ {law}"], Atom(name, "real")


def vector(guided: Guided, atoms: list[Atom], known: list[Atom]) -> tuple[list[str], Atom]:
    """A latent vector, which is read by its inner product with a parameter."""
    draft = guided.draft
    name, weight = draft.name("v"), draft.param("real[D]")
    standard = draft.maybe()
    law = "Normal(0, 1)" if standard else f"Normal({draft.param('real[D]')}, {positive(draft, ())})"
    guided.guide.append(f"{name} ~ Normal({draft.param('real[D]')}, {draft.param('positive[D]')})")
    guided.drawn.append(name)
    return [f"latent {name} : real[D] ~ {law}"], Atom(f"dot({name}, {weight})", "real")


def enumerated(guided: Guided, atoms: list[Atom], known: list[Atom]) -> tuple[list[str], Atom]:
    """A finite latent with a guide, under which its values are weighed; later guides may read it."""
    draft = guided.draft
    line, atom = latent(draft, atoms)
    sources = parents_of(draft, known, 1)
    if atom.domain == "bit":
        guided.guide.append(f"{atom.text} ~ Bernoulli({unit(draft, sources)})")
    else:
        guided.guide.append(f"{atom.text} ~ Categorical({simplex(draft, sources, atom.card.upper())})")
    return [line], atom


def along(guided: Guided, atoms: list[Atom], known: list[Atom]) -> list[str]:
    """A chain of a continuous latent, whose guide may read its past, with an emission."""
    draft = guided.draft
    chain, name = draft.name("t"), draft.name("h")
    past = Atom(f"{name}[{chain}-1]", "real")
    first, later = real(draft, parents_of(draft, atoms, 1)), real(draft, (past, *parents_of(draft, atoms, 1)))
    line = f"latent {name} : real ~ Normal({first}, {positive(draft, ())}) then Normal({later}, {positive(draft, ())})"
    start, step = real(draft, parents_of(draft, known, 1)), (past,) if draft.maybe() else ()
    law = f"Normal({start}, {positive(draft, ())})"
    if step or draft.maybe():
        law += f" then Normal({real(draft, (*step, *parents_of(draft, known, 1)))}, {positive(draft, ())})"
    guided.guide.append(f"{name} ~ {law}")
    guided.drawn.append(name)
    return [f"chain {chain}:", f"    {line}", f"    {observed(draft, atoms, Atom(name, 'real'))[0]}"]


def block(guided: Guided, atoms: list[Atom], known: list[Atom], depth: int) -> list[str]:
    """Latents of both kinds in any order, then what is seen, and at times a plate or a chain inside."""
    draft, lines = guided.draft, list[str]()
    atoms, known = list(atoms), list(known)
    if draft.maybe():
        line, atom = given(draft, [])
        lines.append(line)
        atoms.append(atom)
        known.append(atom)
    makes = draft.draw(st.lists(st.sampled_from(["drawn", "drawn", "summed", "vector"]), max_size=2 - depth))
    weighed = depth == 0 and draft.draw(st.integers(0, 2)) == 0  # brute force knows one such latent, before all that are drawn
    for kind in (*(["enumerated"] if weighed else []), *draft.draw(st.permutations(["drawn", *makes]))):
        if kind == "summed":
            line, atom = latent(draft, readable(atoms))
            new = [line]
        else:
            make = {"drawn": continuous, "vector": vector, "enumerated": enumerated}[kind]
            new, atom = make(guided, readable(atoms), readable(known))
            known.append(atom)
        lines += new
        atoms.append(atom)
    everything = real(draft, tuple(atom for atom in atoms if atom in known or atom.domain != "category"))
    lines.append(f"observed {draft.name('x')} : real ~ Normal({everything}, {positive(draft, ())})")  # reads each latent
    lines.append(observed(draft, readable(atoms), atoms[-1])[0])
    if depth == 0 and not weighed and draft.maybe():
        inside = draft.pick("chain", "plate", "plate", "sum")
        if inside == "chain":
            lines += along(guided, readable(atoms), readable(known))
        elif inside == "sum":
            lines += gathered(draft, readable(atoms), depth)
        else:
            plate = f"plate {draft.name('i')}{draft.pick('', '[2]')}:"
            lines += [plate, *(f"    {line}" for line in block(guided, readable(atoms), readable(known), 1))]
    return lines


@st.composite
def guided_texts(draw: Draw) -> str:
    """The text of a random spec whose continuous latents have guides, under a bound of one or several samples."""
    draft = Draft(draw, {"K": draw(st.integers(2, 3)), "H": 2, "V": draw(st.integers(2, 4)), "D": 2})
    guided = Guided(draft)
    draft.rows += block(guided, [], [], 0)
    text = draft.text() + "\nguide:\n" + "".join(f"    {line}\n" for line in guided.guide)
    bound = draft.pick("", "elbo", "elbo(samples=2)", "iwae(samples=3)") if guided.drawn else ""
    return text + ("\ninfer:\n" + "".join(f"    {name} : {bound}\n" for name in guided.drawn) if bound else "")


def shared_latent(draft: Draft, atoms: list[Atom]) -> tuple[list[str], Atom]:
    """A latent outside the data plate: its lines, and what stands for it in a sum."""
    name, kind = draft.name("g"), draft.pick("real", "positive", "unit", "vector", "plate")
    if kind == "real":
        return [f"latent {name} : real ~ Normal({real(draft, tuple(atoms[:1]))}, 1)"], Atom(name, "real")
    if kind == "positive":
        return [f"latent {name} : positive ~ {draft.pick('Gamma(2, 2)', 'LogNormal(0, 0.5)')}"], Atom(f"log({name})", "real")
    if kind == "unit":
        return [f"latent {name} : unit ~ Beta(2, 2)"], Atom(name, "real")
    if kind == "vector":
        return [f"latent {name} : real[D] ~ Normal(0, 1)"], Atom(f"sum({name})", "real")
    return ["plate k:", f"    latent {name} : real ~ Normal(0, 1)"], Atom(f"max({name}[*])", "real")


@st.composite
def shared_texts(draw: Draw) -> str:
    """The text of a random spec whose rows share latents with automatic guides, and have finite or drawn ones of their own."""
    draft = Draft(draw, {"K": draw(st.integers(2, 3)), "H": 2, "V": draw(st.integers(2, 4)), "D": 2})
    guided, lines, atoms = Guided(draft), list[str](), list[Atom]()
    for _ in range(draw(st.integers(1, 2))):
        more, atom = shared_latent(draft, atoms)
        lines += more
        atoms.append(atom)
    draft.rows += plain_block(draft, atoms, 0) if draft.maybe() else block(guided, atoms, [], 0)
    draft.rows.append(f"observed {draft.name('x')} : real ~ Normal({' + '.join(atom.text for atom in atoms)}, 1)")
    head, rows = draft.text().split("\nplate n:")
    auto = draft.pick("", "", "auto(full_rank)", "auto(low_rank)", "auto(flow)")
    guide = [auto, *guided.guide] if auto else guided.guide
    tail = "\nguide:\n" + "".join(f"    {line}\n" for line in guide) if guide else ""
    return head + "\n".join(["", *lines, "", "plate n:"]) + rows + tail
