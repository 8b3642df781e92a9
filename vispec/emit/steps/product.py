"""Multiply over the elements of plates: Σ of logs, over those that exist."""

from collections.abc import Mapping
from dataclasses import replace

from vispec.emit.densities import Density, dense
from vispec.emit.expressions import tensor
from vispec.emit.steps import StepKind
from vispec.emit.value import Value, align, paren
from vispec.emit.writer import Writer
from vispec.plan.plan import Step


def derivation(step: Step) -> str:
    return f"{step.output} = Σ_{{{', '.join(step.eliminated)}}} {step.inputs[0]}"


def emit(w: Writer, step: Step, inputs: Mapping[str, Density], query: bool) -> Value:
    (found,) = inputs.values()
    value = dense(w, found)
    if value.done is not None and step.eliminated == (value.done,):
        return replace(value, done=None)
    axes = w.sort({*value.axes, *step.eliminated}) if any(w.model.plate[p].ragged for p in step.eliminated) else value.axes
    masks = [w.inside(p) for p in step.eliminated if w.model.plate[p].ragged]
    axes = w.sort({*value.axes, *(axis for mask in masks for axis in mask.axes)})
    code = tensor(w, value) if value.scalar else align(value, axes)
    for mask in masks:
        code = f"torch.where({align(mask, axes)}, {code}, 0.0)"
    kept = tuple(axis for axis in axes if axis not in step.eliminated)
    absent = [p for p in step.eliminated if p not in axes]
    dims = [axes.index(p) for p in step.eliminated if p in axes]
    if dims:
        code = f"{code if code.startswith('torch.where(') else paren(code)}.sum({dims[0] if len(dims) == 1 else tuple(dims)})"
    for plate in absent:
        code = f"{code} * {w.plate_size(plate)}"
    return w.let(f"log_{'_'.join(step.inputs[0].split('_')[1:])}_over_{'_'.join(step.eliminated)}", code, kept)


ENTRY = StepKind("product", derivation, emit)
