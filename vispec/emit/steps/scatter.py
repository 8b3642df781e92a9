"""What elements say of a latent that each points at by an index in the data: multiplied (log: added) where they point.

log f_e(z_e) = Σ_{i : a_i = e} log f_i(z_{a_i})
"""

from collections.abc import Mapping

from vispec.emit.laws.densities import Density, dense
from vispec.emit.laws.expressions import plain
from vispec.emit.laws.forms import tensor
from vispec.emit.steps import StepKind
from vispec.emit.value import Value, align, paren
from vispec.emit.writer import Writer, identifier
from vispec.plan.plan import Step


def derivation(step: Step) -> str:
    return f"{step.output} = Σ_{{{', '.join(step.eliminated)} that point at each {step.into}}} {step.inputs[0]}"


def emit(w: Writer, step: Step, inputs: Mapping[str, Density], query: bool) -> Value:
    assert step.index is not None
    (found,) = inputs.values()
    value, index, gone = dense(w, found), plain(w, step.index), step.eliminated
    if index.scalar:
        index = w.let("place", f"torch.full((), {index.code}, device=self.one.device)", integer=True)
    lead = tuple(axis for axis in value.axes if axis == "s") + tuple(p for p in step.plates if p != step.into)
    rest = tuple(axis for axis in value.axes if axis not in (*lead, *gone))
    axes = w.sort((*lead, *gone, *rest))
    elements = w.sort((*lead, *gone))
    for plate in gone:
        if w.model.plate[plate].ragged:
            value, index = (only_inside(w, each, plate) for each in (value, index))
    values = spread(w, value, axes, (*lead, *gone, *rest), lead, gone)
    places = spread(w, index, elements, (*lead, *gone), lead, gone)
    function = w.needs.kernel("vispec.kernels.sums.scatter", "add_by_index")
    assert step.into is not None
    target = (*lead, step.into, *rest)
    code = f"{function}({values}, {places}, {w.plate_size(step.into)})"
    ordered = w.sort(target)
    if ordered != target:
        code += f".permute({', '.join(str(target.index(axis)) for axis in ordered)})"
    return w.let(f"log_by_{step.into}", code, ordered)


def only_inside(w: Writer, value: Value, plate: str) -> Value:
    """Zero past the end of a ragged plate."""
    mask = w.inside(plate)
    axes = w.sort({*value.axes, *mask.axes})
    code = tensor(w, value) if value.scalar else align(value, axes)
    code = f"torch.where({align(mask, axes)}, {code}, {'0' if value.integer else '0.0'})"
    return w.let(f"{identifier(value.code)}_inside", code, axes, integer=value.integer)


def spread(
    w: Writer, value: Value, axes: tuple[str, ...], target: tuple[str, ...], lead: tuple[str, ...], gone: tuple[str, ...]
) -> str:
    """A tensor over all its axes, the ones that go away as one after the leading ones; of size 1 where there are none."""
    code = tensor(w, value) if value.scalar else align(value, axes)
    if value.axes != axes:
        code = f"{paren(code)}.expand({', '.join(w.axis_size(axis) for axis in axes)})"
    if axes != target:
        code = f"{paren(code)}.permute({', '.join(str(axes.index(axis)) for axis in target)})"
    if len(gone) > 1:
        code = f"{paren(code)}.flatten({len(lead)}, {len(lead) + len(gone) - 1})"
    if not gone:
        code = f"{paren(code)}.unsqueeze({len(lead)})"
    return code if code == value.code else w.let("spread", code).code


ENTRY = StepKind("scatter", derivation, emit)
