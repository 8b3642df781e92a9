"""Chains whose states are as many as each row has: what a row lacks is -inf where it is asked about first."""

import pytest
import torch

from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Input, Map, Node, Structure
from vispec.program.size import Size
from vispec.program.walk import nodes
from vispec.structures import structures, sums
from vispec.structures.entry import Group

N, T = Axis("n", "plate", Size.of(3)), Axis("t", "plate", Size.of(3))
LENGTHS = Input("len", (N,), "int", "batch")
J = Axis("j", "plate", None, LENGTHS)
STATE = copy(J, "a", "values")
PAST = copy(J, "a'", "values")


def chain(softmax: bool) -> Structure:
    """By a softmax over the states that a row has, or by numbers for all."""
    scores = build.rename(build.add(Input("u", (N, J), "real", "batch"), Input("s", (PAST,), "real", "batch")), {J: STATE})
    law = build.link("log_softmax", scores, (STATE,)) if softmax else scores
    seen = build.rename(Input("seen", (N, T, J), "real", "batch"), {J: STATE})
    found = structures()["chain"].build(Group(T, (STATE,), ((PAST,),)), (law, seen), "sum")
    assert isinstance(found, Structure)
    return found


def masks(node: Node) -> int:
    return sum(isinstance(each, Map) and each.op == "where" for each in nodes([node]))


@pytest.mark.parametrize("softmax", [True, False])
def test_states_that_a_row_lacks_have_no_paths(softmax: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    u, seen = (torch.randn(3, *size, generator=generator, dtype=torch.float64) for size in ((4,), (3, 4)))
    s, lengths = torch.randn(4, generator=generator, dtype=torch.float64), torch.tensor([4, 2, 1])
    found = chain(softmax)
    init, _, shown = found.given
    assert (masks(init), masks(shown)) == ((1, 0) if softmax else (0, 1))
    world = World({"u": u, "s": s, "seen": seen, "len": lengths}, {}, {}, {}, structures=sums())
    ours = run([found], world)[0].laid((N,))
    for row, n in enumerate(lengths.tolist()):
        step = u[row, None, :n] + s[:n, None]
        step = step.log_softmax(-1) if softmax else step
        alpha = step[0] + seen[row, 0, :n]
        for t in (1, 2):
            alpha = (alpha[:, None] + step).logsumexp(0) + seen[row, t, :n]
        torch.testing.assert_close(ours[row], alpha.logsumexp(0))
