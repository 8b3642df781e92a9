"""What a rule is; `rewrite` applies all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from vispec.catalog import discover
from vispec.program.cost import Numbers
from vispec.program.program import Program


@dataclass(frozen=True)
class Rule:
    """rewrite: the program, changed. after: rules that come before it. what: what it does, in a line.

    needed: whether the printer relies on it, so that it cannot be switched off."""

    name: str
    what: str
    rewrite: Callable[[Program, Numbers], Program]
    after: tuple[str, ...] = ()
    needed: bool = False


@dataclass(frozen=True)
class Rules:
    """Which rules are applied, and the sizes that costs are counted with."""

    without: frozenset[str] = frozenset()
    numbers: Numbers = field(default_factory=Numbers)


@cache
def rules() -> Mapping[str, Rule]:
    """All rules by name, in the order in which they are applied."""
    import vispec.rewrite

    found: dict[str, Rule] = dict(discover(vispec.rewrite))
    ordered: dict[str, Rule] = {}
    while len(ordered) < len(found):
        ready = [rule for name, rule in found.items() if name not in ordered and {*rule.after} <= {*ordered}]
        assert ready, f"rules wait for each other, or for one that is not there: {sorted({*found} - {*ordered})}"
        ordered[ready[0].name] = ready[0]
    return ordered


def rewrite(program: Program, chosen: Rules | None = None) -> Program:
    """The program after all rules."""
    chosen = chosen or Rules()
    for name, rule in rules().items():
        if rule.needed or name not in chosen.without:
            program = rule.rewrite(program, chosen.numbers)
    return program
