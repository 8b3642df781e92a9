"""Variables that are structures, such as trees: the score of each part, their normaliser, the density of one in the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vispec.catalog import distributions
from vispec.factors.expressions import named
from vispec.factors.frame import Frame
from vispec.factors.laws import DrawLaw, Law
from vispec.model.model import Draw, Variable
from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.node import Call, Const, Node, Part
from vispec.program.size import Size
from vispec.structures import domains, recognising
from vispec.structures.calls import lengths_of
from vispec.structures.entry import Group, Shape, StructureKind

BRACKETS = "vispec.kernels.trees.brackets"


def is_structure(variable: Variable) -> bool:
    """Whether a variable has one value for all elements of a plate together."""
    return variable.type.domain in domains()


def shape_of(variable: Variable) -> Shape:
    """Which structure its type names, and what its law says of that."""
    return Shape(variable.type.support, variable.law.options if isinstance(variable.law, Draw) else ())


def kind_of(f: Frame, variable: Variable, found: Parts | None = None) -> tuple[StructureKind, Group]:
    """The structure that sums it by itself, and it as latents of that."""
    states = (state_of(f, variable),) if found is None else (found.state, *found.hidden)
    group = Group(f.plate(str(variable.type.plate)), states, (), shape_of(variable))
    return recognising(group)[0], group


def state_of(f: Frame, variable: Variable) -> Axis:
    """The axis of the values of one part: for a tree, root and elements; for a parse, preterminals."""
    if variable.type.card is not None:
        return f.event(variable.type.card, 0)
    return f.heads(f.plate(str(variable.type.plate)))


@dataclass(frozen=True)
class Parts:
    """What the parts of a structure add to its score, by name, over its plate and `state`, the values of an element, and over
    `hidden`, values that other parts have. whole: whether these are logarithms of probabilities, without a normaliser."""

    scores: Mapping[str, Node]
    state: Axis
    hidden: tuple[Axis, ...] = ()
    whole: bool = False


def parts(f: Frame, variable: Variable, law: Law, state: Axis | None = None) -> Parts:
    """Those of a law. state: an axis for the values of an element, of the variable's own where none is given."""
    assert isinstance(law, DrawLaw)
    entry, plate, name = distributions()[law.distribution], f.plate(str(variable.type.plate)), variable.name
    state = state_of(f, variable) if state is None else state
    if entry.productions is not None:
        longest = None if variable.type.longest is None else f.event(variable.type.longest, 0)
        rules, hidden = entry.productions(law.params, name, longest)
        return Parts(rules, state, hidden, whole=True)
    if entry.decisions is not None:
        decisions, hidden = entry.decisions(law.params, name, plate)
        return Parts({"decisions": decisions}, state, hidden, whole=True)
    if entry.spans is not None:
        last = copy(plate, f"{name}_last", "values")
        return Parts({"spans": entry.spans(law.params, plate, last, state)}, state, (last,))
    scores = Const(0.0) if entry.potentials is None else entry.potentials(law.params, plate, state_of(f, variable))
    return Parts({"arcs": build.rename(scores, {state_of(f, variable): state}) if scores.axes else scores}, state)


def evidence(f: Frame, variable: Variable, found: Parts) -> tuple[dict[str, Node], tuple[Axis, ...]]:
    """Of a partial parse what the phrases that are seen leave possible, 0 or -inf for each label of each stretch, and the axis
    of last elements where no score has it."""
    if not variable.type.stored:
        return {}, ()
    plate, name = f.plate(str(variable.type.plate)), variable.name
    last, label = copy(plate, f"{name}_last", "values"), found.hidden[0]
    more = (last,)
    if not found.whole:
        last, label, more = found.hidden[0], found.state, ()
    told = f.as_told(variable)
    given = ((told, (plate, told.order[-1]), ""), *lengths_of(plate))
    labels = Part(Call("kernel", f"{BRACKETS}:labels_told", given, (((plate, last), "int"),), ()), 0)
    free = build.apply("or", build.eq(labels, -1), build.eq(labels, build.position(label)))
    return {"phrases": build.where(free, 0.0, -float("inf"))}, more


def label_scores(f: Frame, variable: Variable, law: Law) -> tuple[tuple[Node, ...], Node]:
    """What each element's label adds to the score, and minus the log-sum of the scores of all labels of the plate."""
    assert isinstance(law, DrawLaw)
    name, chained = variable.name, distributions()[law.distribution].chained
    assert chained is not None
    own, given = {each: axes for each, _, axes in law.params}, {each: node for each, node, _ in law.params}
    value = f.data(variable) if variable.role == "observed" else f.site(variable)
    before = build.shift(named(f, name), f.plate(str(variable.type.along)), 1, 0)
    _, state = own["scores"]
    past, now = (Axis(hint, "values", state.size) for hint in (f"{name}_before", name))
    group = Group(f.plate(str(variable.type.along)), (now,), ((past,),))
    every = chained(build.position(now), build.position(past), own, **given)
    norm = build.neg(recognising(group)[0].build(group, every, "sum"))
    return chained(value, before, own, **given), f.named(norm, f"norm_{name}")


def number_of_ways(f: Frame, variable: Variable, law: Law) -> Node | None:
    """Minus the logarithm of how many ways there are to cut a plate into stretches, where no law says how long they are."""
    assert isinstance(law, DrawLaw)
    if variable.type.longest is None or any(name in ("duration", "weight") for name, _, _ in law.params):
        return None
    entry, group = kind_of(f, variable)
    one = [Axis(f"{variable.name}_any", "values", Size.of(1)) for _ in range(3)]
    length = Axis(f"{variable.name}_length", "values", f.event(variable.type.longest, 0).size)
    every = [build.spread(build.node(0.0), axes) for axes in ((one[2],), (one[1], one[2]), (one[2], length), (one[0],))]
    every = [build.spread(each, (one[0],)) for each in every]
    return build.neg(entry.build(Group(group.plate, (*one, length), (), group.shape), every, "sum"))


def log_norm(f: Frame, variable: Variable, found: Parts) -> Node:
    """Minus the log-sum of the scores over all values."""
    entry, group = kind_of(f, variable, found)
    scores = [*found.scores.values()]
    if all(isinstance(each, Const) for each in scores) and entry.number is not None:
        return build.neg(entry.number(group.plate, shape_of(variable)))
    return build.neg(entry.build(group, scores, "sum"))


def log_prob(f: Frame, variable: Variable, law: Law) -> Node:
    """log p of one in the data, in nats; -inf where it is none."""
    found = parts(f, variable, law)
    entry, group = kind_of(f, variable, found)
    assert entry.valid is not None
    if entry.score is not None:
        value = f.as_told(variable) if variable.type.stored else f.data(variable)
        score = entry.score(group, found.scores, value)
    else:
        value = f.data(variable)
        scores = build.pick(build.add(*found.scores.values()), {found.state: value})
        score = build.reduce("sum", scores, (group.plate,))
    log_p = score if found.whole else build.add(score, log_norm(f, variable, found))
    return build.where(entry.valid(value, group.plate, shape_of(variable)), log_p, -float("inf"))
