"""Laws of finitely many values: enumerated ones whole, observed ones picked out of a table, below a softmax where possible."""

import math
from dataclasses import dataclass, replace

from vispec.emit.laws.expressions import expression, plain
from vispec.emit.laws.forms import to_form
from vispec.emit.nets.calls import distinct_rows
from vispec.emit.value import Value, align, union
from vispec.emit.writer import Writer, identifier
from vispec.model.model import Draw, NetCall, Variable


@dataclass(frozen=True)
class Lookup:
    """Log-probabilities of observed outcomes under every value of some latents, not yet picked out of their table.

    value (*X); table (*P, V) of form "log" or "logits"; axes are *X and *P."""

    value: Value
    table: Value
    axes: tuple[str, ...]
    hint: str


@dataclass(frozen=True)
class Unnormalised:
    """An enumerated latent's law as the softmax of logits (*P, K), not yet taken; axes are *P and the latent."""

    logits: Value
    latent: str
    hint: str

    @property
    def axes(self) -> tuple[str, ...]:
        return (*self.logits.axes, self.latent)

    @property
    def table(self) -> Value:
        """The logits, the latent no longer their event but an axis."""
        return replace(self.logits, axes=self.axes, event=(), form="value")


def uniform_over_finite(w: Writer, variable: Variable, value: Value, hint: str) -> Value:
    """-log K for each value; over a ragged plate -log of its length, and -inf past its end."""
    type_ = variable.type
    count = 2 if type_.domain == "bit" else type_.card
    plate = w.model.plate[type_.plate] if type_.plate else None
    if plate is not None and plate.ragged:
        lengths = w.lengths(plate.name)
        log_length = w.let(f"log_{lengths.code}", f"(self.one * {lengths.code}).log()", lengths.axes)
        if value.enumerates is None:
            return w.let(hint, f"-{log_length.code}", lengths.axes)
        inside = w.inside(plate.name, value.enumerates)
        code = f"torch.where({inside.code}, -{align(log_length, inside.axes)}, -torch.inf)"
        return w.let(hint, code, inside.axes)
    scale = math.prod(d for d in type_.shape if isinstance(d, int)) if type_.shape else 1
    if isinstance(count, int):
        return Value(repr(-math.log(count) * scale), scalar=True)
    size = w.plate_size(plate.name) if plate is not None else w.dim(count)  # type: ignore[arg-type]
    return w.let(hint, f"-(self.one * {size}).log()")


def categorical(w: Writer, variable: Variable, value: Value, law: Draw, hint: str) -> Value | Lookup | Unnormalised:
    """Enumerated outcomes: the law itself, its event dimension now an axis. Observed ones are gathered, below a softmax."""
    probs = dict(law.args)["probs"]
    if value.enumerates is not None:
        found = expression(w, probs)
        if found.form == "logits" and value.enumerates not in found.axes:
            return Unnormalised(found, value.enumerates, hint)
        return enumerated(w, found, value.enumerates, hint)
    selected = selected_rows(w, value, probs, hint) if isinstance(probs, NetCall) else None
    if selected is not None:
        return selected
    law_value = expression(w, probs)
    if not set(law_value.axes) & set(value.axes):
        return lookup(w, value, law_value, hint)
    axes = union((value, law_value), w.order)
    if law_value.form == "logits" and axes == law_value.axes:
        function = w.needs.kernel("vispec.kernels.sums.selected", "logits_log_prob")
        return w.let(hint, f"{function}({align(law_value, axes)}, {align(value, axes)})", axes)
    function = w.needs.kernel("vispec.distributions.discrete.categorical", "categorical_log_prob")
    return w.let(hint, f"{function}({align(value, axes)}, {align(to_form(w, law_value, 'simplex', 'log'), axes)})", axes)


def enumerated(w: Writer, law: Value, latent: str, hint: str) -> Value:
    """The log-probabilities of every value of a latent, its axis where the plan's order has it. Where the law reads draws whose
    guide reads the latent, there is one for each of its values, and each value counts under its own."""
    log = to_form(w, law, "simplex", "log")
    if latent in log.axes:
        rest = tuple(axis for axis in log.axes if axis != latent)
        code = f"{log.code}.diagonal(dim1={log.axes.index(latent)}, dim2=-1)"
        log = w.let(f"{hint}_own", code, rest, log.event, "log")
    axes = (*log.axes, latent)
    order = w.sort(axes)
    if order != axes:
        return w.let(hint, f"{log.code}.movedim(-1, {order.index(latent)})", order)
    return replace(log, axes=axes, event=(), form="value")


def lookup(w: Writer, value: Value, law: Value, hint: str) -> Value | Lookup:
    """A column of log-probabilities for each observed outcome: value (*X), law (*P, V) → (*X, *P)."""
    table = law if law.axes and law.form == "logits" else to_form(w, law, "simplex", "log")
    if not table.axes:
        function = w.needs.kernel("vispec.distributions.discrete.categorical", "categorical_log_prob")
        return w.let(hint, f"{function}({value.code}, {table.code})", value.axes)
    return Lookup(value, table, w.sort((*value.axes, *table.axes)), hint)


def looked_up(w: Writer, found: Lookup) -> Value:
    """The table's columns, one for each observed outcome."""
    value, log = found.value, to_form(w, found.table, "simplex", "log")
    axes = (*value.axes, *log.axes)
    if len(log.axes) > 1:
        picked = f"{log.code}.movedim(-1, 0)[{value.code}]"
    else:
        picked = f"{w.needs.kernel('vispec.kernels.sums.lookup', 'columns')}({log.code}, {value.code})"
    columns = w.let(found.hint, picked, axes)
    if found.axes == axes:
        return columns
    return w.let(found.hint, f"{columns.code}.permute({', '.join(str(axes.index(a)) for a in found.axes)})", found.axes)


def selected_rows(w: Writer, value: Value, probs: NetCall, hint: str) -> Value | None:
    """A net from a token to a simplex, needed at observed outcomes alone: gathered below the softmax, distinct tokens once."""
    net = w.model.net[probs.net]
    if len(net.heads) != 1 or len(probs.args) != 1 or net.trunk[0].layer == "python" or net.random:
        return None
    args = [plain(w, probs.args[0])]
    if args[0].enumerates is not None:
        return None
    rows = distinct_rows(w, net, probs, args)
    if rows is None:
        return None
    words, row = rows
    axes = union((row, value), w.order)
    name = identifier(net.name)
    shape = w.let("cells", f"torch.broadcast_shapes({align(row, axes)}.shape, {align(value, axes)}.shape)")
    function = w.needs.kernel("vispec.kernels.sums.selected", "SelectedLogSoftmax")
    cells = [w.let(v.code, f"{align(v, axes)}.expand({shape.code})", axes).code for v in (row, value)]
    features = w.let(f"{name}_features", f"self.{name}.features({words.code})", words.axes, ("H",))
    out = f"self.{name}.out.weight, self.{name}.out.bias"
    return w.let(hint, f"{function}.apply({features.code}, {out}, {', '.join(cells)})", axes)
