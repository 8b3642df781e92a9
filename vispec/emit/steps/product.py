"""Multiply over the elements of plates: Σ of logs, over those that exist."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vispec.emit.laws.categorical import Unnormalised
from vispec.emit.laws.densities import Density, Mixed, dense
from vispec.emit.laws.forms import tensor
from vispec.emit.steps import StepKind
from vispec.emit.value import Value, align, paren
from vispec.emit.writer import Writer
from vispec.plan.plan import Step


def derivation(step: Step) -> str:
    return f"{step.output} = Σ_{{{', '.join(step.eliminated)}}} {step.inputs[0]}"


def emit(w: Writer, step: Step, inputs: Mapping[str, Density], query: bool) -> Value:
    (found,) = inputs.values()
    if isinstance(found, Mixed) and (total := mixed_total(w, step, found)):
        return total
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
    return w.let(name(step, step.eliminated), code, kept)


def name(step: Step, over: Sequence[str]) -> str:
    return f"log_{'_'.join(step.inputs[0].split('_')[1:])}_over_{'_'.join(over)}"


def mixed_total(w: Writer, step: Step, found: Mixed) -> Value | None:
    """Outcomes of one mixture, over all of which the product is: how often each occurs is all that counts.

    Elements with weights of their own are totalled by themselves, and then added up."""
    weight, lookup = found.weight, found.lookup
    *rows, latent = weight.axes
    kept, plates = found.axes[: -len(step.eliminated)], found.axes[-len(step.eliminated) :]
    if set(plates) != set(step.eliminated):
        return None
    masks = [w.inside(plate) for plate in plates if w.model.plate[plate].ragged]
    inside = " & ".join(align(mask, found.axes) for mask in masks) or "None"
    lead = found.axes[: max(len(kept), len(rows))]
    softmax = isinstance(weight, Unnormalised), lookup.table.form != "log"
    log_weight = align(weight.table if isinstance(weight, Unnormalised) else weight, (*lead, latent))
    if len(lead) > len(rows):
        log_weight += f".expand(*{lookup.value.code}.shape[:{len(lead)}], -1)"
    function = w.needs.kernel("vispec.kernels.sums.lookup", "mixed_total")
    table = f"{lookup.table.code}, {lookup.value.code}, {inside}, softmax={softmax}"
    counts = w.cache.get(("counts", lookup.value.code))
    if isinstance(counts, Value) and counts.axes == lead:
        table += f", counts={counts.code}"
    total = w.let(name(step, found.axes[len(lead) :]), f"{function}({log_weight}, {table})", lead)
    if lead == kept:
        return total
    return w.let(name(step, plates), f"{total.code}.flatten({len(kept)}).sum({len(kept)})", kept)


ENTRY = StepKind("product", derivation, emit)
