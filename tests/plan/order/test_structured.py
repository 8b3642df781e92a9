"""Chains, trees and joint values as the planner finds them: what it costs, and that it is the sum over all assignments."""

import itertools

import pytest
import torch

from tests.structures.assignments import close, is_tree
from vispec.plan.order.execute import execute
from vispec.plan.order.order import order
from vispec.plan.order.problem import Factor, Joint, Lag, Latent, Problem
from vispec.plan.order.refuse import IntractableError
from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.cost import Numbers
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Input, Node, Reduce, Structure
from vispec.program.size import Size
from vispec.program.walk import reads
from vispec.structures import sums
from vispec.structures.entry import Shape


def hidden_markov(T: int, K: int, more: int = 0, shared: bool = True) -> Problem:
    """A chain of T states, what is seen of each, and further chains beside it that are not coupled with it."""
    t = Axis("t", "plate", Size.of(T))
    factors, latents, lags = list[Factor](), list[Latent](), list[Lag]()
    for n in range(1 + more):
        c = Axis(f"c{n}", "values", Size.of(K))
        past = copy(c, f"c{n}_back")
        first = Input(f"init{n}", (c,), "real", "parameter")
        step = Input(f"trans{n}", (past, c) if shared else (t, past, c), "real", "parameter")
        law = build.where(build.eq(build.position(t), 0), first, step)
        factors.append(Factor(f"law{n}", law, frozenset({t})))
        factors.append(Factor(f"seen{n}", Input(f"seen{n}", (t, c), "real", "batch"), frozenset({t})))
        latents.append(Latent(f"c{n}", c, frozenset({t}), f"law{n}"))
        lags.append(Lag(past, c, t, 1))
    return Problem(tuple(factors), tuple(latents), lags=tuple(lags))


@pytest.mark.parametrize("K", [3, 30])
def test_a_chain_grows_linearly_in_its_elements_and_by_the_square_of_its_values(K: int) -> None:
    assert [order(hidden_markov(T, K)).terms for T in (10, 20, 40)] == [T * K**2 for T in (10, 20, 40)]
    assert order(hidden_markov(10, K, more=2)).terms == 3 * 10 * K**2  # three chains, none of joint states


def test_a_chain_s_parts_are_a_law_of_the_first_element_and_one_of_each_step() -> None:
    problem = hidden_markov(5, 3)
    (node,) = reads(execute(order(problem), {factor.name: factor.node for factor in problem.factors}), Structure)
    init, step, seen = node.given
    assert isinstance(init, Input)
    assert isinstance(step, Input)  # shared by all steps: nothing of the first element's law is left in it
    assert isinstance(seen, Input)
    assert (init.name, step.name, seen.name) == ("init0", "trans0", "seen0")


def test_what_hangs_on_a_state_is_summed_before_the_chain_is_run() -> None:
    """A class for each element, and one for all: the first by K L an element, the second beside the chain."""
    problem = hidden_markov(10, 5)
    (t,) = problem.factors[0].plates
    c, d, g = problem.latents[0].values, Axis("d", "values", Size.of(4)), Axis("g", "values", Size.of(2))
    more = (Factor("d", Input("d", (c, d), "real", "parameter"), frozenset({t})),)
    more += (Factor("x", Input("x", (t, d), "real", "batch"), frozenset({t})),)
    more += (Factor("y", Input("y", (t, c, g), "real", "batch"), frozenset({t})),)
    latents = (*problem.latents, Latent("d", d, frozenset({t}), "d"), Latent("g", g, frozenset()))
    found = order(Problem((*problem.factors, *more), latents, lags=problem.lags))
    assert found.terms == 10 * 5 * 4 + 10 * 25 * 2 + 2


def tree(n: int) -> tuple[Problem, Axis, Axis]:
    i, head = Axis("i", "plate", Size.of(n)), Axis("head", "values", Size.of(n + 1))
    arcs = Factor("arcs", Input("arcs", (i, head), "real", "batch"), frozenset({i}))
    return Problem((arcs,), (Latent("head", head, frozenset({i}), None, i, Shape("tree")),)), i, head


