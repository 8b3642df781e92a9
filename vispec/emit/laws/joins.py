"""Adding log-tensors with named axes."""

from collections.abc import Sequence

from vispec.emit.value import Value, align, paren, union
from vispec.emit.writer import Writer
from vispec.plan.axes import element_plates


def add(w: Writer, parts: Sequence[Value], hint: str) -> Value:
    """The sum of log-tensors, over the union of their axes; the smallest are added first."""
    found = [part for part in parts if not (part.scalar and part.code in ("0", "0.0"))] or [Value("0.0", scalar=True)]
    if len(found) == 1:
        return found[0]
    axes = union(found, w.order)
    ordered = sorted(found, key=lambda part: (part.scalar, len(part.axes), part.code.startswith("-")))  # numbers last
    terms = [part.code if part.scalar else align(part, axes) for part in ordered]
    code = terms[0] + "".join(f" - {term[1:]}" if term.startswith("-") else f" + {term}" for term in terms[1:])
    return w.let(hint, code, axes)


def tilt(w: Writer, name: str, *past: str) -> Value:
    """A posterior query's own term for a latent: zeros in its plates and values, whose gradient is the answer; with its past,
    for the values of both."""
    own = (*element_plates(w.model.variable[name]), *past, name)
    axes = w.sort(own)
    value = w.let(f"tilt_{name}", f'tilt["{name}"]', own)
    if own == axes:
        return value
    return w.let(f"tilt_{name}", f"{value.code}.permute({', '.join(str(own.index(a)) for a in axes)})", axes)


def last(w: Writer, value: Value, latents: tuple[str, ...]) -> Value:
    """The axes of the latents made one, the last."""
    kept = tuple(axis for axis in value.axes if axis not in latents)
    axes, code = (*kept, *latents), value.code
    if axes != value.axes:
        code = f"{paren(code)}.permute({', '.join(str(value.axes.index(axis)) for axis in axes)})"
    if len(latents) > 1:
        code = f"{paren(code)}.flatten({len(kept)})"
    return value if code == value.code else w.let("by_latent", code, (*kept, *latents[:1]))
