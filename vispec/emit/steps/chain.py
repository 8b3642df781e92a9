"""A chain of order one or two: one forward pass over its elements, as one operation with its own backward.

    Z = Σ_{z_1..z_T} p(z_1) Π_t p(z_t | z_{t-1}) Π_t f_t(z_t)

Several latents that chain along one plate and are coupled are one chain of joint values. At order two there is a law for
the second element as well, and the chain runs over pairs of states.
"""

from collections.abc import Mapping, Sequence

from vispec.emit.laws.categorical import Lookup
from vispec.emit.laws.densities import Chained, Density, by_position, dense
from vispec.emit.laws.forms import tensor, to_form
from vispec.emit.laws.joins import add, tilt
from vispec.emit.steps import StepKind
from vispec.emit.value import Value, align, paren
from vispec.emit.writer import Writer
from vispec.plan.axes import is_past, lag_of, past
from vispec.plan.plan import Step


def derivation(step: Step) -> str:
    latents = ", ".join(step.eliminated)
    return f"{step.output} = log Σ_{{paths of {latents}}} exp({' + '.join(step.inputs)}), forward recursion"


def emit(w: Writer, step: Step, inputs: Mapping[str, Density], query: bool) -> Value:
    plate = chain_plate(w, step)
    states = tuple(latent for latent in step.eliminated)
    order = order_of(inputs)
    tokens = None if query or order > 1 else seen_tokens(w, step, inputs, plate)
    starts, moves, others = split(w, {name: f for name, f in inputs.items() if f is not tokens}, plate, order)
    if query:
        others += [tilt(w, name) for name in states]
    groups = [tuple(past(s, lag) for s in states) for lag in (2, 1)] + [states]  # oldest first
    laws = [
        joint_states(w, add(w, at, f"log_{'init' if i == 0 else 'second'}"), groups[2 - i :]) for i, at in enumerate(starts)
    ]
    move = joint_states(w, after(w, add(w, moves, "log_step"), plate, order), groups[2 - order :])
    own = {plate, *(axis for group in groups for axis in group)}
    lengths = w.lengths(plate).axes if w.model.plate[plate].ragged else ()
    lead = w.sort({*lengths, *(axis for v in (*laws, move) for axis in v.axes)} - own)
    if tokens is not None and not {*lead, plate} <= set(tokens.value.axes):
        tokens, others = None, [dense(w, tokens)]
    obs = emissions(w, others, states, plate) if tokens is None else tokens.value
    lead = w.sort({*lead, *obs.axes} - own)
    merged = tuple(group[0] for group in groups)
    codes = [lay_out(w, law, lead, merged[2 - i :]) for i, law in enumerate(laws)]
    codes.append(transition(w, move, lead, plate, merged[2 - order :]))
    if tokens is not None:
        codes += [to_form(w, tokens.table, "simplex", "log").code, tokens.value.code]
    elif set(obs.axes) < {*lead, plate, states[0]}:
        codes.append(expanded(w, lay_out(w, obs, lead, (plate, states[0])), lead, plate, states))
    else:
        codes.append(lay_out(w, obs, lead, (plate, states[0])))
    if w.model.plate[plate].ragged:
        codes.append(align(w.lengths(plate), lead))
    function = w.needs.kernel(*(TOKENS if tokens is not None else KERNELS[order][query]))
    arguments = ["total", *codes] if query else codes
    return w.let(f"log_chain_{'_'.join(states)}", f"{function}({', '.join(arguments)})", lead)


KERNELS = {
    1: (("vispec.kernels.sums.chain", "chain_log_prob"), ("vispec.kernels.sums.algebra", "chain_total")),
    2: (("vispec.kernels.sums.pairs", "second_order_log_prob"), ("vispec.kernels.sums.pairs", "second_order_total")),
}
TOKENS = ("vispec.kernels.sums.chain", "chain_log_prob_of_tokens")


def seen_tokens(w: Writer, step: Step, inputs: Mapping[str, Density], plate: str) -> Lookup | None:
    """All that depends on the present state alone, if that is a table of outcomes at those observed."""
    (state, *more) = step.eliminated
    present = [f for f in inputs.values() if not isinstance(f, Chained) and not any(is_past(axis) for axis in f.axes)]
    found = present[0] if len(present) == 1 and not more else None
    if not isinstance(found, Lookup):
        return None
    wanted = (*w.sort(set(found.value.axes) - {plate}), plate)
    return found if found.table.axes == (state,) and found.value.axes == wanted else None


def order_of(inputs: Mapping[str, Density]) -> int:
    """How many elements back some factor reads."""
    values = [v for found in inputs.values() for v in (found.laws if isinstance(found, Chained) else (found,))]
    return max((lag_of(axis) for value in values for axis in value.axes), default=1) or 1


def chain_plate(w: Writer, step: Step) -> str:
    plates = [p for p in w.model.variable[step.eliminated[0]].plates if p not in step.plates]
    return next(p for p in plates if w.model.plate[p].kind == "chain")


