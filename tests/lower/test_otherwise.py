"""`exact up to B else E`: rows of few joint values are summed, others estimated, whatever stands beside them in a batch."""

import pytest
import torch
from torch import nn

from vispec.compile import class_of, compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source

SPEC = """
vocab V
net select(w: token[V]) -> unit = embed(4) |> mlp([4])
net classify(w: token[V]*) -> simplex[3] = embed(4) |> mean |> mlp([6])
{shared}plate row:
    plate i{size}:
        given y : token[V]
        latent f : bit ~ Bernoulli({chance})
    observed x : category[3] ~ Categorical(classify(y[*] where f[*]))
infer:
    f : exact{up_to}
{more}"""
LENGTHS = [3, 2, 60, 0, 40]


def module_of(up_to: str = "", shared: str = "", size: str = "", chance: str = "select(y)", more: str = "") -> nn.Module:
    text = SPEC.format(up_to=up_to, shared=shared, size=size, chance=chance, more=more)
    printed = compile_spec(Source("model.vispec", text), {"V": 7})
    names: dict = {}
    exec(printed, names)
    torch.manual_seed(0)
    return names[class_of(printed)]().double()


def batch_of(longest: int = 60) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(7, (5, 60), generator=generator)[:, :longest]
    return {"y": y, "y_len": torch.tensor(LENGTHS).clamp(max=longest), "x": torch.tensor([0, 1, 2, 1, 0])}


def test_short_rows_are_summed_and_long_ones_estimated() -> None:
    """A row of 60 elements has 2^60 joint values, of which none may be there."""
    exact, either = module_of(), module_of(" up to 8 else score(samples=4)")
    few = torch.tensor([True, True, False, True, False])
    assert torch.equal(either.few(batch_of()), few)
    torch.manual_seed(1)
    found = either.log_prob(batch_of())
    torch.testing.assert_close(found[few], exact.log_prob(batch_of(3))[few])
    assert found[~few].isfinite().all()
    assert not torch.equal(found[~few], either.log_prob(batch_of())[~few])
    grads = torch.autograd.grad(found[few].sum(), [*either.parameters()])
    summed = torch.autograd.grad(exact.log_prob(batch_of(3))[few].sum(), [*exact.parameters()])
    for got, wanted in zip(grads, summed, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("size", ["[3]", ""])
def test_the_bound_is_counted_in_joint_values(size: str) -> None:
    batch = batch_of(3)
    if size:
        batch.pop("y_len")
    for up_to, many in ((8, True), (7, False)):
        few = module_of(f" up to {up_to} else score(samples=2)", size=size).few(batch)
        assert bool(few[0]) is many


def test_both_ways_read_one_draw_of_what_rows_share() -> None:
    told = {"shared": "latent m : real ~ Normal(0, 1)\n", "chance": "sigmoid(m + select(y))"}
    module = module_of(" up to 8 else score(samples=1)", more="    m : elbo(samples=1)\n", **told)
    shared = module.shared()
    torch.testing.assert_close(*(module.log_prob(batch_of(), shared)[[0, 1, 3]] for _ in range(2)))
    with pytest.raises(SpecError) as caught:
        module_of(" up to 8 else score(samples=4)", more="    m : elbo(samples=1)\n", **told)
    assert [d.code for d in caught.value.diagnostics] == ["V714"]


def test_a_sum_that_takes_more_whatever_the_data_is_estimated() -> None:
    text = "size K = 9\nparam p : simplex[K]\nparam mu : real[K]\n"
    text += "plate n:\n    latent c : category[K] ~ Categorical(p)\n    observed x : real ~ Normal(mu[c], 1)\n"
    for most, exact in ((20, True), (3, False)):
        asked = f"infer:\n    c : exact up to {most} else score(samples=2)\n"
        assert f"exact = {exact}" in compile_spec(Source("model.vispec", text + asked))
