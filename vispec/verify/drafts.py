"""Drafts of random models, and expressions in them: each declares the params and nets that it takes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Atom:
    """Something that an expression may read: its text, its domain, and the size (or plate indexed) of a finite one."""

    text: str
    domain: str
    card: str = ""


@dataclass
class Draft:
    """A spec being written. params: lines per tuple of sized plates. nets: lines. rows: the body of the data plate."""

    draw: Draw
    sizes: dict[str, int]
    params: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    nets: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    names: int = 0

    def name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"

    def pick(self, *options: T) -> T:
        return self.draw(st.sampled_from(options))

    def maybe(self) -> bool:
        return self.draw(st.booleans())

    def param(self, type: str, plates: tuple[str, ...] = ()) -> str:
        """Declare a param over sized plates; its name."""
        name = self.name("p")
        self.params.setdefault(plates, []).append(f"param {name} : {type}")
        return name

    def text(self) -> str:
        """The whole spec."""
        lines = [f"size {name} = {value}" for name, value in self.sizes.items()]
        lines += self.params.get((), [])
        for plate in ("k", "h"):
            lines += [f"plate {plate}[{plate.upper()}]:"]
            lines += [f"    {line}" for line in self.params.get((plate,), [])] or [f"    param unused_{plate} : real"]
        for line in self.params.get(("k", "h"), []):
            lines += ["plate k:", "    plate h:", f"        {line}"]
        return "\n".join([*lines, *self.nets, "", "plate n:", *(f"    {row}" for row in self.rows)]) + "\n"


# ---- expressions of a domain, from parents


def real(draft: Draft, parents: tuple[Atom, ...]) -> str:
    """A sum with one term per parent."""
    terms = [_real_term(draft, parent) for parent in parents] or [draft.param("real")]
    return " + ".join(terms)


def _real_term(draft: Draft, parent: Atom) -> str:
    if parent.domain == "index" and parent.card:
        return f"{draft.param('real', (parent.card,))}[{parent.text}]"
    if parent.domain == "category":
        return draft.pick(_net, _equality)(draft, parent)
    if parent.domain == "bit":
        return draft.pick(_product, _switch)(draft, parent)
    return draft.pick(_product, _squashed)(draft, parent)


def _net(draft: Draft, parent: Atom) -> str:
    name = draft.name("f")
    draft.nets.append(f"net {name}(a: category[{parent.card}]) -> real = embed(2) |> mlp([3])")
    return f"{name}({parent.text})"


def _equality(draft: Draft, parent: Atom) -> str:
    return f"({draft.param('real')} if {parent.text} == 1 else {draft.param('real')})"


def _product(draft: Draft, parent: Atom) -> str:
    return f"{draft.param('real')} * {parent.text}"


def _switch(draft: Draft, parent: Atom) -> str:
    return f"({draft.param('real')} if {parent.text} else {draft.param('real')})"


def _squashed(draft: Draft, parent: Atom) -> str:
    return f"{draft.param('real')} * tanh({parent.text})"


def positive(draft: Draft, parents: tuple[Atom, ...]) -> str:
    """A scale or rate."""
    if not parents:
        return draft.pick(lambda: draft.param("positive"), lambda: "1.5")()
    (first, *_) = parents
    if len(parents) == 1 and first.domain == "index" and first.card:
        return f"{draft.param('positive', (first.card,))}[{first.text}]"
    return f"{draft.pick('softplus', 'exp')}(tanh({real(draft, parents)}))"


def unit(draft: Draft, parents: tuple[Atom, ...]) -> str:
    """A probability."""
    if not parents:
        return draft.pick(lambda: draft.param("unit"), lambda: "0.3")()
    (first, *_) = parents
    if len(parents) == 1 and first.domain == "index" and first.card:
        return f"{draft.param('unit', (first.card,))}[{first.text}]"
    return f"sigmoid({real(draft, parents)})"


def simplex(draft: Draft, parents: tuple[Atom, ...], card: str) -> str:
    """A distribution over `card` values: a table by index-valued parents, logits along real ones, a choice by the rest."""
    indexed = {p.card: p.text for p in parents if p.domain == "index" and p.card}
    plates = tuple(plate for plate in ("k", "h") if plate in indexed)
    slopes = [f" + {draft.param(f'real[{card}]')} * {p.text}" for p in parents if p.domain == "real"]
    table = draft.param(f"{'real' if slopes else 'simplex'}[{card}]", plates)
    text = f"{table}[{', '.join(indexed[plate] for plate in plates)}]" if plates else table
    text = f"softmax({text}{''.join(slopes)})" if slopes else text
    for parent in parents:
        if parent.domain in ("bit", "category"):
            text = _switched(draft, parent, text, card)
    return text


def _switched(draft: Draft, parent: Atom, text: str, card: str) -> str:
    """`text` or another simplex, by a bit or category."""
    if parent.domain == "bit":
        return f"({text} if {parent.text} else {draft.param(f'simplex[{card}]')})"
    name = draft.name("g")
    draft.nets.append(f"net {name}(a: category[{parent.card}]) -> simplex[{card}] = embed(3) |> linear(4)")
    return f"({text} if {parent.text} == 0 else {name}({parent.text}))"
