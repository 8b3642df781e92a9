"""Random specs whose latents are jointly Gaussian given the rest: in plates nested and crossed, by index, along chains, as
vectors, shared by all rows, beside labels that are summed, with missing cells and numbers that read their own past."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

HEAD = """size G = 3
size H = 2
size M = 2
param a : real
param f : unit
param v : real[2]
param s : positive
param r : positive
param L : cholesky[2]
"""


@dataclass
class Drawn:
    """A spec as it is written. open: what a mean may read: text and whether it is Gaussian."""

    rng: random.Random
    vague: float = 0.07  # the share of laws that say next to nothing
    lines: list[str] = field(default_factory=list)
    count: int = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def say(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def mean(self, latents: list[str], free: list[str], most: int = 3) -> str:
        """A sum of terms that are affine in latents."""
        terms = list[str]()
        for each in self.rng.sample(latents, min(len(latents), self.rng.randint(0, most))):
            by = self.rng.choice([*free, "0.7", "a", ""])
            terms.append(f"{by} * {each}" if by else each)
        terms += self.rng.sample(free, min(len(free), self.rng.randint(0, 1)))
        return " + ".join(terms) or self.rng.choice(["a", "0", "1.5"])

    def scale(self, label: str | None) -> str:
        if self.chance(self.vague):
            return "3e5"
        return self.rng.choice(["s", "r", "0.8", *([f"spread[{label}]"] * 2 if label else [])])


def gaussian_spec(seed: int, vague: float = 0.07) -> str:
    """The text of one."""
    d = Drawn(random.Random(seed), vague)
    label = d.chance(0.35)
    if label:
        d.say(0, "plate m[M]:")
        d.say(1, "param share : real")
        d.say(1, "param spread : positive")
        d.say(1, "param bump : real")
        d.say(0, "param pi : simplex[M]")
    outside, indexed = outside_latents(d)
    if d.chance(0.25):
        chain(d, 0, outside, ["a"], None)
        return HEAD + "\n".join(d.lines)
    rows(d, outside, indexed, label)
    shared = [*outside, *(name for name, _ in indexed)]
    asked = [f"    {name} : exact" for name in shared]
    return HEAD + "\n".join([*d.lines, *(["infer:", *asked] if asked and not d.chance(0.2) else [])])


def outside_latents(d: Drawn) -> tuple[list[str], list[tuple[str, str]]]:
    """Latents that all rows share: scalars, and (latent, plate) of those with an element for each of a sized plate."""
    scalars, indexed = list[str](), list[tuple[str, str]]()
    if d.chance(0.3):
        name = d.name("b")
        d.say(0, f"latent {name} : real ~ {d.rng.choice(['Flat()', 'Normal(0, 2)', 'Normal(a, s)'])}")
        scalars.append(name)
    for plate, size in (("g", "G"), ("h", "H")):
        if d.chance(0.25):
            name = d.name("u")
            d.say(0, f"plate {plate}[{size}]:")
            d.say(1, f"latent {name} : real ~ Normal({d.mean(scalars, ['a'])}, {d.scale(None)})")
            indexed.append((name, plate))
    return scalars, indexed


def rows(d: Drawn, outside: list[str], indexed: list[tuple[str, str]], label: bool) -> None:
    d.say(0, "plate n:")
    d.say(1, "given y : real")
    latents, free, chosen = list(outside), ["y"], None
    for name, plate in indexed:
        index = d.name("k")
        d.say(1, f"given {index} : index[{plate}]")
        latents.append(f"{name}[{index}]")
    if label:
        chosen = d.name("c")
        d.say(1, f"latent {chosen} : index[m] ~ Categorical(pi)")
        free += [f"share[{chosen}]", f"bump[{chosen}]"]
    for _ in range(d.rng.randint(0, 2)):
        latents += latent(d, 1, latents, free, chosen)
    for _ in range(d.rng.randint(0, 2)):
        reader(d, 1, latents, free, chosen)
    if d.chance(0.5):
        d.say(1, "plate i:")
        d.say(2, "given w : real")
        inner = list(latents)
        if d.chance(0.4):
            inner += latent(d, 2, inner, [*free, "w"], chosen)
        reader(d, 2, inner, [*free, "w"], chosen)
    if d.chance(0.3):
        neighbours(d, latents, free, chosen)
    if d.chance(0.4):
        chain(d, 1, latents, free, chosen)
    reader(d, 1, latents, free, chosen)


def neighbours(d: Drawn, latents: list[str], free: list[str], label: str | None) -> None:
    """What stands along an axis and reads others there than its own: an element that the data name, an entry of a vector."""
    if d.chance(0.5):
        name, friend = d.name("u"), d.name("k")
        d.say(1, f"plate p[{d.rng.choice('GH')}]:")
        d.say(2, f"given {friend} : index[p]")
        d.say(2, f"latent {name} : real ~ Normal({d.mean(latents, free, 1)}, {d.scale(label)})")
        reader(d, 2, [*latents, name, f"{name}[{friend}]", f"{name}[{friend}]"], free, label)
        return
    name = d.name("z")
    d.say(1, f"latent {name} : real[2] ~ {d.rng.choice(['Normal(v, r)', 'MultivariateNormal(v, L)', 'Normal(0, 1)'])}")
    other = d.name("z")
    d.say(1, f"latent {other} : real[2] ~ Normal(0, {d.scale(label)})")
    affine = f"0.7 * {name} + {d.mean(latents, free, 1)}"
    mean = d.rng.choice([name, f"{name} + {name}[1]", f"{name} + {other}[0]", affine, f"v * {name}[0]"])
    d.say(1, f"{d.rng.choice(['observed', 'partial'])} {d.name('x')} : real[2] ~ Normal({mean}, {d.scale(label)})")


def latent(d: Drawn, depth: int, latents: list[str], free: list[str], label: str | None) -> list[str]:
    """One more latent, and how it is read."""
    name = d.name("z")
    if d.chance(0.3):
        law = d.rng.choice(["MultivariateNormal(v, L)", f"Normal(v, {d.scale(label)})", "Normal(0, 1)"])
        d.say(depth, f"latent {name} : real[2] ~ {law}")
        if d.chance(0.5):
            return [f"dot(v, {name})", f"{name}[0]"]
        return [f"{name}[0]", f"{name}[1]"]
    d.say(depth, f"latent {name} : real ~ Normal({d.mean(latents, free)}, {d.scale(label)})")
    if d.chance(0.3):
        let = d.name("e")
        d.say(depth, f"let {let} = 2 * {name} - a")
        return [let, name]
    return [name]


def reader(d: Drawn, depth: int, latents: list[str], free: list[str], label: str | None) -> None:
    name, role = d.name("x"), d.rng.choice(["observed", "observed", "partial"])
    if d.chance(0.15):
        d.say(depth, f"{role} {name} : real[2] ~ MultivariateNormal([{d.mean(latents, free)}, {d.mean(latents, free)}], L)")
        return
    first = f"Normal({d.mean(latents, free)}, {d.scale(label)})"
    if d.chance(0.1) and "y" in free:
        first = f"{first} if y > 0 else Normal({d.mean(latents, free)}, {d.scale(label)})"
    d.say(depth, f"{role} {name} : real ~ {first}")


def chain(d: Drawn, depth: int, latents: list[str], free: list[str], label: str | None) -> None:
    """A state along a chain and what reads it, or a number that reads its own past; sometimes of the second order."""
    d.say(depth, "chain t:")
    if d.chance(0.3):
        name = d.name("x")
        d.say(depth + 1, f"partial {name} : real ~ Normal({d.mean(latents, free, 1)}, 1) then Normal(f * {name}[t-1] + a, s)")
        return
    name = d.name("l")
    first = d.rng.choice(["Normal(0, 1)", f"Normal({d.mean(latents, free, 1)}, {d.scale(None)})", "Flat()"])
    more = f" then Normal({name}[t-1], 0.9)" if (second := d.chance(0.3)) else ""
    step = f"f * {name}[t-1] - 0.3 * {name}[t-2]" if second else d.rng.choice([f"{name}[t-1]", f"f * {name}[t-1] + a"])
    d.say(depth + 1, f"latent {name} : real ~ {first}{more} then Normal({step}, {d.scale(None)})")
    inner = [name]
    if d.chance(0.3):
        inner += latent(d, depth + 1, [name], free, None)
    reader(d, depth + 1, [*inner, *latents[:1]], free, None)
    if first == "Flat()":
        d.say(depth + 1, f"observed {d.name('x')} : real ~ Normal({name}, r)")
