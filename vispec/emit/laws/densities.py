"""A variable's law as a log-density with named axes, each in the cheapest form that its distribution allows."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vispec.catalog import BOUNDS, Distribution, distributions
from vispec.emit.laws.branches import law_is_steep, negated, on_branches, taken
from vispec.emit.laws.categorical import Lookup, Unnormalised, categorical, enumerated, looked_up, uniform_over_finite
from vispec.emit.laws.expressions import expression, test_of
from vispec.emit.laws.forms import logs, real, stem, tensor, to_form, to_value, truth
from vispec.emit.laws.joins import add
from vispec.emit.value import Value, align, paren, union
from vispec.emit.writer import Writer
from vispec.model.model import Choice, Const, Draw, Flow, Law, Then, Variable
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
            tested = test_of(w, test)
            holds, parts = truth(tested, tested.code), list[Value]()
            for part, code in ((then, holds), (otherwise, negated(holds))):
                with taken(w, tested, code, law_is_steep(w, part)):
                    parts.append(dense(w, density(w, variable, of_branch(w, variable, value), part, hint)))
            axes = union((tested, *parts), w.order)
            codes = [tensor(w, p) if p.scalar else align(p, axes) for p in parts]
            test_code = truth(tested, align(tested, axes))
            return w.let(hint, f"torch.where({test_code}, {codes[0]}, {codes[1]})", axes)
        case Then(laws=laws):
            return then_density(w, variable, value, laws, hint)
        case Flow():
            raise TypeError("the density of a flow is known at its own draws alone")


def of_branch(w: Writer, variable: Variable, value: Value) -> Value:
    """The value of a variable in a branch of its law; that of a draw has a gradient."""
    drawn = variable.role != "observed" and value.enumerates is None and not variable.type.discrete
    return on_branches(w, value) if drawn else value


def then_density(w: Writer, variable: Variable, value: Value, laws: tuple[Law, ...], hint: str) -> Value:
    """Each element of a chain under its own law: the first, the second, ..., the last for all that follow."""
    plate = next(p for p in reversed(variable.plates) if w.model.plate[p].kind == "chain")
    parts = list[Value]()
    for step, law in enumerate(laws):
        steep = law_is_steep(w, law)
        code = f"({w.position(plate).code} {'==' if step < len(laws) - 1 else '>='} {step})" if steep else ""
        with taken(w, Value(code, (plate,)), code, steep):
            parts.append(dense(w, density(w, variable, of_branch(w, variable, value), law, hint)))
    return by_position(w, parts, plate, hint)


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
    p = to_value(w, p, "unit")
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
    if name in entry.wide:
        value = widened(w, value)
    if form == "logs":
        return logs(w, value, type_.domain)
    return (to_form(w, value, type_.domain, form),)


def widened(w: Writer, value: Value) -> Value:
    """The value in float64, in the form that it has."""
    return w.let(f"wide_{stem(value)}", f"{tensor(w, value)}.double()", value.axes, value.event, value.form)


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


def law_of_law(w: Writer, entry: Distribution, kernel: Callable[..., object], first: str, params: list[tuple[str, str]]) -> str:
    """A call of a modifier's kernel or sampler: the law inside by its kernels, its parameters, and the bounds by name."""
    assert entry.law is not None
    inside = ", ".join(
        w.needs.kernel(f.__module__, f.__name__) for f in (entry.law.kernel, entry.law.log_cdf, entry.law.log_survival) if f
    )
    own = [code for name, code in params if name not in BOUNDS.values()]
    bounds = [f"{word}={code}" for word, bound in BOUNDS.items() for name, code in params if name == bound]
    whole = ["whole=True"] if entry.law.support in ("count", "bit") else []
    function = w.needs.kernel(kernel.__module__, kernel.__name__)
    return f"{function}({first}({inside}), {', '.join([*own, *bounds, *whole])})"


def composed_draw(w: Writer, law: Draw, entry: Distribution, axes: tuple[str, ...], rank: int, shape: Sequence[str]) -> str:
    """A draw of a law of a law for each element of a shape."""
    assert entry.modifier is not None
    params = [(n, t) for n, arg in law.args for t in domain_values(w, expression(w, arg), arg.type, entry, n)]
    codes = [
        (n, f"{paren(tensor_code(w, v, axes, rank))}.expand({', '.join(shape)})" if shape else tensor_code(w, v, axes, rank))
        for n, v in params
    ]
    return law_of_law(w, entry, entry.modifier.sampler, "", codes)


def call_kernel(w: Writer, entry: Distribution, x: str, params: list[tuple[str, str]]) -> str:
    if entry.modifier is not None:
        return law_of_law(w, entry, entry.modifier.kernel, f"{x}, ", params)
    if entry.kernel is not None:
        module = inspect.getmodule(entry.kernel)
        assert module is not None
        function = w.needs.kernel(module.__name__, entry.kernel.__name__)
        return f"{function}({', '.join([x, *(c for _, c in params)])})"
    settings = ", ".join(f"{n}={c}" for n, c in params)
    return f"torch.distributions.{entry.torch_class}({settings}).log_prob({x})"
