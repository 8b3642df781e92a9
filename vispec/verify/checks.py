"""The single comparisons between an emitted module and brute force; each returns one Check."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Generator, Tensor

from vispec.model.model import Variable
from vispec.model.types import FINITE_DOMAINS, WHOLE_DOMAINS
from vispec.seeds import reseed
from vispec.verify.data import take, trimmed, with_rubbish
from vispec.verify.errors import NoNumberError, NotCheckedError
from vispec.verify.oracle.row import Cell, Row
from vispec.verify.report import Check
from vispec.verify.trial import Trial, finite_unknowns, log_prob_given

VALUE, GRADIENT, MARGINAL, SINGLE = 1e-10, 1e-8, 1e-8, 1e-4


def allowed(tolerance: float, trial: Trial) -> float:
    """A tolerance, wider where brute force itself has fewer digits than it asks for."""
    return tolerance * max(1.0, trial.rounding / VALUE)


def guarded(name: str, compare: Callable[[], Check], needed: bool = False) -> Check:
    """The check, with what brute force cannot evaluate and what the module does not survive told apart. needed: NoNumberError
    is raised."""
    try:
        return compare()
    except NotCheckedError as reason:
        if needed and isinstance(reason, NoNumberError):
            raise
        return Check(name, skipped=str(reason))
    except Exception as error:  # whatever the emitted code raises is a finding
        return Check(name, failure=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


def distance(got: Tensor, expected: Tensor) -> float:
    """The largest difference, relative where the expected value exceeds 1; equal infinities differ by 0, nan by nan."""
    if got.shape != expected.shape:
        raise ValueError(f"shape {tuple(got.shape)} where {tuple(expected.shape)} is expected")
    got, expected = got.detach().double(), expected.detach().double()
    gap = torch.where(got == expected, 0.0, (got - expected).abs() / expected.abs().clamp(min=1))
    return worst(gap.flatten().tolist())


def worst(gaps: Iterable[float]) -> float:
    """The maximum, nan if any is nan; 0 for none."""
    worst = 0.0
    for gap in gaps:
        if gap != gap:
            return gap
        worst = max(worst, gap)
    return worst


def check_log_prob(trial: Trial, name: str = "log-probability") -> Check:
    got = trial.emitted(trial.batch)
    return Check(name, trial.count, distance(got, trial.log_prob), allowed(VALUE, trial))


def check_gradient(trial: Trial, name: str = "gradient") -> Check:
    """Of every parameter, relative to the largest entry of its gradient. That of impossible rows is 0 where the module is
    exact, and finite otherwise."""
    possible = trial.log_prob.detach() > -torch.inf
    log_prob = trial.emitted(trial.batch)
    expected, got = (trial.gradients(values, possible) for values in (trial.log_prob, log_prob))
    if not expected:
        return Check(name, skipped="no parameters")
    if not all(bool(gradient.isfinite().all()) for gradient in trial.gradients(log_prob).values()):
        return Check(name, failure="not finite with the impossible rows")
    if trial.built.module.exact and any(bool(gradient.any()) for gradient in trial.gradients(log_prob, ~possible).values()):
        return Check(name, failure="not 0 for the impossible rows")
    return Check(name, sum(value.numel() for value in expected.values()), gradient_gap(got, expected), allowed(GRADIENT, trial))


def gradient_gap(got: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference, relative to the largest entry of each parameter's gradient where that exceeds 1."""
    gaps = []
    for key, value in expected.items():
        size = max(1.0, float(value.abs().max())) if value.numel() else 1.0
        gaps.append(distance(got[key] / size, value / size))
    return worst(gaps)


def check_impossible(trial: Trial) -> Check:
    """Values with exact zeros in the parameters: -inf exactly where the row is impossible."""
    check = check_log_prob(trial, "exact zeros: log-probability")
    return check if check.differs or bool(trial.log_prob.isinf().any()) else _renamed(check, "exact zeros (all rows possible)")


def _renamed(check: Check, name: str) -> Check:
    return Check(name, check.cases, check.error, check.tolerance)


def check_marginals(trial: Trial, name: str = "posterior marginals") -> Check:
    got = trial.built.module.posterior(trial.batch, query="marginals")
    gaps = []
    for variable in finite_unknowns(trial.built):
        for row, cell, enumeration in trial.unknown(variable):
            if bool(enumeration.log_prob > -torch.inf):
                expected = enumeration.marginal(cell)
                found = got[variable.name][row][cell[1]].clone()
                here = tuple(slice(size) for size in expected.shape)
                gaps.append(distance(found[here], expected))
                found[here] = 0
                gaps.append(float(found.abs().sum()))
    return Check(name, len(gaps), worst(gaps) if gaps else None, MARGINAL)


def check_observed_marginals(trial: Trial) -> Check:
    """A partial cell that the data has is certain, and so is a head of a tree."""
    got = trial.built.module.posterior(trial.batch, query="marginals")
    gaps = []
    for variable in finite_unknowns(trial.built):
        for index, row in enumerate(trial.rows):
            for cell in row.cells(variable):
                known = row.values.get(cell, row.parts.get(cell))
                if known is not None and bool(trial.log_prob[index] > -torch.inf):
                    found = got[variable.name][index][cell[1]]
                    known = known[:, 0] if variable.type.domain == "parse" else known  # of parts of one, labels of elements
                    heads = known.long().reshape(-1)
                    certain = torch.nn.functional.one_hot(heads.clamp(min=0), found.shape[-1]).double()
                    here = found.reshape(-1, found.shape[-1])[: len(heads)]
                    gaps.append(distance(here[heads >= 0], certain[heads >= 0]))
    return Check("marginals of observed cells", len(gaps), worst(gaps) if gaps else None, MARGINAL)


