"""KL divergences in closed form."""

from collections.abc import Mapping, Sequence

from vispec.catalog import Distribution, distributions
from vispec.emit.laws.densities import extra_rank, is_standard, spread
from vispec.emit.laws.expressions import expression
from vispec.emit.laws.forms import tensor, to_form, to_value
from vispec.emit.value import Value, align, union
from vispec.emit.writer import Writer
from vispec.model.model import Draw, Variable

KERNELS = {"Normal": "kl_normal_normal", "Bernoulli": "kl_bernoulli", "Categorical": "kl_categorical"}


def kl_code(w: Writer, variable: Variable, guide: Draw, law: Draw) -> Value:
    """KL(q ‖ p) summed over event dimensions, over the axes of both laws."""
    q, p = params_of(w, guide), params_of(w, law)
    axes = union((*q.values(), *p.values()), w.order)
    rank = len(variable.type.shape)
    entry = distributions()[guide.distribution]
    if guide.distribution == law.distribution and guide.distribution in KERNELS:
        standard = guide.distribution == "Normal" and is_standard(law)
        if standard and all(v.axes == axes and v.event == variable.type.shape and rank == 1 for v in q.values()):
            function = w.needs.kernel("vispec.kernels.draws.kl", "kl_normal_standard_vector")
            return w.let(f"kl_{variable.name}", f"{function}({q['loc'].code}, {q['scale'].code})", axes)
        function = w.needs.kernel("vispec.kernels.draws.kl", "kl_normal_standard" if standard else KERNELS[guide.distribution])
        found = [(entry, n, v) for n, v in (*q.items(), *(() if standard else p.items()))]
        code = f"{function}({', '.join(setting(w, e, n, v, axes, rank) for e, n, v in found)})"
    else:
        parts = [torch_law(w, variable, draw, params, axes) for draw, params in ((guide, q), (law, p))]
        code = f"torch.distributions.kl_divergence({', '.join(parts)}).to(self.one.dtype)"
    reduced = rank - entry.event_dim
    if reduced:
        values = (*q.items(), *p.items())
        whole = any(len(v.event) - extra_rank(entry, n) >= rank for n, v in values)
        every = " * ".join(f"({w.dim(d)})" for d in variable.type.shape[:reduced])
        code += (".sum(-1)" if reduced == 1 else f".flatten(-{reduced}).sum(-1)") if whole else f" * {every}"
    return w.let(f"kl_{variable.name}", code, axes)


def params_of(w: Writer, law: Draw) -> dict[str, Value]:
    """A law's parameters in the form that its divergence takes."""
    entry = distributions()[law.distribution]
    found = {}
    for name, arg in law.args:
        value, form = expression(w, arg), entry.forms.get(name, "value")
        if law.distribution in KERNELS and form in ("logit", "log"):
            found[name] = to_form(w, value, arg.type.domain, form)
        else:
            found[name] = to_value(w, value, arg.type.domain)
    return found


def setting(w: Writer, entry: Distribution, name: str, value: Value, axes: Sequence[str], rank: int) -> str:
    if value.scalar:
        return tensor(w, value)
    return align(value, axes, rank + extra_rank(entry, name))


def torch_law(w: Writer, variable: Variable, draw: Draw, params: Mapping[str, Value], axes: Sequence[str]) -> str:
    """The law as torch knows it, in float64: where concentrations are large, a divergence is a small difference of large terms.

    One number for a vector's parameter is that number for each of its entries."""
    entry = distributions()[draw.distribution]
    rank = len(variable.type.shape)
    settings = []
    for name, value in params.items():
        value = spread(w, variable, entry, name, value)
        settings.append(f"{name}={setting(w, entry, name, value, axes, rank)}.double()")
    return f"torch.distributions.{entry.torch_class}({', '.join(settings)})"
