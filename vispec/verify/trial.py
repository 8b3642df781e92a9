"""One comparison set: a module with its parameters as they are, a batch, and every row of it enumerated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import torch
from torch import Generator, Tensor

from vispec.model.model import Apply, Model, Variable
from vispec.model.values.ranges import CASTS
from vispec.model.walk import law_parts, walk
from vispec.plan.treat import draws_of, told_apart
from vispec.verify.bounds.shared import Shared, draw_shared
from vispec.verify.build import Built, Emitted
from vispec.verify.data import Batch, random_batch, read_rows, row_count
from vispec.verify.errors import ImproperError, NotCheckedError
from vispec.verify.oracle.oracle import Assignment, Enumeration, enumerate_log_prob, unknown_cells
from vispec.verify.oracle.row import ENUMERABLE, Cell, Row, in_data, place_of


@dataclass(frozen=True)
class Trial:
    built: Built
    batch: Batch
    count: int
    weights: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Unequal weights of the rows in a summed gradient, so that rows cannot change places unseen."""
        object.__setattr__(self, "weights", torch.linspace(1, 2, self.count, dtype=torch.float64))

    @cached_property
    def rows(self) -> list[Row]:
        return read_rows(self.built.model, self.built.sizes, self.batch, self.count)

    @cached_property
    def shared(self) -> Shared:
        """One draw of what all rows share: with it the density of a row is compared."""
        return draw_shared(self.built, self.rows[0])

    def emitted(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The module's log-probabilities of the rows of a batch, (B,), given that draw."""
        return log_prob_given(self.built.module, batch, self.shared.passed)

    @cached_property
    def enumerations(self) -> list[Enumeration]:
        """Of each row, given the draw's first sample."""
        return self._enumerated(0)

    def _enumerated(self, sample: int) -> list[Enumeration]:
        given = self.shared.samples[sample]
        return [enumerate_log_prob(self.built.model, self.built.module, row, given) for row in self.rows]

    @cached_property
    def log_prob(self) -> Tensor:
        """What brute force says, (B,); the mean over samples of what rows share."""
        rest = [self._enumerated(sample) for sample in range(1, len(self.shared.samples))]
        values = [torch.stack([enumeration.log_prob for enumeration in one]) for one in (self.enumerations, *rest)]
        return torch.stack(values).mean(0)

    @property
    def rounding(self) -> float:
        """How far brute force itself may be off by what float64 holds."""
        return max(enumeration.rounding for enumeration in self.enumerations)

    def gradients(self, log_prob: Tensor, rows: Tensor | None = None) -> Mapping[str, Tensor]:
        """Of the weighted sum over (some) rows, for every parameter of the module; zeros where nothing depends on it."""
        named = dict(self.built.module.named_parameters())
        if not named:
            return {}
        if not log_prob.requires_grad:
            return {name: torch.zeros_like(parameter) for name, parameter in named.items()}
        weighted = self.weights * log_prob
        total = (weighted if rows is None else weighted[rows]).sum()
        found = torch.autograd.grad(total, list(named.values()), allow_unused=True, retain_graph=True)
        return {
            name: torch.zeros_like(parameter) if gradient is None else gradient
            for (name, parameter), gradient in zip(named.items(), found, strict=True)
        }

    def unknown(self, variable: Variable) -> Iterator[tuple[int, Cell, Enumeration]]:
        """Every enumerated cell of one variable: its row, itself and the enumeration of that row."""
        for index, enumeration in enumerate(self.enumerations):
            for cell in enumeration.cells:
                if cell[0] == variable.name:
                    yield index, cell, enumeration


def log_prob_given(module: Emitted, batch: Mapping[str, Tensor], shared: tuple[Tensor, ...]) -> Tensor:
    """(B,), given a draw of what all rows share; log p - log q by itself, of weights, is nothing that a row reads."""
    return module.log_prob(batch, shared) if len(shared) > 1 else module.log_prob(batch)


def sums(built: Built) -> bool:
    """Whether it draws nothing: all that has no point estimate is summed out."""
    return built.module.estimator.startswith("exact")


def finite_unknowns(built: Built) -> list[Variable]:
    """Latent and partial variables of a row that enumeration can sum out, with one value per cell."""
    return [
        variable
        for variable in built.model.variables
        if variable.role in ("latent", "partial")
        and variable.type.domain in ENUMERABLE
        and not variable.type.shape
        and in_data(built.model, variable.plates)
        and not told_apart(variable, built.model)
    ]


def continuous_latents(built: Built) -> list[Variable]:
    """Latents of a row that are neither summed out by enumeration nor integrated out."""
    model = built.model
    exactly = model.integrated
    latents = [v for v in model.variables if v.role == "latent" and in_data(model, v.plates) and v.name not in exactly]
    return [v for v in latents if v.type.domain not in ENUMERABLE]


def terms_of(built: Built, row: Row) -> int:
    """How many assignments a row has, continuous latents aside."""
    model = built.model
    given = {cell: torch.zeros(()) for variable in continuous_latents(built) for cell in row.cells(variable)}
    total = 1
    for name, index in unknown_cells(model, row, given)[0]:
        variable = model.variable[name]
        total *= len(row.support_of(variable, place_of(model, variable, (name, index))))
    return total


MANY = 40  # rows drawn for each that is wanted, where not all will do


def has_casts(model: Model) -> bool:
    """Whether a spec says of some values that they surely lie in a domain."""
    laws = [part for variable in model.variables if variable.law is not None for part in law_parts(variable.law)]
    values = [*laws, *(let.value for let in model.lets)]
    return any(isinstance(e, Apply) and e.function in CASTS for value in values for e in walk(value))


def has_flat(model: Model) -> bool:
    """Whether something integrated has a law that says nothing of it, so that a row's data must."""
    return any(draw.distribution == "Flat" for name in model.gaussian or () for draw in draws_of(model.variable[name]))


def _suitable(built: Built, batch: Batch, rows: int, missing: float) -> Batch:
    """So many rows of a batch in which all casts hold, and that tell all that has no law: others have no log-probability.
    Where every cell is missing, none do."""
    frames = read_rows(built.model, built.sizes, batch, row_count(built.model, batch))
    with torch.no_grad():
        shared = draw_shared(built, frames[0])
        good = torch.ones(len(frames), dtype=torch.bool)
        if has_casts(built.model):
            good = ~log_prob_given(built.module, batch, shared.passed).isnan()
    kept = good.nonzero().flatten().tolist()
    if told := has_flat(built.model) and missing < 1:
        kept = list(islice((b for b in kept if _proper(built, frames[b], shared.samples[0])), rows))
    if len(kept) < rows:
        lack = "tell all that has no law" if told else "are such that the casts of the spec hold"
        raise NotCheckedError(f"of random rows, too few {lack}")
    mine = {v.name for v in built.model.variables if in_data(built.model, v.plates)}
    picked = torch.tensor(kept[:rows])
    return {key: value if key in built.model.variable and key not in mine else value[picked] for key, value in batch.items()}


def _proper(built: Built, row: Row, given: Assignment) -> bool:
    """Whether the posterior of what is integrated can be normed."""
    try:
        enumerate_log_prob(built.model, built.module, row, given)
    except ImproperError:
        return False
    except NotCheckedError:  # to be told of by a check
        pass
    return True


def small_batch(built: Built, rows: int, generator: Generator, limit: int, missing: float = 0.4) -> tuple[Batch, int]:
    """A random batch with at most `limit` assignments for any row, and that number: lengths up to 3, 2 or else 1."""
    batch: Batch = {}
    terms = 0
    for longest in (3, 2, 1):
        many = rows * MANY if has_casts(built.model) or has_flat(built.model) else rows
        batch = random_batch(built.model, built.sizes, many, generator, longest, missing)
        if many > rows:
            batch = _suitable(built, batch, rows, missing)
        terms = max(terms_of(built, row) for row in read_rows(built.model, built.sizes, batch, rows))
        if terms <= limit:
            break
    return batch, terms
