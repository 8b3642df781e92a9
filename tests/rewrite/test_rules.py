"""Each rule keeps the value and saves what it says; it can be left out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.cost import Numbers, operations, work
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Call, Carried, Density, Input, Link, Loop, Map, Node, Noise, Part, Pick, Reduce, Structure
from vispec.program.program import Program
from vispec.program.size import Size
from vispec.program.walk import nodes
from vispec.rewrite.rules import Rules, rewrite, rules
from vispec.structures import sums

SIZES = {"N": 3, "K": 4, "V": 5}
NUMBERS = Numbers(SIZES)
W = Axis("w", "plate", Size.of("V"))
N, K, V = (Axis(name.lower(), "plate", Size.of(name)) for name in "NKV")
EVENT = copy(V, "V", "event")
ONE = Axis("one", "event", Size.of(1))
L, KL = copy(K, "l"), Axis("kl", "plate")
PAST, STATE, JOINT = copy(V, "past"), copy(V, "state"), Axis("t[k]", "joint", None, None, None, (V, K))
LENGTHS = Input("len", (N,), "int", "batch")
R = Axis("r", "plate", None, LENGTHS)


def batch(name: str, kind: Any, *order: Axis) -> Node:
    return Input(name, order, kind, "batch")


def parameter(name: str, *order: Axis) -> Node:
    return Input(name, order, "real", "parameter")


def masks() -> Node:
    return build.reduce("sum", build.reduce("log_sum_exp", batch("u", "real", N, R), (R,)), (N,))


def guard() -> Node:
    return build.where(
        build.lt(batch("x", "real", N), 0.0), build.exp(build.mul(parameter("a", K), batch("x", "real", N))), 0.5
    )


def one_minus_exp() -> Node:
    x = batch("x", "real", N)
    return build.add(build.sub(1, build.exp(x)), build.sub(build.exp(x), 1), build.add(build.exp(parameter("a", K)), -1))


def below_softmax() -> Node:
    return build.pick(build.link("log_softmax", parameter("t", K, V), (V,)), {K: batch("i", "int", N)})


def joined_picks() -> Node:
    rows = build.pick(parameter("t", K, V), {K: batch("i", "int", N)})
    return build.pick(rows, {V: batch("j", "int", N)})


def bits_of_tables() -> Node:
    table = build.apply("sigmoid", parameter("t", K, V))
    at: Mapping[Axis, Node] = {K: batch("i", "int", N)}
    bit = build.lt(batch("x", "real", N), 0)
    return build.where(bit, build.pick(build.log(table), at), build.pick(build.log_one_minus(table), at))


def structures() -> Node:
    """A chain of four elements with five states."""
    step = build.link("log_softmax", build.rename(parameter("s", V, W), {V: PAST, W: STATE}), (STATE,))
    seen = build.rename(parameter("t", K, V), {V: STATE})
    return Structure("chain", (build.pick(seen, {K: 0}), step, seen), (K, PAST, STATE), (), "sum")


def joint_values() -> Node:
    """A product over four elements for each of their joint values: Σ_k t[k, digit k of s]."""
    place = build.apply("int_pow", build.extent(V), build.position(K))
    digit = build.apply("mod", build.apply("floor_div", build.position(JOINT), place), build.extent(V))
    return build.reduce("sum", build.pick(parameter("t", K, V), {V: digit}), (K,))


def noise_of_steps() -> Node:
    """A walk with a step of its own at first."""
    state, noise = Carried("walk", "state", 0, (), "real"), Noise("z", "normal", ())
    return Part(Loop("walk", K, ((noise,), (build.add(state, noise),)), (), ("z",)), 0)


def sums_by_index() -> Node:
    """What each row says of the place that it points at."""
    here = build.eq(batch("i", "int", N), build.position(K))
    return build.reduce("sum", build.where(here, build.exp(batch("x", "real", N)), 0.0), (N,))


class Sums:
    """A net of the elements that count, whole and in two parts."""

    def __call__(self, words: torch.Tensor, words_mask: torch.Tensor) -> torch.Tensor:
        return (words * words_mask).sum(-1, keepdim=True)

    def elements(self, words: torch.Tensor) -> torch.Tensor:
        return words.unsqueeze(-1)

    def of_elements(self, elements: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return mask.double() @ elements


def means_of_masks() -> Node:
    digit = build.apply("floor_div", build.position(JOINT), build.apply("int_pow", build.extent(V), build.position(K)))
    given = ((parameter("a", K), (K,), ""), (build.lt(0, build.apply("mod", digit, build.extent(V))), (K,), "words_mask"))
    return Part(Call("net", "sums", given, (((ONE,), "real"),), (("mode", "whole"), ("means", True))), 0)


def seen_values() -> Node:
    seen = build.lt(batch("x", "real", N), 0)
    label = build.where(seen, batch("i", "int", N), 0)
    return build.where(build.both(seen, build.apply("not", build.eq(build.position(K), label))), parameter("a", K), 0.0)


def products() -> Node:
    """Each row's vector under each of several parameters, as bits and as numbers."""
    vector, table = batch("w", "real", N, EVENT), parameter("t", K, EVENT)
    bits = build.where(build.lt(vector, 0), build.apply("log_sigmoid", table), build.apply("log_sigmoid", build.neg(table)))
    law = Density("Normal", vector, (("loc", table, ()), ("scale", build.exp(parameter("a", K)), ())), ())
    return build.add(build.reduce("sum", bits, (EVENT,)), build.reduce("sum", law, (EVENT,)))


