"""Draws of a Normal that are carried elsewhere, by layers of a flow or between the ends of a law.

What was drawn and log |∂ draw / ∂ base| are kept among the writer's bound values, and score the draw without an inverse."""

import inspect
from collections.abc import Sequence
from dataclasses import replace

from vispec.catalog import distributions
from vispec.emit.laws.densities import dense, density
from vispec.emit.laws.forms import tensor
from vispec.emit.value import Value, align, base_of, gain_of, union
from vispec.emit.writer import Writer, identifier
from vispec.model.model import Draw, Variable


def base_law(law: Draw) -> Draw:
    """The Normal that the law's first two parameters are of."""
    return replace(law, distribution="Normal", args=law.args[:2])


def carry_to_ends(w: Writer, hint: str, variable: Variable, law: Draw, base: Value, ends: Sequence[Value]) -> Value:
    """The value between the ends; the base and the gain, summed over event dimensions, are bound too."""
    entry = distributions()[law.distribution]
    assert entry.carry is not None
    function = w.needs.kernel(str(inspect.getmodule(entry.carry).__name__), entry.carry.__name__)  # type: ignore[union-attr]
    axes, rank = union((base, *ends), w.order), len(base.event)
    codes = [tensor(w, value) if value.scalar else align(value, axes, rank) for value in (base, *ends)]
    drawn, gain = Value(w.fresh(hint), axes, variable.type.shape), Value(w.fresh(f"gain_{variable.name}"), axes)
    w.line(f"{drawn.code}, {gain.code} = {function}({', '.join(codes)})  # {drawn.shape()}")
    if rank:
        gain = w.let(gain.code, f"{gain.code}{'.sum(-1)' if rank == 1 else f'.flatten(-{rank}).sum(-1)'}", axes)
    w.bound[base_of(variable.name)], w.bound[gain_of(variable.name)] = base, gain
    return drawn


def log_of_carried(w: Writer, variable: Variable, base_law: Draw) -> Value:
    """log q at the draw: that of the base at its own, less the gain."""
    name = variable.name
    base, gain = w.bound[base_of(name)], w.bound[gain_of(name)]
    log_base = dense(w, density(w, variable, base, base_law, f"log_base_{identifier(name)}"))
    axes = union((log_base, gain), w.order)
    return w.let(f"log_q_{name}", f"{align(log_base, axes)} - {align(gain, axes)}", axes)
