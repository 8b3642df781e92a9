"""`label_smoothing` is of training alone: (1 − ε) log p of what is seen, and ε times the mean over all outcomes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source

FIT = "fit:\n    label_smoothing : 0.2\n"
NET = """net f(y: real) -> simplex[3] = mlp([4])
plate n:
    given    y : real
    observed x : category[3] ~ Categorical(f(y))
"""
TABLE = """param theta : simplex[3]
plate n:
    plate i:
        observed x : category[3] ~ Categorical(theta)
"""
MEMORY = """param theta : simplex[3]
param next : simplex[3]
plate n:
    chain i:
        observed x : category[3] ~ Categorical(theta) then Categorical(next if x[i-1] == 1 else theta)
"""
PREFIX = """vocab V(end=true)
net lm(prefix: token[V]*) -> simplex[V] = gru(embed=3, hidden=4)
plate n:
    chain i:
        observed x : token[V] ~ Categorical(lm(x[<i]))
"""
SIZED = """param theta : simplex[3]
plate n:
    plate d[4]:
        observed x : category[3] ~ Categorical(theta)
"""
VECTOR = "param theta : simplex[3]\nplate n:\n    observed x : category[3, 4] ~ Categorical(theta)\n"


def module_of(text: str) -> Any:
    """The emitted module in float64."""
    space: dict = {}
    exec(compile_spec(Source("m.vispec", text), {}), space)
    torch.manual_seed(0)
    return space["M"](**({"V": 3} if "vocab" in text else {})).double()


def batch_of(text: str) -> dict[str, Tensor]:
    x = torch.tensor([[2, 1, 0, 2], [1, 1, 2, 0]])
    if "given" in text:
        return {"x": x[:, 0], "y": torch.tensor([0.3, -1.0]).double()}
    return {"x": x} if "4]" in text else {"x": x, "x_len": torch.tensor([4, 2])}


def with_other(batch: dict[str, Tensor], place: tuple[int, ...], value: int) -> dict[str, Tensor]:
    x = batch["x"].clone()
    x[(slice(None), *place)] = value
    return batch | {"x": x}


@pytest.mark.parametrize("text", [NET, TABLE, SIZED, VECTOR])
def test_it_is_the_mean_over_what_might_be_seen(text: str) -> None:
    """Where elements are independent: each in turn replaced by each outcome."""
    module, batch = module_of(text + FIT), batch_of(text)
    seen = module.eval().log_prob(batch)
    assert torch.equal(module.train().log_prob(batch), seen), "asked for without the loss it is what is seen"
    places = [()] if batch["x"].dim() == 1 else [(i,) for i in range(4)]
    shift = sum(torch.stack([module.log_prob(with_other(batch, p, v)) - seen for v in range(3)]).mean(0) for p in places)
    loss = -(seen + 0.2 * shift).sum()  # what does not count, past the end, shifts nothing
    torch.testing.assert_close(module.train().loss(batch, 2), loss)
    torch.testing.assert_close(module.eval().loss(batch, 2), -seen.sum())


@pytest.mark.parametrize("text", [MEMORY, PREFIX])
def test_what_comes_before_is_read_as_it_is(text: str) -> None:
    """By the law of each element given those before it."""
    module = module_of(text + FIT)
    total = torch.zeros((), dtype=torch.float64)
    for row, length in zip([[2, 1, 0, 2], [1, 1, 2, 0]], (4, 2), strict=True):
        for n in range(1, length + 1):
            ways = torch.tensor([[*row[: n - 1], v] for v in range(3)])
            log_joint = module.eval().log_prob({"x": ways, "x_len": torch.full((3,), n)})
            before = module.log_prob({"x": ways[:1, : n - 1], "x_len": torch.tensor([n - 1])}) if n > 1 else 0.0
            log_p = log_joint - before
            total = total + 0.8 * log_p[row[n - 1]] + 0.2 * log_p.mean()
    torch.testing.assert_close(module.train().loss(batch_of(text), 2), -total)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plate n:\n    observed x : real ~ Normal(0, 1)\n", "no labels to smooth"),
        (
            "param pi : simplex[2]\nplate k[2]:\n    param theta : simplex[3]\n"
            "plate n:\n    latent c : index[k] ~ Categorical(pi)\n    observed x : category[3] ~ Categorical(theta[c])\n",
            "`x` is summed over what is latent",
        ),
    ],
)
def test_where_there_is_nothing_to_smooth(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        compile_spec(Source("m.vispec", text + FIT))
    assert any(message in each.message for each in caught.value.diagnostics)
