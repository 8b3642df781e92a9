"""A variable's law as a log-density with named axes, each in the cheapest form that its distribution allows."""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vispec.catalog import Distribution, distributions
from vispec.emit.laws.expressions import expression, plain, stem, tensor, to_form, to_value
from vispec.emit.laws.joins import add
from vispec.emit.laws.numbers import real, truth
from vispec.emit.nets.calls import distinct_rows
from vispec.emit.value import Value, align, union
from vispec.emit.writer import Writer, identifier
from vispec.model.model import Choice, Const, Draw, Flow, Law, NetCall, Then, Variable
from vispec.model.types import Dim, Type


@dataclass(frozen=True)
class Table:
    """Log-densities of every element under every value of one latent, not yet multiplied out: const + weight · statistics."""

    const: Value
    weight: Value
    statistics: Value
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Chained:
    """An enumerated chain variable: the laws of its first, second, ... element; the last is for all that follow."""

    laws: tuple[Value, ...]


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


@dataclass(frozen=True)
class Mixed:
    """A lookup of which the latent is summed out with a log-weight (*R, K) that is the same along the last of its axes."""

    weight: "Value | Unnormalised"
    lookup: Lookup
    hint: str

    @property
    def axes(self) -> tuple[str, ...]:
        return self.lookup.value.axes


Density = Value | Table | Chained | Lookup | Unnormalised | Mixed


def density(w: Writer, variable: Variable, value: Value, law: Law, hint: str) -> Density:
    """log p(value) under a law, summed over event dimensions; its axes are those of the value and of the law."""
    match law:
        case Draw():
            return draw_density(w, variable, value, law, hint)
        case Choice(test=test, then=then, otherwise=otherwise):
            condition = plain(w, test)
            parts = [dense(w, density(w, variable, value, part, hint)) for part in (then, otherwise)]
            axes = union((condition, *parts), w.order)
            codes = [tensor(w, p) if p.scalar else align(p, axes) for p in parts]
            test_code = truth(condition, align(condition, axes))
            return w.let(hint, f"torch.where({test_code}, {codes[0]}, {codes[1]})", axes)
        case Then(laws=laws):
            return then_density(w, variable, value, laws, hint)
        case Flow():
            raise TypeError("the density of a flow is known at its own draws alone")


def then_density(w: Writer, variable: Variable, value: Value, laws: tuple[Law, ...], hint: str) -> Value:
    """Each element of a chain under its own law: the first, the second, ..., the last for all that follow."""
    plate = next(p for p in reversed(variable.plates) if w.model.plate[p].kind == "chain")
    return by_position(w, [dense(w, density(w, variable, value, law, hint)) for law in laws], plate, hint)


def by_position(w: Writer, parts: Sequence[Value], plate: str, hint: str, start: int = 0) -> Value:
    """Along a chain, part i at element i, the last one at all that follow; before element `start` may stand anything."""
    result = parts[-1]
    position = w.position(plate)
    for step in range(len(parts) - 2, start - 1, -1):
        axes = w.sort({plate, *parts[step].axes, *result.axes})
        test = align(Value(f"({position.code} == {step})", (plate,)), axes)
        codes = [tensor(w, part) if part.scalar else align(part, axes) for part in (parts[step], result)]
        result = w.let(hint, f"torch.where({test}, {codes[0]}, {codes[1]})", axes)
    return result


def dense(w: Writer, found: Density) -> Value:
    """A table multiplied out or looked up, and what of it is summed out."""
    assert not isinstance(found, Chained)
    if isinstance(found, Value):
        return found
    if isinstance(found, Lookup):
        return looked_up(w, found)
    if isinstance(found, Unnormalised):
        return enumerated(w, found.logits, found.latent, found.hint)
    if isinstance(found, Mixed):
        joint = add(w, [dense(w, found.weight), looked_up(w, found.lookup)], "log_joint")
        return w.let(
            found.hint, f"{w.needs.kernel('vispec.kernels.sums.logsum', 'log_sum_exp')}({joint.code})", joint.axes[:-1]
        )
    code = f"F.linear({found.statistics.code}, {found.weight.code}, {found.const.code})"
    latents = found.axes[len(found.statistics.axes) :]
    if len(latents) > 1:
        code = f"{code}.unflatten(-1, ({', '.join(w.axis_size(axis) for axis in latents)}))"
    return w.let("log_table", code, found.axes)


