"""Multiply over the elements of a small plate whose latents are summed out jointly: each joint value picks its elements' own.

log F(z_1, ..., z_I) = Σ_i log f_i(z_i)
"""

from collections.abc import Mapping

from vispec.emit.laws.densities import Density, dense
from vispec.emit.laws.forms import tensor
from vispec.emit.steps import StepKind, product
from vispec.emit.value import Value, align, paren
from vispec.emit.writer import Writer
from vispec.plan.axes import unrolled
from vispec.plan.plan import Step


def derivation(step: Step) -> str:
    return f"{step.output} = Σ_{{{', '.join(step.eliminated)}}} {step.inputs[0]}, for every joint value of their latents"


def emit(w: Writer, step: Step, inputs: Mapping[str, Density], query: bool) -> Value:
    (plate,) = step.eliminated
    (found,) = inputs.values()
    value = dense(w, found)
    if not own_latents(w, value, plate):
        return product.emit(w, step, {step.inputs[0]: value}, query)
    return joint_values(w, value, plate)


def own_latents(w: Writer, value: Value, plate: str) -> tuple[str, ...]:
    """The latents of a plate's own element along which a value differs."""
    return tuple(axis for axis in value.axes if w.scope.unrolled.get(axis) == plate)


def joint_values(w: Writer, value: Value, plate: str) -> Value:
    """The value over all elements of the plate, along the joint values of their latents."""
    latents = own_latents(w, value, plate)
    axes = w.sort({*value.axes, plate})
    rest = tuple(axis for axis in axes if axis not in (plate, *latents))
    code = tensor(w, value) if value.scalar else align(value, axes)
    if plate not in value.axes:
        code = f"{paren(code)}.expand({', '.join(w.axis_size(axis) if axis == plate else '-1' for axis in axes)})"
    target = (*rest, plate, *latents)
    if target != axes:
        code = f"{paren(code)}.permute({', '.join(str(axes.index(axis)) for axis in target)})"
    function = w.needs.kernel("vispec.kernels.sums.unrolled", "over_joint_values")
    found = (*rest, *(unrolled(latent, plate) for latent in latents))
    code = f"{function}({code}{f', {len(latents)}' if len(latents) > 1 else ''})"
    if found != w.sort(found):
        code += f".permute({', '.join(str(found.index(axis)) for axis in w.sort(found))})"
    return w.let(f"{value.code}_over_{plate}" if value.code.isidentifier() else f"log_over_{plate}", code, w.sort(found))


ENTRY = StepKind("unroll", derivation, emit)
