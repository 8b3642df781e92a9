"""What `sample` gives, against the probabilities that `log_prob` has of every row there can be; and where rows end."""

from itertools import product
from typing import Any

import pytest
import torch

from vispec.compile import class_of
from vispec.lower.outputs import lower
from vispec.model.check import check_model
from vispec.plan.guides import complete_guides
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.torch.module import print_module

CHAINS = {
    "then": """
plate n:
    chain t:
        observed a : category[3] ~ Categorical(first) then Categorical(move[a[t-1]])
        observed b : bit ~ Bernoulli(chance[a])
param first : simplex[3]
plate k[3]:
    param move : simplex[3]
    param chance : unit
""",
    "two steps back": """
plate n:
    chain t:
        observed a : bit ~ Bernoulli(p) then Bernoulli(q) then Bernoulli(sigmoid(u * a[t-1] + v * a[t-2]))
param p : unit
param q : unit
param u : real
param v : real
""",
    "each other's past": """
plate n:
    chain t:
        observed a : bit ~ Bernoulli(p) then Bernoulli(sigmoid(u * b[t-1] - v))
        observed b : bit ~ Bernoulli(sigmoid(v * a)) then Bernoulli(sigmoid(v * a + u * a[t-1] - u * b[t-1]))
param p : unit
param u : real
param v : real
""",
    "all before": """
plate n:
    chain t:
        observed a : bit ~ Bernoulli(sigmoid(u * sum(a[<t]) + v))
param u : real
param v : real
""",
    "all before the one before": """
plate n:
    chain t:
        let v = sum(a[<t])
        observed a : bit ~ Bernoulli(p) then Bernoulli(sigmoid(u + v[t-1]))
param u : real
param p : unit
""",
    "a choice by position": """
plate n:
    chain t:
        observed a : bit ~ Bernoulli(p) if t == 1 else Bernoulli(q)
        observed b : category[3] ~ Categorical(one) if a == 1 else Uniform()
param p : unit
param q : unit
param one : simplex[3]
""",
}
PLATES = {
    "a choice by an inner plate": """
plate n:
    plate j[2]:
        observed a : bit ~ Bernoulli(p) if j == 1 else Bernoulli(q)
        observed c : count ~ Zero() if a == 1 else Binomial(2, p)
param p : unit
param q : unit
""",
    "what an index points at": """
plate n:
    plate j[2]:
        observed a : bit ~ Bernoulli(p[j])
    observed i : index[j] ~ Uniform()
    observed b : bit ~ Bernoulli(sigmoid(u * a[i] - 1))
plate j[2]:
    param p : unit
param u : real
""",
}


def built(text: str) -> Any:
    """The module that the tensor program gives of a spec, in float64, with random parameters."""
    source = Source("model.vispec", text)
    printed = print_module(lower(complete_guides(check_model(parse(source), {}))))
    names: dict[str, Any] = {}
    exec(printed, names)
    torch.manual_seed(1)
    module = names[class_of(printed)]().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def agrees(module: Any, found: dict[str, torch.Tensor], values: dict[str, int], lengths: dict[str, torch.Tensor]) -> None:
    """Frequencies of whole rows, against exp(log_prob): each within six standard deviations."""
    names = list(values)
    cells = [(name, found[name][0].numel()) for name in names]
    grid = torch.tensor(list(product(*(range(values[name]) for name, n in cells for _ in range(n)))))
    rows, at = {}, 0
    for name, n in cells:
        rows[name] = grid[:, at : at + n].reshape(-1, *found[name].shape[1:]).to(found[name].dtype)
        at += n
    p = module.log_prob({**rows, **{key: x[:1].expand(len(grid)) for key, x in lengths.items()}}).exp().detach()
    torch.testing.assert_close(p.sum(), torch.ones_like(p.sum()))
    drawn = torch.cat([found[name].reshape(len(found[name]), -1).long() for name in names], 1)
    size = len(drawn)
    often = torch.stack([(drawn == row).all(1).double().mean() for row in grid])
    assert ((often - p).abs() <= 6 * (p * (1 - p) / size).sqrt() + 1e-12).all(), (often, p)


VALUES = {"a": 2, "b": 2, "c": 3, "i": 2}


@pytest.mark.parametrize("kind", CHAINS)
def test_frequencies_along_a_chain(kind: str) -> None:
    module, n = built(CHAINS[kind]), 4000
    lengths = torch.full((n,), 3 if kind != "then" else 2)
    found = module.sample(n, lengths={"t": lengths})
    told = {key: x for key, x in found.items() if key.endswith("_len")}
    values = {name: VALUES[name] for name in found if name in VALUES}
    values |= {"a": 3} if kind == "then" else {"b": 3} if kind == "a choice by position" else {}
    agrees(module, found, values, told)


@pytest.mark.parametrize("kind", PLATES)
def test_frequencies_in_plates(kind: str) -> None:
    module = built(PLATES[kind])
    found = module.sample(4000)
    agrees(module, found, {name: VALUES[name] for name in found}, {})


@pytest.mark.parametrize("kind", CHAINS)
def test_rows_end_where_they_end(kind: str) -> None:
    """0 past the end, by each rule; of rows without elements, room for one."""
    module, lengths = built(CHAINS[kind]), torch.tensor([3, 1, 0])
    for rule in ("sample", "mean", "mode"):
        found = module.generate(3, {}, {"t": lengths}, rule)
        for name, value in found.items():
            if name in VALUES:
                assert value.shape[:2] == (3, 3)
                assert not value[1, 1:].any()
                assert not value[2].any()
                assert value.isfinite().all()
    empty = module.sample(2, lengths={"t": torch.zeros(2, dtype=torch.long)})
    assert all(x.shape[1] == 1 and not x.any() for name, x in empty.items() if name in VALUES)
    assert module.log_prob({name: x[:, :0] if x.dim() > 1 else x for name, x in empty.items()}).tolist() == [0.0, 0.0]


def test_missing_lengths_name_their_plate() -> None:
    with pytest.raises(ValueError, match=r"\bt\b"):
        built(CHAINS["then"]).sample(3)


def test_means_are_probabilities_where_nothing_reads_them() -> None:
    module = built(CHAINS["then"])
    batch = module.sample(5, lengths={"t": torch.tensor([2, 1, 2, 2, 1])})
    mean = module.predict(batch)
    assert mean["a"].shape == (5, 2)  # it is read: its mode
    assert mean["b"].shape == (5, 2)
    torch.testing.assert_close(mean["b"][:, 0], module.chance[mean["a"][:, 0]].detach())
    module = built(CHAINS["a choice by position"])
    mean = module.predict({"a_len": torch.tensor([3]), "b_len": torch.tensor([3]), "a": torch.zeros(1, 3)})
    assert mean["b"].shape == (1, 3, 3)
    torch.testing.assert_close(mean["b"].sum(-1), torch.ones(1, 3, dtype=torch.float64))


def test_forward_is_log_prob() -> None:
    module = built(CHAINS["then"])
    batch = module.sample(4, lengths={"t": torch.tensor([2, 1, 2, 2])})
    assert module(batch).equal(module.log_prob(batch))
    moved = torch.func.functional_call(module, dict(module.named_parameters()), (batch,))
    assert moved.equal(module.log_prob(batch))
