"""Variables that are structures, such as trees: the score of each part, their normaliser, the density of one in the data."""

from __future__ import annotations

from vispec.catalog import distributions
from vispec.factors.frame import Frame
from vispec.factors.laws import DrawLaw, Law
from vispec.model.model import Variable
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Const, Node
from vispec.structures import structures
from vispec.structures.entry import Group


def is_structure(variable: Variable) -> bool:
    """Whether a variable has one value for all elements of a plate together."""
    return variable.type.domain in structures()


def state_of(f: Frame, variable: Variable) -> Axis:
    """The axis of the values of one part: for a tree, the root and the elements."""
    return f.heads(f.plate(str(variable.type.plate)))


def potentials(f: Frame, variable: Variable, law: Law) -> Node:
    """What each part adds to the score, along the plate and the part's values."""
    assert isinstance(law, DrawLaw)
    builder = distributions()[law.distribution].potentials
    return Const(0.0) if builder is None else builder(law.params, f.plate(str(variable.type.plate)), state_of(f, variable))


def log_norm(f: Frame, variable: Variable, law: Law) -> Node:
    """Minus the log-sum of the scores over all values."""
    entry, plate, state = structures()[variable.type.domain], f.plate(str(variable.type.plate)), state_of(f, variable)
    scores = potentials(f, variable, law)
    if isinstance(scores, Const) and entry.number is not None:
        return build.neg(entry.number(plate))
    return build.neg(entry.build(Group(plate, (state,), (), variable.type.domain), [scores], "sum"))


def log_prob(f: Frame, variable: Variable, law: Law) -> Node:
    """log p of one in the data, in nats; -inf where it is none."""
    entry, plate, value = structures()[variable.type.domain], f.plate(str(variable.type.plate)), f.data(variable)
    scores = build.pick(potentials(f, variable, law), {state_of(f, variable): value})
    found = build.add(build.reduce("sum", scores, (plate,)), log_norm(f, variable, law))
    assert entry.valid is not None
    return build.where(entry.valid(value, plate), found, -float("inf"))
