"""Variables that are structures, such as trees: the score of each part, their normaliser, the density of one in the data."""

from __future__ import annotations

from vispec.catalog import distributions
from vispec.factors.expressions import named
from vispec.factors.frame import Frame
from vispec.factors.laws import DrawLaw, Law
from vispec.model.model import Draw, Variable
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Node
from vispec.program.size import Size
from vispec.structures import domains, recognising
from vispec.structures.entry import Group, Shape, StructureKind


def is_structure(variable: Variable) -> bool:
    """Whether a variable has one value for all elements of a plate together."""
    return variable.type.domain in domains()


def shape_of(variable: Variable) -> Shape:
    """Which structure its type names, and what its law says of that."""
    return Shape(variable.type.domain, variable.law.options if isinstance(variable.law, Draw) else ())


def kind_of(f: Frame, variable: Variable) -> tuple[StructureKind, Group]:
    """The structure that sums it by itself, and it as latents of that."""
    group = Group(f.plate(str(variable.type.plate)), (state_of(f, variable),), (), shape_of(variable))
    return recognising(group)[0], group


def state_of(f: Frame, variable: Variable) -> Axis:
    """The axis of the values of one part: for a tree, root and elements; for a parse, preterminals."""
    if variable.type.card is not None:
        return f.event(variable.type.card, 0)
    return f.heads(f.plate(str(variable.type.plate)))


def potentials(f: Frame, variable: Variable, law: Law) -> Node:
    """What each part adds to the score, along the plate and the part's values."""
    assert isinstance(law, DrawLaw)
    builder = distributions()[law.distribution].potentials
    return Const(0.0) if builder is None else builder(law.params, f.plate(str(variable.type.plate)), state_of(f, variable))


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


def productions(f: Frame, variable: Variable, law: Law) -> tuple[dict[str, Node], tuple[Axis, ...]] | None:
    """What a grammar's rules add to the score, over values of their own, and the axes of these; None of other laws."""
    assert isinstance(law, DrawLaw)
    builder = distributions()[law.distribution].productions
    longest = None if variable.type.longest is None else f.event(variable.type.longest, 0)
    return None if builder is None else builder(law.params, variable.name, longest)


def number_of_ways(f: Frame, variable: Variable, law: Law) -> Node | None:
    """Minus the logarithm of how many ways there are to cut a plate into stretches, where no law says how long they are."""
    assert isinstance(law, DrawLaw)
    if variable.type.longest is None or any(name == "duration" for name, _, _ in law.params):
        return None
    entry, group = kind_of(f, variable)
    one = [Axis(f"{variable.name}_any", "values", Size.of(1)) for _ in range(3)]
    length = Axis(f"{variable.name}_length", "values", f.event(variable.type.longest, 0).size)
    every = [build.spread(build.node(0.0), axes) for axes in ((one[2],), (one[1], one[2]), (one[2], length), (one[0],))]
    every = [build.spread(each, (one[0],)) for each in every]
    return build.neg(entry.build(Group(group.plate, (*one, length), (), group.shape), every, "sum"))


def log_norm(f: Frame, variable: Variable, law: Law) -> Node:
    """Minus the log-sum of the scores over all values."""
    (entry, group), scores = kind_of(f, variable), potentials(f, variable, law)
    if isinstance(scores, Const) and entry.number is not None:
        return build.neg(entry.number(group.plate, shape_of(variable)))
    return build.neg(entry.build(group, [scores], "sum"))


def log_prob(f: Frame, variable: Variable, law: Law) -> Node:
    """log p of one in the data, in nats; -inf where it is none."""
    (entry, group), value = kind_of(f, variable), f.data(variable)
    scores = build.pick(potentials(f, variable, law), {state_of(f, variable): value})
    found = build.add(build.reduce("sum", scores, (group.plate,)), log_norm(f, variable, law))
    assert entry.valid is not None
    return build.where(entry.valid(value, group.plate, shape_of(variable)), found, -float("inf"))
