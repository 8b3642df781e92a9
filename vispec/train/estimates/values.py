"""The estimates of a run as one value: what `params --json` prints, `estimates.json` keeps, and tables are made from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

FIELDS = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

ABOVE = "0 above the diagonal"
"""The note of an entry of a Cholesky factor that is no number; tables leave it out."""

Scale = Literal["real", "positive", "unit", "posterior"]
"""On which scale an interval is symmetric: its own, that of logarithms, that of log-odds; "posterior": on the positive reals,
the log-normal law with this mean and deviation."""


Ends = tuple[float | None, float | None]
"""Where the law of a latent ends between the ends of its domain: an upper end alone has none."""


class Term(BaseModel):
    """A number of a parameter, and how far it moves along a direction."""

    model_config = FIELDS

    name: str
    index: tuple[int, ...]
    labels: tuple[str | int, ...]
    weight: float


class Estimate(BaseModel):
    """One number, in the space of the spec's type.

    labels: its place along the plates and then the dimensions of its type: a label of the data, the name of a column, a word of
    a vocabulary, or else the position, from 0. index: the positions, from 0. se: its standard error, or for a latent with a
    guide the deviation of its posterior; null where there is none, and then `note` says why. low, high: the ends of an interval
    of `level`. ends: those of a latent's law where they are numbers in the spec, as of Uniform(0, 10); the interval is between
    them. derived: of a deterministic node that parameters decide. along: of a number that is not identified, a direction
    in which the data say nothing.
    """

    model_config = FIELDS

    name: str
    labels: tuple[str | int, ...] = ()
    index: tuple[int, ...] = ()
    estimate: float
    se: float | None = None
    low: float | None = None
    high: float | None = None
    note: str | None = None
    scale: Scale = "real"
    ends: Ends = (None, None)
    derived: bool = False
    along: tuple[Term, ...] = ()

    @property
    def title(self) -> str:
        """As a table names it: mu[2, waiting]."""
        return title(self.name, self.labels)


class Folded(BaseModel):
    """What has no line for each of its numbers: a net, or a parameter of very many."""

    model_config = FIELDS

    name: str
    numbers: int
    note: str


class Estimates(BaseModel):
    """All estimates of a run.

    log_prob: of the training data, in nats, or the bound on it that `bound` names (as in `eval`). rows: how many the data stand
    for, by their weights. free_parameters: the rank of
    the information, parameters at a bound not counted; null where there are no second derivatives. aic: 2 free_parameters − 2
    log_prob; bic: free_parameters · log(rows) − 2 log_prob, null where there is one row; both null without free_parameters.
    converged, decrement (nats), starts (each maximum reached, and how often): of a fit by second derivatives, else null and [].
    notes: what holds for all of them, a sentence each.
    """

    model_config = FIELDS

    log_prob: float | None
    bound: str = "exact"
    rows: int | float
    free_parameters: int | None = None
    aic: float | None = None
    bic: float | None = None
    converged: bool | None = None
    decrement: float | None = None
    starts: tuple[tuple[float, int], ...] = ()
    level: float = 0.95
    parameters: tuple[Estimate, ...] = ()
    folded: tuple[Folded, ...] = ()
    notes: tuple[str, ...] = ()


def title(name: str, labels: tuple[str | int, ...]) -> str:
    """mu[2, waiting], or mu alone."""
    return f"{name}[{', '.join(map(str, labels))}]" if labels else name