def draw_density(w: Writer, variable: Variable, value: Value, law: Draw, hint: str) -> Density:
    entry = distributions()[law.distribution]
    if not law.args and entry.optional:
        return uniform_over_finite(w, variable, value, hint)
    if entry.name == "Categorical" or (entry.support == "index" and entry.forms.get("probs") == "log"):
        return categorical(w, variable, value, law, hint)
    return product_table(w, variable, value, law, hint) or elementwise(w, variable, value, law, entry, hint)


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


def categorical(w: Writer, variable: Variable, value: Value, law: Draw, hint: str) -> Density:
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


def lookup(w: Writer, value: Value, law: Value, hint: str) -> Density:
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


NATURAL = {"Normal": ("normal_natural", ("loc", "scale")), "Bernoulli": ("bernoulli_natural", ("probs",))}


VECTORS = {"Normal": "normal_vector_log_prob"}


def product_table(w: Writer, variable: Variable, value: Value, law: Draw, hint: str) -> Table | None:
    """Vectors under laws that differ along other axes only: every log-density is an entry of one matrix product."""
    if law.distribution not in NATURAL or len(value.event) != 1 or not value.axes:
        return None
    function, names = NATURAL[law.distribution]
    entry = distributions()[law.distribution]
    params = [expression(w, dict(law.args)[name]) for name in names]
    axes = union(params, w.order)
    if not axes or set(axes) & set(value.axes) or any(p.event not in (value.event, ()) for p in params):
        return None
    if w.sort((*value.axes, *axes)) != (*value.axes, *axes):
        return None
    if law.distribution == "Bernoulli" and params[0].form != "logit":
        return None  # a probability that is computed may be exactly 0 or 1, and a product of 0 with its log-odds is nan
    params = [p if p.form == "logit" else to_value(w, p, entry.params[n]) for p, n in zip(params, names, strict=True)]
    shaped = [flattened(w, p, axes, value.event[0]) for p in params]
    axis = "_".join(axes)
    natural = w.needs.kernel("vispec.kernels.sums.mixture", function)
    codes = [Value(w.fresh(f"{hint}_{part}")) for part in ("const", "weight", "statistics")]
    call = f"{natural}({value.code}, {', '.join(shaped)})"
    const, weight = replace(codes[0], axes=(axis,)), replace(codes[1], axes=(axis,), event=("T",))
    statistics = replace(codes[2], axes=value.axes, event=("T",))
    shapes = ", ".join(v.shape() for v in (const, weight, statistics))
    w.line(f"{', '.join(c.code for c in codes)} = {call}  # {shapes}")
    return Table(const, weight, statistics, (*value.axes, *axes))


def flattened(w: Writer, param: Value, axes: tuple[str, ...], event: Dim) -> str:
    """A vector for each joint value of the axes, which become one: (K, D)."""
    code = tensor_code(w, param, axes, 1)
    if param.axes != axes or not param.event:
        code = f"{code}.expand({', '.join([*map(w.axis_size, axes), w.dim(event)])})"
    return f"{code}.flatten(0, {len(axes) - 1})" if len(axes) > 1 else code


def elementwise(w: Writer, variable: Variable, value: Value, law: Draw, entry: Distribution, hint: str) -> Value:
    """The distribution's kernel, or torch's, on aligned tensors; independent event dimensions are summed."""
    found = [(name, arg.type, expression(w, arg)) for name, arg in law.args]
    if entry.name == "Bernoulli" and found[0][2].form == "value":
        return bit(w, value, found[0][2], hint)
    if entry.name == "Normal" and len(value.event) == 1 and is_standard(law):
        function = w.needs.kernel("vispec.kernels.vectors", "standard_normal_vector_log_prob")
        return w.let(hint, f"{function}({value.code})", value.axes)
    params = [(name, taken) for name, t, v in found for taken in domain_values(w, v, t, entry, name)]
    axes = union((value, *(v for _, v in params)), w.order)
    rank = max(len(value.event), *(len(v.event) - extra_rank(entry, n) for n, v in params), 0) if params else len(value.event)
    codes = [(n, tensor_code(w, v, axes, rank + extra_rank(entry, n))) for n, v in params]
    x = align(value, axes, rank)
    reduced = rank - entry.event_dim
    if reduced == 1 and entry.name in VECTORS:
        function = w.needs.kernel("vispec.kernels.vectors", VECTORS[entry.name])
        return w.let(hint, f"{function}({', '.join([x, *(code for _, code in codes)])})", axes)
    code = fused_bernoulli(w, entry, value, found, x) or call_kernel(w, entry, x, codes)
    if reduced == 1:
        code = f"{code}.sum(-1)"
    elif reduced > 1:
        code = f"{code}.flatten(-{reduced}).sum(-1)"
    return w.let(hint, code, axes)