def merged_products() -> Node:
    table = build.add(parameter("t", K, V), build.rename(parameter("a", K), {K: L}))
    const = build.reduce("sum", build.exp(table), (V,))
    return build.merge(build.add(build.contract((batch("w", "real", N, V), table), (V,)), const), (K, L), KL)


def lengths() -> Node:
    """How far along its row each element stands from a number."""
    share = build.apply("div", build.apply("mul", build.position(R), batch("u", "real", N, R)), LENGTHS)
    return build.apply("abs", build.sub(share, build.reduce("sum", parameter("a", K), (K,))))


def choices() -> Node:
    """One of two small tables for each element, as a test along many says, and of either only half."""
    seen, even = build.lt(batch("u", "real", N, R), 0.0), build.eq(build.apply("mod", build.position(K), 2), 0)
    return build.where(
        even, build.where(seen, parameter("a", K), 0.0), build.where(seen, build.apply("log_sigmoid", parameter("a", K)), 1.0)
    )


def partial_sums() -> Node:
    loc = build.add(parameter("a", K), batch("x", "real", N))
    total = build.add(loc, build.exp(parameter("a", K)))
    return build.apply("div", total, build.exp(loc))


def distinct() -> Node:
    """A net of symbols, its softmax at some outcomes."""
    settings = (("mode", "whole"), ("symbols", "features"))
    net = Part(Call("net", "rows", ((batch("m", "int", N, L), (), ""),), (((V,), "real"),), settings), 0)
    return build.pick(build.link("log_softmax", net, (V,)), {V: batch("i", "int", N)})


SIMPLE = (
    masks,
    seen_values,
    means_of_masks,
    guard,
    one_minus_exp,
    below_softmax,
    joined_picks,
    bits_of_tables,
    products,
    merged_products,
    lengths,
    choices,
    partial_sums,
    distinct,
)
CASES: Mapping[str, Callable[[], Node]] = {
    case.__name__: case for case in (*SIMPLE, structures, joint_values, noise_of_steps, sums_by_index)
}


def world(inputs: Mapping[str, torch.Tensor]) -> World:
    noise = {"z": [torch.tensor(float(n), dtype=torch.float64) for n in range(4)]}
    noise |= {"z 1": [torch.tensor(float(n), dtype=torch.float64) for n in range(1, 4)]}
    return World(inputs, SIZES, noise, {"rows": lambda at: inputs["s"][at], "sums": Sums()}, structures=sums())


def values() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    real = lambda *size: torch.randn(size, generator=generator, dtype=torch.float64)  # noqa: E731
    found = {"x": real(3), "u": real(3, 2), "a": real(4), "t": real(4, 5), "i": torch.tensor([1, 3, 0])}
    return found | {
        "w": real(3, 5),
        "s": real(5, 5),
        "j": torch.tensor([0, 4, 2]),
        "m": torch.tensor([[1, 1, 3, 1], [3, 0, 1, 1], [0, 0, 1, 3]]),
        "len": torch.tensor([2, 1, 2]),
    }


def alone(name: str) -> Rules:
    return Rules(frozenset(rules()) - {name}, NUMBERS)


