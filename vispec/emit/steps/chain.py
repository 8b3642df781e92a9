"""A first-order chain: one forward pass over its elements, as one operation with its own backward.

    Z = Σ_{z_1..z_T} p(z_1) Π_t p(z_t | z_{t-1}) Π_t f_t(z_t)

Several latents that chain along one plate and are coupled are one chain over their joint values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vispec.emit.densities import Chained, Density, Table, dense
from vispec.emit.expressions import tensor
from vispec.emit.joins import add, tilt
from vispec.emit.steps import StepKind
from vispec.emit.value import Value, align
from vispec.emit.writer import Writer
from vispec.plan.axes import is_past, past
from vispec.plan.plan import Step


def derivation(step: Step) -> str:
    latents = ", ".join(step.eliminated)
    return f"{step.output} = log Σ_{{paths of {latents}}} exp({' + '.join(step.inputs)}), forward recursion"


def emit(w: Writer, step: Step, inputs: Mapping[str, Density], query: bool) -> Value:
    plate = chain_plate(w, step)
    states = tuple(latent for latent in step.eliminated)
    firsts, moves, others = split(w, inputs, plate)
    if query:
        others += [tilt(w, name) for name in states]
    init = joint_states(w, add(w, [at_first(w, value, plate) for value in firsts], "log_init"), states, ())
    move = joint_states(w, after_first(w, add(w, moves, "log_step"), plate), states, tuple(past(s) for s in states))
    obs = emissions(w, others, states, plate)
    lead = w.sort({axis for v in (init, move, obs) for axis in v.axes} - {plate, *states, *(past(s) for s in states)})
    length = w.lengths(plate).code if w.model.plate[plate].ragged else None
    codes = [
        lay_out(w, init, lead, (states[0],)),
        transition(w, move, lead, plate, states[0]),
        lay_out(w, obs, lead, (plate, states[0])),
    ]
    if length is not None:
        aligned = align(w.lengths(plate), lead)
        codes.append(aligned)
    if set(obs.axes) < {*lead, plate, states[0]}:
        codes[2] = expanded(w, codes[2], lead, plate, states[0])
    name = f"log_chain_{'_'.join(states)}"
    if query:
        function = w.needs.kernel("vispec.kernels.algebra", "chain_total")
        return w.let(name, f"{function}(total, {', '.join(codes)})", lead)
    function = w.needs.kernel("vispec.kernels.chain", "chain_log_prob")
    return w.let(name, f"{function}({', '.join(codes)})", lead)


def chain_plate(w: Writer, step: Step) -> str:
    plates = [p for p in w.model.variable[step.eliminated[0]].plates if p not in step.plates]
    return next(p for p in plates if w.model.plate[p].kind == "chain")


def split(w: Writer, inputs: Mapping[str, Density], plate: str) -> tuple[list[Value], list[Value], list[Value]]:
    """First elements' laws, moves (anything that reads a past state), and what depends on the present state alone."""
    firsts, moves, others = list[Value](), list[Value](), list[Value]()
    for found in inputs.values():
        if isinstance(found, Chained):
            firsts.append(found.first)
            moves.append(found.rest)
        elif not isinstance(found, Table) and any(is_past(axis) for axis in found.axes):
            moves.append(found)
        else:
            others.append(dense(w, found))
    return firsts, moves, others


def at_first(w: Writer, value: Value, plate: str) -> Value:
    if plate not in value.axes:
        return value
    at = value.axes.index(plate)
    axes = tuple(axis for axis in value.axes if axis != plate)
    return w.let("log_first", f"{value.code}[{', '.join([':'] * at + ['0'])}]", axes)


def after_first(w: Writer, value: Value, plate: str) -> Value:
    if plate not in value.axes:
        return value
    at = value.axes.index(plate)
    return w.let("log_later", f"{value.code}[{', '.join([':'] * at + ['1:'])}]", value.axes)


def emissions(w: Writer, parts: Sequence[Value], states: tuple[str, ...], plate: str) -> Value:
    """log f_t(z) with the chain's plate and one axis of (joint) states."""
    if not parts:
        return Value("0.0", scalar=True)
    return joint_states(w, add(w, parts, f"log_seen_of_{'_'.join(states)}"), states, ())


def joint_states(w: Writer, value: Value, states: tuple[str, ...], pasts: tuple[str, ...]) -> Value:
    """All state axes present and last, pasts before presents, each group as one axis."""
    if value.scalar and len(states) == 1 and not pasts:
        return value
    wanted = (*pasts, *states)
    kept = tuple(axis for axis in value.axes if axis not in wanted)
    target = (*kept, *wanted)
    missing = [axis for axis in wanted if axis not in value.axes]
    code = align(value, [axis for axis in w.order if axis in target]) if missing else value.code
    axes = w.sort(target) if missing else value.axes
    if axes != target:
        code = f"{paren(code)}.permute({', '.join(str(axes.index(axis)) for axis in target)})"
    if missing or len(states) > 1:
        sizes = ", ".join(["-1"] * len(kept) + [w.axis_size(axis) for axis in wanted])
        code = f"{paren(code)}.expand({sizes})"
    if len(states) > 1:
        product = " * ".join(w.axis_size(s) for s in states)
        lead = f"*{paren(code)}.shape[:{len(kept)}], " if kept else ""
        code = f"{paren(code)}.reshape({lead}{', '.join((product,) * (2 if pasts else 1))})"
    merged = (*kept, *((pasts[0],) if pasts else ()), states[0])
    return value if code == value.code else w.let("log_states", code, merged)


def paren(code: str) -> str:
    return code if all(c.isalnum() or c in "_.[]:, " for c in code) else f"({code})"


def lay_out(w: Writer, value: Value, lead: tuple[str, ...], last: tuple[str, ...]) -> str:
    """The value with the leading axes in order, then `last`."""
    if value.scalar:
        return tensor(w, value)
    target = (*(axis for axis in lead if axis in value.axes), *(axis for axis in last if axis in value.axes))
    code = value.code
    if target != value.axes:
        value = w.let("log_laid", f"{code}.permute({', '.join(str(value.axes.index(a)) for a in target)})", target)
    return align(replace(value, axes=target), (*lead, *last))


def transition(w: Writer, value: Value, lead: tuple[str, ...], plate: str, state: str) -> str:
    """(K, K), or leading axes, the chain's plate (1 where it does not matter), and two of states."""
    if set(value.axes) == {past(state), state}:
        return value.code
    if plate not in value.axes:
        at = sum(axis in value.axes for axis in lead)
        axes = (*(axis for axis in lead if axis in value.axes), plate, past(state), state)
        value = w.let("log_step", f"{lay_out(w, value, lead, (past(state), state))}.unsqueeze({at})", axes)
    return lay_out(w, value, lead, (plate, past(state), state))


def expanded(w: Writer, code: str, lead: tuple[str, ...], plate: str, state: str) -> str:
    """Emissions that are the same along some axis, with that axis."""
    sizes = ", ".join(w.axis_size(axis) for axis in (*lead, plate, state))
    return f"{paren(code)}.expand({sizes})"


ENTRY = StepKind("chain", derivation, emit)
