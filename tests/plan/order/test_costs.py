"""What orders cost, in terms: the sum over all sums of the product of the sizes of the axes that they touch."""

import time
from itertools import combinations

import pytest

from vispec.plan.order.order import Order, order
from vispec.plan.order.problem import Factor, Latent, Pointer, Problem
from vispec.plan.order.refuse import IntractableError, enough, figure
from vispec.plan.order.search import cheapest, exact, greedy, neighbours
from vispec.program.axis import Axis, copy
from vispec.program.cost import Numbers
from vispec.program.node import Input
from vispec.program.size import Size


def values(name: str, size: int) -> Axis:
    return Axis(name, "values", Size.of(size))


def table(name: str, *axes: Axis, plates: tuple[Axis, ...] = ()) -> Factor:
    return Factor(name, Input(name, axes, "real", "batch"), frozenset(plates))


def flat(pairs: list[tuple[int, ...]], sizes: list[int], **settings: int) -> Problem:
    """Latents without plates, and a table for each of these groups."""
    axes = [values(f"z{n}", size) for n, size in enumerate(sizes)]
    factors = tuple(table(f"f{n}", *(axes[v] for v in group)) for n, group in enumerate(pairs))
    return Problem(factors, tuple(Latent(axis.hint, axis, frozenset()) for axis in axes), **settings)  # type: ignore[arg-type]


def chain(n: int, K: int) -> Problem:
    """A chain of laws written by hand, each with something seen."""
    return flat([(0,), *((v - 1, v) for v in range(1, n)), *((v,) for v in range(n))], [K] * n)


def quick(problem: Problem, seconds: float = 0.5) -> Order:
    """The order, found within this time."""
    start = time.process_time()
    try:
        return order(problem)
    finally:
        assert time.process_time() - start < seconds


@pytest.mark.parametrize("n", [1, 2, 4, 7, 15, 60])
@pytest.mark.parametrize("K", [2, 50])
def test_a_chain_of_laws(n: int, K: int) -> None:
    assert quick(chain(n, K)).terms == (n - 1) * K**2 + K