def is_standard(law: Draw) -> bool:
    """Whether a Normal law is N(0, 1)."""
    args = dict(law.args)
    loc, scale = args["loc"], args["scale"]
    return isinstance(loc, Const) and loc.value == 0 and isinstance(scale, Const) and scale.value == 1


def bit(w: Writer, value: Value, p: Value, hint: str) -> Value:
    """Bits whose probability is computed, so that it may be exactly 0 or 1."""
    axes = union((value, p), w.order)
    rank = max(len(value.event), len(p.event))
    function = w.needs.kernel("vispec.kernels.probability", "bit_log_prob")
    code = f"{function}({align(value, axes, rank)}, {tensor_code(w, p, axes, rank)})"
    return w.let(hint, code + (f".flatten(-{rank}).sum(-1)" if rank > 1 else ".sum(-1)" if rank else ""), axes)


def domain_values(w: Writer, value: Value, type_: Type, entry: Distribution, name: str) -> tuple[Value, ...]:
    """The parameter in the form that the distribution's kernel takes, which may be of two tensors."""
    form = entry.forms.get(name, "value")
    if form == "value" or not entry.kernel:
        return (real(w, to_value(w, value, type_.domain)),)
    if form == "logs":
        return logs(w, value, type_.domain)
    return (to_form(w, value, type_.domain, form),)


def logs(w: Writer, value: Value, domain: str) -> tuple[Value, Value]:
    """log p and log(1 - p) of a probability, which may be exactly 0 or 1 where it is computed."""
    name = stem(value)
    if value.form == "logit":
        codes = [f"F.logsigmoid({sign}{value.code})" for sign in ("", "-")]
    else:
        value = to_value(w, value, domain)
        functions = [w.needs.kernel("vispec.kernels.probability", function) for function in ("log_of", "log_of_rest")]
        codes = [f"{function}({tensor(w, value)})" for function in functions]
    hints = (f"log_{name}", f"log_not_{name}")
    log_p, log_rest = (w.let(hint, code, value.axes, value.event) for hint, code in zip(hints, codes, strict=True))
    return log_p, log_rest


def extra_rank(entry: Distribution, name: str) -> int:
    """How many more event dimensions a parameter has than a draw."""
    return entry.param_event_dim.get(name, entry.event_dim) - entry.event_dim


def spread(w: Writer, variable: Variable, entry: Distribution, name: str, value: Value) -> Value:
    """A vector's parameter as torch.distributions wants it: one number is that number for each of its entries."""
    if entry.param_event_dim.get(name, entry.event_dim) != 1 or value.event or not variable.type.shape:
        return value
    inner = tensor(w, value) if value.scalar else f"{value.code}[..., None]" if value.axes else value.code
    size = variable.type.shape[-1]
    return w.let(f"{name}s", f"{inner}.expand({'-1, ' * len(value.axes)}{w.dim(size)})", value.axes, (size,))


def tensor_code(w: Writer, value: Value, axes: tuple[str, ...], rank: int) -> str:
    return tensor(w, value) if value.scalar else align(value, axes, rank)


def fused_bernoulli(w: Writer, entry: Distribution, value: Value, found: list, x: str) -> str | None:
    """One operation where the log-odds come from a net, so are finite, and have the bits' own shape."""
    if entry.name != "Bernoulli" or value.enumerates is not None:
        return None
    (_, _, logit), *_ = found
    if logit.form != "logit" or logit.event != value.event or logit.code.startswith("self."):
        return None
    if not set(value.axes) <= set(logit.axes):
        return None
    same = logit.axes == value.axes
    target = x if same else f"{x}.expand_as({logit.code})"
    return f'-F.binary_cross_entropy_with_logits({logit.code}, {target}, reduction="none")'


def call_kernel(w: Writer, entry: Distribution, x: str, params: list[tuple[str, str]]) -> str:
    if entry.kernel is not None:
        module = inspect.getmodule(entry.kernel)
        assert module is not None
        function = w.needs.kernel(module.__name__, entry.kernel.__name__)
        return f"{function}({', '.join([x, *(c for _, c in params)])})"
    settings = ", ".join(f"{n}={c}" for n, c in params)
    return f"torch.distributions.{entry.torch_class}({settings}).log_prob({x})"
