"""Drawing variables that read each other through the heads of a tree: the elements nearest to the root first."""

from collections.abc import Callable

from vispec.emit.sampling.generator import Generator
from vispec.emit.value import Value, align
from vispec.model.model import Model, Variable
from vispec.model.types import INTEGER_DOMAINS
from vispec.plan.trees import read_through_heads

Draw = Callable[[Generator, Variable], Value]


def tree_of_growth(variable: Variable, model: Model, done: set[str]) -> str | None:
    """The tree through whose heads the variable reads itself, or one that comes with it."""
    drawn = {v.name for v in model.variables if v.law is not None} - done
    found = {tree for tree, name in read_through_heads(variable, model) if name in drawn}
    return min(found) if found else None


def grown_together(tree: str, model: Model, done: set[str]) -> list[Variable]:
    """What is drawn level by level along a tree: all that is left in its plate, in the order of the model."""
    plate = model.variable[tree].type.plate
    variables = [model.variable[name] for name in model.order if name in model.variable and name not in done]
    return [v for v in variables if v.law is not None and plate in v.plates]


def tree_loop(w: Generator, tree: str, group: list[Variable], inner: Generator, draw: Draw) -> dict[str, Value]:
    """One loop over the levels of the trees: the elements of a level are drawn given those above, all others stay."""
    heads = w.bound.get(tree) or w.data(tree)
    depth = w.let(
        "depth", f"{w.needs.kernel('vispec.kernels.sums.tree', 'tree_depth')}({heads.code})", heads.axes, integer=True
    )
    buffers: dict[str, Value] = {}
    for v in group:
        axes = w.sort(v.plates)
        sizes = ", ".join([w.axis_size(axis) for axis in axes] + [w.dim(d) for d in v.type.shape])
        integer = v.type.domain in INTEGER_DOMAINS
        dtype = ", dtype=torch.long" if integer else ""
        name = w.fresh(v.name)
        buffers[v.name] = Value(name, axes, v.type.shape, integer=integer)
        w.line(f"{name} = self.one.new_zeros({sizes}{dtype})", buffers[v.name])
    inner.taken |= w.taken | {"level"}
    inner.bound |= buffers
    for v in group:
        buffer = buffers[v.name]
        now = draw(inner, v)
        here = f"({align(depth, buffer.axes)} == level)" + (
            f"[{', '.join(['...', *['None'] * len(buffer.event)])}]" if buffer.event else ""
        )
        inner.line(f"{buffer.code} = torch.where({here}, {now.code}, {buffer.code})")
    w.line(f"for level in range(1, int({depth.code}.max()) + 1):")
    w.lines += [f"    {line}" for line in inner.body(" ".join(b.code for b in buffers.values()))]
    w.bound |= buffers
    return buffers
