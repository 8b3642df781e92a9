"""What is left of one row adds up."""

from collections.abc import Mapping

from vispec.emit.laws.densities import Density, dense
from vispec.emit.laws.forms import tensor
from vispec.emit.laws.joins import add
from vispec.emit.steps import StepKind
from vispec.emit.value import Value
from vispec.emit.writer import Writer
from vispec.plan.plan import Step


def derivation(step: Step) -> str:
    return f"log p = {' + '.join(f'{name} (in training)' if name.startswith('labels_') else name for name in step.inputs)}"


def emit(w: Writer, step: Step, inputs: Mapping[str, Density], query: bool) -> Value:
    value = add(w, [dense(w, found) for found in inputs.values()], "log_prob")
    (data,) = step.plates
    if data in value.axes:
        return value
    return w.let(
        "log_prob", f"({tensor(w, value)}).expand(*[-1] * {len(value.axes)}, {w.plate_size(data)})", (*value.axes, data)
    )


ENTRY = StepKind("add", derivation, emit)
