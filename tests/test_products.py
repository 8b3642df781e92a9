"""Functions that combine shapes, against enumeration and their definitions."""

import pytest
import torch

from vispec.compile import compile_spec
from vispec.kernels.probability import ordinal_log_probs
from vispec.model.check import check
from vispec.model.types import Type
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.verify import verify

SPEC = """
size K = 3
size V = 4
size D = 2
param theta : simplex[K]
param w     : real[D, K]
param u     : unit[K]
plate k[K]:
    param beta : simplex[V]
    param m    : real[D]
    param cuts : ordered[K - 1]

plate n:
    given a : real[K]
    given t : simplex[K]
    given l : count
    latent c : index[k] ~ Categorical(theta)
    {}
    plate i:
        given f : real[K]
"""
IN_ROW = [
    "observed x : category[V] ~ Categorical(dot(t, beta[*]))",
    "observed x : real[D] ~ Normal(dot(w, a) + dot(a, m[*]), 1 + c)",
    "observed x : real[D] ~ Normal(dot(w, a), 1 + c)",
    "observed x : real[D] ~ Normal(dot(one_hot(c), m[*]), 1)",
    "observed x : real[D] ~ Normal(dot(w, one_hot(c)), 1)",
    "observed x : bit ~ Bernoulli(dot(t, u))",
    "observed x : bit ~ Bernoulli(dot(u, t))",
    "observed x : category[K] ~ Categorical(ordinal(dot(a, a), cuts[c]))",
    "observed x : category[K] ~ Categorical(ordinal(l, cuts[c]))",
    "observed x : category[K] ~ Categorical(ordinal(0.5, cuts[c]))",
]


@pytest.mark.parametrize("line", IN_ROW)
def test_agrees_with_enumeration(line: str) -> None:
    report = verify(Source("tiny.vispec", SPEC.format(line)))
    assert not report.differs, str(report)


def test_along_an_inner_plate() -> None:
    lines = [
        "observed x : real[D] ~ Normal(dot(w, f), 1)",
        "observed y : category[K] ~ Categorical(ordinal(dot(f, f), cuts[c]))",
    ]
    inner = "".join(f"        {line}\n" for line in lines)
    report = verify(Source("tiny.vispec", SPEC.format("observed e : real ~ Normal(c, 1)") + inner))
    assert not report.differs, str(report)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("dot(t, beta[*])", Type("simplex", ("V",))),
        ("dot(t, u)", Type("unit")),
        ("dot(w, a)", Type("real", ("D",))),
        ("dot(a, m[*])", Type("real", ("D",))),
        ("ordinal(l, cuts[c])", Type("simplex", ("K",))),
    ],
)
def test_the_type_of_a_product(value: str, type_: Type) -> None:
    model, problems = check(parse(Source("tiny.vispec", SPEC.format(f"let s = {value}\n    observed x : real ~ Normal(c, 1)"))))
    assert model is not None
    assert not [problem for problem in problems if problem.severity == "error"]
    (let,) = model.lets
    assert (let.type.domain, list(let.type.shape)) == (type_.domain, list(type_.shape))


def test_an_interval_far_from_its_place_keeps_its_digits() -> None:
    place, cuts = (
        torch.tensor([-60.0, 0.0, 60.0], dtype=torch.float64),
        torch.tensor([-1.0, -1.0 + 1e-9, 3.0], dtype=torch.float64),
    )
    found = ordinal_log_probs(place, cuts)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, dtype=torch.float64))
    width = (cuts[1] - cuts[0]).log()
    density = -torch.nn.functional.softplus(place - cuts[0]) - torch.nn.functional.softplus(cuts[0] - place)
    torch.testing.assert_close(found[:, 1], density + width, rtol=1e-6, atol=1e-6)


def test_what_parameters_alone_decide_is_a_property() -> None:
    line = "observed x : real ~ Normal(mix, 1)"
    outside = (
        "plate k:\n    let share = softmax(m)\n    let height = sum(share) + theta[0]\nlet mix = max(height[*])\n\nplate n:"
    )
    text = SPEC.format(line).replace("\nplate n:", f"{outside}", 1)
    namespace: dict = {}
    exec(compile_spec(Source("tiny.vispec", text)), namespace)
    module = namespace["Tiny"]()
    torch.testing.assert_close(module.share, module.m.softmax(-1))
    torch.testing.assert_close(module.height, 1 + module.theta[:1].expand(3))
    torch.testing.assert_close(module.mix, 1 + module.theta[0])


def test_the_gradient_of_intervals_is_that_of_finite_differences() -> None:
    place = torch.randn(4, dtype=torch.float64, requires_grad=True)
    cuts = torch.tensor([-1.0, 0.2, 1.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ordinal_log_probs, (place, cuts))
