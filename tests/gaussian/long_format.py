"""Random specs in long format: rows say by indices whose Gaussian numbers they read, those of one plate, of several that cross,
of two elements of one plate, of plates within a row; numbers and vectors, some with elements of their own below."""

from __future__ import annotations

import random

from tests.gaussian.drawn import Drawn

HEAD = """size G = 4
size H = 3
size M = 2
param a : real
param v : real[2]
param s : positive
param r : positive
param L : cholesky[2]
"""


class Long(Drawn):
    """shared: latents outside the rows. open: what rows may read of plates, by plate, with `@` for the index."""

    def __init__(self, seed: int):
        super().__init__(random.Random(seed))
        self.shared, self.open = list[str](), dict[str, list[str]]()

    def sum_of(self, terms: list[str], least: int = 1) -> str:
        many = self.rng.randint(least, min(3, max(least, len(terms)))) if terms else 0
        parts = [f"{self.rng.choice(['', '', 'y * ', '0.5 * ', 'a * '])}{term}" for term in self.rng.sample(terms, many)]
        return " + ".join([*parts, self.rng.choice(["a", "y", "0.3"])])

    def group(self, depth: int, plate: str, size: str, outer: list[str]) -> None:
        """A plate with latents, and sometimes with what reads each by its own element."""
        self.say(depth, f"plate {plate}{size}:")
        told = self.open.setdefault(plate, [])
        if not size:
            self.say(depth + 1, f"given {self.name('w')} : real")
        name = self.name("u")
        if self.chance(0.3):
            self.say(depth + 1, f"latent {name} : real[2] ~ {self.rng.choice(['MultivariateNormal(v, L)', 'Normal(0, s)'])}")
            told += [f"{name}[@][0]", f"{name}[@][1]", f"dot(v, {name}[@])"]
            own = f"dot(v, {name})"
        else:
            mean = " + ".join([*outer[:1], self.rng.choice(["a", "0"])])
            flat = depth > 0 and self.chance(0.3)
            self.say(depth + 1, f"latent {name} : real ~ {'Flat()' if flat else f'Normal({mean}, s)'}")
            if flat:
                self.say(depth + 1, f"observed {self.name('x')} : real ~ Normal({name}, 1)")
            told.append(f"{name}[@]")
            own = name
        self.shared.append(name)
        if self.chance(0.4):
            other = self.name("u")
            self.say(depth + 1, f"latent {other} : real ~ Normal({self.rng.choice(['0', f'0.5 * {own}'])}, r)")
            told.append(f"{other}[@]")
            self.shared.append(other)
        if depth and self.chance(0.3):
            self.say(depth + 1, f"observed {self.name('x')} : real ~ Normal({own}, 1)")
        if self.chance(0.3):
            self.say(depth + 1, f"plate j{plate}[2]:")
            inner = self.name("z")
            self.say(depth + 2, f"latent {inner} : real ~ Normal({own}, r)")
            if depth:
                self.say(depth + 2, f"observed {self.name('x')} : real ~ Normal({inner}, 1)")
            self.shared.append(inner)


def long_spec(seed: int) -> str:
    d = Long(seed)
    outside = not d.chance(0.25)
    depth, outer = 0, list[str]()
    if outside and d.chance(0.3):
        d.say(0, "latent b : real ~ Normal(0, 2)")
        outer.append("b")
        d.shared.append("b")
    if not outside:
        d.say(0, "plate m:")
        depth = 1
        d.say(1, "given y : real")
        if d.chance(0.4):
            d.say(1, "latent b : real ~ Normal(a, 2)")
            outer.append("b")
    for plate, size in (("g", "[G]"), ("h", "[H]"))[: d.rng.randint(1, 2)]:
        d.group(depth, plate, size if outside or d.chance(0.5) else "", outer)
    rows(d, depth, outer)
    asked = [f"    {name} : exact" for name in d.shared] if outside else []
    return HEAD + "\n".join([*d.lines, *(["infer:", *asked] if asked else [])]) + "\n"


def rows(d: Long, depth: int, outer: list[str]) -> None:
    d.say(depth, "plate n:")
    depth += 1
    if depth == 1:
        d.say(1, "given y : real")
    terms = list(outer)
    for plate, told in d.open.items():
        for _ in range(2 if d.chance(0.25) else 1):
            index = d.name("k")
            d.say(depth, f"given {index} : index[{plate}]")
            terms += [term.replace("@", index) for term in told]
    if d.chance(0.3):
        name = d.name("z")
        d.say(depth, f"latent {name} : real ~ Normal({d.sum_of(terms)}, r)")
        terms.append(name)
    if d.chance(0.3):
        d.say(depth, "plate i:")
        plate = d.rng.choice([*d.open])
        index = d.name("k")
        d.say(depth + 1, f"given {index} : index[{plate}]")
        inner = [*terms, *(term.replace("@", index) for term in d.open[plate])]
        d.say(depth + 1, f"observed {d.name('x')} : real ~ Normal({d.sum_of(inner, 2)}, s)")
    for _ in range(d.rng.randint(1, 2)):
        role = d.rng.choice(["observed", "observed", "partial"])
        d.say(depth, f"{role} {d.name('x')} : real ~ Normal({d.sum_of(terms, 1)}, {d.rng.choice(['s', 'exp(0.1 * y)'])})")
