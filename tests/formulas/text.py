"""A formula of `explain` as a tree, read by the signs that stand there.

A sign of a sum takes all of the product after it; `log` and ∏ the next factor, ∏ with what divides it. An expectation and a
divergence have brackets of their own."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

SIGN = re.compile(
    r"(?P<pointing>[Σ∏]_\{(?:(?P<many>[^}=]*): )?(?P<tests>[^}]* = [^}]*)\})|(?P<draws>\(1/S\) Σ_s )"
    r"|Σ_\{(?P<values>[^}]*)\}|Σ_(?P<sum>\w+)|∏_(?P<product>\w+)|∫ d(?P<integral>\w+)"
    r"|(?P<mean>E_\{)|(?P<divergence>KL\()|(?P<exp>exp\()|(?P<seen>1\[)|(?P<density>[pqα]\()"
    r"|(?P<log>log )|(?P<bracket>\[)|(?P<test>\()|(?P<minus>−)|(?P<number>[01])"
)
CLOSE = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Node:
    """kind: of the sign. names: what it says of itself, as text. parts: what it stands before, or between."""

    kind: str
    names: tuple[str, ...] = ()
    parts: tuple["Node", ...] = ()


def sides(formula: str) -> tuple[str, Node]:
    """The left side as text, and the right one read."""
    left, right = re.split(r" [=≥≈] ", formula, maxsplit=1)
    return left, tree(right)


def tree(text: str) -> Node:
    reader = Reader(text)
    found = reader.total()
    assert reader.at == len(text), f"not read: {text[reader.at :]}"
    return found


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for part in node.parts:
        yield from walk(part)


@cache
def split(text: str, sign: str = ",") -> tuple[str, ...]:
    """At a sign outside all brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        parts = [*parts, ""] if letter == sign and not depth else [*parts[:-1], parts[-1] + letter]
    return tuple(part.strip() for part in parts if part.strip())


@dataclass
class Reader:
    text: str
    at: int = 0

    def total(self) -> Node:
        terms = [self.product()]
        while self.take(" + ") or self.text.startswith(" − ", self.at):
            terms.append(Node("minus", (), (self.product(),)) if self.take(" − ") else self.product())
        return Node("total", (), tuple(terms)) if len(terms) > 1 else terms[0]

    def product(self) -> Node:
        factors = [self.quotient()]
        while self.take(" · ") or (self.text.startswith(" [", self.at) and self.take(" ")):
            factors.append(self.quotient())
        return Node("times", (), tuple(factors)) if len(factors) > 1 else factors[0]

    def quotient(self) -> Node:
        found = self.factor()
        while self.take(" / "):
            found = Node("over", (), (found, self.factor()))
        return found

    def take(self, sign: str) -> bool:
        there = self.text.startswith(sign, self.at)
        self.at += len(sign) if there else 0
        return there

    def inside(self) -> str:
        """The text up to the bracket that closes the one just read, which is passed."""
        start, depth = self.at, 1
        while depth:
            depth += (self.text[self.at] in "([{") - (self.text[self.at] in ")]}")
            self.at += 1
        return self.text[start : self.at - 1]

    def factor(self) -> Node:
        found = SIGN.match(self.text, self.at)
        assert found, f"no formula: {self.text[self.at :]}"
        self.at, kind = found.end(), next(name for name, text in found.groupdict().items() if text is not None)
        match kind:
            case "pointing":
                self.take(" ")
                taken = self.product() if found[0][0] == "Σ" else self.quotient()
                return Node("pointing", (found["many"] or "", found["tests"], found[0][0]), (taken,))
            case "values" | "sum" | "integral" | "draws":
                self.take(" ")
                return Node(kind, split(found[kind]) if kind == "values" else (found[kind].strip(),), (self.product(),))
            case "product":
                self.take(" ")
                return Node(kind, (found[kind],), (self.quotient(),))
            case "log" | "minus":
                return Node(kind, (), (self.quotient() if kind == "minus" else self.factor(),))
            case "mean":
                drawn = self.inside()
                assert self.take("["), "an expectation without brackets"
                return Node("mean", split(drawn), (tree(self.inside()),))
            case "divergence":
                q, p = split(self.inside(), "‖")
                return Node("divergence", (), (tree(q), tree(p)))
            case "exp":
                return Node("exp", (), (tree(self.inside()),))
            case "bracket":
                return self.at_element(tree(self.inside()))
            case "test":
                part, _, test = self.inside().partition(" if ")
                return Node("test", tuple(test.rpartition(" else ")[0].split(" ∧ ")), (tree(part),))
            case "density":
                own, _, given = self.inside().partition(" | ")
                return Node("density", (found["density"][0], own, given))
        return Node(kind, (self.inside().removesuffix(" as seen") if kind == "seen" else found[0],))

    def at_element(self, whole: Node) -> Node:
        """Brackets that hold at one element of a plate: `[...] at k = 2`."""
        found = re.compile(r" at (\w+) = (\d+)").match(self.text, self.at)
        if found is None:
            return whole
        self.at = found.end()
        return Node("element", (found[1], found[2]), (whole,))
