"""All trees over the elements of a plate: each element has one head, one hangs from the root, and no heads run in a circle.

    Z = Σ_trees Π_i f_i(head of i)

One operation with its own backward, whose gradient is the probability of each arc.
"""

from collections.abc import Mapping

from vispec.emit.laws.densities import Density, dense
from vispec.emit.laws.forms import tensor
from vispec.emit.laws.joins import add, tilt
from vispec.emit.laws.trees import kernel, lead_of, length_argument, plate_of
from vispec.emit.steps import StepKind
from vispec.emit.value import Value, align
from vispec.emit.writer import Writer
from vispec.plan.plan import Step


def derivation(step: Step) -> str:
    (tree,) = step.eliminated
    return f"{step.output} = log Σ_{{trees {tree}}} exp(Σ_i {' + '.join(step.inputs)}), elements eliminated one by one"


def emit(w: Writer, step: Step, inputs: Mapping[str, Density], query: bool) -> Value:
    (tree,) = step.eliminated
    plate = plate_of(w.model.variable[tree])
    parts = [dense(w, found) for found in inputs.values()]
    if query:
        parts.append(tilt(w, tree))
    joint = add(w, parts, f"log_arcs_of_{tree}")
    lead = lead_of(w, tuple(axis for axis in joint.axes if axis not in (plate, tree)), plate)
    scores = arc_matrix(w, joint, lead, plate, tree)
    length = length_argument(w, plate, lead)
    if query:
        return w.let(f"log_trees_{tree}", f"{kernel(w, 'tree_total')}(total, {scores}{length})", lead)
    return w.let(f"log_trees_{tree}", f"{kernel(w, 'tree_log_prob')}({scores}{length})", lead)


def arc_matrix(w: Writer, joint: Value, lead: tuple[str, ...], plate: str, tree: str) -> str:
    """The joint as (*lead, n, 1 + n)."""
    target = (*lead, plate, tree)
    axes = w.sort(target)
    code = tensor(w, joint) if joint.scalar else align(joint, axes)
    if set(joint.axes) < set(target):
        sizes = ", ".join(w.axis_size(axis) for axis in axes)
        code = f"{code}.expand({sizes})"
    return code if axes == target else f"{code}.permute({', '.join(str(axes.index(axis)) for axis in target)})"


ENTRY = StepKind("tree", derivation, emit)
