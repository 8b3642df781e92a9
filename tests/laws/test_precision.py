"""Log-densities and their gradients against 50 digits, over all laws of the catalog, for counts, degrees of freedom,
concentrations, rates and scales of 1 to 1e7: at draws of each law, and three times as far out.

In float32 an error of 1e-6 of the log-density is allowed, or of 1e-6 where it is below 1. In float64 it is 1e-12, and what
remains where terms of n log n cancel, and the rounding of the arguments. Gradients may err by 1e-5 of themselves, or of their
root mean square over the draws: that of the Fisher information where they are a parameter's."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from mpmath import mp, mpf
from references import REFERENCES
from torch import Tensor
from torch import distributions as dist
from torch.nn import functional as F

from vispec.catalog import Distribution, distributions

ENTRIES = {name: entry for name, entry in distributions().items() if not entry.structured}
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


def held(entry: Distribution, name: str, p: Tensor) -> Tensor:
    """A parameter as a module holds it: a probability as its log-odds, those of a simplex as logits."""
    return {"logit": torch.logit, "logs": torch.logit, "log": torch.log}.get(entry.forms.get(name, "value"), torch.clone)(p)


def formed(entry: Distribution, params: list[Tensor]) -> list[Tensor]:
    """The parameters, as they are held, in the forms in which the emitter hands them to the kernel."""
    found: list[Tensor] = []
    for name, p in zip(entry.params, params, strict=True):
        p = p.double() if name in entry.wide else p
        form = entry.forms.get(name, "value")
        if form == "logs":
            found += [F.logsigmoid(p), F.logsigmoid(-p)]
        else:
            found.append(p.log_softmax(-1) if form == "log" else p)
    return found


def law(entry: Distribution, params: dict[str, Tensor]) -> dist.Distribution:
    return getattr(dist, str(entry.torch_class))(**{name: 3 for name in entry.shape_params}, **params, validate_args=False)


def density(entry: Distribution, value: Tensor, params: list[Tensor]) -> Tensor:
    if entry.kernel is None:
        return law(entry, dict(zip(entry.params, params, strict=True))).log_prob(value)
    return entry.kernel(value, *formed(entry, params))


def values(entry: Distribution, params: dict[str, Tensor]) -> Tensor:
    """Draws, and, of numbers, points three times as far from their median, a draw a row."""
    torch.manual_seed(0)
    if entry.sampler:
        shaped = [p.expand(DRAWS, *p.shape) for p in params.values()]
        draws = (
            entry.sampler(*shaped).double().expand(DRAWS, *(next(reversed(params.values())).shape if entry.event_dim else ()))
        )
    else:
        draws = law(entry, params).sample((DRAWS,))
    if entry.support == "simplex":  # in its corners, where a large scale puts most draws, the rest is lost in rounding
        draws = draws[draws.amin(-1) > 1e-6]
    if entry.event_dim == 0 and entry.support in ("real", "positive", "unit", "count"):
        middle = draws.median()
        far = middle + 3 * (draws - middle)
        draws = torch.cat([draws, far.round() if entry.support == "count" else far])
        draws = draws[(draws.abs() < 1e38) & ((draws >= 0) | (entry.support == "real"))]
    return draws


def exact(x: Tensor) -> Any:
    """A tensor's numbers in mpmath, in lists of its shape."""
    return [exact(each) for each in x] if x.dim() else mpf(x.item())


def moved(x: Any, place: tuple[int, ...], by: Any) -> Any:
    """The numbers with that at one place moved."""
    return [moved(each, place[1:], by) if i == place[0] else each for i, each in enumerate(x)] if place else x + by


def slope(reference: Any, arguments: list[Any], which: int, place: tuple[int, ...]) -> Any:
    """The derivative of the reference by one number of one argument; its step is tiny, and far above 1e-50."""
    at = arguments[which]
    for i in place:
        at = at[i]
    step = mpf(10) ** -20 * (abs(at) or 1)
    ahead, behind = (
        reference(*(moved(a, place, s) if i == which else a for i, a in enumerate(arguments))) for s in (step, -step)
    )
    return (ahead - behind) / (2 * step)


def places(shape: torch.Size) -> list[tuple[int, ...]]:
    """All indices, of a matrix those of its lower triangle."""
    found = product(*(range(size) for size in shape))
    return [place for place in found if len(shape) < 2 or place[-1] <= place[-2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ENTRIES)
def test_log_densities_and_gradients_have_their_digits(name: str, dtype: torch.dtype) -> None:
    entry, reference = ENTRIES[name], REFERENCES[name]
    for example in examples(entry):
        params = {n: torch.tensor(p, dtype=torch.float64).to(dtype) for n, p in example.items()}
        points = values(entry, {n: p.double() for n, p in params.items()}).to(dtype)
        raw = [held(entry, n, torch.tensor(p, dtype=torch.float64)).to(dtype) for n, p in example.items()]
        possible = [x for x in points if mp.isfinite(reference(*map(exact, (x, *raw))))]
        if not possible:  # all draws of a LogNormal of this scale are beyond the largest number
            first = {n: torch.tensor(p, dtype=torch.float64) for n, p in entry.examples[0].items()}
            possible = [x for x in values(entry, first).to(dtype) if mp.isfinite(reference(*map(exact, (x, *raw))))]
        check(entry, reference, possible, raw, f"{name} {example} {dtype}")


def check(entry: Distribution, reference: Any, points: list[Tensor], params: list[Tensor], told: str) -> None:
    whole = {i for i, domain in enumerate(entry.params.values(), 1) if domain == "count"}
    by_value = entry.support in CONTINUOUS and not entry.atoms and entry.name != "Uniform"
    found, slopes = [], []
    for point in points:
        inputs = [point.clone(), *(p.clone() for p in params)]
        wanted = reference(*map(exact, inputs))
        asked = [i for i, x in enumerate(inputs) if (i or by_value) and i not in whole and x.isfinite().all()]
        for i in asked:
            inputs[i].requires_grad_()
        got = density(entry, inputs[0].long() if entry.support == "index" else inputs[0], inputs[1:])
        assert got.dtype == point.dtype, told
        gradients = torch.autograd.grad(got, [inputs[i] for i in asked], allow_unused=True) if got.requires_grad else ()
        rows = []
        for i, gradient in zip(asked, gradients, strict=False):
            for place in places(inputs[i].shape):
                true = slope(reference, [exact(x.detach()) for x in inputs], i, place)
                rows.append((mpf(0.0 if gradient is None else gradient[place].item()), true, mpf(inputs[i][place].item())))
        found.append((mpf(got.item()), wanted, sum(abs(x * t) for _, t, x in rows)))
        slopes.append(rows)
    single = points[0].dtype == torch.float32
    sizes = [float(x[x.isfinite()].abs().sum()) for x in (*params, *(points if entry.support == "count" else ()))]
    largest = max([1.0, *sizes])
    for got, wanted, condition in found:
        rounding = 0 if single else 8e-15 * largest + mpf(2) ** -49 * condition
        assert abs(got - wanted) <= (1e-6 if single else 1e-12) * max(abs(wanted), 1) + rounding, (
            f"{told}: {float(got)} {float(wanted)}"
        )
    for each in zip(*slopes, strict=True):
        spread = mp.sqrt(mp.fsum(t * t for _, t, _ in each) / len(each))
        for got, true, _ in each:
            assert abs(got - true) <= 1e-5 * max(abs(true), spread) + 1e-25, (
                f"{told}: gradient {float(got)} {float(true)} ± {float(spread)}"
            )
