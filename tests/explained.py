"""What a formula of `explain` says, read again: its densities, over which plates each stands, and what binds its names.

A sign of summation takes all that follows it, up to a sum or the end of its brackets; one of a product the next density or
brackets."""

import re
from dataclasses import dataclass, field

BINDS = r"(?P<bind>Σ_\{[^}]*\}|Σ_\w+)|(?P<ahead>∏_\{[^}]*\}|∏_\w+)|(?P<mean>E_\{(?:[^{}]|\{[^}]*\})*\})\["
SAYS = r"(?P<density>[pq]\((?:[^()]|\([^)]*\))*\))|(?P<seen>1\[[^\]]*as seen\])"
TOKEN = re.compile(rf"(?P<integral>∫ d\w+ )|{BINDS}|{SAYS}|(?P<open>\[|KL\(|\()|(?P<close>\]|\))|(?P<next> \+ | − )")
INDEXED = re.compile(r"(\w+)(?:\[(.*)\])?")


@dataclass
class Density:
    """name: of the variable. letter: p or q. at: what stands in its brackets, `i` or `k, t`. plates: that are multiplied or
    added over around it. bound: names of sums and expectations around it."""

    letter: str
    name: str
    at: str
    given: str
    plates: tuple[str, ...]
    bound: frozenset[str]


@dataclass
class Scope:
    """What brackets are in, which holds for all in them, and what was bound since the last sum."""

    plates: list[str] = field(default_factory=list)
    bound: list[str] = field(default_factory=list)
    since: "Scope | None" = None

    def now(self) -> "Scope":
        self.since = self.since or Scope()
        return self.since


def densities(formula: str) -> list[Density]:
    """All of a formula's right side."""
    text = re.split(r" [=≥≈] ", formula, maxsplit=1)[1]
    stack, found, ahead = [Scope()], list[Density](), list[str]()
    for token in TOKEN.finditer(text):
        kind, value = token.lastgroup, token[0]
        if kind == "integral":
            stack[-1].now().bound.append(value.removeprefix("∫ d").strip())
        elif kind == "bind" and value.startswith("Σ_{") and " = " not in value:
            stack[-1].now().bound += map(bare, split(value[3:-1]))
        elif kind == "bind":
            stack[-1].now().plates += plates_of(value)
        elif kind == "ahead":
            ahead += plates_of(value)
        elif kind in ("mean", "open"):
            stack.append(Scope(ahead, [bare(name) for each in drawn(value) for name in split(each)]))
            ahead = []
        elif kind == "close":
            stack.pop()
        elif kind == "next":
            stack[-1].since = None
        elif kind == "density":
            found += read(value, [*stack, Scope(ahead)])
            ahead = []
    return found


def drawn(mean: str) -> list[str]:
    """What the densities under an expectation are of."""
    return [each.partition(" | ")[0] for each in re.findall(r"[pq]\(((?:[^()]|\([^)]*\))*)\)", mean)]


def plates_of(sign: str) -> list[str]:
    """`i` of ∏_i; of ∏_{i: e[i] = k}, which is over those i that point at k, i in the place of k."""
    over, _, tests = sign[2:].strip("{}").rpartition(": ") if " = " in sign else (sign[2:], "", "")
    return [*filter(None, over.split(", ")), *(f"-{test.rpartition(' = ')[2]}" for test in split(tests) if test)]


def split(text: str) -> list[str]:
    """At commas outside brackets."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text)]


def bare(name: str) -> str:
    return name.partition("[")[0]


def read(density: str, stack: list[Scope]) -> list[Density]:
    left, _, given = density[2:-1].partition(" | ")
    scopes = [each for scope in stack for each in (scope, scope.since) if each is not None]
    plates = [plate for scope in scopes for plate in scope.plates if plate != "s"]
    plates = tuple(plate for plate in plates if plate[0] != "-" and f"-{plate}" not in plates)
    bound = frozenset(name for scope in scopes for name in scope.bound)
    found = []
    for each in split(left):
        match = INDEXED.fullmatch(each)
        assert match, (density, each)
        found.append(Density(density[0], match[1], match[2] or "", given, plates, bound))
    return found
