"""Log-probabilities of a data set under a module whose parameters stay as they are."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vispec.train.casts import broken_cast
from vispec.train.errors import RunError
from vispec.train.scores.counted import scored, weighed, weight_of
from vispec.train.scores.counted import total as counted
from vispec.train.scores.weights import Bound, Estimator, estimate_all
from vispec.train.setup.distributed import Group
from vispec.train.store.module import evaluating, to_device


class Rows(Protocol):
    """What a fit needs to know of a data set."""

    @property
    def num_rows(self) -> int: ...

    def batch(self, indices: Any) -> dict[str, Tensor]:
        """The rows at `indices` (M,) as tensors."""
        ...

    def order(self, size: int, generator: torch.Generator | None = None, bucket: bool = False) -> Sequence[Any]:
        """All rows in minibatches of at most `size`, shuffled by the generator; with `bucket`, like lengths together."""
        ...

    def tokens(self) -> int:
        """How many elements are scored, in the sense of a log-probability per token."""
        ...

    def row_tokens(self) -> Any:
        """How many of each row (M,)."""
        ...


@dataclass(frozen=True)
class Score:
    """log_prob: the sum over rows, in nats; a bound where `exact` is False, and `estimator` says which. rows, tokens: how many
    the data stand for, by their weights.

    bound: what it is, see `Bound`. standard_error: of log_prob by chance of the draws, where they were enough to tell.
    diagnostics: how the latents are used, see diagnostics.py. evidence_bound: where rows share latents, log_prob less the
    divergence of these, a lower bound on the log-probability of all rows together, in expectation; evidence_bound_error: its
    standard error. unknown: by vocabulary, how many of how many words are not in it.
    """

    rows: int | float
    tokens: int | float
    log_prob: float
    exact: bool
    estimator: str
    bound: Bound = "exact"
    standard_error: float | None = None
    diagnostics: dict[str, Any] | None = None
    evidence_bound: float | None = None
    evidence_bound_error: float | None = None
    unknown: dict[str, dict[str, int | float]] | None = None

    @property
    def per_row(self) -> float:
        return self.log_prob / self.rows if self.rows else math.nan

    @property
    def maximised(self) -> float:
        """Per row, the bound where rows share latents: what the steps of a fit maximise."""
        return self.per_row if self.evidence_bound is None else self.evidence_bound / self.rows

    def as_json(self) -> dict[str, Any]:
        """The numbers that `eval --json` prints; per-token ones are null without tokens."""
        per_token = self.log_prob / self.tokens if self.tokens else None
        evidence = self.evidence_bound
        return asdict(self) | {
            "log_prob_per_row": self.per_row if self.rows else None,
            "log_prob_per_token": per_token,
            "evidence_bound_per_row": None if evidence is None or not self.rows else evidence / self.rows,
            "perplexity": None if per_token is None else _exp(-per_token),
        }


def evaluate(
    module: nn.Module,
    data: Rows,
    size: int,
    device: torch.device,
    group: Group | None = None,
    seed: int = 0,
    estimator: Estimator | None = None,
) -> Score:
    """The module's score on all rows, in minibatches of `size`; random estimates repeat for the same `seed`.

    estimator: another bound than the module's own."""
    group = group or Group()
    if estimator is not None:
        return _estimate(module, data, size, device, group, seed, estimator)
    total = torch.zeros((), dtype=torch.float64)
    with evaluating(module, seed, device):
        for indices in data.order(size, None, bucket=True)[group.rank :: group.world]:
            batch = to_device(data.batch(indices), device)
            log_prob = module.log_prob(batch).double()  # pyright: ignore[reportCallIssue]
            found = weighed(log_prob, batch, weight_of(data)).sum().cpu()
            if not bool(found.isfinite()) and (cast := broken_cast(module, batch, indices)) is not None:
                raise RunError(cast)
            total += found
    group.sum_(total)
    exact, name = bool(getattr(module, "exact", False)), str(getattr(module, "estimator", "unknown"))
    return Score(counted(data), scored(data), float(total), exact, name, bound_of(module, exact, name))


def bound_of(module: nn.Module, exact: bool, estimator: str) -> Bound:
    """What a module's own estimate is: of rows that share nothing, draws from the prior alone estimate, all others bound."""
    if hasattr(module, "shared") and not exact:
        return "expected"
    return "exact" if exact else "estimate" if estimator.startswith("mc(") else "lower"


def _estimate(
    module: nn.Module, data: Rows, size: int, device: torch.device, group: Group, seed: int, estimator: Estimator
) -> Score:
    """The score under another bound; of a model whose rows share latents, iwae is each row's posterior predictive."""
    total = torch.zeros(2, dtype=torch.float64)
    with evaluating(module, seed, device):
        for indices in data.order(size, None, bucket=True)[group.rank :: group.world]:
            batch = to_device(data.batch(indices), device)
            found = estimate_all(module, batch, len(indices), estimator, weight_of(data))
            total += torch.stack(found).cpu()
    group.sum_(total)
    log_prob, variance = total.tolist()
    of_shared: Bound = "expected" if estimator.name == "elbo" else "predictive"
    bound = of_shared if hasattr(module, "shared") else "lower"
    return Score(counted(data), scored(data), log_prob, False, str(estimator), bound, math.sqrt(variance))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