def check_moments(trial: Trial, name: str = "posterior moments") -> Check:
    """The mean and the deviation of each number that is integrated."""
    got = trial.built.module.posterior(trial.batch)
    gaps = list[float]()
    for index, enumeration in enumerate(trial.enumerations):
        for cell in enumeration.integrated if bool(enumeration.log_prob > -torch.inf) else ():
            latent, place = cell
            mean, deviation = enumeration.moments(cell)
            told = got[latent]
            for one, other in ((told["mean"], mean), (told["sd"], deviation)):
                gaps.append(distance(finite(one[index][place]), finite(other)))
    return Check(name, len(gaps), worst(gaps) if gaps else None, allowed(MARGINAL, trial))


def finite(value: Tensor) -> Tensor:
    """What is infinite, or the difference of such, as 0."""
    return torch.where(value.isfinite(), value, 0.0)


def check_mode(trial: Trial) -> Check:
    """The joint log-probability of the mode against the largest there is, so that any of several modes will do."""
    got = trial.built.module.posterior(trial.batch, query="mode")
    gaps = []
    for index, enumeration in enumerate(trial.enumerations):
        if enumeration.cells and bool(enumeration.log_prob > -torch.inf):
            mode = {cell: best_value(trial, index, cell, got[cell[0]][index][cell[1]]) for cell in enumeration.cells}
            gaps.append(distance(enumeration.best_of(mode), enumeration.log_joint.max()))
    return Check("posterior mode", len(gaps), worst(gaps) if gaps else None, VALUE)


def best_value(trial: Trial, index: int, cell: Cell, value: Tensor) -> int | tuple[int, ...]:
    """A number, or the heads of a tree or the preterminals of a parse without the padding."""
    variable = trial.built.model.variable[cell[0]]
    if variable.type.domain not in WHOLE_DOMAINS:
        return int(value.item())
    return tuple(value[: trial.rows[index].heads(variable, cell)].tolist())


def check_rubbish(trial: Trial, generator: Generator) -> Check:
    """A wider batch with anything past the ends and under missing cells."""
    built = trial.built
    padded = with_rubbish(built.model, built.sizes, trial.batch, generator)
    return Check(
        "rubbish in the padding",
        trial.count,
        distance(trial.emitted(padded), trial.emitted(trial.batch)),
        VALUE,
    )


def check_permutation(trial: Trial, generator: Generator) -> Check:
    order = torch.randperm(trial.count, generator=generator)
    got = trial.emitted(take(trial.built.model, trial.batch, order))
    return Check("rows in another order", trial.count, distance(got, trial.emitted(trial.batch)[order]), VALUE)


def check_splitting(trial: Trial) -> Check:
    """Every row on its own, without the padding that it no longer needs."""
    built = trial.built
    singles = [take(built.model, trial.batch, torch.tensor([index])) for index in range(trial.count)]
    got = torch.cat([trial.emitted(trimmed(built.model, built.sizes, single)) for single in singles])
    return Check("rows one by one", trial.count, distance(got, trial.emitted(trial.batch)), VALUE)


def check_loss(trial: Trial) -> Check:
    """loss = -(N/M) Σ log_prob, less what the rows share, once; all at the same draws."""
    module = trial.built.module
    with torch.random.fork_rng(devices=[]):
        reseed(0)
        got = module.loss(trial.batch, 10 * trial.count)
        reseed(0)
        shared = module.shared() if trial.shared.passed else ()
        rows = log_prob_given(module, trial.batch, shared)
    expected = -10 * weighed(trial, rows).sum() - (shared[-1] if shared else 0)
    return Check("loss", 1, distance(got, expected), VALUE)


def weighed(trial: Trial, rows: Tensor) -> Tensor:
    """Log-probabilities (B,) as so many rows each as the spec's weights say."""
    weight = trial.built.model.weight
    if weight is None:
        return rows
    weights = trial.batch[weight][: len(rows)]
    return torch.where(weights > 0, weights * rows, 0.0)


def check_single_precision(trial: Trial, scale: float) -> Check:
    """Marginals sum to 1 in float32, however far apart the potentials; rows must be possible for that."""
    built = trial.built
    module = built.module.float()
    try:
        got = module.posterior({k: v.float() if v.is_floating_point() else v for k, v in trial.batch.items()})
        possible = module.log_prob({k: v.float() if v.is_floating_point() else v for k, v in trial.batch.items()}) > -torch.inf
    finally:
        module.double()
    gaps = [
        float((mass - 1).abs())
        for variable in finite_unknowns(built)
        for index, row in enumerate(trial.rows)
        if bool(possible[index])
        for cell in row.cells(variable)
        for mass in _masses(row, variable, cell, got[variable.name][index][cell[1]])
    ]
    name = f"marginals sum to 1, float32, scale {scale:g}"
    return Check(name, len(gaps), worst(gaps) if gaps else None, SINGLE)


def _masses(row: Row, variable: Variable, cell: Cell, found: Tensor) -> Tensor:
    """The sum of the probabilities of one cell, or of those of each element for a tree or a parse."""
    masses = found.double().sum(-1).reshape(-1)
    return masses[: row.heads(variable, cell)] if variable.type.domain in WHOLE_DOMAINS else masses


def has_shaped_unknowns(trial: Trial) -> bool:
    """Whether some finite unknown has an event shape, whose posterior no query here covers."""
    return any(
        variable.role in ("latent", "partial") and variable.type.shape and variable.type.domain in FINITE_DOMAINS
        for variable in trial.built.model.variables
    )
