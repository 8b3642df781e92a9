"""Every distribution of the catalog by what its entry states: total mass, support, density, gradients, impossible values."""

import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch import distributions as dist

from vispec.catalog import Distribution, distributions
from vispec.distributions import CLOSED_FORM
from vispec.kernels.draws.kl import kl_normal_normal, kl_normal_standard
from vispec.kernels.probability import log_of, log_of_rest
from vispec.torch.text.source_text import kernel_source, with_borrowed

ENTRIES = distributions()
EXAMPLES = [
    pytest.param(entry, dict(example), id=f"{name}-{i}")
    for name, entry in ENTRIES.items()
    for i, example in enumerate(entry.examples)
]
PROPER = [case for case in EXAMPLES if ENTRIES[str(case.id).split("-")[0]].proper]
WITH_KERNEL = [case for case in EXAMPLES if ENTRIES[str(case.id).split("-")[0]].kernel]
OF_TORCH = [case for case in WITH_KERNEL if ENTRIES[str(case.id).split("-")[0]].torch_class]
POINTS = 200_001
SIDE = 1201


def tensors(example: dict) -> list[Tensor]:
    """The parameters as their torch class takes them."""
    return [torch.tensor(value, dtype=torch.float64) for value in example.values()]


def argument_names(entry: Distribution) -> list[str]:
    """The parameters as the kernel takes them, each as often as it has tensors for it."""
    return [name for name in entry.params for _ in range(2 if entry.forms.get(name) == "logs" else 1)]


def formed(entry: Distribution, params: list[Tensor]) -> list[Tensor]:
    """The parameters in the forms that the kernel takes."""
    forms = {
        "value": lambda p: [p],
        "logit": lambda p: [torch.logit(p)],
        "log": lambda p: [p.log()],
        "logs": lambda p: [p.log(), torch.log1p(-p)],
    }
    return [t for name, p in zip(entry.params, params, strict=False) for t in forms[entry.forms.get(name, "value")](p)]


def of_torch(entry: Distribution, params: list[Tensor], size: int = 2) -> dist.Distribution:
    shape = {name: size for name in entry.shape_params}
    return getattr(dist, str(entry.torch_class))(**shape, **dict(zip(entry.params, params, strict=True)))


def log_prob(entry: Distribution, value: Tensor, params: list[Tensor]) -> Tensor:
    return entry.kernel(value, *formed(entry, params)) if entry.kernel else of_torch(entry, params).log_prob(value)


# ---- where the values are, with the weight of each


def line(low: float, high: float) -> tuple[Tensor, Tensor]:
    """Midpoints of small cells and their lengths; infinite ends are drawn in."""
    t = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    if math.isfinite(high):
        return low + (high - low) * t, torch.full_like(t, (high - low) / POINTS)
    if math.isfinite(low):
        return low + t / (1 - t), 1 / (1 - t).square() / POINTS
    u = 2 * t - 1
    return u / (1 - u.square()), (1 + u.square()) / (1 - u.square()).square() * 2 / POINTS


