"""Trees in the emitted code: their laws as scores of arcs, what is read through a head, and drawing them."""

from dataclasses import replace

from vispec.emit.laws.expressions import plain, plate_last
from vispec.emit.value import Value, align
from vispec.emit.writer import Writer, identifier
from vispec.model.model import Draw, Variable
from vispec.plan.axes import element_plates

KERNELS = "vispec.kernels.sums.tree"


def kernel(w: Writer, name: str) -> str:
    """A function of the tree kernel; tree_total refers to the algebras of posterior queries."""
    if name == "tree_total":
        for algebra in ("maximum", "sampled"):
            w.needs.kernel("vispec.kernels.sums.algebra", algebra)
    return w.needs.kernel(KERNELS, name)


def plate_of(variable: Variable) -> str:
    """The plate whose elements have the heads."""
    assert variable.type.plate is not None
    return variable.type.plate


def length_argument(w: Writer, plate: str, lead: tuple[str, ...]) -> str:
    """`, lengths` for a kernel's call where the plate is ragged."""
    return f", {align(w.lengths(plate), lead)}" if w.model.plate[plate].ragged else ""


def scores(w: Writer, variable: Variable) -> Value | None:
    """Scores of arcs (*lead, n, 1 + n), the last two as event; None for a uniform law, whose arcs all score 0."""
    law, plate = variable.law, plate_of(variable)
    assert isinstance(law, Draw)
    if not law.args:
        return None
    values = {}
    for name, arg in law.args:
        value = plain(w, arg)
        values[name] = (
            plate_last(w, value, plate)
            if plate in value.axes
            else replace(value, axes=(*value.axes, plate), event=value.event[1:])
        )
    lead = w.sort({axis for value in values.values() for axis in value.axes} - {plate})
    codes = [align(values[name], (*lead, plate)) for name in ("head", "dependent", "root")]
    return w.let(
        f"{identifier(variable.name)}_scores", f"{kernel(w, 'arc_scores')}({', '.join(codes)})", lead, (plate, "heads")
    )


def log_norm(w: Writer, variable: Variable) -> Value:
    """Minus the log-sum of the arcs' scores over all trees."""
    found, plate = scores(w, variable), plate_of(variable)
    hint = f"log_norm_{identifier(variable.name)}"
    if found is not None:
        lead = lead_of(w, found.axes, plate)
        total = f"{kernel(w, 'tree_log_prob')}({align(found, lead)}{length_argument(w, plate, lead)})"
        return w.let(hint, f"-{total}", lead)
    function = kernel(w, "log_number_of_trees")
    if w.model.plate[plate].ragged:
        lengths = w.lengths(plate)
        return w.let(hint, f"-{function}(self.one * {lengths.code})", lengths.axes)
    return w.let(hint, f"-{function}(self.one * {w.plate_size(plate)})")


def lead_of(w: Writer, axes: tuple[str, ...], plate: str) -> tuple[str, ...]:
    """The axes with those along which the plate's length differs."""
    return w.sort({*axes, *(w.lengths(plate).axes if w.model.plate[plate].ragged else ())})


def arcs(w: Writer, variable: Variable) -> Value:
    """The scores of an enumerated tree's arcs, its heads as an axis."""
    found, plate = scores(w, variable), plate_of(variable)
    if found is None:
        return Value("0.0", scalar=True)
    axes = (*found.axes, plate, variable.name)
    return ordered(w, replace(found, axes=axes, event=()), w.sort(axes))


def ordered(w: Writer, value: Value, axes: tuple[str, ...]) -> Value:
    if value.axes == axes:
        return value
    code = f"{value.code}.permute({', '.join(str(value.axes.index(axis)) for axis in axes)})"
    return w.let("log_arcs", code, axes)


def log_prob(w: Writer, variable: Variable) -> Value:
    """log p of a tree in the data; impossible where the heads are none."""
    plate = plate_of(variable)
    heads, norm, found = plate_last(w, w.known(variable.name), plate), log_norm(w, variable), scores(w, variable)
    lead = w.sort({*heads.axes, *norm.axes} - {plate})
    given = align(heads, (*lead, plate)) + length_argument(w, plate, lead)
    total = norm
    if found is not None:
        code = f"{kernel(w, 'tree_score')}({align(found, lead)}, {given}) + {align(norm, lead)}"
        total = w.let(f"log_{identifier(variable.name)}", code, lead)
    code = f"torch.where({kernel(w, 'is_tree')}({given}), {align(total, lead)}, -torch.inf)"
    return w.let(f"log_{identifier(variable.name)}", code, lead)


def draw(w: Writer, variable: Variable, rule: str, read: bool) -> Value:
    """Heads by a rule ("sample", "mean", "mode" or the name that holds one)."""
    plate, found = plate_of(variable), scores(w, variable)
    axes = w.sort(element_plates(variable))
    lead = tuple(axis for axis in axes if axis != plate)
    size = w.plate_size(plate)
    shape = ", ".join([*(w.axis_size(axis) for axis in lead), size, f"{size} + 1"])
    code = (
        f"self.one.new_zeros({shape})"
        if found is None
        else align(found, lead) + (f".expand({shape})" if found.axes != lead else "")
    )
    lengths = align(w.lengths(plate), lead) if w.model.plate[plate].ragged else "None"
    heads = w.draw(
        variable.name, f"{kernel(w, 'decide_tree')}({code}, {lengths}, {rule}, {read})", (*lead, plate), integer=True
    )
    return (
        heads
        if heads.axes == axes
        else w.let(variable.name, f"{heads.code}.movedim(-1, {axes.index(plate)})", axes, integer=True)
    )
