"""The brute-force oracle against models worked out by hand: a mixture, a hidden Markov model, IBM model 1."""

import math

import pytest
import torch
from torch import Tensor, nn

from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.data import random_batch, read_rows, trimmed, with_rubbish
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.nets import NotCausalError
from vispec.verify.oracle.oracle import enumerate_log_prob, log_joint
from vispec.verify.oracle.row import read_row

MIXTURE = """
size K = 2
param pi : simplex[K]
plate k[K]:
    param mu : real
    param sd : positive

plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real ~ Normal(mu[c], sd[c])
"""

HMM = """
size K = 2
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param emit  : simplex[3]

plate n:
    chain t:
        latent   c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : category[3] ~ Categorical(emit[c])
"""

IBM1 = """
net lex(y: category[4]) -> simplex[5] = embed(2)

plate pair:
    plate j:
        given y : category[4]
    plate i:
        latent   a : index[j]    ~ Uniform()
        observed x : category[5] ~ Categorical(lex(y[a]))
"""

PARTIAL = """
size K = 3
param pi : simplex[K]
plate k[K]:
    param p : unit
    param m : real

plate n:
    plate i:
        partial  y : index[k] ~ Categorical(pi)
        partial  b : bit  ~ Bernoulli(p[y])
        partial  x : real ~ Normal(m[y], 1)
"""

PREFIX = """
net lm(prefix: category[4]*) -> simplex[4] = lstm(embed=2, hidden=2)

plate n:
    chain i:
        observed x : category[4] ~ Categorical(lm(x[<i]))
"""


def model_of(text: str) -> Model:
    return check_model(parse(Source("tiny.vispec", text)))


class Simplexes(nn.Module):
    """Params of a hand-written module: softmax of the entries in `logits`, exp of those in `logs`, the rest as they are."""

    def __init__(self, logits: dict[str, Tensor], logs: dict[str, Tensor], plain: dict[str, Tensor]):
        super().__init__()
        self.tables = nn.ParameterDict({name: nn.Parameter(v) for name, v in {**logits, **logs, **plain}.items()})
        self.logits, self.logs = set(logits), set(logs)

    def __getattr__(self, name: str) -> Tensor:
        tables = self.__dict__["_modules"].get("tables")
        if tables is None or name not in tables:
            return super().__getattr__(name)
        value = tables[name]
        return value.softmax(-1) if name in self.logits else value.exp() if name in self.logs else value


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same_gradients(module: nn.Module, own: Tensor, by_hand: Tensor) -> None:
    parameters = list(module.parameters())
    left, right = (torch.autograd.grad(value, parameters, materialize_grads=True) for value in (own, by_hand))
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-14)