def plane(low: float, high: float) -> tuple[Tensor, Tensor]:
    t = low + (high - low) * (torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE
    grid = torch.cartesian_prod(t, t)
    return grid, torch.full((len(grid),), ((high - low) / SIDE) ** 2, dtype=torch.float64)


def whole(values: Tensor) -> tuple[Tensor, Tensor]:
    return values, torch.ones(len(values), dtype=torch.float64)


def simplex(parts: int) -> tuple[Tensor, Tensor]:
    """The simplex by all its parts but the last."""
    free, weight = plane(0, 1) if parts == 3 else (lambda x, w: (x[:, None], w))(*line(0, 1))
    inside = free.sum(-1) < 1
    free, weight = free[inside], weight[inside]
    return torch.cat((free, 1 - free.sum(-1, keepdim=True)), -1), weight


def space(entry: Distribution, params: list[Tensor]) -> tuple[Tensor, Tensor]:
    """All values of one draw and their measure."""
    last = params[-1].shape[-1] if params and params[-1].dim() else 1
    if entry.name == "VonMises":
        return line(-math.pi, math.pi)
    if entry.name == "Multinomial":
        total = int(params[0])
        counts = torch.cartesian_prod(*[torch.arange(total + 2.0, dtype=torch.float64)] * last)
        return whole(counts)
    if entry.support == "simplex":
        return simplex(last - entry.size_delta.get("loc", 0))
    if entry.support == "cholesky":  # of 2 × 2 correlation matrices, by the correlation
        r, weight = line(-1, 1)
        rows = torch.stack((torch.ones_like(r), torch.zeros_like(r), r, (1 - r.square()).sqrt()), -1)
        return rows.unflatten(-1, (2, 2)), weight
    if entry.event_dim:
        return plane(-12, 12)
    match entry.support:
        case "real":
            return line(-math.inf, math.inf)
        case "positive":
            return line(0, math.inf)
        case "unit":
            values, weight = line(0, 1)
            ends = torch.tensor(entry.atoms, dtype=torch.float64)
            return torch.cat((values, ends)), torch.cat((weight, torch.ones_like(ends)))
        case "bit":
            return whole(torch.arange(2.0, dtype=torch.float64))
        case "index":
            return whole(torch.arange(last))
        case _:
            return whole(torch.arange(400.0, dtype=torch.float64))


# ---- laws


@pytest.mark.parametrize(("entry", "example"), PROPER)
def test_the_mass_is_one(entry, example):
    params = tensors(example)
    values, weight = space(entry, params)
    mass = (log_prob(entry, values, params).exp() * weight).sum()
    torch.testing.assert_close(mass, torch.ones((), dtype=torch.float64), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("entry", "example"), EXAMPLES)
def test_draws_have_the_mean_of_the_density(entry, example):
    """And none is impossible. The mean is that of the log-density, which all have."""
    torch.manual_seed(0)
    params = tensors(example)
    if entry.sampler:
        shaped = [p.expand(20_000, *p.shape) for p in params]
        draws = entry.sampler(*shaped).to(torch.float64).expand(20_000, *params[-1].shape[:1] if params else ())
    else:
        draws = of_torch(entry, params).sample((20_000,))
    found = log_prob(entry, draws, params)
    assert found.isfinite().all()
    values, weight = space(entry, params)
    density = log_prob(entry, values, params)
    mass = density.exp() * weight
    logs = density.where(mass > 0, 0.0)
    mean, square = (mass * logs).sum(), (mass * logs.square()).sum()
    error = ((square - mean.square()).clamp(min=0) / 20_000).sqrt()
    assert (found.mean() - mean).abs() < 5 * error + 1e-3


@pytest.mark.parametrize(("entry", "example"), OF_TORCH)
def test_the_kernel_is_torchs_density(entry, example):
    torch.manual_seed(0)
    params = tensors(example)
    law = of_torch(entry, params)
    draws = law.sample((200,))
    error = 1e-7 if entry.name == "VonMises" else 1e-12  # torch has its Bessel function to seven digits
    torch.testing.assert_close(log_prob(entry, draws, params), law.log_prob(draws), rtol=error, atol=error)


@pytest.mark.parametrize(("entry", "example"), WITH_KERNEL)
def test_the_kernels_gradients_are_those_of_finite_differences(entry, example):
    torch.manual_seed(0)
    params = formed(entry, tensors(example))
    if any(p.isinf().any() for p in params):
        params = [p.clamp(min=-3) for p in params]  # at the edge nothing is smooth; see the impossible outcomes below
    value = entry.sampler(*tensors(example)) if entry.sampler else of_torch(entry, tensors(example)).sample((5,))
    if entry.atoms:
        value = torch.tensor([0.1, 0.4, 0.9])  # a draw may be at an end, where the density jumps
    smooth = entry.support in ("real", "positive", "unit") and entry.name != "Uniform"
    inputs = [value.double() if value.is_floating_point() else value, *params]
    for name, x in zip(("value", *argument_names(entry)), inputs, strict=True):
        x.requires_grad_(smooth if name == "value" else name != "total_count")
    if not any(x.requires_grad for x in inputs):
        assert entry.name == "Zero"
    elif entry.name == "MultivariateNormal":  # what stands above the diagonal is not a parameter
        assert torch.autograd.gradcheck(lambda v, m, s: entry.kernel(v, m, s.tril()), inputs)
    else:
        assert torch.autograd.gradcheck(entry.kernel, inputs)


OUTSIDE = {
    "Uniform": [-1.1, 2.6, 9.0],
    "LogitNormal": [-1.1, -1.0, 2.5, 9.0],
    "ShiftedLogNormal": [-1.0, -3.0],
    "Exponential": [-0.1],
    "Gamma": [-0.1, 0.0],
    "InverseGamma": [-0.1, 0.0],
    "LogNormal": [-0.1, 0.0],
    "HalfNormal": [-0.1],
    "HalfCauchy": [-0.1],
    "Chi2": [-0.1, 0.0],
    "Weibull": [-0.1, 0.0],
    "Pareto": [0.0, 1.4, -2.0],
    "Beta": [-0.1, 0.0, 1.0, 1.1],
    "Kumaraswamy": [-0.1, 0.0, 1.0, 1.1],
    "ContinuousBernoulli": [-0.1, 1.1],
    "HardKumaraswamy": [-0.1, 1.1],
    "Geometric": [-1.0],
    "Poisson": [-1.0],
    "Binomial": [-1.0, 7.0],
    "NegativeBinomial": [-1.0],
    "Zero": [1.0, -1.0, 0.5],
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_the_support_the_density_is_zero_and_its_gradient_too(name):
    entry = ENTRIES[name]
    values = torch.tensor(OUTSIDE[name], dtype=torch.float64, requires_grad=True)
    params = [p.requires_grad_() for p in formed(entry, tensors(dict(entry.examples[0])))]
    found = entry.kernel(values, *params)  # type: ignore[misc]
    assert (found == -torch.inf).all()
    if params:
        for gradient in torch.autograd.grad(found.sum(), [values, *params], allow_unused=True):
            assert gradient is None or (gradient == 0).all()


INF = math.inf
IMPOSSIBLE = [  # distribution, value, parameters in the kernel's forms, log-probability
    ("Categorical", 1, [[math.log(0.5), -INF, math.log(0.5)]], -INF),
    ("Categorical", 0, [[0.0, -INF]], 0.0),
    ("Bernoulli", 1.0, [INF], 0.0),
    ("Bernoulli", 0.0, [INF], -INF),
    ("Bernoulli", 1.0, [-INF], -INF),
    ("Bernoulli", 0.0, [-INF], 0.0),
    ("Geometric", 0.0, [0.0, -INF], 0.0),
    ("Geometric", 2.0, [0.0, -INF], -INF),
    ("Geometric", 0.0, [-INF, 0.0], -INF),
    ("Poisson", 0.0, [0.0], 0.0),
    ("Poisson", 1.0, [0.0], -INF),
    ("Binomial", 3.0, [3.0, 0.0, -INF], 0.0),
    ("Binomial", 2.0, [3.0, 0.0, -INF], -INF),
    ("Binomial", 0.0, [3.0, -INF, 0.0], 0.0),
    ("Binomial", 1.0, [3.0, -INF, 0.0], -INF),
    ("NegativeBinomial", 0.0, [3.0, -INF, 0.0], 0.0),
    ("NegativeBinomial", 1.0, [3.0, -INF, 0.0], -INF),
    ("Multinomial", [1.0, 0.0], [1.0, [0.0, -INF]], 0.0),
    ("Multinomial", [0.0, 1.0], [1.0, [0.0, -INF]], -INF),
    ("Multinomial", [1.0, 1.0], [1.0, [math.log(0.5)] * 2], -INF),
    ("Dirichlet", [0.0, 1.0], [[1.0, 1.0]], 0.0),
]


@pytest.mark.parametrize(("name", "value", "params", "expected"), IMPOSSIBLE)
def test_certain_and_impossible_outcomes_leave_finite_gradients(name, value, params, expected):
    """In a sum over two causes of which the other is possible, so that the impossible one has weight 0."""
    kernel = ENTRIES[name].kernel
    names = argument_names(ENTRIES[name])
    inputs = [
        torch.tensor(p, dtype=torch.float64, requires_grad=n != "total_count") for n, p in zip(names, params, strict=True)
    ]
    found = kernel(torch.tensor(value, dtype=None if name == "Categorical" else torch.float64), *inputs)  # type: ignore[misc]
    assert found.item() == expected
    total = torch.stack((found, torch.zeros_like(found))).logsumexp(0)
    for gradient in torch.autograd.grad(total, [x for x in inputs if x.requires_grad]):
        assert gradient.isfinite().all()
        if expected == -INF:
            assert (gradient == 0).all()


def test_logs_of_a_probability_at_its_ends_have_no_gradient_where_they_are_infinite():
    p = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64, requires_grad=True)
    for found, slope in ((log_of(p), [0.0, 4.0, 1.0]), (log_of_rest(p), [-1.0, -4 / 3, 0.0])):
        (gradient,) = torch.autograd.grad(found.sum(), p)
        torch.testing.assert_close(gradient, torch.tensor(slope, dtype=torch.float64))
    assert log_of_rest(torch.tensor(1e-20, dtype=torch.float64)) == -1e-20


def test_a_categorical_table_broadcasts_against_values():
    torch.manual_seed(0)
    kernel = ENTRIES["Categorical"].kernel
    log = torch.randn(4, 1, 5, dtype=torch.float64).log_softmax(-1)
    value = torch.randint(5, (3,))
    expected = log[torch.arange(4)[:, None], 0, value]
    assert torch.equal(kernel(value, log), expected)  # type: ignore[misc]
    assert torch.equal(kernel(value[None], log[0, 0]), log[0, 0][value][None])  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "loc", "tril"),
    [((5, 2, 1, 3), (4, 3), (4, 3, 3)), ((3,), (3,), (6, 2, 3, 3)), ((7, 1, 3), (1, 3), (1, 4, 3, 3)), ((6, 3), (3,), (3, 3))],
)
def test_a_multivariate_normal_broadcasts_without_copies_of_its_factor(value, loc, tril):
    torch.manual_seed(0)
    v, m, s = (torch.randn(shape, dtype=torch.float64) for shape in (value, loc, tril))
    s = s.tril(-1) + torch.diag_embed(s.diagonal(dim1=-2, dim2=-1).exp())
    found = ENTRIES["MultivariateNormal"].kernel(v, m, s)  # type: ignore[misc]
    torch.testing.assert_close(found, dist.MultivariateNormal(m, scale_tril=s).log_prob(v), rtol=1e-12, atol=1e-12)


