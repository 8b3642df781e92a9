"""The joint density of one row, and the sum over everything unknown in it, by enumerating every assignment."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor, nn

from vispec.model import model as m
from vispec.model.model import Model, Variable
from vispec.verify.errors import ImproperError, NoNumberError, NotCheckedError
from vispec.verify.oracle.densities import log_density
from vispec.verify.oracle.expressions import Scene, Value
from vispec.verify.oracle.labelled import Labelled, label_marginals
from vispec.verify.oracle.pairs import pair_cells, references, with_pairs
from vispec.verify.oracle.row import ENUMERABLE, Cell, Row, as_tensor, in_data, place_of, shape_of
from vispec.verify.oracle.trees import arc_marginals

Assignment = Mapping[Cell, Tensor]
Factor = tuple[Variable, m.Law, Cell]


@dataclass(frozen=True)
class Enumeration:
    """Every assignment of a row's unknown finite cells. log_joint (N,): their joint log-densities; choices (N, cells): the
    position of each cell's value in its support. integrated: of each Gaussian cell its mean and variance (N, *event) under each
    of these. rounding: how far float64 may be off in what is integrated."""

    cells: tuple[Cell, ...]
    supports: tuple[tuple[Value, ...], ...]
    choices: Tensor
    log_joint: Tensor
    integrated: Mapping[Cell, tuple[Tensor, Tensor]] = field(default_factory=dict)
    rounding: float = 0.0

    @property
    def log_prob(self) -> Tensor:
        """log Σ over assignments; impossible ones carry no gradient, and a row without a possible one is -inf with none."""
        possible = self.log_joint[self.log_joint > -torch.inf]
        return possible.logsumexp(0) if len(possible) else self.log_joint.new_tensor(-torch.inf)

    def moments(self, cell: Cell) -> tuple[Tensor, Tensor]:
        """The posterior mean and deviation of an integrated cell, of its event shape."""
        means, variances = self.integrated[cell]
        weights = self.posterior.reshape(-1, *[1] * (means.dim() - 1))
        mean = (weights * means).sum(0)
        return mean, (weights * (variances + (means - mean).square())).sum(0).sqrt()

    @property
    def posterior(self) -> Tensor:
        """p(assignment | data), (N,)."""
        return (self.log_joint - self.log_prob).exp().detach()

    def marginal(self, cell: Cell) -> Tensor:
        """p(cell = v | data) for each v of its support; of a tree, for each head of each element (n, 1 + n)."""
        column = self.cells.index(cell)
        trees = tuple(value for value in self.supports[column] if isinstance(value, tuple))
        if trees and isinstance(trees[0], Labelled):
            return label_marginals(tuple(trees[i] for i in self.choices[:, column].tolist()), self.posterior)  # type: ignore[arg-type]
        if trees:
            return arc_marginals(tuple(trees[i] for i in self.choices[:, column].tolist()), self.posterior)  # type: ignore[arg-type]
        mass = torch.zeros(len(self.supports[column]), dtype=torch.float64)
        return mass.index_add(0, self.choices[:, column], self.posterior)

    def modes(self, tolerance: float = 1e-9) -> list[dict[Cell, Value]]:
        """All assignments within `tolerance` of the largest joint."""
        best = self.log_joint.max()
        rows = self.choices[self.log_joint >= best - tolerance].tolist()
        return [{c: s[i] for c, s, i in zip(self.cells, self.supports, row, strict=True)} for row in rows]

    def log_joint_at(self, assignment: Mapping[Cell, Value]) -> Tensor:
        """The joint of one assignment, a scalar."""
        wanted = torch.tensor([s.index(assignment[c]) for c, s in zip(self.cells, self.supports, strict=True)])
        return self.log_joint[(self.choices == wanted).all(1)][0]

    def best_of(self, assignment: Mapping[Cell, Value]) -> Tensor:
        """The largest joint of one assignment, of a parse or of stretches of those with these labels; a scalar."""
        there = torch.ones(len(self.choices), dtype=torch.bool)
        for column, (cell, support) in enumerate(zip(self.cells, self.supports, strict=True)):
            value = assignment[cell]
            alike = [
                each[: len(value)] == value if isinstance(each, Labelled) and isinstance(value, tuple) else each == value
                for each in support
            ]
            there &= torch.tensor(alike)[self.choices[:, column]]
        return self.log_joint[there].max()

    @property
    def entropy(self) -> Tensor:
        """Of the posterior, in nats; 0 log 0 = 0."""
        return -torch.special.xlogy(self.posterior, self.posterior).sum()


def log_joint(model: Model, module: nn.Module, row: Row, assignment: Assignment) -> Tensor:
    """log of the joint density of one row, with a value for every cell that the row does not know; a scalar."""
    scene = Scene(model, module, row)
    scene.assignment = assignment
    terms = [log_density(variable, law, place_of(model, variable, cell), scene) for variable, law, cell in factors(model, row)]
    return torch.stack(terms).sum() if terms else torch.zeros((), dtype=torch.float64)


def enumerate_log_prob(
    model: Model, module: nn.Module, row: Row, given: Assignment | None = None, limit: int = 100_000
) -> Enumeration:
    """Sum out every finite latent and missing cell of one row; `given` fixes cells (continuous latents, for one).

    Raises NotCheckedError where there are more than `limit` assignments or a cell has no finite support."""
    given = given or {}
    if pairs := [cell for cell in pair_cells(model, row) if cell not in given]:
        at = references(model, row, pairs)
        found = enumerate_log_prob(model, module, row, {**given, **at}, limit)
        _, left_out = unknown_cells(model, row, {**given, **at})
        scored = [each for each in factors(model, row) if each[2] not in left_out]
        return with_pairs(found, Scene(model, module, row), scored, at, given)
    cells, integrated = unknown_cells(model, row, given)
    supports = tuple(tuple(row.support_of(model.variable[c[0]], _place(model, c))) for c in cells)
    terms = math.prod(map(len, supports))
    if terms > limit:
        raise NotCheckedError(f"{terms} assignments for one row")
    scene = Scene(model, module, row)
    scene.integrated = frozenset(integrated)
    if unknown := [cell for cell in gaussian_cells(model, row) if cell not in given]:
        return integrated_out(scene, unknown, cells, supports, given, set(integrated))
    tables = [FactorTable(scene, factor) for factor in factors(model, row) if factor[2] not in integrated]
    tensors = [
        [as_tensor(v, model.variable[c[0]].type, row.sizes) for v in support]
        for c, support in zip(cells, supports, strict=True)
    ]
    choices = list(product(*(range(len(support)) for support in supports)))
    log_joints = _sums(scene, tables, cells, tensors, choices, dict(given))
    return Enumeration(cells, supports, torch.tensor(choices, dtype=torch.int64).reshape(len(choices), len(cells)), log_joints)


MOST = 300  # joint values, each of which takes a Hessian


def gaussian_cells(model: Model, row: Row) -> list[Cell]:
    """The cells of what is integrated, that the data do not have."""
    names = model.gaussian or ()
    return [cell for name in names for cell in row.cells(model.variable[name]) if cell not in row.values]


def integrated_out(
    scene: Scene,
    unknown: list[Cell],
    cells: tuple[Cell, ...],
    supports: tuple[tuple[Value, ...], ...],
    given: Assignment,
    left_out: set[Cell],
) -> Enumeration:
    """The joint of each choice of the finite cells with all Gaussian ones integrated: log p is a quadratic function of these,
    which its value, gradient and Hessian at 0 tell. No step of the compiler's takes part in it."""
    model, row = scene.model, scene.row
    choices = list(product(*(range(len(support)) for support in supports)))
    if len(choices) > MOST:
        raise NotCheckedError(f"{len(choices)} assignments for one row, each a Gaussian integral")
    shapes = [shape_of(model.variable[name].type, row.sizes) for name, _ in unknown]
    sizes = [math.prod(shape) for shape in shapes]
    scored = [each for each in factors(model, row) if each[2] not in left_out]
    found, told, rounding = list[Tensor](), list[tuple[Tensor, Tensor]](), 0.0
    for choice in choices:
        fixed = {
            cell: as_tensor(support[i], model.variable[cell[0]].type, row.sizes)
            for cell, support, i in zip(cells, supports, choice, strict=True)
        }

        def density(z: Tensor, fixed: dict[Cell, Tensor] = fixed) -> Tensor:
            parts = (part.reshape(shape) for part, shape in zip(z.split(sizes), shapes, strict=True))
            scene.assignment = {**given, **fixed, **dict(zip(unknown, parts, strict=True))}
            terms = [log_density(v, law, place_of(model, v, cell), scene) for v, law, cell in scored]
            return torch.stack(terms).sum()

        value, mean, variance, off = gaussian_integral(density, sum(sizes))
        rounding = max(rounding, off)
        found.append(value)
        told.append((mean.detach(), variance.detach()))
    numbers = torch.tensor(choices, dtype=torch.int64).reshape(len(choices), len(cells))
    parts = [[each.split(sizes) for each in column] for column in zip(*told, strict=True)]
    moments = {
        cell: tuple(torch.stack([one[at].reshape(shapes[at]) for one in column]) for column in parts)
        for at, cell in enumerate(unknown)
    }
    return Enumeration(cells, supports, numbers, torch.stack(found), moments, rounding)  # type: ignore[arg-type]


