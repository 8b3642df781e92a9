"""Random specs whose latents stand in conjugate pairs with all that reads them: in plates and below, by index, as vectors,
along chains, beside labels that are summed, with missing cells, several readers and several cases of a law."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

HEAD = """size K = 3
size M = 2
param a : positive
param b : positive
param s : positive
param m : real
param prior : positive[K]
"""


@dataclass
class Drawn:
    """A spec as it is written."""

    rng: random.Random
    lines: list[str] = field(default_factory=list)
    count: int = 0
    label: str | None = None

    def name(self, *stems: str) -> str:
        self.count += 1
        return f"{self.rng.choice(stems)}{self.count}"

    def say(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def positive(self, *more: str) -> str:
        return self.rng.choice(["a", "b", "1", "2.5", *more, *([f"level[{self.label}]"] * 2 if self.label else [])])

    def role(self) -> str:
        return self.rng.choice(["observed", "observed", "partial"])


def conjugate_spec(seed: int) -> str:
    """The text of one."""
    d = Drawn(random.Random(seed))
    if d.chance(0.35):
        d.say(0, "param share : simplex[M]")
        d.say(0, "plate kind[M]:")
        d.say(1, "param level : positive")
        d.label = "c"
    d.say(0, "plate herd:")
    d.say(1, "given size : count")
    d.say(1, "given exposure : positive")
    if d.label:
        d.say(1, "latent c : index[kind] ~ Categorical(share)")
    for _ in range(d.rng.randint(1, 2)):
        d.rng.choice([of_row, of_row, in_plate, along])(d)
    return HEAD + "\n".join(d.lines)


# ---- where latents and readers stand


def of_row(d: Drawn) -> None:
    """A latent of a row, with readers there and in a plate below."""
    reading = written(d, 1, [probability, rate, variance, shares], True)
    for _ in range(d.rng.randint(1, 2)):
        reading(1, "")
    if d.chance(0.7):
        d.say(1, f"plate {d.name('visit', 'item')}:")
        d.say(2, f"given {(exposure := d.name('time'))} : positive")
        for _ in range(d.rng.randint(1, 2)):
            reading(2, exposure)


def in_plate(d: Drawn) -> None:
    """A latent in a plate of a row, read there and by index from another one."""
    plate = d.name("group", "site")
    d.say(1, f"plate {plate}[M]:")
    reading = written(d, 2, [probability, rate, variance, shares], False)
    reading(2, "")
    if d.chance(0.6):
        d.say(1, f"plate {d.name('visit', 'case')}:")
        index = d.name("of")
        d.say(2, f"given {index} : index[{plate}]")
        reading(2, "", f"[{index}]")


def along(d: Drawn) -> None:
    """A latent of each element of a chain."""
    d.say(1, f"chain {d.name('day', 'year')}:")
    reading = written(d, 2, [probability, rate, variance], False)
    reading(2, "")
    reading(2, "")


# ---- latents, each with what writes a reader of it

Reading = Callable[..., None]


def written(d: Drawn, depth: int, kinds: list[Callable[[Drawn, int, bool], Reading]], vectors: bool) -> Reading:
    """One of these latents. vectors: whether it may be one, whose entries no element of a plate is taken for."""
    return d.rng.choice(kinds)(d, depth, vectors)


def probability(d: Drawn, depth: int, vectors: bool) -> Reading:
    name, vector = d.name("p", "risk"), vectors and d.chance(0.25)
    law = f"Beta({d.positive()}, {d.positive()})"
    if not vector and d.chance(0.15):
        law = f"{law} if size > 1 else Beta(2, 3)"
    d.say(depth, f"latent {name} : unit{'[2]' if vector else ''} ~ {law}")
    if not vector and d.chance(0.3):
        rest = d.name("rest")
        d.say(depth, f"let {rest} = 1 - {name}")
        name_of = [name, rest]
    else:
        name_of = [name]

    def reading(depth: int, exposure: str, at: str = "") -> None:
        p = d.rng.choice(name_of) if not at else name
        p += at
        if vector and d.chance(0.5):
            d.say(depth, f"{d.role()} {d.name('x')} : count[2] ~ Binomial(size, {p})")
            return
        p = f"{p}[{d.rng.randint(0, 1)}]" if vector else p
        kind, law = d.rng.choice(
            [
                ("bit", f"Bernoulli({p})"),
                ("bit", f"Bernoulli(1 - {p})"),
                ("category[2]", f"Categorical([1 - {p}, {p}])"),
                ("count", f"Binomial(size, {p})"),
                ("count", f"Geometric({p})"),
                ("count", f"NegativeBinomial(a, {p})"),
            ]
        )
        d.say(depth, f"{d.role()} {d.name('x')} : {kind} ~ {law}")

    return reading


def rate(d: Drawn, depth: int, vectors: bool) -> Reading:
    name = d.name("rate", "hazard")
    prior = d.rng.choice([f"Gamma({d.positive()}, {d.positive()})"] * 3 + [f"Exponential({d.positive()})", "Chi2(3)"])
    d.say(depth, f"latent {name} : positive ~ {prior}")

    def reading(depth: int, exposure: str, at: str = "") -> None:
        times = [f"{each} * " for each in ("exposure", exposure, "b", "2") if each]
        scaled = f"{d.rng.choice(['', *times])}{name}{at}"
        if d.chance(0.2):
            scaled += " / a"
        kind, law = d.rng.choice(
            [
                ("count", f"Poisson({scaled})"),
                ("count", f"Poisson({scaled})"),
                ("positive", f"Exponential({scaled})"),
                ("positive", f"Gamma(a, {scaled})"),
                ("real", f"Normal(m, 1 / sqrt({scaled}))"),
                ("real", f"Normal(m, positive(s * {name}{at} ^ (-0.5)))"),
                ("positive", f"LogNormal(m, 1 / sqrt({scaled}))"),
                ("positive", f"HalfNormal(s / sqrt({name}{at}))"),
            ]
        )
        if d.chance(0.15) and kind == "count":
            law = f"{law} if size > 1 else Poisson(a * {name}{at})"
        d.say(depth, f"{d.role()} {d.name('x')} : {kind} ~ {law}")

    return reading


def variance(d: Drawn, depth: int, vectors: bool) -> Reading:
    name = d.name("variance", "v")
    d.say(depth, f"latent {name} : positive ~ InverseGamma({d.positive()}, {d.positive()})")

    def reading(depth: int, exposure: str, at: str = "") -> None:
        kind, law = d.rng.choice(
            [
                ("real", f"Normal(m * size, sqrt({name}{at}))"),
                ("real", f"Normal(m, s * sqrt({name}{at}))"),
                ("positive", f"LogNormal(m, sqrt(2 * {name}{at}))"),
                ("positive", f"HalfNormal(sqrt({name}{at}))"),
                ("count", f"Poisson(a / {name}{at})"),
            ]
        )
        d.say(depth, f"{d.role()} {d.name('x')} : {kind} ~ {law}")

    return reading


def shares(d: Drawn, depth: int, vectors: bool) -> Reading:
    name = d.name("theta", "mix")
    d.say(depth, f"latent {name} : simplex[K] ~ Dirichlet({d.rng.choice(['prior', 'prior', '0.7', 'a'])})")

    def reading(depth: int, exposure: str, at: str = "") -> None:
        d.say(depth, f"{d.role()} {d.name('x')} : category[K] ~ Categorical({name}{at})")

    return reading