def test_a_scalar_concentration_is_a_symmetric_dirichlet():
    kernel = ENTRIES["Dirichlet"].kernel
    value = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
    alpha = torch.tensor(0.7, dtype=torch.float64)
    assert torch.equal(kernel(value, alpha), kernel(value, alpha.expand(3)))  # type: ignore[misc]


# ---- divergences


KL = [
    pytest.param(ENTRIES[q], dict(ENTRIES[q].examples[0]), ENTRIES[p], dict(ENTRIES[p].examples[-1]), id=f"{q}-{p}")
    for q, p in sorted(CLOSED_FORM)
]
SAME_SIZE = {"Dirichlet": {"concentration": [1.2, 0.8, 2.0]}, "Categorical": {"probs": [0.1, 0.3, 0.6]}}


@pytest.mark.parametrize(("q", "q_example", "p", "p_example"), KL)
def test_closed_divergences_are_those_of_the_densities(q, q_example, p, p_example):
    q_params, p_params = tensors(q_example), tensors(SAME_SIZE.get(p.name, p_example))
    values, weight = space(q, q_params)
    log_q, log_p = log_prob(q, values, q_params), log_prob(p, values, p_params)
    mass = log_q.exp() * weight
    expected = (mass * (log_q - log_p)).where(mass > 1e-300, 0.0).sum()
    found = dist.kl_divergence(of_torch(q, q_params), of_torch(p, p_params))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_normal_divergences_match_torch():
    torch.manual_seed(0)
    q_loc, p_loc = torch.randn(2, 5, dtype=torch.float64)
    q_scale, p_scale = torch.randn(2, 5, dtype=torch.float64).exp()
    expected = dist.kl_divergence(dist.Normal(q_loc, q_scale), dist.Normal(p_loc, p_scale))
    torch.testing.assert_close(kl_normal_normal(q_loc, q_scale, p_loc, p_scale), expected, rtol=1e-12, atol=1e-12)
    standard = kl_normal_normal(q_loc, q_scale, torch.zeros(5), torch.ones(5))
    torch.testing.assert_close(kl_normal_standard(q_loc, q_scale), standard, rtol=1e-12, atol=1e-12)


