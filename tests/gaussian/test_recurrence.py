"""Linear recurrences solved for all steps at once: against steps one after the other."""

import pytest
import torch

from vispec.compile import compile_spec
from vispec.kernels.sums.recurrence import reach_of_steps
from vispec.source import Source

SECOND_ORDER = """param mu : real
param p1 : real
param p2 : real
param s : positive
chain t:
    partial x : real ~ Normal(mu, s) then Normal(mu, s) then Normal(mu + p1 * (x[t-1] - mu) + p2 * (x[t-2] - mu), s)
"""
TWO_STATES = """param s : positive
chain t:
    partial x : real ~ Normal(0, s) then Normal(0.5 * x[t-1] + 0.2 * y[t-1], s)
    partial y : real ~ Normal(0, s) then Normal(0.3 * y[t-1] - 0.1 * x[t-1], s)
"""


@pytest.mark.parametrize("length", [1, 2, 3, 7])
@pytest.mark.parametrize("lags", [1, 2, 3])
def test_the_reach_of_steps(length: int, lags: int):
    pulls = torch.randn(lags, 2, length, dtype=torch.double)
    pulls[0, 0, length // 2] = 0.0
    enters, state = torch.randn(2, length, dtype=torch.double), list[torch.Tensor]()
    for t in range(length):
        state.append(enters[:, t] + sum(pulls[k, :, t] * state[t - 1 - k] for k in range(min(lags, t))))
    found = (reach_of_steps(*pulls) @ enters.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(found, torch.stack(state, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("text", "at_once"), [(SECOND_ORDER, True), (TWO_STATES, False)])
def test_where_one_state_moves_no_step_waits_for_another(text: str, at_once: bool):
    module = compile_spec(Source("steps.vispec", text), only=["log_prob"])
    assert ("reach_of_steps(" in module) is at_once
    assert ("for t in range(" in module) is not at_once
