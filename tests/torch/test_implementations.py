"""Each implementation gives what the plain way gives, and the interpreter; it takes fewer operations."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.torch.emitted import module, printed
from vispec.kernels.draws.kl import kl_normal_standard
from vispec.kernels.sums.chain import chain_log_prob
from vispec.kernels.sums.mixture import normal_natural
from vispec.program import build
from vispec.program.axis import Axis, copy, ordered
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Call, Density, Draw, Input, Node, Noise, Part
from vispec.program.program import Program
from vispec.program.size import Size
from vispec.torch.nodes.implementation import Target, implementations

NATURAL = "vispec.kernels.sums.mixture:normal_natural"
SIZES = {"N": 3, "K": 4, "D": 2, "V": 5}
N, K, D = (Axis(name.lower(), "plate", Size.of(name)) for name in "NKD")
ROWS = Axis("distinct", "rows")
TIME = Axis("t", "plate")
EVENT, V = Axis("D", "event", Size.of("D")), Axis("V", "event", Size.of("V"))


def parameter(name: str, *order: Axis) -> Node:
    return Input(name, order, "real", "parameter")


def batch(name: str, kind: Any, *order: Axis) -> Node:
    return Input(name, order, kind, "batch")


def net(*own: Axis) -> Node:
    return Part(Call("net", "f", ((batch("x", "real", N), (), ""),), ((own, "real"),), (("mode", "whole"),)), 0)


def normal_vector() -> Node:
    params = (("loc", parameter("a", K, EVENT), ()), ("scale", build.exp(parameter("b", EVENT)), ()))
    return build.reduce("sum", Density("Normal", batch("y", "real", N, EVENT), params, ()), (EVENT,))


def bit() -> Node:
    p = parameter("p", N)
    return build.where(batch("z", "real", N), build.log(p), build.log_one_minus(p))


def bernoulli_logits() -> Node:
    p = build.apply("sigmoid", parameter("a", K, EVENT))
    return build.where(batch("y", "real", N, EVENT), build.log(p), build.log_one_minus(p))


def bernoulli_of_net() -> Node:
    p = build.apply("sigmoid", net(EVENT))
    return build.reduce("sum", build.where(batch("y", "real", N, EVENT), build.log(p), build.log_one_minus(p)), (EVENT,))


def log_of_rest() -> Node:
    return build.reduce("log_sum_exp", build.apply("log1p", build.neg(parameter("p", N))), (N,))


def logits() -> Node:
    return build.pick(build.link("log_softmax", net(V), (V,)), {V: batch("v", "int", N)})


def noise_like() -> Node:
    return build.add(parameter("a", K, EVENT), build.mul(parameter("b", EVENT), Noise("z", "normal", (K, EVENT))))


def mean() -> Node:
    draws = Axis("s*", "samples", Size.of(4))
    return build.mean(build.rename(parameter("a", K, EVENT), {K: draws}), (draws,))


def kl_vector() -> Node:
    given = ((parameter("a", K, EVENT), (), ""), (build.exp(parameter("a", K, EVENT)), (), ""))
    each = Part(Call("kernel", "vispec.kernels.draws.kl:kl_normal_standard", given, (((), "real"),), ()), 0)
    return build.reduce("sum", each, (EVENT,))


def chain_of_tokens() -> Node:
    length = batch("len", "int", N)
    time, past = Axis("t", "plate", None, length), copy(K, "k")
    seen = build.pick(build.link("log_softmax", parameter("e", K, V), (V,)), {V: batch("w", "int", N, time)})
    given = ((parameter("i", K), (K,), ""), (parameter("s", past, K), (past, K), ""), (seen, (time, K), ""), (length, (), ""))
    return Part(Call("kernel", "vispec.kernels.sums.chain:chain_log_prob", given, (((), "real"),), ()), 0)


def selected() -> Node:
    results: Any = (((ROWS,), "int"), ((N, TIME), "int"))
    found = Call("kernel", "vispec.kernels.distinct:distinct", ((batch("w", "int", N, TIME), (N, TIME), ""),), results, ())
    words, row = Part(found, 0), Part(found, 1)
    table = Part(Call("net", "g", ((words, (), ""),), (((V,), "real"),), (("mode", "whole"), ("symbols", "features"))), 0)
    return build.pick(build.link("log_softmax", table, (V,)), {ROWS: row, V: batch("v", "int", N)})


def vocabulary() -> Node:
    given = ((batch("w", "int", N, TIME), (), ""),)
    settings: Any = (("mode", "whole"), ("vocabulary", True))
    table = Part(Call("net", "g", given, (((V,), "real"),), settings), 0)
    return build.pick(build.link("log_softmax", table, (V,)), {V: batch("v", "int", N)})


def binary_digit() -> Node:
    joint = Axis("s", "joint", None, None, None, (Axis("b", "values", Size.of(2)), K))
    places = build.apply("int_pow", 2, build.position(K))
    digit = build.apply("mod", build.apply("floor_div", build.position(joint), places), 2)
    return build.reduce("sum", build.mul(build.apply("real", digit), parameter("i", K)), (K,))


def mixed_total() -> Node:
    """Of a topic model, some of whose words count."""
    seen = build.pick(build.link("log_softmax", parameter("e", K, V), (V,)), {V: batch("w", "int", N, TIME)})
    weight = build.link("log_softmax", build.mul(parameter("p", N), parameter("i", K)), (K,))
    each = build.reduce("log_sum_exp", build.add(weight, seen), (K,))
    return build.reduce("sum", build.where(build.lt(build.position(TIME), batch("len", "int", N)), each, 0.0), (TIME,))


def draw_by_logits() -> Node:
    """Of bits that are sure, so that draws are the same."""
    logit = build.mul(100.0, build.add(parameter("a", K, EVENT), 0.5))
    drawn = Draw("sure", "Bernoulli", (("probs", build.apply("sigmoid", logit), ()),), (), (), False, "real")
    return build.mul(drawn, parameter("b", EVENT))


def linear() -> Node:
    return build.add(build.contract((batch("y", "real", N, EVENT), parameter("a", K, EVENT)), (EVENT,)), parameter("i", K))


def mixture() -> Node:
    return build.reduce("log_sum_exp", linear(), (K,))


def normal_mixture() -> Node:
    given = (
        (batch("y", "real", N, EVENT), (N, EVENT), ""),
        (parameter("a", K, EVENT), (K, EVENT), ""),
        (build.spread(build.exp(parameter("b", EVENT)), (K, EVENT)), (K, EVENT), ""),
    )
    terms = Axis("T", "event")
    results = (((K,), "real"), ((K, terms), "real"), ((N, terms), "real"))
    const, weight, statistics = (Part(Call("kernel", NATURAL, given, results, ()), at) for at in range(3))
    joint = build.add(build.contract((statistics, weight), (terms,)), const, parameter("i", K))
    return build.reduce("log_sum_exp", joint, (K,))


CASES: Mapping[str, Callable[[], Node]] = {
    case.__name__: case
    for case in (
        normal_vector,
        bit,
        bernoulli_logits,
        bernoulli_of_net,
        kl_vector,
        log_of_rest,
        logits,
        mean,
        noise_like,
        chain_of_tokens,
        binary_digit,
        draw_by_logits,
        linear,
        selected,
        vocabulary,
        mixture,
        normal_mixture,
        mixed_total,
    )
}


class Counted(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def numbers() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    real = lambda *size: torch.randn(size, generator=generator, dtype=torch.float64)  # noqa: E731
    found = {"a": real(4, 2), "b": real(2), "i": real(4), "s": real(4, 4), "e": real(4, 5), "x": real(3), "y": real(3, 2)}
    found |= {"p": torch.tensor([0.0, 1.0, 0.3], dtype=torch.float64), "z": torch.tensor([0.0, 1.0, 1.0]).double()}
    found |= {"v": torch.tensor([1, 4, 0]), "w": torch.tensor([[1, 2], [3, 4], [0, 1]]), "len": torch.tensor([2, 0, 1])}
    return found


class Affine(torch.nn.Module):
    def __init__(self, size: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, size, dtype=torch.float64))

    def forward(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        return x[..., None] * self.weight


class Lexicon(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = torch.nn.Embedding(5, 3, dtype=torch.float64)
        self.out = torch.nn.Linear(3, 5, dtype=torch.float64)

    def forward(self, words: torch.Tensor, **_: Any) -> torch.Tensor:
        return self.out(self.features(words))


def test_each_has_a_case() -> None:
    assert {*CASES} == {*implementations()}


@pytest.mark.parametrize("name", CASES)
def test_it_computes_the_same_with_fewer_operations(name: str) -> None:
    root = CASES[name]()
    bits = name in ("bernoulli_logits", "bernoulli_of_net")
    given = {key: (value > 0).double() if bits and key == "y" else value for key, value in numbers().items()}
    leaves = {key: value.clone().requires_grad_() for key, value in given.items() if key in "abpise"}
    f, g = Affine(2 if name == "bernoulli_of_net" else 5), Lexicon()
    noise = torch.full((4, 2), 0.5, dtype=torch.float64)
    calls = {
        "f": f,
        "g": g,
        "vispec.kernels.sums.chain:chain_log_prob": chain_log_prob,
        "vispec.kernels.draws.kl:kl_normal_standard": kl_normal_standard,
        NATURAL: normal_natural,
    }
    (array,) = run([root], World({**given, **leaves}, SIZES, {"z": noise}, calls))
    wanted = array.laid(ordered(root.axes))
    program, counts, texts = Program({"log_prob": root}), list[int](), list[str]()
    rivals = {"bernoulli_of_net": {"bernoulli_logits"}}.get(name, set())
    for without in (frozenset(rivals), frozenset({name, *rivals})):
        found, names = printed(program, Target(without=without))
        made = module(found, names, SIZES, leaves, {"f": f, "g": g})
        made.one.normal_ = None
        texts.append("\n".join(found.lines))
        with Counted() as counted:
            ours = drawn_as(noise, made, {**given})
            parameters = [*leaves.values(), *f.parameters(), *g.parameters()]
            grads = torch.autograd.grad(ours.sum(), parameters, allow_unused=True, materialize_grads=True)
        counts.append(counted.count)
        torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
        theirs = torch.autograd.grad(wanted.sum(), parameters, allow_unused=True, materialize_grads=True, retain_graph=True)
        if name not in ("bit", "log_of_rest") or without == rivals:  # what it is for: exact gradients at 0 and 1
            torch.testing.assert_close(grads, theirs, rtol=1e-10, atol=1e-10)
    assert texts[0] != texts[1]
    if name not in (
        "chain_of_tokens",
        "log_of_rest",
        "mixed_total",
        "mixture",
        "selected",
        "vocabulary",
    ):  # exact gradients, less memory
        assert counts[0] <= counts[1]


def drawn_as(noise: torch.Tensor, made: Any, given: Any) -> torch.Tensor:
    """The result where all that is drawn is this noise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", lambda like: noise.clone())
        patch.setattr(torch.Tensor, "normal_", lambda self: noise.clone())
        return made.log_prob(given)


def test_a_mixed_total_of_weights_that_differ_along_some_of_the_outcomes_plates() -> None:
    """Weights of several terms, the same along one of two plates that are added up, and for all rows of a third."""
    seen = build.pick(parameter("e", K, V), {V: batch("w", "int", N, TIME)})
    joint = build.add(parameter("p", N), parameter("i", K), seen)
    root = build.reduce("sum", build.reduce("log_sum_exp", joint, (K,)), (N, TIME))
    given = numbers()
    leaves = {key: given[key].requires_grad_() for key in "pie"}
    (array,) = run([root], World({**given, **leaves}, SIZES, {}, {}))
    found, names = printed(Program({"log_prob": root}), Target())
    assert ", None, softmax=(False, False)).sum(-1)" in "\n".join(found.lines)
    ours, wanted = module(found, names, SIZES, leaves, {}).log_prob(given), array.laid(())
    torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(each, [*leaves.values()]) for each in (ours, wanted)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-10, atol=1e-10)