# ---- the catalog


def test_the_catalog_imports_no_torch():
    program = "import sys, vispec.catalog as c; c.distributions(); c.networks(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.parametrize("entry", [pytest.param(e, id=e.name) for e in ENTRIES.values()])
def test_entries_are_consistent(entry):
    names = set(entry.params)
    assert {*entry.forms, *entry.param_event_dim, *entry.optional, *entry.size_delta} <= names
    assert all(set(example) == names for example in entry.examples)
    if entry.torch_class:
        law = of_torch(entry, tensors(dict(entry.examples[0])))
        assert names <= set(law.arg_constraints)
        assert law.has_rsample == entry.has_rsample
    assert entry.structured or entry.kernel or entry.torch_class
    assert entry.structured or entry.sampler or entry.torch_class


@pytest.mark.parametrize("entry", [pytest.param(e, id=e.name) for e in ENTRIES.values() if e.kernel])
def test_a_kernel_stands_alone(entry):
    """Its source, copied into a file that imports torch only, is the same function."""
    space: dict = {"torch": torch, "Tensor": Tensor}
    functions = filter(None, (entry.kernel, entry.sampler))
    for module, name in sorted(with_borrowed((function.__module__, function.__name__) for function in functions)):
        exec(kernel_source(module, [name]), space)
    params = tensors(dict(entry.examples[0]))
    draws = entry.sampler(*params) if entry.sampler else of_torch(entry, params).sample((3,))
    expected = entry.kernel(draws, *formed(entry, params))
    assert torch.equal(space[entry.kernel.__name__](draws, *formed(entry, params)), expected)


