"""sum, mean, max and min of a sequence: a whole plate (`sum(y[*])`), or what stands before each element (`sum(x[<t])`)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from vispec.emit.value import Value, align, paren
from vispec.model.model import Apply, Evidence, Expression, Prefix, Ref
from vispec.model.walk import prefix_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from vispec.emit.writer import Writer

EMPTY = {"sum": "0.0", "mean": "0.0", "max": "-torch.inf", "min": "torch.inf"}
REDUCE = {"sum": "{}.sum({})", "mean": "{}.sum({})", "max": "{}.amax({})", "min": "{}.amin({})"}


def reduce_sequence(w: "Writer", e: Apply, plain: "Callable[[Writer, Expression], Value]") -> Value:
    """The reduction of the one argument, a sequence of numbers; of an empty one, 0, or an infinity for max and min."""
    (sequence,) = e.args
    if (prefix := prefix_of(sequence)) is not None:
        own = Ref(prefix.span, prefix.type, prefix.name)
        return before(w, e.function, prefix, replace(sequence, read=own) if isinstance(sequence, Evidence) else own, plain)
    value = plain(w, sequence)
    (plate, *event) = value.event
    dim = -1 - len(event)
    axes, code = value.axes, value.code
    if value.mask is not None:
        axes = w.sort({*value.axes, *value.mask.axes})
        mask = align(value.mask, axes) + "[..., None]" * len(event)
        code = f"torch.where({mask}, {align(value, axes)}, {EMPTY[e.function]})"
    code = REDUCE[e.function].format(paren(code), dim)
    if e.function == "mean":
        count = w.plate_size(str(plate))
        if w.model.plate[str(plate)].ragged:
            count = f"{align(w.element(w.lengths(str(plate))), axes, len(event))}.clamp(min=1)"
        code = f"{code} / {count}"
    return w.let(f"{e.function}_{plate}", code, axes, tuple(event))


def before(
    w: "Writer", function: str, sequence: Prefix, own: Expression, plain: "Callable[[Writer, Expression], Value]"
) -> Value:
    """For every element, over those before it; `own` is the element itself."""
    plate = sequence.plate
    if plate in w.at:
        return so_far(w, function, sequence)
    value = plain(w, own)
    at = value.axes.index(plate)
    if function in ("max", "min"):
        last = value.rank - at - 1
        pad = ", ".join(["0, 0"] * last + ["1, 0"])
        index = ", ".join([":"] * at + [":-1"])
        code = f"F.pad({value.code}.cum{function}({at}).values, ({pad}), value={EMPTY[function]})[{index}]"
    else:
        code = f"{value.code}.cumsum({at}) - {value.code}"
    if function == "mean":
        position = w.position(plate)
        code = f"({code}) / {align(position, value.axes, len(value.event))}.clamp(min=1)"
    return w.let(f"{function}_before", code, value.axes, value.event)


def so_far(w: "Writer", function: str, sequence: Prefix) -> Value:
    """Inside a chain's loop: over the buffer up to the present element."""
    buffer = w.bound["all " + sequence.name]
    at, index = buffer.axes.index(sequence.plate), w.at[sequence.plate]
    code = f"{buffer.code}[{', '.join([':'] * at + [f':{index}'])}]"
    axes = tuple(axis for axis in buffer.axes if axis != sequence.plate)
    if function in ("max", "min"):
        shape = f"{buffer.code}[{', '.join([':'] * at + ['0'])}]"
        code = f"{REDUCE[function].format(code, at)} if {index} else torch.full_like({shape}, {EMPTY[function]})"
        return w.let(f"{function}_before", code, axes, buffer.event)
    code = f"{code}.sum({at})" + (f" / max({index}, 1)" if function == "mean" else "")
    return w.let(f"{function}_before", code, axes, buffer.event)
