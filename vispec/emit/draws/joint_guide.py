"""Draws from a guide over several shared latents at once: unconstrained numbers, cut up and mapped to their domains."""

from collections.abc import Sequence
from dataclasses import dataclass

from vispec.catalog import distributions
from vispec.emit.laws.expressions import expression
from vispec.emit.laws.forms import tensor, to_value
from vispec.emit.value import Value, align
from vispec.emit.writer import Writer, identifier
from vispec.model.model import JointGuide, Model, Variable
from vispec.model.types import Dim
from vispec.plan.axes import SAMPLES
from vispec.plan.guides.families import NONE, Ends, ends_of, family_of, positions
from vispec.plan.plan import Plan

KERNELS = "vispec.kernels.draws.joint_guide"
CLASSES = {"full_rank": "FullRankGaussian", "low_rank": "LowRankGaussian", "flow": "AutoregressiveFlow"}
LOG_Q = "log q of the joint guide"  # its value among the writer's bound ones


@dataclass(frozen=True)
class Map:
    """value: text of the latent in `raw`, its unconstrained numbers. gain: log of the derivative for each of them."""

    value: str
    gain: str | None = None


MAPS = {
    "real": Map("{raw}"),
    "positive": Map("{raw}.exp()", "{raw}"),
    "unit": Map("torch.sigmoid({raw})", "(F.logsigmoid({raw}) + F.logsigmoid(-{raw}))"),
    "simplex": Map("F.softmax(F.pad({raw}, (0, 1)), -1)", "F.log_softmax(F.pad({raw}, (0, 1)), -1)"),
}


def joint_constructor(guide: JointGuide, model: Model) -> str:
    """The constructor's line."""
    sizes = summed([size_of(model.variable[name], model) for name in guide.names])
    settings = "".join(f", {name}={value}" for name, value in guide.settings)
    return f"self.{guide.attribute} = {CLASSES[guide.family]}({sizes}{settings})"


def local(dim: Dim) -> str:
    """A size inside the constructor, where sizes are arguments."""
    from vispec.emit.parameters import dim_local

    return str(dim) if isinstance(dim, int) else f"({dim_local(dim)})" if " " in dim else dim_local(dim)


def raw_shape(variable: Variable, model: Model) -> tuple[Dim, ...]:
    """Sizes of a latent's unconstrained numbers: those of its plates, then of its event, a simplex' last number left out."""
    plates = tuple(model.plate[p].size or p for p in ordered_plates(variable, model))
    event = variable.type.shape
    if variable.type.domain == "simplex":
        last = event[-1]
        event = (*event[:-1], last - 1 if isinstance(last, int) else f"{last} - 1")
    return (*plates, *event)


def ordered_plates(variable: Variable, model: Model) -> tuple[str, ...]:
    return tuple(plate.name for plate in model.plates if plate.name in variable.plates)


def size_of(variable: Variable, model: Model) -> str:
    return " * ".join(local(dim) for dim in raw_shape(variable, model)) or "1"


def summed(sizes: Sequence[str]) -> str:
    """A sum as text, its numbers added up."""
    number = sum(int(size) for size in sizes if size.isdigit())
    return " + ".join([*(size for size in sizes if not size.isdigit()), *([str(number)] if number else [])])


def draw_jointly(w: Writer, plan: Plan, count: str | None, centre: bool = False) -> None:
    """One draw of all its latents, or `count` of them, bound in the writer with log q. centre: of no noise."""
    guide = plan.model.joint
    assert guide is not None
    w.needs.kernel(KERNELS, CLASSES[guide.family])
    size = f"self.{guide.attribute}.noise"
    shape = f"{count}, {size}" if count else size
    fill = f"new_zeros({shape})" if centre else f"new_empty({shape}).normal_()"
    flat, log_q = w.fresh("joint"), w.fresh("log_q")
    lead = (SAMPLES,) if count else ()
    w.line(f"{flat}, {log_q} = self.{guide.attribute}(self.one.{fill})  # ({', '.join((*lead, 'D'))}), ({', '.join(lead)})")
    raws = [w.fresh(f"raw_{name}") for name in guide.names]
    if len(raws) == 1:
        w.line(f"{raws[0]} = {flat}")
    else:
        sizes = ", ".join(size_here(w, plan.model.variable[name]) for name in guide.names)
        w.line(f"{', '.join(raws)} = {flat}.split([{sizes}], -1)")
    gains = [log_q]
    for name, raw in zip(guide.names, raws, strict=True):
        gains += one_latent(w, plan.model.variable[name], raw, lead)
    total = w.let("log_q_joint", " - ".join(gains), lead) if len(gains) > 1 else Value(log_q, lead)
    w.bound[LOG_Q] = total


def size_here(w: Writer, variable: Variable) -> str:
    """How many unconstrained numbers, in a method."""
    found = [w.dim(dim) for dim in raw_shape(variable, w.model)]
    return " * ".join(f"({dim})" if " " in dim else dim for dim in found) or "1"


def one_latent(w: Writer, variable: Variable, raw: str, lead: Sequence[str]) -> list[str]:
    """Bind one latent of its numbers (*lead, n); what its map adds to log |d value / d raw|, as text."""
    shape = raw_shape(variable, w.model)
    if not shape:
        shaped = f"{raw}.squeeze(-1)"
    elif len(shape) == 1:
        shaped = raw
    else:
        shaped = f"{raw}.unflatten(-1, ({', '.join(w.dim(dim) for dim in shape)}))"
    axes = w.sort((*lead, *variable.plates))
    ends = ends_of(positions(variable.law)[0]) or NONE
    if ends != NONE:
        return between_ends(w, variable, Value(shaped, axes, variable.type.shape), ends)
    found = MAPS[variable.type.domain]
    w.bound[variable.name] = w.let(identifier(variable.name), found.value.format(raw=shaped), axes, variable.type.shape)
    if found.gain is None:
        return []
    whole = variable.type.domain in ("positive", "unit")  # for each number on its own, so in any shape
    gain = found.gain.format(raw=raw if whole else shaped)
    extra = 0 if whole else len(shape) - 1
    return [f"{gain}{f'.flatten({len(lead)})' if extra else ''}.sum(-1)"]


def between_ends(w: Writer, variable: Variable, raw: Value, ends: Ends) -> list[str]:
    """The same of a latent whose law has ends, which may be those of each element."""
    carry = distributions()[family_of(variable, ends).law].carry
    assert carry is not None
    function = w.needs.kernel(str(carry.__module__), carry.__name__)
    values = [to_value(w, expression(w, end), end.type.domain) for end in ends if end is not None]
    rank = len(raw.event)
    codes = [tensor(w, v) if v.scalar else align(v, raw.axes, rank) for v in values]
    drawn, gain = Value(w.fresh(identifier(variable.name)), raw.axes, raw.event), w.fresh(f"gain_{variable.name}")
    w.line(f"{drawn.code}, {gain} = {function}({', '.join([raw.code, *codes])})  # {drawn.shape()}")
    w.bound[variable.name] = drawn
    inner = len(raw.axes) + rank - (SAMPLES in raw.axes)
    return [gain if not inner else f"{gain}.sum(-1)" if inner == 1 else f"{gain}.flatten(-{inner}).sum(-1)"]
