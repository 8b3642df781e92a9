"""The random models' oracle on models that are small enough to be computed by hand, and on the specs that can be enumerated."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.random.compare import outcome
from tests.random.oracle import answer, worlds
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse

SPECS = Path(__file__).parents[2] / "specs"


def log_probs(text: str, batch: dict[str, Tensor], raw: dict[str, Tensor]) -> list[Tensor]:
    """Of each row, by brute force; `raw` is what a module would store, before any link function."""
    model = check_model(parse(Source("hand.vispec", text)), {})
    sizes = {size.name: int(size.value) for size in model.sizes if size.value is not None}
    rows = len(next(iter(batch.values())))
    return [answer(world).log_prob for world in worlds(model, sizes, batch, rows, {}, raw)]


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_a_mixture_and_its_gradient() -> None:
    text = "param p : unit\nplate n:\n    latent z : bit ~ Bernoulli(p)\n    observed x : bit ~ Bernoulli(0.9 if z else 0.2)\n"
    raw = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    p = 1 / (1 + math.exp(-0.4))
    ones, zeros = log_probs(text, {"x": torch.tensor([1.0, 0.0])}, {"p": raw})
    assert ones.item() == pytest.approx(math.log(0.9 * p + 0.2 * (1 - p)), rel=1e-14)
    assert zeros.item() == pytest.approx(math.log(0.1 * p + 0.8 * (1 - p)), rel=1e-14)
    (gradient,) = torch.autograd.grad(ones, raw)
    assert gradient.item() == pytest.approx(0.7 * p * (1 - p) / (0.9 * p + 0.2 * (1 - p)), rel=1e-13)


def test_a_chain_by_its_forward_pass() -> None:
    text = """plate k[2]:
    param step : simplex[2]
    param seen : unit
plate n:
    chain t:
        latent c : index[k] ~ Uniform() then Categorical(step[c[t-1]])
        observed x : bit ~ Bernoulli(seen[c])
"""
    raw = {"step": torch.tensor([[0.3, -0.2], [1.0, 0.1]]).double(), "seen": doubles(0.5, -1.0)}
    step, seen = raw["step"].softmax(-1), raw["seen"].sigmoid()
    x = [1, 0, 1]
    emit = [seen if value else 1 - seen for value in x]
    alpha = 0.5 * emit[0]
    for e in emit[1:]:
        alpha = (alpha @ step) * e
    (found,) = log_probs(text, {"x": torch.tensor([[1.0, 0, 1, 1]]), "x_len": torch.tensor([3])}, raw)
    assert found.item() == pytest.approx(alpha.sum().log().item(), rel=1e-13)


def test_a_table_is_read_by_the_plates_that_it_stands_in() -> None:
    """`T` stands in (g, k), in this order, though `k` was opened first; T[a, b] is element a of g and b of k."""
    text = """plate k[3]:
    param other : real
plate g[2]:
    plate k:
        param T : real
plate n:
    given a : index[g]
    given b : index[k]
    observed y : real ~ Normal(T[a, b] + 0 * other[b], 1)
"""
    table = torch.arange(6.0).double().reshape(2, 3)
    a, b = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 2])
    batch = {"a": a, "b": b, "y": table[a, b]}
    found = log_probs(text, batch, {"T": table, "other": torch.zeros(3).double()})
    assert [x.item() for x in found] == pytest.approx([-0.5 * math.log(2 * math.pi)] * 3, rel=1e-14)


def test_missing_cells_are_summed_and_pointers_stay_in_their_plate() -> None:
    text = """plate n:
    plate j:
        given y : bit
        partial w : bit ~ Bernoulli(0.3)
    latent a : index[j] ~ Uniform()
    observed x : bit ~ Bernoulli(0.5 if y[a] else 0.25)
    observed u : bit ~ Bernoulli(0.5 if max(w[*]) > 0 else 0.1)
"""
    batch = {
        "y": torch.tensor([[1.0, 0.0, 1.0]]),
        "y_len": torch.tensor([2]),
        "w": torch.tensor([[0.0, 1.0, 1.0]]),
        "w_observed": torch.tensor([[True, False, True]]),
        "x": torch.tensor([1.0]),
        "u": torch.tensor([1.0]),
    }
    expected = math.log(0.5 * (0.5 + 0.25)) + math.log(0.7) + math.log(0.3 * 0.5 + 0.7 * 0.1)
    assert log_probs(text, batch, {})[0].item() == pytest.approx(expected, rel=1e-14)


def test_what_is_impossible_has_no_gradient() -> None:
    text = "param p : unit\nplate n:\n    latent z : bit ~ Bernoulli(p)\n    observed x : count ~ Zero() if z else Zero()\n"
    raw = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    impossible, certain = log_probs(text, {"x": torch.tensor([2.0, 0.0])}, {"p": raw})
    assert impossible.item() == -math.inf
    assert not impossible.requires_grad
    assert certain.item() == pytest.approx(0, abs=1e-15)


ENUMERABLE = (
    *(
        "annotators",
        "bits",
        "factorial_hmm",
        "grading",
        "hierarchical_mixture",
        "hmm",
        "hmm2",
        "hmm_alignment",
        "ibm1",
        "iohmm",
    ),
    *("mixture_hmm", "naive_bayes", "neural_hmm", "noisy_or", "partial_tagger", "potts", "tagger"),
)


@pytest.mark.parametrize("name", ENUMERABLE)
def test_specs_agree(name: str) -> None:
    """Every model of the examples that brute force can go through, at sizes of two."""
    text = (SPECS / f"{name}.vispec").read_text()
    tree = parse(Source(name, text))
    sizes = {d.name.id: 2 for d in tree.body if type(d).__name__ in ("Size", "Vocab")}  # pyright: ignore[reportAttributeAccessIssue]
    found = outcome(text, 3, sizes=sizes)
    assert found.status == "agree", found