# ---- masses


HARD = [(2.0, 3.0), (0.3, 0.5), (0.05, 4.0), (30.0, 0.1), (5.0, 40.0)]


def hard_ends(a: float, b: float) -> tuple[float, float]:
    """P(0) and P(1) by numerical integration of the Kumaraswamy over what the stretching puts past the ends; the integral runs
    over r = (1 - k^a)^b, which is uniform."""
    r = (torch.arange(2_000_000, dtype=torch.float64) + 0.5) / 2_000_000
    k = (1 - r ** (1 / b)) ** (1 / a)
    return float((1.2 * k - 0.1 <= 0).double().mean()), float((1.2 * k - 0.1 >= 1).double().mean())


@pytest.mark.parametrize(("a", "b"), HARD)
def test_masses_of_a_hard_kumaraswamy_are_integrals(a, b):
    entry = ENTRIES["HardKumaraswamy"]
    params = [torch.tensor(x, dtype=torch.float64) for x in (a, b)]
    found = entry.kernel(torch.tensor([0.0, 1.0], dtype=torch.float64), *params).exp()
    torch.testing.assert_close(found, torch.tensor(hard_ends(a, b), dtype=torch.float64), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("a", "b"), HARD)
def test_masses_of_a_hard_kumaraswamy_are_frequencies(a, b):
    torch.manual_seed(0)
    entry = ENTRIES["HardKumaraswamy"]
    params = [torch.tensor(x, dtype=torch.float64) for x in (a, b)]
    draws = entry.sampler(*(p.expand(200_000) for p in params))
    for end in entry.atoms:
        mass = entry.kernel(torch.tensor(end, dtype=torch.float64), *params).exp()
        error = (mass * (1 - mass) / 200_000).sqrt() + 1e-6
        assert ((draws == end).double().mean() - mass).abs() < 4.5 * error
    middle = (draws > 0.2) & (draws < 0.7)
    values, weight = line(0.2, 0.7)
    mass = (entry.kernel(values, *params).exp() * weight).sum()
    assert (middle.double().mean() - mass).abs() < 4.5 * (mass * (1 - mass) / 200_000).sqrt() + 1e-6


def test_the_pathwise_gradient_of_a_hard_kumaraswamy():
    """Of a smooth function's mean, over draws, against the derivative of its integral."""
    torch.manual_seed(0)
    entry = ENTRIES["HardKumaraswamy"]
    params = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.8, 1.3)]
    values, weight = space(entry, params)
    exact = torch.autograd.grad((entry.kernel(values, *params).exp() * weight * (2 * values).sin()).sum(), params)
    parts = [
        torch.stack(torch.autograd.grad((2 * entry.sampler(*(p.expand(20_000) for p in params))).sin().mean(), params))
        for _ in range(40)
    ]
    found = torch.stack(parts)
    assert ((found.mean(0) - torch.stack(exact)).abs() < 4 * found.std(0) / 40**0.5 + 1e-5).all()


def test_extreme_concentrations_leave_finite_masses_and_gradients():
    for dtype in (torch.float32, torch.float64):
        a = torch.tensor([1e-6, 1e-3, 50.0, 20.0], dtype=dtype, requires_grad=True)
        b = torch.tensor([1e-3, 50.0, 1e-3, 20.0], dtype=dtype, requires_grad=True)
        for value in (0.0, 0.5, 1.0):
            found = ENTRIES["HardKumaraswamy"].kernel(torch.tensor(value, dtype=dtype), a, b)
            assert found.isfinite().all(), (value, found)
            assert all(g.isfinite().all() for g in torch.autograd.grad(found.sum(), (a, b)))
