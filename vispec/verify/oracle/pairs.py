"""Latents that are integrated by conjugate pairs, from values of the joint density alone: no table of pairs takes part in it.

Along one latent the log-joint is a combination of a few functions of it and a constant. Its values at as many points give the
coefficients, one at a further point says whether they are right, and the integral is one of the textbook."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from vispec.model.model import Model
from vispec.plan.treat import told_apart
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.densities import log_density
from vispec.verify.oracle.expressions import Scene
from vispec.verify.oracle.row import Cell, Row, as_tensor, place_of, shape_of

MOST = 1_000  # integrals of a row, each under each assignment of its labels


def pair_cells(model: Model, row: Row) -> list[Cell]:
    return [cell for name in model.pairs for cell in row.cells(model.variable[name])]


def references(model: Model, row: Row, cells: list[Cell]) -> dict[Cell, Tensor]:
    """A value in the middle for each of these cells."""
    return {
        cell: middle(model.variable[cell[0]].type.domain, shape_of(model.variable[cell[0]].type, row.sizes)) for cell in cells
    }


def middle(domain: str, shape: tuple[int, ...]) -> Tensor:
    value = {"unit": 0.5, "positive": 1.0, "simplex": 1 / shape[-1] if shape else 1.0}[domain]
    return torch.full(shape, value, dtype=torch.float64)


def with_pairs(found, scene: Scene, scored: list, at: dict[Cell, Tensor], given: Mapping[Cell, Tensor]):
    """An enumeration that was made at values `at` of these cells, with the cells integrated out."""
    if len(found.choices) * len(at) > MOST:
        raise NotCheckedError(f"{len(found.choices)} assignments for one row, each with {len(at)} integrals")
    model, row = scene.model, scene.row
    log_joints, moments = list[Tensor](), {cell: list[tuple[Tensor, Tensor]]() for cell in at}
    for log_joint, choice in zip(found.log_joint, found.choices.tolist(), strict=True):
        fixed = {
            cell: as_tensor(support[i], model.variable[cell[0]].type, row.sizes)
            for cell, support, i in zip(found.cells, found.supports, choice, strict=True)
        }
        parts = [log_joint]
        for cell, value in at.items():
            if bool(log_joint == -torch.inf):
                moments[cell].append((torch.zeros_like(value), torch.zeros_like(value)))
                continue
            rest = {**given, **fixed, **at}
            density = along(scene, [each for each in scored if reads(scene, each, cell, rest)], cell, rest)
            log_integral, mean, variance = integral(model.variable[cell[0]].type.domain, value, density)
            parts.append(log_integral)
            moments[cell].append((mean.detach(), variance.detach()))
        log_joints.append(torch.stack(parts).sum())
    told = {cell: tuple(map(torch.stack, zip(*each, strict=True))) for cell, each in moments.items()}
    whole = replace(found, log_joint=torch.stack(log_joints), integrated={**found.integrated, **told})
    apart = {v.name for v in model.variables if told_apart(v, model)}
    return summed_over(whole, apart) if any(cell[0] in apart for cell in found.cells) else whole


def summed_over(found, names: set[str]):
    """An enumeration without the cells of some variables, over which it is summed."""
    kept = [column for column, cell in enumerate(found.cells) if cell[0] not in names]
    groups = dict[tuple[int, ...], list[int]]()
    for row, choice in enumerate(found.choices[:, kept].tolist()):
        groups.setdefault(tuple(choice), []).append(row)
    log_joints, told = list[Tensor](), {cell: list[tuple[Tensor, Tensor]]() for cell in found.integrated}
    for rows in groups.values():
        inner = found.log_joint[rows]
        possible = inner[inner > -torch.inf]
        log_joints.append(possible.logsumexp(0) if len(possible) else inner.new_tensor(-torch.inf))
        weights = inner.detach().softmax(0) if len(possible) else torch.zeros_like(inner)
        for cell, (means, variances) in found.integrated.items():
            by = weights.reshape(-1, *[1] * (means.dim() - 1))
            mean = (by * means[rows]).sum(0)
            told[cell].append((mean, (by * (variances[rows] + (means[rows] - mean).square())).sum(0)))
    choices = torch.tensor([*groups], dtype=torch.int64).reshape(len(groups), len(kept))
    cells, supports = (tuple(each[column] for column in kept) for each in (found.cells, found.supports))
    moments = {cell: tuple(map(torch.stack, zip(*each, strict=True))) for cell, each in told.items()}
    return replace(
        found, cells=cells, supports=supports, choices=choices, log_joint=torch.stack(log_joints), integrated=moments
    )


def reads(scene: Scene, factor, cell: Cell, assignment: Mapping[Cell, Tensor]) -> bool:
    """Whether the value of a factor depends on a cell."""
    scene.assignment, scene.reads = assignment, {}
    score(scene, factor)
    return cell in scene.reads or factor[2] == cell


def score(scene: Scene, factor) -> Tensor:
    variable, law, cell = factor
    return log_density(variable, law, place_of(scene.model, variable, cell), scene)


def along(scene: Scene, factors: list, cell: Cell, rest: Mapping[Cell, Tensor]) -> Callable[[Tensor], Tensor]:
    def density(value: Tensor) -> Tensor:
        scene.assignment = {**rest, cell: value}
        return torch.stack([score(scene, each) for each in factors]).sum()

    return density


# ---- one cell


def integral(domain: str, value: Tensor, density: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """log ∫ exp(density(z) - density(value)) dz over all numbers of a cell, and their means and variances."""
    total, mean, variance = torch.zeros((), dtype=torch.float64), torch.zeros_like(value), torch.zeros_like(value)
    base = density(value)
    for at in places(domain, value):
        coefficients = solved(domain, value, at, base, density)
        log_integral, mean[at], variance[at] = BY_DOMAIN[domain](coefficients)
        total = total + log_integral - coefficients @ functions(domain, value[at])
    return total, mean, variance


def places(domain: str, value: Tensor) -> Iterator[tuple]:
    """Of each number that a cell has, where it is; of each vector of a law on these."""
    shape = value.shape[:-1] if domain == "simplex" else value.shape
    yield from ((*index.tolist(), ...) for index in torch.ones(shape).nonzero())


def functions(domain: str, z: Tensor) -> Tensor:
    match domain:
        case "unit":
            return torch.stack([z.log(), (1 - z).log()])
        case "positive":
            return torch.stack([z.log(), -z, -1 / z])
    return z.log()


def points(domain: str, size: int) -> list[Tensor]:
    """As many as there are functions, and one more."""
    if domain == "simplex":
        raised = torch.eye(size, dtype=torch.float64)
        return [*raised.softmax(-1), torch.arange(float(size), dtype=torch.float64).softmax(-1)]
    told = (0.2, 0.35, 0.7) if domain == "unit" else (0.4, 2.0, 3.0, 1.5)
    return [torch.tensor(each, dtype=torch.float64) for each in told]


def solved(domain: str, value: Tensor, at: tuple, base: Tensor, density: Callable[[Tensor], Tensor]) -> Tensor:
    """The coefficients of the functions. Raises NotCheckedError where the density is not made of these."""
    gains, rows = list[Tensor](), list[Tensor]()
    for point in points(domain, value.shape[-1] if domain == "simplex" else 1):
        moved = value.clone()
        moved[at] = point
        gains.append(density(moved) - base)
        rows.append(functions(domain, point) - functions(domain, value[at]))
    found = torch.linalg.solve(torch.stack(rows[:-1]), torch.stack(gains[:-1]))
    if not torch.allclose(rows[-1] @ found, gains[-1], rtol=1e-8, atol=1e-8):
        raise NotCheckedError("a density that is of no conjugate pair")
    return found


def of_beta(found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = found + 1
    total = a + b
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(total), a / total, a * b / (total.square() * (total + 1))


def of_gamma(found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z^log exp(-rate z), or the same of 1 / z."""
    log, rate, inverse = found
    size, other = rate.detach().abs(), inverse.detach().abs()
    if bool(other < 1e-7 * size.clamp(min=1)):
        shape = log + 1
        return torch.lgamma(shape) - shape * rate.log(), shape / rate, shape / rate.square()
    if not bool(size < 1e-7 * other.clamp(min=1)):
        raise NotCheckedError("a density in z and 1 / z")
    shape = -log - 1
    mean = inverse / (shape - 1) if bool(shape > 1 + 1e-9) else torch.full_like(log, math.inf)
    variance = mean.square() / (shape - 2) if bool(shape > 2 + 1e-9) else torch.full_like(log, math.inf)
    return torch.lgamma(shape) - shape * inverse.log(), mean, variance


def of_dirichlet(found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a = found + 1
    total, mean = a.sum(), a / a.sum()
    return torch.lgamma(a).sum() - torch.lgamma(total), mean, mean * (1 - mean) / (total + 1)


BY_DOMAIN = {"unit": of_beta, "positive": of_gamma, "simplex": of_dirichlet}
