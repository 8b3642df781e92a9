"""Optimisers with their options, in `--set` as in a spec's `fit:`; what torch has not, is told."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from fitting import vispec, written

from vispec.train.setup.optimisers import make_optimiser, optimisers

SPEC = """param a : real
plate n:
    observed x : real ~ Normal(a, 1)
"""
RIGHT = [
    "lbfgs(lr=1)",
    "lbfgs(1)",
    "lbfgs",
    "lbfgs(lr=1, line_search_fn=strong_wolfe)",
    'lbfgs(lr=1, line_search_fn="strong_wolfe")',
    "lbfgs(lr=0.5, max_iter=10, history_size=5, line_search_fn=none)",
    "adam(lr=0.1, betas=[0.8, 0.99])",
    "adamw(0.1, weight_decay=0)",
    "sgd(lr=0.5, momentum=0.5, nesterov=true)",
    "rprop(lr=0.1)",
    "newton",
    "auto",
]
WRONG = {
    "lbfgs(lr=1, line=3)": "`lbfgs` has no option `line`",
    "lbfgs(lr=1, line_search_fn=wolfe)": "must be `strong_wolfe` or `none`",
    'lbfgs(line_search_fn="wolfe")': "must be `strong_wolfe` or `none`",
    "lbfgs(line_search_fn=1)": "must be `strong_wolfe` or `none`",
    "lbfgs(lr=0)": "`lr` of `lbfgs` must be a number above 0",
    "lbgfs(lr=1)": "lbfgs",
    "newton(lr=1)": "`newton` has no option `lr`",
}


@pytest.mark.parametrize("place", ["--set", "fit:"])
@pytest.mark.parametrize("optimiser", RIGHT)
def test_an_optimiser_with_its_options(tmp_path: Path, optimiser: str, place: str) -> None:
    text = f"{SPEC}fit:\n    optimizer : {optimiser}\n" if place == "fit:" else SPEC
    spec, data = written(tmp_path, text, {"x": [1.0, 2.0]})
    option = ("--set", f"optimizer={optimiser}") if place == "--set" else ()
    output = vispec("fit", spec, data, *option, "--epochs", "200", "--threads", "1", "--out", tmp_path / "run")
    assert "\na  " in output
    assert float(output.split("\na  ")[1].split()[0]) == pytest.approx(1.5, abs=2e-3)


@pytest.mark.parametrize("optimiser", WRONG)
def test_what_an_optimiser_has_not_is_told(tmp_path: Path, optimiser: str) -> None:
    spec, data = written(tmp_path, SPEC, {"x": [1.0, 2.0]})
    output = vispec("fit", spec, data, "--set", f"optimizer={optimiser}", "--out", tmp_path / "run", code=2)
    assert WRONG[optimiser] in output
    spec.write_text(f"{SPEC}fit:\n    optimizer : {optimiser}\n")
    assert WRONG[optimiser] in vispec("check", spec, code=1)


@pytest.mark.parametrize("name", sorted(optimisers()))
def test_an_optimiser_takes_the_steps_of_torch(name: str) -> None:
    """Without what torch puts around its methods, and with state that either reads."""
    torch.manual_seed(0)
    start = torch.randn(3, 2, dtype=torch.float64)
    own, theirs = (start.clone().requires_grad_() for _ in range(2))
    options = {"line_search_fn": "strong_wolfe"} if name == "lbfgs" else {}
    pair = (make_optimiser(name, 0.1, options, [own]), own), (optimisers()[name]([theirs], lr=0.1, **options), theirs)  # type: ignore[call-arg]
    for _ in range(3):
        for optimiser, x in pair:
            optimiser.zero_grad()

            def loss(optimiser=optimiser, x=x) -> torch.Tensor:
                optimiser.zero_grad()
                value = (x**4 - x).sum()
                value.backward()
                return value

            loss()
            optimiser.step(loss if name == "lbfgs" else None)  # type: ignore[arg-type]
        assert not torch.equal(own, start)
        torch.testing.assert_close(own, theirs, rtol=1e-12, atol=1e-12)
        (optimiser, _), (other, _) = pair
        other.load_state_dict(deepcopy(optimiser.state_dict()))
        optimiser.load_state_dict(deepcopy(other.state_dict()))
