"""A guide over several shared latents at once: one draw of unconstrained numbers, cut up and mapped to their domains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from vispec.catalog import distributions
from vispec.factors.expressions import expression
from vispec.factors.frame import Frame
from vispec.model.model import JointGuide, Variable
from vispec.plan.guides.families import NONE, Ends, ends_of, family_of, positions
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Node, Noise, Part, Zeros
from vispec.program.size import Size
from vispec.program.walk import substitute

KERNELS = "vispec.kernels.draws.joint_guide"
Mapped = tuple[Node, Node | None]  # a value and log of its derivative in its unconstrained numbers, for each of them


def draw_jointly(
    frame: Frame, guide: JointGuide, lead: tuple[Axis, ...], held: Mapping[Node, Node], centre: bool = False
) -> tuple[dict[str, Node], Node]:
    """A draw of each latent, (*lead, its plates, its event), and log q of them all, (*lead). held: site → value, of what is
    drawn before. centre: of no noise."""
    variables = [frame.model.variable[name] for name in guide.names]
    orders = [raw_order(frame, variable) for variable in variables]
    size = numbers(frame, guide)
    flat, more = Axis("D", "event", size), int(dict(guide.settings).get("rank", 0))
    inner = Axis("noise", "event", size + more) if more else flat
    order = (*lead, inner)
    noise = Zeros(order) if centre else Noise("joint", "normal", order)
    drawn = Call("module", guide.attribute, ((noise, (inner,), ""),), (((flat,), "real"), ((), "real")), ())
    raws = cut(frame.named(Part(drawn, 0), "joint"), flat, orders)
    values, known, log_q = dict[str, Node](), dict(held), frame.named(Part(drawn, 1), "log_q")
    for variable, raw, order in zip(variables, raws, orders, strict=True):
        value, gain = mapped(frame, variable, frame.named(raw, f"raw_{variable.name}"), order, known)
        values[variable.name] = known[frame.site(variable)] = value
        if gain is not None:
            log_q = build.sub(log_q, build.reduce("sum", gain, tuple(axis for axis in gain.axes if axis not in lead)))
    return values, frame.named(log_q, "log_q_joint")


def numbers(frame: Frame, guide: JointGuide) -> Size:
    """How many unconstrained numbers its latents are together."""
    orders = [raw_order(frame, frame.model.variable[name]) for name in guide.names]
    return sum((prod((size_of(axis) for axis in order), start=Size.of(1)) for order in orders), start=Size.of(0))


def size_of(axis: Axis) -> Size:
    assert axis.size is not None
    return axis.size


def raw_order(frame: Frame, variable: Variable) -> tuple[Axis, ...]:
    """The axes of a latent's unconstrained numbers: its plates, then its event, a simplex' last number left out."""
    plates = tuple(frame.plate(plate.name) for plate in frame.model.plates if plate.name in variable.plates)
    event = frame.shape(variable.type)
    if variable.type.domain == "simplex":
        event = (*event[:-1], Axis("free", "event", size_of(event[-1]) - 1))
    return (*plates, *event)


def cut(joint: Node, flat: Axis, orders: list[tuple[Axis, ...]]) -> list[Node]:
    """The numbers of each latent, one after the other."""
    given = ((joint, (flat,), ""),)
    if len(orders) > 1:
        parts = Call(
            "kernel", f"{KERNELS}:cut", given, tuple((order, "real") for order in orders), (("shapes", tuple(orders)),)
        )
        return [Part(parts, at) for at in range(len(orders))]
    (order,) = orders
    return [Part(Call("kernel", f"{KERNELS}:shaped", given, ((order, "real"),), (("shape", order),)), 0)]


def mapped(frame: Frame, variable: Variable, raw: Node, order: tuple[Axis, ...], known: Mapping[Node, Node]) -> Mapped:
    """A latent of its unconstrained numbers. known: site → value, of the latents before it, which its ends may read."""
    assert variable.law is not None
    ends = ends_of(positions(variable.law)[0]) or NONE
    if ends == NONE:
        return MAPS[variable.type.domain](frame, variable, raw, order)
    return between(frame, variable, raw, ends, known)


def unit(frame: Frame, variable: Variable, raw: Node, order: tuple[Axis, ...]) -> Mapped:
    return build.apply("sigmoid", raw), build.add(build.apply("log_sigmoid", raw), build.apply("log_sigmoid", build.neg(raw)))


def simplex(frame: Frame, variable: Variable, raw: Node, order: tuple[Axis, ...]) -> Mapped:
    """A softmax of the numbers and a zero behind them; log of the derivative is the sum of all logarithms."""
    whole = frame.shape(variable.type)[-1]
    end = Axis("end", "event", Size.of(1))
    padded = build.concat([(raw, order[-1]), (build.spread(build.node(0.0), (end,)), end)], whole)
    return build.link("softmax", padded, (whole,)), build.link("log_softmax", padded, (whole,))


MAPS: dict[str, Callable[[Frame, Variable, Node, tuple[Axis, ...]], Mapped]] = {
    "real": lambda frame, variable, raw, order: (raw, None),
    "positive": lambda frame, variable, raw, order: (build.exp(raw), raw),
    "unit": unit,
    "simplex": simplex,
}


def between(frame: Frame, variable: Variable, raw: Node, ends: Ends, known: Mapping[Node, Node]) -> Mapped:
    """A latent whose law has ends, which may be those of each element."""
    carry = distributions()[family_of(variable, ends).law].carry
    assert carry is not None
    bounds = substitute([build.apply("real", expression(frame, end)) for end in ends if end is not None], known)
    given = [(raw, (), ""), *((end, (), "") for end in bounds)]
    found = Call("kernel", f"{carry.__module__}:{carry.__name__}", tuple(given), (((), "real"), ((), "real")), ())
    return Part(found, 0), Part(found, 1)
