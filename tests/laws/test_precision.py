"""Log-densities and their gradients against 50 digits, over all laws of the catalog, for counts, degrees of freedom,
concentrations, rates and scales of 1 to 1e7: at draws of each law, and three times as far out.

In float32 an error of 1e-6 of the log-density is allowed, or of 1e-6 where it is below 1; in float64 1e-12, or what rounding the
arguments makes of it. Gradients may err by 1e-5 of themselves, or of the root mean square over draws, the root of the Fisher
information where they are those of a parameter."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from mpmath import mp, mpf
from references import REFERENCES
from torch import Tensor
from torch import distributions as dist

from vispec.catalog import Distribution, distributions
from vispec.kernels.probability import log_of, log_of_rest

ENTRIES = {name: entry for name, entry in distributions().items() if entry.support != "tree"}  # trees have no elementwise law
SCALES = (1e2, 1e3, 1e4, 1e5, 1e6, 1e7)
DRAWS = 5
CONTINUOUS = ("real", "positive", "unit", "simplex")


def examples(entry: Distribution) -> Iterator[dict[str, Any]]:
    """The entry's examples, and the first with each count, degree, concentration, ... and all of them scaled up."""
    yield from (dict(each) for each in entry.examples)
    large = [name for name, domain in entry.params.items() if domain in ("positive", "count")]
    for scale in SCALES if large else ():
        for names in {(name,) for name in large} | {tuple(large)}:
            first = dict(entry.examples[0])
            yield first | {name: (scale * torch.tensor(first[name])).tolist() for name in names}


def formed(entry: Distribution, params: dict[str, Tensor]) -> list[Tensor]:
    """The parameters as the emitter hands them to the kernel."""
    found: list[Tensor] = []
    for name, p in params.items():
        p = p.double() if name in entry.wide else p
        match entry.forms.get(name, "value"):
            case "logit":
                found.append(torch.logit(p))
            case "log":
                found.append(log_of(p))
            case "logs":
                found += [log_of(p), log_of_rest(p)]
            case _:
                found.append(p)
    return found


def law(entry: Distribution, params: dict[str, Tensor]) -> dist.Distribution:
    return getattr(dist, str(entry.torch_class))(**{name: 3 for name in entry.shape_params}, **params, validate_args=False)


def density(entry: Distribution, value: Tensor, params: list[Tensor]) -> Tensor:
    return entry.kernel(value, *params) if entry.kernel else law(entry, dict(zip(entry.params, params, strict=True))).log_prob(value)


def values(entry: Distribution, params: dict[str, Tensor]) -> Tensor:
    """Draws, and, of numbers, points three times as far from their median, a draw a row."""
    torch.manual_seed(0)
    if entry.sampler:
        shaped = [p.expand(DRAWS, *p.shape) for p in params.values()]
        draws = entry.sampler(*shaped).double().expand(DRAWS, *(next(reversed(params.values())).shape if entry.event_dim else ()))
    else:
        draws = law(entry, params).sample((DRAWS,))
    if entry.event_dim == 0 and entry.support in ("real", "positive", "unit", "count"):
        middle = draws.median()
        far = middle + 3 * (draws - middle)
        draws = torch.cat([draws, far.round() if entry.support == "count" else far])
        draws = draws[torch.isfinite(draws) & (draws >= 0 if entry.support != "real" else torch.tensor(True))]
    return draws


def exact(x: Tensor) -> Any:
    """A tensor's numbers in mpmath, in lists of its shape."""
    return [exact(each) for each in x] if x.dim() else mpf(x.item())


def moved(x: Any, place: tuple[int, ...], by: Any) -> Any:
    """The numbers with that at one place moved."""
    return [moved(each, place[1:], by) if i == place[0] else each for i, each in enumerate(x)] if place else x + by


def slope(reference: Any, arguments: list[Any], which: int, place: tuple[int, ...]) -> Any:
    """The derivative of the reference by one number of one argument; the step is far below every feature and far above 1e-50."""
    at = arguments[which]
    for i in place:
        at = at[i]
    step = mpf(10) ** -20 * (abs(at) or 1)
    ahead, behind = (reference(*(moved(a, place, s) if i == which else a for i, a in enumerate(arguments))) for s in (step, -step))
    return (ahead - behind) / (2 * step)


def places(shape: torch.Size, lower: bool) -> list[tuple[int, ...]]:
    found = list(product(*(range(size) for size in shape)))
    return [place for place in found if not lower or place[-1] <= place[-2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ENTRIES)
def test_log_densities_and_gradients_have_their_digits(name: str, dtype: torch.dtype) -> None:
    entry, reference = ENTRIES[name], REFERENCES[name]
    for example in examples(entry):
        params = {n: torch.tensor(p, dtype=torch.float64).to(dtype) for n, p in example.items()}
        points = values(entry, {n: p.double() for n, p in params.items()})
        points = points if entry.support == "index" else points.to(dtype)
        check(entry, reference, points, formed(entry, params), f"{name} {example} {dtype}")


def check(entry: Distribution, reference: Any, points: Tensor, params: list[Tensor], told: str) -> None:
    by_value = entry.support in CONTINUOUS and not entry.atoms and entry.name != "Uniform"
    found, slopes = [], []
    for point in points:
        inputs = [point.clone(), *(p.clone() for p in params)]
        wanted = reference(*map(exact, inputs))
        if not mp.isfinite(wanted):
            continue
        asked = [i for i, x in enumerate(inputs) if (i or by_value) and x.is_floating_point() and x.isfinite().all()]
        for i in asked:
            inputs[i].requires_grad_()
        got = density(entry, *inputs[:1], inputs[1:])
        assert got.dtype == (point.dtype if point.is_floating_point() else got.dtype), told
        gradients = torch.autograd.grad(got, [inputs[i] for i in asked], allow_unused=True) if got.requires_grad else ()
        rows = []
        for i, gradient in zip(asked, gradients, strict=False):
            lower = entry.support == "cholesky" and i == 0 or list(x.dim() for x in inputs)[i] == 2
            for place in places(inputs[i].shape, lower):
                true = slope(reference, [exact(x.detach()) for x in inputs], i, place)
                rows.append((mpf(0.0 if gradient is None else gradient[place].item()), true, mpf(inputs[i][place].item())))
        found.append((mpf(got.item()), wanted, sum(abs(x * t) for _, t, x in rows)))
        slopes.append(rows)
    assert found, told
    single = points.dtype == torch.float32 or not points.is_floating_point()
    for got, wanted, condition in found:
        rounding = 0 if single else mpf(2) ** -51 * condition
        assert abs(got - wanted) <= (1e-6 if single else 1e-12) * max(abs(wanted), 1) + rounding, f"{told}: {float(got)} {float(wanted)}"
    for each in zip(*slopes, strict=True):
        spread = mp.sqrt(mp.fsum(t * t for _, t, _ in each) / len(each))
        for got, true, _ in each:
            assert abs(got - true) <= 1e-5 * max(abs(true), spread), f"{told}: gradient {float(got)} {float(true)} ± {float(spread)}"