ROUGH = 1e-6  # what rounding may do to an integral that is compared with anything


def gaussian_integral(density: Callable[[Tensor], Tensor], size: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """log ∫ exp density(z) dz over `size` numbers of which it is a quadratic function, their means and variances, and how far
    rounding may be off: what float64 loses where one direction is told far better than another.

    Raises ImproperError where there is no such integral."""
    zero = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    value = density(zero)
    if not bool(value.isfinite()):
        return value.detach(), torch.zeros(size), torch.zeros(size), 0.0
    if not value.requires_grad:
        raise ImproperError("an improper posterior: the data say nothing of what has no law")
    (slope,) = torch.autograd.grad(value, zero, create_graph=True, materialize_grads=True)
    if not slope.requires_grad:
        raise ImproperError("an improper posterior: the data say nothing of what has no law")
    rows = [torch.autograd.grad(each, zero, create_graph=True, materialize_grads=True)[0] for each in slope]
    precision = -torch.stack(rows)
    rounding = _rounding(precision.detach())
    if not rounding <= ROUGH:
        raise ImproperError("an improper posterior: the data say nothing of some direction of what has no law")
    factor = torch.linalg.cholesky(precision)
    mean = torch.cholesky_solve(slope.unsqueeze(-1), factor).squeeze(-1)
    log_det = 2 * factor.diagonal().log().sum()
    log_z = value + 0.5 * slope @ mean - 0.5 * log_det + 0.5 * size * math.log(2 * math.pi)
    return log_z, mean, torch.cholesky_inverse(factor).diagonal(), rounding


def _rounding(precision: Tensor) -> float:
    """What float64 loses in a logarithm of a determinant (n, n): its roundings over the smallest eigenvalue, all directions
    being measured in deviations of their own; infinite where there is none above 0."""
    scale = precision.diagonal().rsqrt()
    least = (
        torch.linalg.eigvalsh(scale[:, None] * precision * scale).min() if bool(scale.isfinite().all()) else scale.new_zeros(())
    )
    return 8 * len(precision) * torch.finfo(torch.float64).eps / float(least) if float(least) > 0 else math.inf


def factors(model: Model, row: Row) -> Iterator[Factor]:
    """Every cell of a row with the law that scores it. What stands outside the data plate is not part of a row."""
    for name in model.order:
        variable = model.variable.get(name)
        if variable is not None and variable.law is not None and in_data(model, variable.plates):
            for cell in row.cells(variable):
                yield variable, variable.law, cell


def unknown_cells(model: Model, row: Row, given: Assignment) -> tuple[tuple[Cell, ...], list[Cell]]:
    """Cells to enumerate, and missing cells of infinite support: those integrate to 1 as long as nothing reads them."""
    finite: list[Cell] = []
    integrated: list[Cell] = []
    exactly = {*gaussian_cells(model, row), *pair_cells(model, row)}
    for variable, _, cell in factors(model, row):
        if cell in row.values or cell in given or cell in exactly:
            continue
        if variable.type.domain in ENUMERABLE:
            finite.append(cell)
        elif variable.role == "partial":
            integrated.append(cell)
        else:
            raise NotCheckedError(f"latent `{variable.name}` is not finite and has no value")
    return tuple(finite), integrated


class FactorTable:
    """The values of one factor, each computed once per combination of the unknown cells that it really reads.

    A decision tree: a node is either the number of a computed value, or a cell to look at with a branch per value."""

    def __init__(self, scene: Scene, factor: Factor):
        self.scene, self.factor = scene, factor
        self.values: list[Tensor] = []
        self.root: int | tuple[Cell, dict[int, object]] | None = None

    def look_up(self, column: Mapping[Cell, int], choice: tuple[int, ...]) -> int | None:
        """The number of the value under this choice of every unknown cell; None where it is not computed yet."""
        node: object = self.root
        while isinstance(node, tuple):
            cell, branches = node
            node = branches.get(choice[column[cell]])
        return node if isinstance(node, int) else None

    def compute(self, column: Mapping[Cell, int], choice: tuple[int, ...]) -> int:
        """Evaluate under the scene's assignment and remember. A value of -inf is kept without its (infinite) gradient."""
        variable, law, cell = self.factor
        self.scene.reads = {}
        value = log_density(variable, law, place_of(self.scene.model, variable, cell), self.scene)
        if bool(value.isnan()):
            raise NoNumberError(f"the law of `{variable.name}` gives no number (nan), here and in any module")
        self.values.append(value if bool(value > -torch.inf) else value.detach())
        number = len(self.values) - 1
        read = [cell for cell in self.scene.reads if cell in column]
        self.root = _grown(self.root, read, column, choice, number)
        return number


def _grown(node: object, read: list[Cell], column: Mapping[Cell, int], choice: tuple[int, ...], number: int):
    """The tree with one more path. Evaluation is deterministic, so equal values so far mean that the same cell is read next."""
    if not read:
        return number
    cell, branches = node if isinstance(node, tuple) else (read[0], {})
    assert cell == read[0], "an expression read its cells in another order"
    key = choice[column[cell]]
    branches[key] = _grown(branches.get(key), read[1:], column, choice, number)
    return cell, branches


def _sums(
    scene: Scene,
    tables: list[FactorTable],
    cells: tuple[Cell, ...],
    tensors: list[list[Tensor]],
    choices: list[tuple[int, ...]],
    given: dict[Cell, Tensor],
) -> Tensor:
    """The joint log-density of every choice, (N,), each factor value entering the autograd graph once."""
    if not tables or not choices:
        return torch.zeros(len(choices), dtype=torch.float64)
    column = {cell: index for index, cell in enumerate(cells)}
    picks: list[list[int]] = []
    for choice in choices:
        scene.assignment = {**given, **{cell: tensors[i][choice[i]] for cell, i in column.items()}}
        picks.append([_pick(table, column, choice) for table in tables])
    total = torch.zeros(len(choices), dtype=torch.float64)
    for table, numbers in zip(tables, zip(*picks, strict=True), strict=True):
        total = total + torch.stack(table.values)[torch.tensor(numbers)]
    return total


def _pick(table: FactorTable, column: Mapping[Cell, int], choice: tuple[int, ...]) -> int:
    number = table.look_up(column, choice)
    return table.compute(column, choice) if number is None else number


def _place(model: Model, cell: Cell) -> dict[str, int]:
    return place_of(model, model.variable[cell[0]], cell)
