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
from vispec.kernels.native.mixture import native_normal_mixture
from vispec.kernels.probability import log_of, log_of_rest
from vispec.kernels.sums.algebra import maximum
from vispec.kernels.sums.gaussian import gram
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.kernels.sums.mixture import mixture_log_prob, normal_natural
from vispec.kernels.sums.selected import SelectedLogSoftmax
from vispec.kernels.sums.vocabulary import VocabularyLogProb
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
ROWS_OF_TWO = leaf(5, 2).detach()
TWICE: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "Gram": (gram, (leaf(5, 3),)),
    "LogSumExp": (log_sum_exp, (leaf(3, 4),)),
    "Maximum": (maximum, (leaf(3, 4),)),
    "MixtureLogProb": (mixture_log_prob, (leaf(3), leaf(3, 4), leaf(5, 4))),
    "NativeMixture": (lambda *x: native_normal_mixture(ROWS_OF_TWO, *x), (leaf(3), leaf(3, 2), leaf(3, 2, positive=True))),
    "NormalNatural": (lambda x, m, s: mixture(*normal_natural(x, m, s)), (leaf(5, 2), leaf(3, 2), leaf(3, 2, positive=True))),
    "NormalVectorLogProb": (normal_vector_log_prob, (leaf(4, 3), leaf(3), leaf(4, 3, positive=True))),
    "SelectedLogSoftmax": (lambda *x: SelectedLogSoftmax.apply(*x, ROW, COL), (leaf(3, 2), leaf(5, 2), leaf(5))),
    "VocabularyLogProb": (lambda *x: VocabularyLogProb.apply(*x, COL[:, 1], True, 0.1), (leaf(2, 3), leaf(5, 3), leaf(5))),
    "KlNormalStandard": (kl_normal_standard_vector, (leaf(2, 3), leaf(2, 3, positive=True))),
    "LogOfProbability": (log_of, (leaf(4, positive=True),)),
    "LogOfRest": (log_of_rest, (-leaf(4, positive=True).detach().requires_grad_(),)),
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
    second = torch.autograd.functional.hessian(
        lambda shift: log_sum_exp(x + shift).nan_to_num(neginf=0.0).sum(), torch.zeros(2).double()
    )
    assert (second == 0).all()


# ---- modules


LATENT_CLASSES = """
size K = 2
size I = 3
param pi : simplex[K]
plate k[K]:
    plate item[I]:
        param p : unit
plate person:
    latent c : index[k] ~ Categorical(pi)
    plate item:
        observed y : bit ~ Bernoulli(p[c])
"""
COUNTS = """
param p : unit
param nu : positive
plate k[2]:
    param rate : positive
    param q : simplex[3]
plate n:
    given m : count
    latent c : index[k] ~ Uniform()
    observed x : count ~ Poisson(rate[c])
    observed y : count ~ Binomial(m, p)
    observed z : count ~ NegativeBinomial(rate[c], p * 0.5)
    observed t : real ~ StudentT(nu, 0, 1)
    observed s : positive ~ Gamma(nu, rate[c])
    observed b : unit ~ Beta(nu, rate[c])
"""
CHAIN = """
size K = 2
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param mu : real
plate n:
    chain t[3]:
        latent   c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : real ~ Normal(mu[c], 1)
"""
JOINT = """
size L = 3
param chance : unit[L]
param w : real[L]
plate n:
    plate l[L]:
        latent z : bit ~ Bernoulli(chance[l])
    observed x : real ~ Normal(dot(w, z[*]), 1)
"""
OWN = {"latent_classes": LATENT_CLASSES, "counts": COUNTS}
REFUSED = "first derivative only"


def trial_of(text: str, name: str) -> Trial:
    built = build(Source(f"{name}.vispec", text), {})
    generator = torch.Generator().manual_seed(1)
    randomise(built, generator)
    return Trial(built, small_batch(built, ROWS, generator, 3000)[0], ROWS)


def of_spec(name: str) -> Trial:
    return trial_of((SPECS / f"{name}.vispec").read_text(encoding="utf-8"), name)


def summed(trial: Trial) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The rows' summed log-probability as a function of all parameters in one vector, and where it is."""
    module = Summed(trial.built.module)
    names, values = zip(*module.named_parameters(), strict=True)
    sizes = [value.numel() for value in values]

    def total(x: Tensor) -> Tensor:
        parts = {name: part.view_as(v) for name, v, part in zip(names, values, x.split(sizes), strict=True)}
        return torch.func.functional_call(module, parts, (trial.batch,))

    return total, torch.cat([value.detach().reshape(-1) for value in values])


