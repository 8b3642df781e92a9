"""Branches that are not taken send no gradient, whatever their values.

`torch.where` alone lets 0 · ∞ of the other branch through, which is nan. So inside a branch whose derivative may be infinite,
what has a gradient is read by `torch.where(taken, x, x.detach())`: the same number, and a gradient only where it is taken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.catalog import distributions
from vispec.emit.value import Value, align, paren
from vispec.model.model import All, Apply, Base, Const, Expression, Law, Length, NetCall, Past, Prefix, Ref, Select, SizeOf
from vispec.model.walk import children, draws, law_parts

if TYPE_CHECKING:
    from vispec.emit.writer import Writer

READS = Ref | All | Prefix | Select | NetCall
STEEP = frozenset({"exp", "log", "sqrt", "lgamma", "/", "^", "unit", "positive", "count", "simplex"})
"""Functions that at some numbers are infinite, or nan, or have such a slope."""


def is_steep(w: "Writer", e: Expression) -> bool:
    """Whether an expression or its derivative may be infinite for some values of what it reads."""
    lets = {let.name: let.value for let in (*w.model.lets, *w.model.guide_lets)}
    if isinstance(e, Ref | All | Prefix | Past | Select) and e.name in lets and is_steep(w, lets[e.name]):
        return True
    if isinstance(e, Apply) and e.function in STEEP and not _is_safe(e):
        return True
    return not isinstance(e, NetCall) and any(is_steep(w, child) for child in children(e))


def _is_safe(e: Apply) -> bool:
    """Whether the last argument says that nothing is infinite: a divisor or argument declared to be above 0, a power of at
    least 1. What is computed says it no more: a branch's type may hold by its test alone."""
    last = e.args[-1]
    if isinstance(last, Const):
        return last.value >= 1 if e.function == "^" else last.value > 0
    declared = isinstance(last, Length | SizeOf) or (isinstance(last, READS) and last.type.domain in ("positive", "unit"))
    return declared and e.function in ("/", "log", "sqrt", "lgamma")


def law_is_steep(w: "Writer", law: Law) -> bool:
    """Whether that holds of a law's density: of its parameters, or because it has ends that a value may lie beyond."""
    if any(is_steep(w, part) for part in law_parts(law)):
        return True
    return any(isinstance(end, str) for draw in draws(law) for end in distributions()[draw.distribution].bounds or ())


@contextmanager
def taken(w: "Writer", test: Value, code: str, steep: bool) -> Iterator[None]:
    """Inside, what has a gradient is read where the test holds (`code`, along its axes). Where that is the same for all
    elements of the plates, as of an enumerated latent alone, every branch is taken."""
    if not steep or not any(axis in w.model.plate for axis in test.axes):
        yield
        return
    w.branches = (*w.branches, replace(test, code=code, event=(), truth=True))
    try:
        yield
    finally:
        w.branches = w.branches[:-1]


def negated(code: str) -> str:
    return f"~{paren(code)}"


def has_gradient(w: "Writer", e: Expression) -> bool:
    """Whether what is read here may depend on parameters: on them, on draws, on the outputs of nets."""
    if isinstance(e, NetCall | Base):
        return True
    if not isinstance(e, Ref | All | Prefix | Past | Select):
        return False
    variable = w.model.variable.get(e.name)
    if variable is not None:
        return variable.role in ("latent", "partial") and not variable.type.discrete
    return True


def on_branches(w: "Writer", value: Value) -> Value:
    """The value, with a gradient only where the branches around it are taken."""
    for branch in w.branches:
        if value.scalar or value.integer or value.truth:
            return value
        axes = w.sort({*value.axes, *branch.axes})
        rank = len(value.event)
        own, test = align(value, axes, rank), align(branch, axes) + ("" if not rank else f"[..., {', '.join(['None'] * rank)}]")
        code = f"torch.where({test}, {own}, {own}.detach())"
        name = value.code.rsplit(".", 1)[-1]
        found = w.let(f"{name if name.isidentifier() else 'value'}_taken", code, axes, value.event, value.form)
        value = replace(value, code=found.code, axes=axes)
    return value