def split(
    w: Writer, inputs: Mapping[str, Density], plate: str, order: int
) -> tuple[list[list[Value]], list[Value], list[Value]]:
    """Laws of each of the first `order` elements, moves (anything that reads a past state), and what depends on the present
    state alone."""
    starts, moves, others = [list[Value]() for _ in range(order)], list[Value](), list[Value]()
    for found in inputs.values():
        if isinstance(found, Chained):
            last = len(found.laws) - 1
            for element, laws in enumerate(starts):
                laws.append(at_element(w, found.laws[min(element, last)], plate, element))
            moves.append(by_position(w, found.laws, plate, "log_step", order))
        elif isinstance(found, Value) and any(is_past(axis) for axis in found.axes):
            for element, laws in enumerate(starts):
                laws.append(at_element(w, found, plate, element))
            moves.append(found)
        else:
            others.append(dense(w, found))
    return starts, moves, others


def at_element(w: Writer, value: Value, plate: str, element: int) -> Value:
    """A law at one of the first elements, where nothing reads further back than there is: along those axes it is one number."""
    places = {axis: "0" for axis in value.axes if lag_of(axis) > element}
    if plate in value.axes:
        places[plate] = "0" if element == 0 else f"min({element}, {w.plate_size(plate)} - 1)"  # of one element, any will do
    if not places:
        return value
    index = [places.get(axis, ":") for axis in value.axes]
    axes = tuple(axis for axis in value.axes if axis not in places)
    return w.let(f"log_{('first', 'second')[element]}", f"{value.code}[{', '.join(index)}]", axes)


def after(w: Writer, value: Value, plate: str, order: int) -> Value:
    """A law at the elements from number `order` on."""
    if plate not in value.axes:
        return value
    at = value.axes.index(plate)
    return w.let("log_later", f"{value.code}[{', '.join([':'] * at + [f'{order}:'])}]", value.axes)


def emissions(w: Writer, parts: Sequence[Value], states: tuple[str, ...], plate: str) -> Value:
    """log f_t(z) with the chain's plate and one axis of (joint) states."""
    if not parts:
        return Value("0.0", scalar=True)
    return joint_states(w, add(w, parts, f"log_seen_of_{'_'.join(states)}"), [states])


def joint_states(w: Writer, value: Value, groups: Sequence[tuple[str, ...]]) -> Value:
    """All state axes present and last, group after group (the oldest first), each group as one axis."""
    states = groups[-1]
    if value.scalar and len(states) == 1 and len(groups) == 1:
        return value
    wanted = tuple(axis for group in groups for axis in group)
    kept = tuple(axis for axis in value.axes if axis not in wanted)
    target = (*kept, *wanted)
    missing = [axis for axis in wanted if axis not in value.axes]
    code = align(value, [axis for axis in w.order if axis in target]) if missing else value.code
    axes = w.sort(target) if missing else value.axes
    if axes != target:
        code = f"{paren(code)}.permute({', '.join(str(axes.index(axis)) for axis in target)})"
    if missing:
        sizes = ", ".join(["-1"] * len(kept) + [w.axis_size(axis) for axis in wanted])
        code = f"{paren(code)}.expand({sizes})"
    if len(states) > 1:
        for group in range(len(groups)):
            start = len(kept) + group
            code = f"{paren(code)}.flatten({start}, {start + len(states) - 1})"
    merged = (*kept, *(group[0] for group in groups))
    return value if code == value.code else w.let("log_states", code, merged)


def lay_out(w: Writer, value: Value, lead: tuple[str, ...], last: tuple[str, ...]) -> str:
    """Text of the value with the leading axes in order, then `last`, 1 where it has none of them."""
    return tensor(w, value) if value.scalar else align(permuted(w, value, lead, last), (*lead, *last))


def permuted(w: Writer, value: Value, lead: tuple[str, ...], last: tuple[str, ...]) -> Value:
    """Its own axes in that order."""
    target = (*(axis for axis in lead if axis in value.axes), *(axis for axis in last if axis in value.axes))
    if target == value.axes:
        return value
    return w.let("log_laid", f"{value.code}.permute({', '.join(str(value.axes.index(a)) for a in target)})", target)


def transition(w: Writer, value: Value, lead: tuple[str, ...], plate: str, states: tuple[str, ...]) -> str:
    """(K, K), or leading axes, the chain's plate (1 where it does not matter), and two of states; three at order two."""
    if set(value.axes) == set(states):
        return value.code
    if plate not in value.axes:
        at = sum(axis in value.axes for axis in lead)
        axes = (*(axis for axis in lead if axis in value.axes), plate, *states)
        value = w.let("log_step", f"{permuted(w, value, lead, states).code}.unsqueeze({at})", axes)
    return lay_out(w, value, lead, (plate, *states))


def expanded(w: Writer, code: str, lead: tuple[str, ...], plate: str, states: tuple[str, ...]) -> str:
    """Emissions that are the same along some axis, with that axis."""
    number = " * ".join(w.axis_size(state) for state in states)
    sizes = ", ".join([*(w.axis_size(axis) for axis in (*lead, plate)), number])
    return f"{paren(code)}.expand({sizes})"


ENTRY = StepKind("chain", derivation, emit)
