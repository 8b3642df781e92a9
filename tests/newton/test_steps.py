"""The steps of second-order searches, on functions whose minima are known."""

import math

import pytest
import torch

from vispec.train.newton import krylov, quasi, trust
from vispec.train.newton.curvature import hessian, scale_of
from vispec.train.newton.search import scaled
from vispec.train.newton.state import State, begin


def with_gradient(function):
    """A function of one vector as value and gradient, infinite where it is not finite."""

    def f(x):
        x = x.detach().clone().requires_grad_()
        value = function(x)
        (gradient,) = torch.autograd.grad(value, x, materialize_grads=True, allow_unused=True)
        if not bool(value.isfinite()) or not bool(gradient.isfinite().all()):
            return math.inf, torch.zeros_like(gradient)
        return float(value.detach()), gradient

    return f


def vector(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def descend(f, x, advance=trust.advance, tolerance=1e-10, rounds=200) -> State:
    state = begin(f, x)
    while state.rounds < rounds and not state.converged(tolerance) and not state.stuck:
        state = advance(f, state, tolerance)
    return state


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


UNITS = vector(1e-6, 1.0, 3e5, 20.0)


@pytest.mark.parametrize("advance", [trust.advance, krylov.advance])
def test_a_valley_is_followed_to_its_end_in_any_units(advance):
    found = descend(with_gradient(rosenbrock), vector(1.2, 1, -0.5, 2), advance)
    assert found.converged(1e-10)
    torch.testing.assert_close(found.x, torch.ones(4, dtype=torch.float64), atol=3e-5, rtol=0)  # ½ · 0.4 · (3e-5)² nats


def test_units_change_nothing():
    plain = descend(with_gradient(rosenbrock), vector(1.2, 1, -0.5, 2))
    other = descend(with_gradient(lambda u: rosenbrock(u / UNITS)), vector(1.2, 1, -0.5, 2) * UNITS)
    assert other.converged(1e-10)
    torch.testing.assert_close(other.x / UNITS, plain.x, atol=1e-5, rtol=0)


def test_the_decrement_is_the_distance_to_the_minimum_of_a_quadratic():
    a = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    f = with_gradient(lambda x: 0.5 * x @ a @ x - x[0] + 5)
    least = 5 - 0.5 * float(torch.linalg.inv(a)[0, 0])
    state = trust.advance(f, begin(f, vector(4, -3)), 1e-10)
    assert state.decrement == pytest.approx(f(vector(4, -3))[0] - least, rel=1e-6)


@pytest.mark.parametrize("start", [(0.0, 0.0), (0.0, 1e-9), (2.0, 0.0)])
def test_saddles_are_left(start):
    """x² − y² + y⁴ has minima at y = ±1/√2 and a saddle between them, where the gradient is 0."""
    found = descend(with_gradient(lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4), vector(*start))
    assert found.value == pytest.approx(-0.25, abs=1e-9)


def test_a_saddle_without_slope_is_left_without_a_hessian():
    """½ |x|² − x₁² + x₁⁴ in 400 numbers, from 0, where the gradient is exactly 0: a minimum in all others."""
    f = with_gradient(lambda x: 0.5 * x @ x - x[0] ** 2 + x[0] ** 4)
    state = krylov.advance(f, begin(f, torch.zeros(400, dtype=torch.float64)), 1e-10)
    assert state.saddle
    while not state.converged(1e-10) and not state.stuck and state.rounds < 50:
        state = krylov.advance(f, state, 1e-10)
    assert state.value == pytest.approx(-1 / 16, abs=1e-9)


def test_a_minimum_without_slope_is_an_end():
    f = with_gradient(lambda x: 0.5 * x @ x)
    assert krylov.advance(f, begin(f, torch.zeros(400, dtype=torch.float64)), 1e-10).converged(1e-10)


def test_what_is_infinite_is_a_refused_step():
    """−log x − log(1 − x) + 50 x² from near an end: a Newton step would leave the interval."""
    f = with_gradient(lambda x: (-(x.log()) - (1 - x).log() + 50 * (x - 0.9) ** 2).sum())
    found = descend(f, vector(1e-3))
    assert found.converged(1e-10)
    assert abs(float(f(found.x)[1])) < 1e-4


def test_a_direction_that_is_not_known_is_left_alone():
    found = descend(with_gradient(lambda x: (x[0] + x[1] - 3) ** 2 + (x[2] - 1) ** 4 + (x[2] - 1) ** 2), vector(5, 7, 4))
    assert found.converged(1e-10)
    assert float(found.x[:2].sum()) == pytest.approx(3, abs=1e-5)
    assert float(found.x[0] - found.x[1]) == pytest.approx(-2, abs=1e-6)


def test_a_tail_that_never_ends_is_followed_until_little_is_left():
    """A probability that goes to 0: log(1 + eˣ) has its infimum at −∞."""
    found = descend(with_gradient(lambda x: torch.nn.functional.softplus(x).sum()), vector(0.0, 3.0))
    assert found.converged(1e-10)
    assert found.value < 1e-9


def test_kinks_are_where_quasi_newton_steps_end():
    """The least absolute deviations of a line: no curvature, and no gradient that goes to 0."""
    x = torch.linspace(0, 1, 21, dtype=torch.float64)
    y = 3 + 2 * x + torch.sin(40 * x)
    f = with_gradient(lambda b: (y - b[0] - b[1] * x).abs().sum())
    state = begin(f, vector(0, 0))
    while not state.stuck and state.rounds < 500:
        state = quasi.advance(f, state)
    corners = [(i, j) for i in range(21) for j in range(i)]
    lines = [torch.linalg.solve(torch.stack([torch.ones(2).double(), x[[i, j]]], 1), y[[i, j]]) for i, j in corners]
    assert state.value == pytest.approx(min(f(line)[0] for line in lines), abs=1e-6)  # some best line passes through two points


def test_many_numbers_are_found_without_a_hessian():
    weights = torch.logspace(-3, 4, 500, dtype=torch.float64)
    target = torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    f = with_gradient(lambda x: (weights * ((x - target) ** 2 + 0.1 * (x - target) ** 4)).sum())
    state = scaled(f, begin(f, torch.zeros(500, dtype=torch.float64)))
    while not state.stuck and not quasi.slow(state, 1e-3) and state.rounds < 1000:
        state = quasi.advance(f, state)
    state = state.fresh()
    while not state.converged(1e-9) and not state.stuck and state.rounds < 50:
        state = krylov.advance(f, state, 1e-9)
    assert state.converged(1e-9)
    assert state.value < 1e-8


def test_differences_give_the_hessian_and_shorten_where_it_bends():
    f = with_gradient(lambda x: x[0] ** 2 * x[1] + torch.exp(x[2] - 20))
    x = vector(1.5, -0.5, 2.0)
    exact = torch.diag(vector(-1.0, 0.0, math.exp(-18))) + torch.tensor([[0, 3.0, 0], [3.0, 0, 0], [0, 0, 0]]).double()
    scale = scale_of(exact, f(x)[1], f(x)[0])  # 1e4 units of the third number are one of curvature
    for precise, error in ((False, 1e-6), (True, 1e-9)):
        found = hessian(f, x, scale, precise)
        torch.testing.assert_close(found[:2, :2], exact[:2, :2], atol=error, rtol=0)
        assert float(found[2, 2]) == pytest.approx(math.exp(-18), rel=0.2)
