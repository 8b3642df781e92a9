"""KL divergences in closed form."""

from vispec.catalog import distributions
from vispec.emit.densities import extra_rank
from vispec.emit.expressions import expression, tensor, to_value
from vispec.emit.value import Value, align, union
from vispec.emit.writer import Writer
from vispec.model.model import Const, Draw, Variable


def kl_code(w: Writer, variable: Variable, guide: Draw, law: Draw) -> Value:
    """KL(q ‖ p) summed over event dimensions, over the axes of both laws."""
    q = {name: to_value(w, expression(w, arg), arg.type.domain) for name, arg in guide.args}
    p = {name: to_value(w, expression(w, arg), arg.type.domain) for name, arg in law.args}
    axes = union((*q.values(), *p.values()), w.order)
    rank = len(variable.type.shape)
    hint = f"kl_{variable.name}"
    if (guide.distribution, law.distribution) == ("Normal", "Normal"):
        codes = [align(v, axes, rank) if not v.scalar else tensor(w, v) for v in q.values()]
        if is_standard(law):
            function = w.needs.kernel("vispec.kernels.kl", "kl_normal_standard")
        else:
            function = w.needs.kernel("vispec.kernels.kl", "kl_normal_normal")
            codes += [align(v, axes, rank) if not v.scalar else tensor(w, v) for v in p.values()]
        code = f"{function}({', '.join(codes)})"
        event_dim = 0
    else:
        parts = []
        for draw, params in ((guide, q), (law, p)):
            entry = distributions()[draw.distribution]
            settings = ", ".join(
                f"{n}={align(v, axes, rank + extra_rank(entry, n)) if not v.scalar else tensor(w, v)}"
                for n, v in params.items()
            )
            parts.append(f"torch.distributions.{entry.torch_class}({settings})")
        code = f"torch.distributions.kl_divergence({', '.join(parts)})"
        event_dim = distributions()[guide.distribution].event_dim
    reduced = rank - event_dim
    if reduced:
        code += ".sum(-1)" if reduced == 1 else f".flatten(-{reduced}).sum(-1)"
    return w.let(hint, code, axes)


def is_standard(law: Draw) -> bool:
    args = dict(law.args)
    loc, scale = args["loc"], args["scale"]
    return isinstance(loc, Const) and loc.value == 0 and isinstance(scale, Const) and scale.value == 1