def test_a_tree_of_forty_latents_grows_linearly() -> None:
    terms = [quick(flat([(0,), *((v // 2, v) for v in range(1, n))], [30] * n)).terms for n in (10, 20, 40)]
    assert terms == [(n - 1) * 900 + 30 for n in (10, 20, 40)]
    path_like = [quick(flat([(max(0, v - 1 - v % 3), v) for v in range(1, n)], [30] * n)).terms for n in (40, 80)]
    assert path_like == [(n - 1) * 900 + 30 for n in (40, 80)]


def test_a_grid() -> None:
    rows, columns, K = 3, 5, 4
    cell = lambda i, j: i * columns + j  # noqa: E731
    across = [(cell(i, j), cell(i, j + 1)) for i in range(rows) for j in range(columns - 1)]
    down = [(cell(i, j), cell(i + 1, j)) for i in range(rows - 1) for j in range(columns)]
    assert quick(flat(across + down, [K] * 15)).terms <= K**4 * rows * columns


def test_leaves_under_a_hub() -> None:
    found = quick(flat([(0,), *((0, v) for v in range(1, 16))], [5, *[3] * 15]))
    assert found.terms <= 15 * 3 * 5 + 5


def test_latents_that_are_all_coupled_are_refused() -> None:
    problem = flat(list(combinations(range(6), 2)), [100] * 6)
    with pytest.raises(IntractableError) as refused:
        quick(problem)
    assert refused.value.step == 10**12
    assert refused.value.terms == sum(100**n for n in range(1, 7))
    assert set(refused.value.latents) == {f"z{n}" for n in range(6)}
    assert len(refused.value.factors) == 5  # those of the first latent, whose sum is the large one
    assert "takes 10^12 terms" in str(refused.value)
    assert "a budget of 1.1 · 10^12 terms" in str(refused.value)
    assert order(flat(list(combinations(range(6), 2)), [100] * 6, work=10**13)).terms == refused.value.terms


def test_exact_orders_are_never_worse_than_greedy_ones() -> None:
    ring = [(v, (v + 1) % 8) for v in range(8)]
    for sizes in ([2, 9, 3, 8, 2, 7, 5, 4], [9, 1, 9, 1, 9, 1, 9, 1]):
        problem = flat([*ring, (0, 4), (2, 6)], sizes)
        axes = [latent.values for latent in problem.latents]
        graph = neighbours([factor.node.axes for factor in problem.factors])
        numbers = {axis: problem.numbers.of(axis) for axis in axes}
        best, good = exact(axes, graph, numbers), greedy(axes, graph, numbers)
        assert best.terms <= good.terms
        assert cheapest(axes, [factor.node.axes for factor in problem.factors], problem.numbers.of).terms == best.terms
        brute = min_terms(axes, [set(factor.node.axes) for factor in problem.factors], numbers)
        assert best.terms == brute


def min_terms(left: list[Axis], scopes: list[set[Axis]], sizes: dict[Axis, int]) -> int:
    """The terms of the best order, by trying them all with a memory for sets."""
    known: dict[frozenset[Axis], int] = {}

    def best(rest: frozenset[Axis], scopes: list[set[Axis]]) -> int:
        if not rest:
            return 0
        if rest not in known:
            ways = []
            for axis in rest:
                touched = set[Axis]().union(*(scope for scope in scopes if axis in scope))
                cost = 1
                for each in touched:
                    cost *= sizes[each]
                after = [scope for scope in scopes if axis not in scope] + [touched - {axis}]
                ways.append(cost + best(rest - {axis}, after))
            known[rest] = min(ways)
        return known[rest]

    return best(frozenset(left), scopes)


# ---- plates


def test_a_plate_counts_its_elements() -> None:
    n, c = Axis("n", "plate", Size.of(40)), values("c", 7)
    factors = (table("law", c, plates=(n,)), table("x", n, c, plates=(n,)))
    found = order(Problem(factors, (Latent("c", c, frozenset({n}), "law"),)))
    assert found.terms == 40 * 7
    kept = order(Problem(factors, (Latent("c", c, frozenset({n}), "law"),), frozenset({n})))
    assert kept.terms == 7


def two_plates(P: int, Q: int, K: int, **settings: int) -> Problem:
    """a in plate p and b in plate q, coupled by each pair of elements."""
    p, q, a, b = Axis("p", "plate", Size.of(P)), Axis("q", "plate", Size.of(Q)), values("a", K), values("b", K)
    factors = (table("law_a", p, a, plates=(p,)), table("law_b", q, b, plates=(q,)), table("x", p, q, a, b, plates=(p, q)))
    latents = Latent("a", a, frozenset({p}), "law_a"), Latent("b", b, frozenset({q}), "law_b")
    return Problem(factors, latents, **settings)  # type: ignore[arg-type]


def test_the_plate_that_costs_least_is_unrolled() -> None:
    found, other = order(two_plates(2, 30, 3)), order(two_plates(30, 2, 3))
    assert found.terms == other.terms == 30 * 27 + 9 + 3
    assert "at p = 0" in str(found)
    assert "at q = 0" in str(other)
    assert found.runner_up is not None
    assert found.runner_up[0] > found.terms
    assert "q" in found.runner_up[1]


def test_crossed_plates_that_are_too_large_are_refused() -> None:
    with pytest.raises(IntractableError) as refused:
        quick(two_plates(40, 40, 10))
    assert refused.value.terms == 10**41  # an element of a with all of b
    assert {"a", "b"} <= set(refused.value.latents)
    assert "x" in refused.value.factors
    assert "at least 10^41 terms" in str(refused.value)
    assert "unrolling q makes 10^40 joint values" in str(refused.value)
    with pytest.raises(IntractableError, match=r"more than 10\^1000 terms"):
        quick(two_plates(10**6, 10**6, 100))


@pytest.mark.parametrize("size", [15, 20, 28, 1000])
@pytest.mark.parametrize("together", [False, True])
def test_three_crossed_plates_are_refused_at_once(size: int, together: bool) -> None:
    plates = [Axis(name, "plate", Size.of(size)) for name in "pqr"]
    axes = [values(name, 2) for name in "abc"]
    groups = [(0, 1, 2)] if together else [(0, 1), (1, 2), (0, 2)]
    coupling = [
        table(f"f{n}", *(plates[v] for v in group), *(axes[v] for v in group), plates=tuple(plates[v] for v in group))
        for n, group in enumerate(groups)
    ]
    laws = [table(f"law{v}", plates[v], axes[v], plates=(plates[v],)) for v in range(3)]
    latents = tuple(Latent(axis.hint, axis, frozenset({plate})) for axis, plate in zip(axes, plates, strict=True))
    with pytest.raises(IntractableError) as refused:
        quick(Problem((*coupling, *laws), latents))
    assert refused.value.terms is not None
    assert refused.value.terms >= min(2 ** (2 * size + 1), 10**1000)


def test_a_plate_whose_size_has_a_name_is_summed_by_joint_values() -> None:
    p, q, a, b = Axis("p", "plate", Size.of("P")), Axis("q", "plate", Size.of("Q")), values("a", 3), values("b", 5)
    factors = (table("law_a", p, a, plates=(p,)), table("x", p, q, a, b, plates=(p, q)))
    latents = Latent("a", a, frozenset({p}), "law_a"), Latent("b", b, frozenset({q}))
    found = order(Problem(factors, latents, numbers=Numbers({"P": 4, "Q": 100})))
    assert "joint value of a along p" in str(found)
    assert found.terms == 4 * 3**4 * 100 * 5 + 3**4 * 100 * 5 + 4 * 3**4 + 3**4


def test_pointers_cost_what_elements_there_are() -> None:
    """Labels in a list, each by an annotator that the data name: what they say is added up by annotator."""
    item, rating, who = Axis("item", "plate"), Axis("rating", "plate"), Axis("annotator", "plate", Size.of(50))
    skill, chosen = values("skill", 4), None
    chosen = copy(skill, "skill_of_who")
    index = Input("who", (item, rating), "int", "batch")
    factors = (
        table("law", skill, plates=(who,)),
        table("label", item, rating, chosen, plates=(item, rating)),
    )
    latents = (Latent("skill", skill, frozenset({who}), "law"),)
    found = order(Problem(factors, latents, pointers=(Pointer(chosen, skill, ((who, index),)),)))
    assert found.terms == 50 * 4


def test_what_nothing_observed_depends_on_is_left_out() -> None:
    c, d, e = values("c", 3), values("d", 4), values("e", 5)
    factors = (table("law_c", c), table("law_d", c, d), table("law_e", d, e), table("x", c))
    latents = (Latent("c", c, frozenset(), "law_c"), Latent("d", d, frozenset(), "law_d"), Latent("e", e, frozenset(), "law_e"))
    found = order(Problem(factors, latents))
    assert set(found.idle) == {"d", "e"}
    assert found.terms == 3
    assert order(Problem(factors, latents, asked=frozenset({"e"}))).terms == 20 + 12 + 3
    unnormalised = (*latents[:2], Latent("e", e, frozenset()))
    assert order(Problem(factors, unnormalised)).idle == ()


def test_a_latent_that_kept_elements_share_is_refused() -> None:
    n, c = Axis("n", "plate"), values("c", 3)
    factors = (table("law", c), table("x", n, c, plates=(n,)))
    with pytest.raises(IntractableError, match="c is shared by all elements of n"):
        order(Problem(factors, (Latent("c", c, frozenset(), "law"),), frozenset({n})))


def test_memory_is_a_budget_too() -> None:
    problem = two_plates(2, 30, 3, memory=1000)
    with pytest.raises(IntractableError, match="bytes"):
        order(problem)
    assert order(two_plates(2, 30, 3, memory=10**5)).bytes == 4 * 30 * 27


def test_figures() -> None:
    assert [figure(n) for n in (7550, 10**12, 131_000_000_000_000)] == ["7,550", "10^12", "1.3 · 10^14"]
    assert [enough(n) for n in (7550, 10**12, 131_000_000_000_000, 999 * 10**9)] == ["7,550", "10^12", "1.4 · 10^14", "10^12"]


def test_what_the_data_alone_can_tell_is_no_reason_to_refuse() -> None:
    """Sizes that nothing says are typical ones where orders are compared, and two where they are refused."""
    i, j = Axis("i", "plate"), Axis("j", "plate")
    axes = [Axis(f"a{n}", "values", None, None, j) for n in range(8)]
    latents = tuple(Latent(axis.hint, axis, frozenset({i})) for axis in axes)
    problem = Problem((table("all", i, *axes, plates=(i,)),), latents)
    found = order(problem)
    assert found.terms > problem.work
    assert found.count(problem.numbers) == found.terms
    assert found.count(Numbers(typical=2)) == 2 * sum(2**n for n in range(1, 9))
    with pytest.raises(IntractableError):
        order(Problem(problem.factors, latents, numbers=Numbers(told={i: 20, j: 20})))


def test_plates_of_unknown_sizes_that_are_coupled_are_refused_with_a_way_out() -> None:
    p, q, a, b = Axis("p", "plate"), Axis("q", "plate"), values("a", 2), values("b", 2)
    factors = (table("x", p, q, a, b, plates=(p, q)),)
    latents = Latent("a", a, frozenset({p})), Latent("b", b, frozenset({q}))
    with pytest.raises(IntractableError, match="its size may be written") as refused:
        order(Problem(factors, latents))
    assert refused.value.latents == ("a", "b")
    assert len(refused.value.ways) == 2