class Summed(torch.nn.Module):
    """A module whose call is the summed log-probability."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module = module

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.module.log_prob(batch).sum()  # type: ignore[operator]


RIGHT = ["gaussian_mixture", "hierarchical_mixture", "annotators", "naive_bayes", "ordinal_regression"]


@pytest.mark.parametrize("name", [*OWN, *RIGHT])
def test_hessians_by_torch_are_differences_of_gradients(name: str) -> None:
    total, x = summed(trial_of(OWN[name], name) if name in OWN else of_spec(name))

    def gradient(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(total(x), x)[0]

    steps = 1e-5 * torch.eye(len(x), dtype=x.dtype)
    differences = torch.stack([(gradient(x + step) - gradient(x - step)) / 2e-5 for step in steps])
    found = torch.autograd.functional.hessian(total, x)
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, differences, rtol=1e-6, atol=1e-7 * float(differences.abs().max()))


@pytest.mark.parametrize("name", ["chain", "capture_recapture", "induced_dependencies", "lda", "hmm2"])
def test_a_hessian_through_a_sum_without_one_is_refused(name: str) -> None:
    total, x = summed(trial_of(CHAIN, name) if name == "chain" else of_spec(name))
    with pytest.raises(RuntimeError, match=REFUSED):
        torch.autograd.functional.hessian(total, x)


@pytest.mark.parametrize("guide", ["Dirichlet(a)", "Beta(b, 2)", "Kumaraswamy(b, 2)"])
def test_a_hessian_through_draws_is_right_or_refused(guide: str) -> None:
    kind, law = ("simplex[3]", "Dirichlet(1)") if "Dirichlet" in guide else ("unit", "Beta(2, 2)")
    read = "z[0]" if "Dirichlet" in guide else "z"
    text = f"param a : positive[3]\nparam b : positive\nplate n:\n    latent z : {kind} ~ {law}\n"
    text += f"    observed x : real ~ Normal(0 * (sum(a) + b) + {read}, 1)\nguide:\n    z ~ {guide}\n"
    found, differences = along(trial_of(text, "model"))
    assert (found is None) is (guide[:3] != "Kum")
    if found is not None:
        torch.testing.assert_close(found, differences, rtol=1e-5, atol=1e-5)


def test_a_hessian_through_a_sum_in_pieces_is_refused() -> None:
    trial = trial_of(JOINT, "joint")
    total, x = summed(trial)
    whole = torch.autograd.functional.hessian(total, x)
    trial.built.module.memory = 1  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match=REFUSED):
        torch.autograd.functional.hessian(total, x)
    assert isinstance(whole, Tensor)
    assert whole.abs().max() > 0


def along(trial: Trial) -> tuple[Tensor | None, Tensor]:
    """The derivative of the gradient of `loss` along a random direction of all parameters: torch's, None where it refuses, and
    the difference of two gradients at the same draws."""
    values = [value for value in trial.built.module.parameters() if value.requires_grad]
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(value.shape, dtype=value.dtype, generator=generator) for value in values]

    def gradient(again: bool = False) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        loss = trial.built.module.loss(trial.batch, ROWS)
        return torch.autograd.grad(loss, values, create_graph=again, materialize_grads=True)

    def moved(by: float) -> Tensor:
        with torch.no_grad():
            for value, each in zip(values, direction, strict=True):
                value.add_(each, alpha=by)
        return flat(gradient())

    ahead, behind = moved(STEP), moved(-2 * STEP)
    moved(STEP)
    differences = (ahead - behind) / (2 * STEP)
    try:
        slope = sum(((g * d).sum() for g, d in zip(gradient(True), direction, strict=True)), torch.zeros(()))
        return flat(torch.autograd.grad(slope, values, allow_unused=True, materialize_grads=True)), differences
    except RuntimeError as error:
        if REFUSED not in str(error):
            raise
        return None, differences


def flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


EXACT = ["bits", "ibm1", "potts", "noisy_or", "rationale", "grading", "ss_mixture", "hmm", "hmm_alignment", "tagger"]
DRAWN = [
    "vae",
    "eight_schools",
    "flow_vae",
    "iwae",
    "bits_nvil",
    "bayesian_logistic",
    "discrete_codes",
    "helmholtz",
    "rationale_score",
]
REFUSING = ["hmm", "hmm_alignment", "iwae", "bits_nvil", "bayesian_logistic", "discrete_codes", "helmholtz", "rationale_score"]


@pytest.mark.parametrize("name", [*EXACT, *DRAWN])
def test_the_second_derivative_of_a_loss_is_that_of_its_gradient_or_refused(name: str) -> None:
    found, differences = along(of_spec(name))
    if found is not None:
        torch.testing.assert_close(found, differences, rtol=1e-6, atol=1e-6 * float(differences.abs().max()))
    assert (found is None) == (name in REFUSING)
