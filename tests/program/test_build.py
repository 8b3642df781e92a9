"""The builders: what they fold is what it would have been, on random programs; equal nodes are one object."""

import random

import pytest
import torch

from vispec.program import build
from vispec.program.axis import Axis, copy
from vispec.program.interpreter.interpret import World, run
from vispec.program.node import Const, Input, Link, Map, Node, Pick, Position, Reduce, Rename, Shift
from vispec.program.size import Size
from vispec.program.walk import nodes, rebuild, substitute

SIZES = {"A": 2, "B": 3, "C": 4}


def close(x: Node, y: Node, world: World) -> None:
    """Both have the same numbers; what is folded may lose an axis along which nothing differs."""
    left, right = run([x, y], world)
    folded = right.laid(left.axes).double().expand(left.tensor.shape)
    torch.testing.assert_close(left.tensor.double(), folded, rtol=1e-12, atol=1e-12, equal_nan=True)


class Plain:
    """Builds the node that is asked for and its folded twin at once."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.axes = [Axis(name.lower(), "plate", Size.of(name)) for name in SIZES]
        self.lengths = Input("len", (self.axes[0],), "int", "batch")
        self.axes.append(Axis("r", "plate", None, self.lengths))
        self.inputs: dict[str, torch.Tensor] = {"len": torch.tensor([1, 3])}
        self.pairs: list[tuple[Node, Node]] = []
        generator = torch.Generator().manual_seed(seed)
        for n, kind in enumerate(("real", "real", "real", "int", "bool")):
            order = tuple(self.random.sample(self.axes, self.random.randint(0, 3)))
            if self.axes[3] in order and self.axes[0] not in order:
                order = (*order, self.axes[0])
            shape = [3 if axis is self.axes[3] else SIZES[axis.hint.upper()] for axis in order]
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
            self.inputs[f"x{n}"] = drawn if kind == "real" else (drawn * 3).long() if kind == "int" else drawn > 0
            found = Input(f"x{n}", order, kind, "batch")
            self.pairs.append((found, found))
        self.pairs += [(Const(value),) * 2 for value in (0, 1, 2, 0.5, True)]
        self.pairs += [(Position(self.axes[0]),) * 2]
        self.inputs["r"] = torch.zeros(3)

    def take(self, *kinds: str) -> tuple[Node, Node]:
        found = [pair for pair in self.pairs if pair[0].dtype in kinds] if kinds else self.pairs
        return self.random.choice(found)

    def grow(self) -> None:
        step = self.random.choice([self.map, self.map, self.map, self.reduce, self.pick, self.rename, self.shift, self.link])
        self.pairs.append(step())

    def map(self) -> tuple[Node, Node]:
        two = ["add", "mul", "sub", "div", "min", "max", "eq", "lt", "le"]
        one = ["neg", "exp", "sigmoid", "log_sigmoid", "tanh", "square", "real", "bool", "softplus"]
        op = self.random.choice([*two, *one, "where", "and", "or", "not"])
        kinds = ("bool",) if op in ("and", "or", "not") else ()
        if op == "where":
            args = [self.take("bool"), self.take("real"), self.take("real")]
        elif op in ("min", "max"):
            args = [self.take("real"), self.take("real")]
        else:
            args = [self.take(*kinds) for _ in range(1 if op in one or op == "not" else 2)]
        return Map(op, tuple(a for a, _ in args)), build.apply(op, *(b for _, b in args))

    def reduce(self) -> tuple[Node, Node]:
        plain, folded = self.take("real")
        whole = [axis for axis in plain.axes if self.axes[3] not in plain.axes or axis is self.axes[3]]
        if not whole:
            return plain, folded
        op, axis = self.random.choice(["sum", "log_sum_exp", "max"]), self.random.choice(sorted(whole, key=lambda a: a.serial))
        return Reduce(op, plain, (axis,)), build.reduce(op, folded, (axis,))

    def pick(self) -> tuple[Node, Node]:
        plain, folded = self.take("real")
        axes = sorted(plain.axes - {self.axes[3]}, key=lambda a: a.serial)
        if not axes or self.axes[3] in plain.axes:
            return plain, folded
        axis, (index, at) = self.random.choice(axes), self.random.choice([(Const(0), Const(0)), (Const(1), Const(1))])
        if self.random.random() < 0.5 and SIZES[axis.hint.upper()] >= 2:
            index = at = Position(self.axes[0])
        return Pick(plain, ((axis, index),)), build.pick(folded, {axis: at})

    def rename(self) -> tuple[Node, Node]:
        plain, folded = self.take("real")
        axes = sorted(plain.axes - {*self.axes[3:]}, key=lambda a: a.serial)
        if not axes or self.axes[3] in plain.axes:
            return plain, folded
        axis = self.random.choice(axes)
        new = copy(axis)
        back = {new: axis}
        return Rename(Rename(plain, ((axis, new),)), ((new, axis),)), build.rename(build.rename(folded, {axis: new}), back)

    def shift(self) -> tuple[Node, Node]:
        plain, folded = self.take("real")
        axis, lag = self.random.choice(self.axes[:3]), self.random.choice([1, 2])
        return Shift(build.spread(plain, (axis,)), axis, lag, Const(0.5)), build.shift(folded, axis, lag, 0.5)

    def link(self) -> tuple[Node, Node]:
        plain, folded = self.take("real")
        if self.axes[1] not in plain.axes:
            return plain, folded
        over = (self.axes[1],)
        return Map("log", (Link("softmax", plain, over),)), build.log(build.link("softmax", folded, over))


@pytest.mark.parametrize("seed", range(60))
def test_folded_programs_have_the_same_values(seed: int) -> None:
    grown = Plain(seed)
    for _ in range(12):
        grown.grow()
    world = World(grown.inputs, SIZES)
    world.extents[grown.axes[3]] = 3
    for plain, folded in grown.pairs[11:]:
        close(plain, folded, world)
        same = rebuild([folded], lambda _: None)[0]
        assert same is folded


def test_equal_nodes_are_one() -> None:
    k = Axis("k", "plate", Size.of("K"))
    x, y = Input("x", (k,), "real", "batch"), Input("x", (k,), "real", "batch")
    assert x is y
    assert build.add(x, 1) is build.add(y, 1)
    assert Const(1) is not Const(1.0)
    assert Const(True) is not Const(1)
    assert Input("x", (copy(k),), "real", "batch") is not x


def test_positions_rename() -> None:
    """A table picked at the values of a latent is the table along them; twice the same latent reads the diagonal."""
    k, j = Axis("k", "plate", Size.of("K")), Axis("j", "plate", Size.of("K"))
    c = Axis("c", "values", Size.of("K"))
    table = Input("table", (k, j), "real", "parameter")
    found = build.pick(table, {k: Position(c)})
    assert isinstance(found, Rename)
    assert found.axes == {c, j}
    diagonal = build.pick(table, {k: Position(c), j: Position(c)})
    value = torch.arange(9.0).view(3, 3)
    (read,) = run([diagonal], World({"table": value}, {"K": 3}))
    assert read.tensor.tolist() == [0.0, 4.0, 8.0]
    back = build.pick(found, {c: Position(j), j: Position(c)})
    (read,) = run([back], World({"table": value}, {"K": 3}))
    assert torch.equal(read.laid((c, j)), value.T.double())


def test_picks_tell_axes_apart() -> None:
    """A table at the positions of one of its own axes, which is itself picked elsewhere."""
    k, j = Axis("k", "plate", Size.of(3)), Axis("j", "plate", Size.of(3))
    table = Input("table", (k, j), "real", "parameter")
    at = Input("at", (), "int", "batch")
    for given, wanted in (({k: Position(j), j: at}, [2.0, 5.0, 8.0]), ({k: Position(j), j: Position(k)}, None)):
        (read,) = run([build.pick(table, given)], World({"table": torch.arange(9.0).view(3, 3), "at": torch.tensor(2)}))
        if wanted is not None:
            assert read.tensor.tolist() == wanted
        else:
            assert torch.equal(read.laid((j, k)), torch.arange(9.0).view(3, 3).double())


def test_logarithms_before_they_underflow() -> None:
    x = Input("x", (), "real", "batch")
    survival = build.exp(build.neg(x))
    assert build.log(survival) is build.neg(x)
    dead = build.log_one_minus(survival)
    (value,) = run([dead], World({"x": torch.tensor(1e-30)}))
    assert abs(float(value.tensor) + 30 * 2.302585092994046) < 1e-6
    assert build.log(build.sub(1, build.sub(1, x))) is build.log(x)


def test_sums_of_what_is_constant() -> None:
    n = Axis("n", "plate", Size.of("N"))
    lengths = Input("len", (n,), "int", "batch")
    i = Axis("i", "plate", None, lengths)
    x = Input("x", (n,), "real", "batch")
    world = World({"x": torch.tensor([2.0, 3.0]), "len": torch.tensor([0, 4])}, {"N": 2})
    world.extents[i] = 5
    for op, wanted in (("sum", [0.0, 12.0]), ("log_sum_exp", [-torch.inf, 3 + torch.tensor(4.0).log().item()])):
        (found,) = run([build.reduce(op, x, (i,))], world)
        assert found.tensor.tolist() == pytest.approx(wanted, abs=1e-6)


def test_ragged_axes_go_first() -> None:
    n = Axis("n", "plate", Size.of("N"))
    lengths = Input("len", (n,), "int", "batch")
    i = Axis("i", "plate", None, lengths)
    x = Input("x", (n, i), "real", "batch")
    (found,) = run([build.reduce("sum", x, (n, i))], World({"x": torch.ones(2, 3), "len": torch.tensor([1, 3])}, {"N": 2}))
    assert float(found.tensor) == 4


def test_substitution_is_outermost_first() -> None:
    x, y = Input("x", (), "real", "batch"), Input("y", (), "real", "batch")
    root = build.add(build.exp(x), x)
    (found,) = substitute([root], {build.exp(x): y})
    assert found is build.add(y, x)
    assert len(list(nodes([root, root]))) == 3


def test_gradients_at_true_zeros() -> None:
    """Impossible terms have gradient 0, and so has a branch that is not taken."""
    k = Axis("k", "values", Size.of(3))
    x = Input("x", (k,), "real", "batch")
    a = Input("a", (), "real", "batch")
    impossible = build.reduce("log_sum_exp", build.log(x), (k,))
    branch = build.where(build.lt(a, 10), build.exp(build.mul(a, 1000)), a)
    for values, root, wanted in (
        ({"x": torch.tensor([0.0, 0.5, 0.5])}, impossible, [0.0, 1.0, 1.0]),
        ({"x": torch.zeros(3)}, impossible, [0.0, 0.0, 0.0]),
        ({"a": torch.tensor(20.0)}, branch, 1.0),
    ):
        (leaf,) = (value.double().requires_grad_() for value in values.values())
        (found,) = run([root], World(dict.fromkeys(values, leaf)))
        (grad,) = torch.autograd.grad(found.tensor, [leaf])
        assert grad.tolist() == pytest.approx(wanted)


def test_loops() -> None:
    """A state with a law of its own for the first element, and one that reads what was put out before."""
    from vispec.program.node import Carried, Loop, Part

    n, t = Axis("n", "plate", Size.of(2)), Axis("t", "plate", Size.of(4))
    x = Input("x", (n, t), "real", "batch")
    now = Carried("l", "now", 0, (), "int")
    state = Carried("l", "state", 0, (n,), "real")
    history = Carried("l", "history", 0, (n, t), "real")
    here = build.pick(x, {t: now})
    before = build.reduce("sum", build.where(build.lt(build.position(t), now), history, 0.0), (t,))
    first = (build.pick(x, {t: 0}), Const(0.0))
    rest = (build.add(build.mul(state, 0.5), here), build.spread(before, (n,)))
    loop = Loop("l", t, (first, rest), (n,), ())
    value = torch.randn(2, 4, dtype=torch.float64)
    smooth, total = run([Part(loop, 0), Part(loop, 1)], World({"x": value}))
    wanted = [value[:, 0]]
    for i in range(1, 4):
        wanted.append(0.5 * wanted[-1] + value[:, i])
    torch.testing.assert_close(smooth.laid((n, t)), torch.stack(wanted, 1))
    summed = torch.stack(wanted, 1).cumsum(1)
    torch.testing.assert_close(total.laid((n, t))[:, 1:], summed[:, :-1])


def test_reductions_along_ragged_axes_are_over_the_elements_that_count() -> None:
    """Of what differs along some of a plate, its ragged plate and neither; both at once, and one after the other."""
    p = Axis("p", "plate", Size.of(3))
    i = Axis("i", "plate", Size.of(4), Input("len", (p,), "int", "batch"))
    torch.manual_seed(0)
    inputs = {"len": torch.tensor([2, 0, 4]), "none": torch.randn(()), "p": torch.randn(3), "i": torch.randn(4)}
    inputs["both"] = torch.randn(3, 4)
    inside = torch.arange(4) < inputs["len"][:, None]
    world = World(inputs=inputs, sizes=SIZES)
    for name, order in {"none": (), "p": (p,), "i": (i,), "both": (p, i)}.items():
        value = Input(name, order, "real", "batch")
        full = inputs[name].double().reshape([3 if p in order else 1, 4 if i in order else 1]).expand(3, 4)
        wanted = {
            "sum": full.where(inside, 0.0).sum(1),
            "log_sum_exp": full.where(inside, -torch.inf).logsumexp(1),
            "max": full.where(inside, -torch.inf).amax(1),
        }
        for op, along in wanted.items():
            one = run([build.reduce(op, value, (i,))], world)[0]
            torch.testing.assert_close(one.laid((p,)).expand(3), along)
            both = run([build.reduce(op, value, (p, i))], world)[0]
            assert both.axes == ()
            total = {"sum": along.sum(), "log_sum_exp": along.logsumexp(0), "max": along.amax()}
            torch.testing.assert_close(both.tensor, total[op])
