"""Second derivatives by torch: right, or an error, never a wrong number in silence."""

import ast
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.draws.kl import kl_normal_standard_vector
from vispec.kernels.poisson import log_poisson, stirling_remainder
from vispec.kernels.probability import log_of, log_of_rest
from vispec.kernels.sums.algebra import maximum
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.kernels.sums.mixture import mixture_log_prob, normal_natural
from vispec.kernels.sums.selected import SelectedLogSoftmax
from vispec.kernels.vectors import normal_vector_log_prob
from vispec.source import Source
from vispec.verify.build import build, randomise
from vispec.verify.trial import Trial, small_batch

ROOT = Path(__file__).parents[1]
SPECS = ROOT / "specs"
ROWS = 3
STEP = 1e-6  # small beside the distance to the next kink of a ReLU


# ---- operations with a gradient of their own


def leaf(*shape: int, positive: bool = False) -> Tensor:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))
    return (x.exp() if positive else x).requires_grad_()


ROW, COL = torch.tensor([[0, 1], [2, 2]]), torch.tensor([[1, 3], [0, 4]])
TWICE: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "LogSumExp": (log_sum_exp, (leaf(3, 4),)),
    "Maximum": (maximum, (leaf(3, 4),)),
    "MixtureLogProb": (mixture_log_prob, (leaf(3), leaf(3, 4), leaf(5, 4))),
    "NormalNatural": (lambda x, m, s: mixture(*normal_natural(x, m, s)), (leaf(5, 2), leaf(3, 2), leaf(3, 2, positive=True))),
    "NormalVectorLogProb": (normal_vector_log_prob, (leaf(4, 3), leaf(3), leaf(4, 3, positive=True))),
    "SelectedLogSoftmax": (lambda *x: SelectedLogSoftmax.apply(*x, ROW, COL), (leaf(3, 2), leaf(5, 2), leaf(5))),
    "KlNormalStandard": (kl_normal_standard_vector, (leaf(2, 3), leaf(2, 3, positive=True))),
    "LogOfProbability": (log_of, (leaf(4, positive=True),)),
    "LogOfRest": (log_of_rest, (-leaf(4, positive=True).detach().requires_grad_(),)),
    "LogPoisson": (log_poisson, (leaf(4, 1, positive=True), leaf(3, positive=True))),
    "StirlingRemainder": (stirling_remainder, (leaf(5, positive=True),)),
}


def mixture(const: Tensor, weight: Tensor, statistics: Tensor) -> Tensor:
    return log_sum_exp(const + statistics @ weight.T)


def operations() -> dict[str, type]:
    """Every autograd.Function of the kernels and of the distributions, by name."""
    found = {}
    for folder in ("kernels", "distributions"):
        for path in sorted((ROOT / "vispec" / folder).rglob("*.py")):
            names = [n.name for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.ClassDef)]
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)) if names else None
            classes = {name: getattr(module, name) for name in names}
            found |= {name: each for name, each in classes.items() if issubclass(each, torch.autograd.Function)}
    return found


def once(each: type) -> bool:
    """Whether its backward pass raises where it is to be differentiated."""
    return inspect.unwrap(each.backward).__code__ is first_derivative(None).__code__  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", operations())
def test_an_operation_has_a_second_derivative_or_says_that_it_has_none(name: str) -> None:
    assert once(operations()[name]) != (name in TWICE)


@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives_of_operations(name: str) -> None:
    function, inputs = TWICE[name]
    leaves = tuple(x.detach().clone().requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(lambda *x: function(*x).sum().sin(), leaves)


def test_selected_log_softmax_spends_its_buffer_on_one_gradient() -> None:
    h, weight, bias = (x.detach().clone().requires_grad_() for x in TWICE["SelectedLogSoftmax"][1])
    found = SelectedLogSoftmax.apply(h, weight, bias, ROW, COL).sum()
    first = torch.autograd.grad(found, h, retain_graph=True)[0]
    again = torch.autograd.grad(found, h, create_graph=True)[0]
    torch.testing.assert_close(again, first, rtol=1e-12, atol=1e-14)


def test_a_gradient_of_an_impossible_sum_is_zero_and_so_is_its_second() -> None:
    x = torch.tensor([[-torch.inf, -torch.inf], [0.0, -torch.inf]], dtype=torch.float64)
    second = torch.autograd.functional.hessian(lambda shift: log_sum_exp(x + shift).nan_to_num(neginf=0.0).sum(), torch.zeros(2).double())
    assert (second == 0).all()


# ---- modules


def hessians(trial: Trial, seed: int = 0) -> tuple[Tensor | None, Tensor]:
    """Of the rows' summed log-probability by all parameters: torch's, None where it refuses, and differences of gradients."""
    module = trial.built.module
    names, values = zip(*module.named_parameters(), strict=True)
    sizes = [value.numel() for value in values]

    def total(x: Tensor) -> Tensor:
        parts = {name: part.view_as(v) for name, v, part in zip(names, values, x.split(sizes), strict=True)}
        torch.manual_seed(seed)
        wrapped = {f"module.{name}": part for name, part in parts.items()}
        return torch.func.functional_call(Summed(module), wrapped, (trial.batch,))

    def gradient(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(total(x), x)[0]

    x = torch.cat([value.detach().reshape(-1) for value in values])
    steps = STEP * torch.eye(len(x), dtype=x.dtype)
    differences = torch.stack([(gradient(x + step) - gradient(x - step)) / (2 * STEP) for step in steps])
    try:
        return torch.autograd.functional.hessian(total, x), differences
    except RuntimeError as error:
        assert "first derivative only" in str(error), error
        return None, differences


class Summed(torch.nn.Module):
    """A module whose call is the summed log-probability."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.module.log_prob(batch).sum()  # type: ignore[operator]


def trial_of(text: str, name: str, sizes: dict[str, int] | None = None) -> Trial:
    built = build(Source(f"{name}.vispec", text), sizes or {})
    generator = torch.Generator().manual_seed(1)
    randomise(built, generator)
    return Trial(built, small_batch(built, ROWS, generator, 3000)[0], ROWS)


def along(trial: Trial, function: str, seed: int = 0) -> tuple[Tensor | None, Tensor]:
    """The derivative of the gradient of one of the module's methods along a random direction of all its parameters: torch's,
    None where it refuses, and the difference of two gradients."""
    module = trial.built.module
    values = [value for value in module.parameters() if value.requires_grad]
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(value.shape, dtype=value.dtype, generator=generator) for value in values]

    def gradient(again: bool = False) -> tuple[Tensor, ...]:
        torch.manual_seed(seed)
        found = trial.built.module.log_prob(trial.batch).sum() if function == "log_prob" else module.loss(trial.batch, ROWS)
        return torch.autograd.grad(found, values, create_graph=again, materialize_grads=True)

    def moved(by: float) -> Tensor:
        with torch.no_grad():
            for value, each in zip(values, direction, strict=True):
                value.add_(each, alpha=by)
        return flat(gradient())

    ahead = moved(STEP)
    behind = moved(-2 * STEP)
    moved(STEP)
    differences = (ahead - behind) / (2 * STEP)
    try:
        slope = sum(((g * d).sum() for g, d in zip(gradient(True), direction, strict=True)), torch.zeros(()))
        return flat(torch.autograd.grad(slope, values, allow_unused=True, materialize_grads=True)), differences
    except RuntimeError as error:
        assert "first derivative only" in str(error), error
        return None, differences


def flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])