def test_each_has_a_case() -> None:
    """Here, or in a file of its own."""
    apart = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert {*rules()} - {*CASES} - apart == set()


def test_rules_come_after_what_they_wait_for() -> None:
    order = list(rules())
    assert all(order.index(before) < order.index(name) for name, rule in rules().items() for before in rule.after)


@pytest.mark.parametrize("name", CASES)
def test_it_keeps_values_and_gradients(name: str) -> None:
    program = Program({"y": CASES[name]()}, {CASES[name](): "y"})
    new = rewrite(program, alone(name))
    found = [{key: value.clone().requires_grad_(key in "at") for key, value in values().items()} for _ in range(2)]
    before, after = (run([p.outputs["y"]], world(x))[0] for p, x in zip((program, new), found, strict=True))
    assert after.axes == before.axes
    torch.testing.assert_close(after.tensor, before.tensor, rtol=1e-12, atol=1e-12)
    if before.tensor.requires_grad:
        grads = [
            torch.autograd.grad(array.tensor.sum(), [x["a"], x["t"]], allow_unused=True)
            for array, x in zip((before, after), found, strict=True)
        ]
        torch.testing.assert_close(grads[0], grads[1], rtol=1e-10, atol=1e-10)
    assert new.outputs["y"] is not program.outputs["y"]
    assert new.hints[new.outputs["y"]] == "y"
    if not rules()[name].needed:
        assert rewrite(program, Rules(frozenset(rules()), NUMBERS)).outputs["y"] is program.outputs["y"]


def test_what_they_save() -> None:
    saved = lambda name: (CASES[name](), rewrite(Program({"y": CASES[name]()}), alone(name)).outputs["y"])  # noqa: E731
    for name in ("below_softmax", "joined_picks"):
        before, after = saved(name)
        assert work([after], NUMBERS) < work([before], NUMBERS)
    before, after = saved("one_minus_exp")
    assert operations([after]) < operations([before])
    _, after = saved("products")
    assert not [x for x in nodes([after]) if not isinstance(x, Call) and {N, K, EVENT} <= x.axes]
    before, after = saved("choices")
    assert work([after], NUMBERS) < work([before], NUMBERS)
    _, after = saved("partial_sums")
    assert sorted(len(x.operands) for x in nodes([after]) if isinstance(x, Map) and x.op == "add") == [2, 2]
    _, after = saved("distinct")
    assert [x for x in nodes([after]) if isinstance(x, Call) and x.kind == "net" and {a.kind for a in x.shared} == {"rows"}]
    _, after = saved("merged_products")
    assert not [x for x in nodes([after]) if {N, K, L} <= x.axes]
    _, after = saved("masks")
    assert not [x for x in nodes([after]) if isinstance(x, Reduce) and any(axis.lengths for axis in x.over)]
    _, after = saved("bits_of_tables")
    assert len([x for x in nodes([after]) if isinstance(x, Pick)]) == 1


def test_rows_stay_above_a_softmax_that_is_cheaper() -> None:
    table = build.link("log_softmax", parameter("t", K, V), (V,))
    many = build.pick(table, {K: batch("m", "int", N, V)})
    assert rewrite(Program({"y": many}), alone("below_softmax")).outputs["y"] is many
    columns = build.pick(table, {V: batch("i", "int", N)})
    assert rewrite(Program({"y": columns}), alone("below_softmax")).outputs["y"] is columns


def test_what_is_impossible_past_the_end_already_is_not_masked_again() -> None:
    """A ragged latent's law is -inf at values that it does not have."""
    law = build.where(build.inside(R), build.neg(build.log(LENGTHS)), -float("inf"))
    table = build.pick(
        build.link("log_softmax", parameter("t", K, V), (V,)), {K: batch("k", "int", N, R), V: batch("j", "int", N)}
    )
    found = rewrite(Program({"y": build.reduce("log_sum_exp", build.add(law, table), (R,))}), alone("masks")).outputs["y"]
    assert len([x for x in nodes([found]) if isinstance(x, Map) and x.op == "where"]) == 1
    unsure = build.reduce("log_sum_exp", build.add(law, build.exp(batch("u", "real", N, R))), (R,))
    found = rewrite(Program({"y": unsure}), alone("masks")).outputs["y"]
    assert len([x for x in nodes([found]) if isinstance(x, Map) and x.op == "where"]) == 2
    assert isinstance(build.link("softmax", parameter("a", K), (K,)), Link)
