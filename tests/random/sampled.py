"""`sampled_spec(seed)`: a model with latents that are drawn, under guides of every kind, beside latents that are summed: of
rows, of elements, along chains and of all data, read together in one mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.random.lines import Writer
from tests.random.names import Namer


@dataclass
class Sampled(Writer):
    """lines: by level, "shared", "row", "inner" and "chain", what stands there. drawn, summed: what can be
    read at each level, as expressions."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    drawn: dict[str, list[str]] = field(default_factory=dict)
    summed: dict[str, list[str]] = field(default_factory=dict)
    guides: list[str] = field(default_factory=list)


ABOVE = {
    "shared": ("shared",),
    "row": ("shared", "row"),
    "inner": ("shared", "row", "inner"),
    "chain": ("shared", "row", "chain"),
}


def sampled_spec(seed: int, plain: bool = True) -> str:
    rng = Random(seed)
    w = Sampled(rng, Namer(rng, plain))
    for level in ABOVE:
        w.lines[level], w.drawn[level], w.summed[level] = [], [], []
    row, inner, chain = w.name("n"), w.name("i"), w.name("t")
    levels = [level for level in ("inner", "chain") if w.maybe(0.6)]
    places = ["shared"] * w.maybe(0.2) + ["row"] * w.maybe(0.7) + [each for each in levels if w.maybe(0.5)]
    for level in places or ["row"]:
        drawn(w, level, chain)
    for level in [each for each in ("row", *levels) if w.maybe(0.6)]:
        summed(w, level, chain)
    for level in levels or ["row"]:
        for _ in range(1 + w.maybe(0.3)):
            observed(w, level)
    rows = [f"    {line}" for line in w.lines["row"]]
    size = w.pick("", "[3]")
    for level, head in (("inner", f"plate {inner}{size}:"), ("chain", f"chain {chain}:")):
        rows += [f"    {head}", *(f"        {line}" for line in w.lines[level])] if w.lines[level] else []
    guides = ["guide:", *(f"    {line}" for line in w.guides)] if w.guides else []

    return "\n".join([*w.top, *w.lines["shared"], "", f"plate {row}:", *rows, *guides, ""])


def terms(w: Sampled, level: str, most: int = 3) -> str:
    """A sum of what can be read at a level."""
    free = [each for at in ABOVE[level] for each in (*w.drawn[at], *w.summed[at])]
    chosen = w.rng.sample(free, min(len(free), w.rng.randint(1, most))) if free else []
    parts = [f"{w.pick('', '', '2 * ', '-1 * ')}{each}" for each in chosen]
    parts += [w.param("real")] if w.maybe(0.4) or not parts else []
    return " + ".join(parts)


def drawn(w: Sampled, level: str, chain: str) -> None:
    name = w.name("e")
    if w.maybe(0.3):  # of a smaller domain, whose guide carries Normal noise to it
        w.lines[level].append(f"latent {name} : positive ~ LogNormal(0, 1)")
        w.drawn[level].append(f"log({name})")
        if w.maybe(0.4):
            w.guides.append(f"{name} ~ LogNormal({location(w)}, 0.6)")
        return
    mean = terms(w, level, 1) if w.maybe(0.4) and any(w.drawn[at] for at in ABOVE[level]) else w.pick("0", w.param("real"))
    law = w.pick("Normal({}, 1)", "Laplace({}, 1)", "StudentT(4, {}, 1)").format(mean)
    if level == "chain" and w.maybe(0.6):
        law += f" then Normal({w.pick('0.5', w.param('real'))} * {name}[{chain}-1], 1)"
    w.lines[level].append(f"latent {name} : real ~ {law}")
    w.drawn[level].append(name)
    if w.maybe(0.4):
        w.guides.append(f"{name} ~ Normal({location(w)}, {'0.5' if level == 'shared' else w.pick('0.7', w.param('positive'))})")


def location(w: Sampled) -> str:
    """Of a guide: a number that is learnt, or one that is told."""
    return w.param("real") if w.maybe(0.7) else "0.3"


def summed(w: Sampled, level: str, chain: str) -> None:
    name = w.name("z")
    if w.maybe(0.5):
        p = w.pick("0.3", w.param("unit"))
        then = f" then Bernoulli({w.param('unit')} if {name}[{chain}-1] == 1 else 0.4)" if level == "chain" else ""
        w.lines[level].append(f"latent {name} : bit ~ Bernoulli({p}){then}")
        w.summed[level].append(name)
        return
    plate = w.name("k")
    w.top.append(f"plate {plate}[{w.pick('2', '3')}]")
    simplex = f"simplex[{w.top[-1][-2]}]"
    then = f" then Categorical({w.param(simplex, plate)}[{name}[{chain}-1]])" if level == "chain" else ""
    first = f"Categorical({w.param(simplex)})" if then else "Uniform()"
    w.lines[level].append(f"latent {name} : index[{plate}] ~ {first}{then}")
    w.summed[level].append(f"{w.param('real', plate)}[{name}]")


def observed(w: Sampled, level: str) -> None:
    mean = terms(w, level)
    law = w.pick(
        f"real ~ Normal({mean}, {w.pick('1', w.param('positive'))})",
        f"real ~ Laplace({mean}, 1)",
        f"bit ~ Bernoulli(sigmoid({mean}))",
        f"count ~ Poisson(exp({mean}))",
        *[f"real[2] ~ Normal([{mean}, {w.param('real')}], 1)"] * 2,
    )
    w.lines[level].append(f"{w.pick('observed', 'partial')} {w.name('x')} : {law}")
