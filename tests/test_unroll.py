"""Latents of crossing plates that a factor couples: the smaller plate is unrolled if it is small, else refused with numbers."""

import pytest
import torch

from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.kernels.sums.unrolled import over_joint_values
from vispec.model.check import check_model
from vispec.plan.order.steps import Element
from vispec.plan.planner import plan_model
from vispec.plan.show import show_plan
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.verify import verify

HEAD = """
size K = 2
size A = 2
param pa : simplex[A]
param pb : simplex[K]
plate a_[A]:
    param shift : real
    param gain  : simplex[K]
plate k[K]:
    param mu : real

plate n:
"""
BODIES = {
    "two ragged ends": """
    plate i[3]:
        latent a : index[a_] ~ Categorical(pa)
    plate j:
        latent b : index[k] ~ Categorical(pb)
        plate i:
            observed x : real ~ Normal(mu[b] + shift[a], 1)
""",
    "more below and above": """
    latent z : bit ~ Bernoulli(0.3)
    plate i[2]:
        latent a : index[a_] ~ Categorical(pa if z else softmax(pa))
        latent u : index[k] ~ Categorical(gain[a])
        observed y : real ~ Normal(mu[u], 1)
    plate j[3]:
        latent b : index[k] ~ Categorical(pb)
        observed w : real ~ Normal(mu[b] + z, 2)
        plate i:
            observed x : real ~ Normal(mu[b] * shift[a], 1)
            partial  v : category[K] ~ Categorical(gain[a] if b == 1 else pb)
""",
    "two latents each": """
    plate i[2]:
        latent a : index[a_] ~ Uniform()
        latent c : bit ~ Bernoulli(0.4)
    plate j[2]:
        latent b : index[k] ~ Categorical(pb)
        plate i:
            observed x : real ~ Normal(mu[b] + shift[a] * c, 1)
""",
    "three plates": """
    plate i[2]:
        latent a : index[a_] ~ Categorical(pa)
    plate j[2]:
        latent b : index[k] ~ Categorical(pb)
        plate i:
            plate m[2]:
                observed y : real ~ Normal(mu[b], 1)
    plate m:
        latent c : bit ~ Bernoulli(0.4)
        plate i:
            plate j:
                observed x : real ~ Normal(mu[b] + shift[a] * c, 1)
""",
    "inside a plate, one a chain": """
    plate g[2]:
        plate i[2]:
            latent a : index[a_] ~ Categorical(pa)
        chain j:
            latent b : index[k] ~ Categorical(pb) then Categorical(softmax(mu[b[j-1]] for k))
            plate i:
                observed x : real ~ Normal(mu[b] + shift[a], 1)
""",
}


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors: more threads only cost."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_coupled_plates_equal_enumeration(body):
    report = verify(Source("crossing.vispec", HEAD + body[1:]), rows=3)
    assert not report.differs, str(report)
    assert not report.unchecked, str(report)


def test_the_plan_says_what_is_summed_for_all_values_of_what():
    model = check_model(parse(Source("crossing.vispec", HEAD + BODIES["two ragged ends"][1:])))
    plan = plan_model(model)
    apart = {str(axis) for step in plan.order.steps if isinstance(step, Element) for axis, _ in step.at}
    assert apart == {"i"}
    because = {row.variable: row.because for row in plan.rows}
    assert because["a"] == "discrete; its elements are coupled: each is summed out for all values of the others"
    assert because["b"] == "discrete; summed out for all values of a"
    assert "16 · |n| · |j|" in show_plan(plan)


@pytest.mark.parametrize(
    ("i", "j", "code", "words"),
    [
        ("", "", "V701", "joint values along i: how many elements it has only the data can tell"),
        ("[40]", "", "V711", "summing out b, a takes 4.3 · 10^12 terms a row"),
        ("[40]", "[30]", "V701", "unrolling j makes 10^9 joint values"),
    ],
)
def test_large_plates_are_refused_with_numbers(i, j, code, words):
    body = BODIES["two ragged ends"].replace("plate i[3]", f"plate i{i}").replace("plate j", f"plate j{j}")
    with pytest.raises(SpecError) as refused:
        compile_spec(Source("crossing.vispec", HEAD + body[1:]))
    (found,) = refused.value.diagnostics
    assert found.code == code
    assert words in f"{found.message}; {found.help}"


@pytest.mark.parametrize("sizes", [(3,), (2, 3)])
def test_joint_values_pick_each_element_s_own(sizes):
    factor = torch.randn(5, 4, *sizes, dtype=torch.float64, requires_grad=True)
    got = over_joint_values(factor, len(sizes))
    assert got.shape == (5, *(k**4 for k in sizes))
    digits = [torch.arange(k**4)[:, None] // k ** torch.arange(4) % k for k in sizes]
    if len(sizes) == 1:
        expected = sum(factor[:, i, digits[0][:, i]] for i in range(4))
    else:
        expected = sum(factor[:, i, digits[0][:, None, i], digits[1][None, :, i]] for i in range(4))
    torch.testing.assert_close(got, expected)
    assert torch.autograd.gradcheck(lambda f: over_joint_values(f, len(sizes))[..., :7], (factor[:2, :2],))