def test_a_tree_s_heads_are_summed_by_its_structure() -> None:
    problem, i, head = tree(4)
    label = Axis("label", "values", Size.of(3))
    lines = (*problem.factors, Factor("label", Input("label", (head, label), "real", "batch"), frozenset({i})))
    problem = Problem(lines, (*problem.latents, Latent("label", label, frozenset({i}))))
    found = order(problem)
    assert found.terms == 4 * 5 * 3 - 3 * 5 * 3 + 4 * 4 * 5  # labels do not differ along i; n² (n + 1)
    torch.manual_seed(0)
    inputs = {
        "arcs": torch.randn(4, 5, dtype=torch.float64, requires_grad=True),
        "label": torch.randn(5, 3, dtype=torch.float64, requires_grad=True),
    }
    node = execute(found, {factor.name: factor.node for factor in problem.factors})
    trees = [heads for heads in itertools.product(range(5), repeat=4) if is_tree(heads)]
    score = inputs["arcs"] + inputs["label"].logsumexp(1)
    close(node, inputs, [torch.stack([score[e, h] for e, h in enumerate(heads)]).sum() for heads in trees])


def test_a_tree_beside_a_chain_of_the_same_elements_is_refused() -> None:
    problem, i, head = tree(4)
    c = Axis("c", "values", Size.of(2))
    past = copy(c, "c_back")
    step = Factor("step", Input("step", (past, c), "real", "batch"), frozenset({i}))
    both = Factor("both", Input("both", (head, c), "real", "batch"), frozenset({i}))
    latents = (*problem.latents, Latent("c", c, frozenset({i})))
    with pytest.raises(IntractableError, match="head"):
        order(Problem((*problem.factors, step, both), latents, lags=(Lag(past, c, i, 1),)))


def whole(K: int, n: int, ragged: bool) -> tuple[Problem, Axis]:
    """A bit or so for each element of a plate, all of which one factor reads together."""
    row = Axis("row", "plate")
    i = Axis("i", "plate", None if ragged else Size.of(n), Input("len", (row,), "int", "batch") if ragged else None)
    f = Axis("f", "values", Size.of(K))
    joint = Axis("f_all", "joint", None, None, None, (f, i))
    factors = (
        Factor("law", Input("law", (row, i, f), "real", "batch"), frozenset({row, i})),
        Factor("whole", Input("whole", (row, joint), "real", "batch"), frozenset({row})),
    )
    latents = (Latent("f", f, frozenset({row, i}), "law"),)
    told = Numbers(told={i: n})
    return Problem(factors, latents, frozenset({row}), joints=(Joint(joint, f, i),), numbers=told), i


def test_joint_values_cost_what_they_are_and_are_refused_past_the_budget() -> None:
    assert order(whole(2, 8, False)[0]).terms == 8 * 2**8 + 2**8
    assert order(whole(2, 16, True)[0]).terms == 16 * 2**16 + 2**16
    with pytest.raises(IntractableError) as refused:
        order(whole(2, 60, True)[0])
    assert refused.value.step == 60 * 2**60
    assert refused.value.latents == ("f",)


def test_of_fewer_elements_there_are_fewer_joint_values() -> None:
    problem, _ = whole(2, 3, True)
    torch.manual_seed(0)
    law, read = torch.randn(4, 3, 2, dtype=torch.float64), torch.randn(4, 8, dtype=torch.float64)
    inputs = {"law": law, "whole": read, "len": torch.tensor([0, 1, 2, 3])}
    node = execute(order(problem), {factor.name: factor.node for factor in problem.factors})
    found = run([node], World(inputs=inputs, structures=sums()))[0].tensor
    for n in range(4):
        terms = [
            read[n, sum(bit << e for e, bit in enumerate(bits))] + sum(law[n, e, bit] for e, bit in enumerate(bits))
            for bits in itertools.product(range(2), repeat=n)
        ]
        torch.testing.assert_close(found[n], torch.stack(terms).logsumexp(0), rtol=1e-10, atol=1e-10)


def test_under_a_query_s_algebra_all_sums_are_its_own() -> None:
    problem = hidden_markov(4, 3)
    g = Axis("g", "values", Size.of(2))
    (t,) = problem.factors[0].plates
    more = Factor("y", Input("y", (t, problem.latents[0].values, g), "real", "batch"), frozenset({t}))
    problem = Problem((*problem.factors, more), (*problem.latents, Latent("g", g, frozenset())), lags=problem.lags)
    nodes = {factor.name: factor.node for factor in problem.factors}
    total, plain = execute(order(problem), nodes, "total"), execute(order(problem), nodes)

    def algebras(node: Node) -> set[str]:
        return {each.op for each in reads(node, Reduce)} | {each.algebra for each in reads(node, Structure)}

    assert algebras(total) == {"total"}
    assert algebras(plain) == {"log_sum_exp", "sum"}
