"""What a mixture of a table's columns says of many outcomes: how often each occurs is all that counts.

Σ_n log Σ_k weight_k p_k,v(n), as in a topic model, is a product of matrices; nothing has the axes n and k at once."""

from __future__ import annotations

from dataclasses import dataclass

from vispec.program.axis import Axis
from vispec.program.node import Call, Const, Link, Map, Node, Part, Pick, Reduce, Rename
from vispec.torch.implementations import linear
from vispec.torch.nodes.along import at_end, places
from vispec.torch.nodes.implementation import Implementation, Match
from vispec.torch.nodes.laws import with_events
from vispec.torch.nodes.picks import valid
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.code import Code, call, listed, method, text
from vispec.torch.text.layout import Value, aligned, merged

COUNTS = "vispec.kernels.layers.counts:shared_counts"


@dataclass(frozen=True)
class Told:
    """component, outcomes: the table's axes, over: those that are added up, and of these many: those along which the weights
    are the same. weight, table: whether logits stand for them, and the axis along which these are normalised. masked: whether
    a mask is taken."""

    component: Axis
    outcomes: Axis
    over: tuple[Axis, ...]
    many: tuple[Axis, ...]
    weight: tuple[bool, Axis]
    table: tuple[bool, Axis]
    masked: bool


def match(node: Node) -> Match | None:
    """It takes the table, which of its columns are seen, the mask, and what is added up to the logarithm of the weights."""
    match node:
        case Reduce("sum", Rename(arg, pairs) as renamed, over) if {new for _, new in pairs} <= {*over}:
            old = {new: old for old, new in pairs}
            return of_elements(arg, tuple(old.get(axis, axis) for axis in over), (renamed,))
        case Reduce("sum", arg, over):
            return of_elements(arg, over, ())
    return None


def of_elements(arg: Node, over: tuple[Axis, ...], covers: tuple[Node, ...]) -> Match | None:
    """Of what is added up, under a mask or none."""
    match arg:
        case Map("where", (mask, Reduce("log_sum_exp", joint, (component,)) as total, Const(0))):
            return of_joint(joint, component, over, (mask,), (*covers, arg, total, joint))
        case Reduce("log_sum_exp", joint, (component,)):
            return of_joint(joint, component, over, (), (*covers, arg, joint))
    return None


def of_joint(
    joint: Node, component: Axis, over: tuple[Axis, ...], masks: tuple[Node, ...], covers: tuple[Node, ...]
) -> Match | None:
    """Of one table's columns, and what differs along some of the elements alone."""
    terms = joint.operands if isinstance(joint, Map) and joint.op == "add" else ()
    seen = [each for each in terms if isinstance(each, Pick) and each.table.axes == {component, *(axis for axis, _ in each.at)}]
    if len(seen) != 1 or len(seen[0].at) != 1:
        return None
    (pick,), ((outcomes, value),) = seen, seen[0].at
    weights = [each for each in terms if each is not pick]
    own = frozenset[Axis]().union(*(each.axes for each in weights))
    many = tuple(axis for axis in over if axis not in own)
    if not many or component not in own or not {*over}.union(*(mask.axes for mask in masks)) <= value.axes:
        return None
    if not value.axes - {*many} <= own:
        return None  # the same weights for several counts would be repeated
    table, by = logits(pick.table, outcomes)
    (weight, *more), by_weight = weights, (False, component)
    if not more:
        weight, by_weight = logits(weight, component)
    told = Told(component, outcomes, over, many, by_weight, by, bool(masks))
    return Match((table, value, *masks, weight, *more), (*covers, pick), told)


def logits(node: Node, axis: Axis) -> tuple[Node, tuple[bool, Axis]]:
    """What it is the log_softmax of along an axis, and how that axis is called there; itself where it is of nothing."""
    match node:
        case Link("log_softmax", arg, (own,)) if own is axis:
            return arg, (True, own)
        case Rename(Link("log_softmax", arg, (own,)), pairs) if pairs == ((own, axis),):
            return arg, (True, own)
    return node, (False, axis)


def write(w: Writer, node: Node, found: Match) -> Value:
    told: Told = found.told
    first, value, *rest = found.takes
    table = at_end(with_events(w, first, [told.component, told.table[1]]), [told.component, told.table[1]])
    seen = valid(w, told.outcomes, value)
    known = known_counts(w, value, rest[0]) if told.masked else {}
    mask = w.value(rest.pop(0)) if told.masked else None
    weight = log_weight(w, rest, told)
    lead = merged([weight.dims[:-1], tuple(axis for axis in seen.dims if axis not in told.many)])
    every = (*lead, *told.many)
    codes = [w.full(weight, (*lead, told.component)), table, w.full(seen, every)]
    inside = text("None") if mask is None else aligned(mask, every)
    softmax = listed(text(str(is_logits)) for is_logits, _ in (told.weight, told.table))
    kernel = w.kernel("sums.lookup", "mixed_total")
    total = Value(call(kernel, *(each.code for each in codes), inside, softmax=softmax, **known), lead)
    others = [axis for axis in told.over if axis not in told.many]
    if not others:
        return total
    return Value(method(total.code, "sum", places(total, others)), tuple(axis for axis in lead if axis not in others))


def known_counts(w: Writer, value: Node, mask: Node) -> dict[str, Code]:
    """How often each outcome occurs, where a net is told of it too."""
    for node in w.order:
        match node:
            case Part(Call("kernel", name, ((words, _, _), (inside, _, _))) as source) if name == COUNTS:
                if words is value and inside is mask:
                    for each in (source, node):
                        w.values.setdefault(each, w.write(each))
                    return {"counts": w.value(node).code}
    return {}


def log_weight(w: Writer, nodes: list[Node], told: Told) -> Value:
    """The weights' logarithm, or logits, with the component last."""
    values = [w.tensor(w.real(w.value(each))) for each in nodes]
    if len(values) > 1:
        dims = merged(value.dims for value in values)
        values = [Value(linear.added([aligned(value, dims) for value in values]), dims)]
    (value,), own = values, told.weight[1]
    value = at_end(value, [own]) if own in value.dims else w.full(value, (*value.dims, own))
    return Value(value.code, (*value.dims[:-1], told.component))


ENTRY = Implementation(name="mixed_total", match=match, write=write)