def test_mixture_by_hand() -> None:
    model = model_of(MIXTURE)
    module = Simplexes({"pi": rand(2)}, {"sd": rand(2, seed=1)}, {"mu": rand(2, seed=2)})
    row = read_row(model, {"K": 2}, {"x": torch.tensor([0.0, 0.7], dtype=torch.float64)}, 1)
    enumeration = enumerate_log_prob(model, module, row)
    z = (0.7 - module.mu) / module.sd
    parts = module.pi.log() - 0.5 * z**2 - module.sd.log() - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(enumeration.log_prob, parts.logsumexp(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(enumeration.marginal(("c", ())), parts.softmax(0).detach(), rtol=1e-13, atol=0)
    assert enumeration.modes() == [{("c", ()): int(parts.argmax())}]
    entropy = torch.distributions.Categorical(logits=parts).entropy()
    torch.testing.assert_close(enumeration.entropy, entropy.detach(), rtol=1e-13, atol=0)
    same_gradients(module, enumeration.log_prob, parts.logsumexp(0))


def forward_algorithm(module: Simplexes, x: list[int]) -> Tensor:
    alpha = module.init * module.emit[:, x[0]]
    for symbol in x[1:]:
        alpha = (alpha @ module.trans) * module.emit[:, symbol]
    return alpha.sum().log()


def hmm_module() -> Simplexes:
    return Simplexes({"init": rand(2), "trans": rand(2, 2, seed=1), "emit": rand(2, 3, seed=2)}, {}, {})


def hmm_batch() -> dict[str, Tensor]:
    return {"x": torch.tensor([[2, 0, 1], [1, 0, 0]]), "x_len": torch.tensor([3, 1])}


@pytest.mark.parametrize(("index", "symbols"), [(0, [2, 0, 1]), (1, [1])])
def test_hidden_markov_model_by_the_forward_algorithm(index: int, symbols: list[int]) -> None:
    model, module = model_of(HMM), hmm_module()
    enumeration = enumerate_log_prob(model, module, read_row(model, {"K": 2}, hmm_batch(), index))
    expected = forward_algorithm(module, symbols)
    assert len(enumeration.log_joint) == 2 ** len(symbols)
    torch.testing.assert_close(enumeration.log_prob, expected, rtol=1e-14, atol=0)
    same_gradients(module, enumeration.log_prob, expected)


def test_log_joint_is_the_sum_of_the_terms() -> None:
    model, module = model_of(HMM), hmm_module()
    states = [1, 0, 0]
    assignment = {("c", (t,)): torch.tensor(state) for t, state in enumerate(states)}
    got = log_joint(model, module, read_row(model, {"K": 2}, hmm_batch(), 0), assignment)
    start = module.init[1] * module.trans[1, 0] * module.trans[0, 0]
    torch.testing.assert_close(got, (start * module.emit[1, 2] * module.emit[0, 0] * module.emit[0, 1]).log())


def test_structural_zeros_are_exact_and_have_no_gradient() -> None:
    model = model_of(HMM)
    init = torch.tensor([0.0, -torch.inf], dtype=torch.float64)
    trans = torch.tensor([[0.0, 0.3], [-torch.inf, 0.0]], dtype=torch.float64)  # state 1 is absorbing
    emit = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -torch.inf]], dtype=torch.float64)
    module = Simplexes({"init": init, "trans": trans, "emit": emit}, {}, {})
    batch = {"x": torch.tensor([[2, 2, 1], [0, 0, 2]]), "x_len": torch.tensor([3, 3])}
    values = [enumerate_log_prob(model, module, read_row(model, {"K": 2}, batch, b)).log_prob for b in range(2)]
    torch.testing.assert_close(values[0], forward_algorithm(module, [2, 2, 1]))
    gradients = torch.autograd.grad(values[0], list(module.parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    module.tables["emit"].data[0, 2] = -torch.inf
    impossible = enumerate_log_prob(model, module, read_row(model, {"K": 2}, batch, 0))
    assert impossible.log_prob == -torch.inf
    assert not impossible.log_prob.requires_grad


class Lex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(rand(4, 5))

    def forward(self, y: Tensor) -> Tensor:
        return self.table[y]


def test_ibm1_factorises_over_target_words() -> None:
    model = model_of(IBM1)
    module = nn.Module()
    module.lex = Lex()
    batch = {
        "y": torch.tensor([[3, 1, 0], [2, 0, 0]]),
        "y_len": torch.tensor([3, 1]),
        "x": torch.tensor([[4, 4], [1, 0]]),
        "x_len": torch.tensor([2, 1]),
    }
    for b, (y, x) in enumerate((([3, 1, 0], [4, 4]), ([2], [1]))):
        row = read_row(model, {}, batch, b)
        enumeration = enumerate_log_prob(model, module, row)
        table = module.lex.table.log_softmax(-1)[y][:, x] - math.log(len(y))
        torch.testing.assert_close(enumeration.log_prob, table.logsumexp(0).sum(), rtol=1e-14, atol=0)
        torch.testing.assert_close(enumeration.marginal(("a", (0,))), table[:, 0].softmax(0).detach())


def test_missing_cells_are_summed_or_integrated_out() -> None:
    model = model_of(PARTIAL)
    module = Simplexes({"pi": rand(3)}, {"p": -rand(3, seed=1).exp()}, {"m": rand(3, seed=2)})
    seen = {"y_observed": [[True, False, False]], "b_observed": [[True, True, False]], "x_observed": [[False, True, False]]}
    batch = {
        "y": torch.tensor([[2, 0, 0]]),
        "b": torch.tensor([[1.0, 0.0, 0.0]]),
        "x": torch.tensor([[0.0, 0.4, 0.0]]),
        "y_len": torch.tensor([3]),
        **{name: torch.tensor(value) for name, value in seen.items()},
    }
    got = enumerate_log_prob(model, module, read_row(model, {"K": 3}, batch, 0)).log_prob
    first = module.pi[2].log() + module.p[2].log()
    normal = torch.distributions.Normal(module.m, 1).log_prob(torch.tensor(0.4))
    second = (module.pi.log() + (1 - module.p).log() + normal).logsumexp(0)
    torch.testing.assert_close(got, first + second, rtol=1e-7, atol=0)


def test_a_missing_continuous_cell_that_others_read_is_refused() -> None:
    model = model_of("plate n:\n    partial x : real ~ Normal(0, 1)\n    observed y : real ~ Normal(x, 1)\n")
    batch = {"x": torch.zeros(1), "x_observed": torch.tensor([False]), "y": torch.zeros(1)}
    with pytest.raises(NotCheckedError, match="`x` is missing"):
        enumerate_log_prob(model, nn.Module(), read_row(model, {}, batch, 0))


class Bigram(nn.Module):
    """Logits from the last element before each; from the element itself where it `peeks`."""

    def __init__(self, peeks: bool):
        super().__init__()
        self.table, self.peeks = nn.Parameter(rand(5, 4)), peeks

    def prefixes(self, words: Tensor) -> Tensor:
        past = words if self.peeks else torch.cat((words.new_full((1,), 4), words[:-1]))
        return self.table[past]


def test_prefix_nets_are_asked_for_the_past_alone() -> None:
    model = model_of(PREFIX)
    module = nn.Module()
    module.lm = Bigram(peeks=False)
    batch = {"x": torch.tensor([[3, 0, 2]]), "x_len": torch.tensor([3])}
    table = module.lm.table.log_softmax(-1)
    got = enumerate_log_prob(model, module, read_row(model, {}, batch, 0)).log_prob
    torch.testing.assert_close(got, table[4, 3] + table[3, 0] + table[0, 2])
    module.lm = Bigram(peeks=True)
    with pytest.raises(NotCausalError):
        enumerate_log_prob(model, module, read_row(model, {}, batch, 0))


def test_rows_survive_rubbish_and_trimming() -> None:
    model, generator = model_of(IBM1), torch.Generator().manual_seed(3)
    batch = random_batch(model, {}, 4, generator)
    wide = with_rubbish(model, {}, batch, generator)
    assert wide["x"].shape[1] == batch["x"].shape[1] + 2
    assert not torch.equal(wide["x"][:, : batch["x"].shape[1]], batch["x"])
    for other in (wide, trimmed(model, {}, wide)):
        for old, new in zip(read_rows(model, {}, batch, 4), read_rows(model, {}, other, 4), strict=True):
            assert old.values == new.values
