"""A fitted model in Python: its estimates, and what it says of data."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
from torch import Tensor, nn

from vispec.answers import posterior as posteriors
from vispec.answers import predict as predictions
from vispec.answers import sample as samples_
from vispec.answers import score as scores
from vispec.answers.compared import arviz, compare
from vispec.answers.compared.comparison import Comparison
from vispec.answers.compared.draws import DRAWS
from vispec.answers.elements import SHARED, Told
from vispec.answers.how import CPU, How
from vispec.answers.reading import load_data
from vispec.answers.replicated import check_fit
from vispec.answers.replicated.checked import CheckedFit
from vispec.answers.summary import summary
from vispec.face.estimates import Parameters
from vispec.face.tables import Data, arguments, like
from vispec.face.words import say
from vispec.model.model import Model as Checked
from vispec.train.errors import OptionError, RunError
from vispec.train.estimates.order import order_by
from vispec.train.estimates.stored import find_estimates, last_result
from vispec.train.estimates.uncertainty.intervals import at_level
from vispec.train.reading import Reading
from vispec.train.scores.evaluate import Score
from vispec.train.setup.distributed import Group, choose_device
from vispec.train.store.report import render_report
from vispec.train.store.run import Run as Stored

Table = TypeVar("Table")
Columns = Mapping[str, str | Sequence[str]]
"""By variable, the columns that feed it, as `--columns` has them."""
Rows = list[dict[str, Any]]
Files = str | PathLike[str] | list[Any]
New = Literal["prior"] | None
"""How rows are answered of groups that the fit did not meet: not at all, or by what the laws of their latents say."""


def readings(
    columns: Columns | None, index: Mapping[str, str] | None, absent: Sequence[str], drop_missing: bool, cache: str = "auto"
) -> Reading:
    """How tables are read."""
    chosen = {
        name: tuple(part.strip() for part in names.split(",")) if isinstance(names, str) else tuple(names)
        for name, names in (columns or {}).items()
    }
    names = (absent,) if isinstance(absent, str) else tuple(absent)
    return Reading(chosen, dict(index or {}), names, drop_missing, cache=cache)


def open_run(folder: str | PathLike[str], trust: bool = False) -> "Run":
    """The run in a folder that `fit` left; RunError where there is none, or it was changed (trust: it is taken as it is)."""
    return Run(Stored.open(Path(folder), trust))


class Run:
    """A run. In a notebook it shows what the fit came to.

    Each method takes data in any form of `vispec.face.tables`, read as the training data were, and answers in the same form: a
    table for a table, else a list with an object for each row. columns, index, absent, drop_missing: where these data are to be
    read otherwise. device, batch, seed, samples: as at the command line."""

    def __init__(self, stored: Stored, like: Data = None):
        self.stored, self._like = stored, like

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.stored.folder

    @property
    def model(self) -> Checked:
        """The checked model, at the sizes of this run."""
        return self.stored.model

    @property
    def module(self) -> nn.Module:
        """The emitted module with the best parameters, on the CPU: a fresh one each time."""
        return self.stored.load(CPU)

    @property
    def sizes(self) -> dict[str, int]:
        """Of the spec's sizes and vocabularies, as the spec or the training data told them."""
        return dict(self.stored.config.sizes)

    def batch(self, data: Data, **how: Any) -> dict[str, Tensor]:
        """All rows as one batch of the module: padded, with their lengths, words and labels as numbers."""
        with arguments(data) as (words,):
            found = load_data(self.stored, words, _split(how)[0], say)
            return found.batch(range(len(found)))

    def __repr__(self) -> str:
        return "\n".join(summary(self.stored, last_result(self.stored)))

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    def report(self) -> str:
        """The page of the run, as HTML."""
        return render_report(self.stored, find_estimates(self.stored, say))

    # ---- estimates

    def params(self, level: float = 0.95, order: str | None = None, whole: bool = False) -> Parameters:
        """The estimates, with standard errors and intervals of that level. order: number classes that only latents tell apart
        by this parameter. whole: every number of long ones too."""
        found = at_level(find_estimates(self.stored, say, whole), level)
        return Parameters(order_by(found, self.model, order) if order is not None else found)

    # ---- answers

    @overload
    def posterior(
        self, data: Files, query: str | None = None, *, of: str | None = None, new: New = None, **how: Any
    ) -> Rows: ...
    @overload
    def posterior(
        self, data: Table, query: str | None = None, *, of: str | None = None, new: New = None, **how: Any
    ) -> Table: ...
    def posterior(self, data: Data, query: str | None = None, *, of: str | None = None, new: New = None, **how: Any) -> Any:
        """What the data say of each latent, row by row. query: marginals, mode, kbest(5), sample, entropy, pairs, tree,
        stretches, boundaries, kl(RUN) or moments(10000). of: a derived quantity instead. Rows by weighted draws have
        `(effective_samples)`."""
        with arguments(data) as (words,):
            reading, means = _split(how)
            return _told(data, posteriors.posterior(self.stored, words, reading, means, say, query, of, new=_asked(new)))

    def shared(
        self, data: Data, query: str | None = None, *, of: str | None = None, new: New = None, **how: Any
    ) -> dict[str, Any]:
        """The posterior of what all rows share: of latents outside the data plate."""
        with arguments(data) as (words,):
            reading, means = _split(how)
            found = posteriors.posterior(self.stored, words, reading, means, say, query, of, new=_asked(new))
            return next((row[SHARED] for row, _ in found if SHARED in row), {})

    @overload
    def predict(
        self, data: Files, rule: str | None = None, *, target: str | Sequence[str] = (), new: New = None, **how: Any
    ) -> Rows: ...
    @overload
    def predict(
        self, data: Table, rule: str | None = None, *, target: str | Sequence[str] = (), new: New = None, **how: Any
    ) -> Table: ...
    def predict(
        self,
        data: Data,
        rule: str | None = None,
        *,
        target: str | Sequence[str] = (),
        new: New = None,
        max_length: str | None = None,
        score: bool = False,
        **how: Any,
    ) -> Any:
        """The missing cells of partial variables, or else what is observed; and what `target` names. rule: mean, mode, joint,
        median, quantiles(.05, .95), probs, sample or sample(5); of sequences that end by a symbol of their own also greedy,
        beam(width=5) or sample(n=5, temperature=0.8), for which max_length="2*|y| + 10" and score=True may be given."""
        targets = (target,) if isinstance(target, str) else tuple(target)
        with arguments(data) as (words,):
            reading, means = _split(how)
            more = (rule, targets, _asked(new), max_length, score)
            return _told(data, predictions.predict(self.stored, words, reading, means, say, *more))

    def score(self, data: Data, estimator: str | None = None, **how: Any) -> Score:
        """The log-probability of the data in nats, or its bound. estimator: iwae(5000) or elbo(100) in place of its own."""
        with arguments(data) as (words,):
            reading, means = _split(how)
            return scores.score(self.stored, words, reading, means, say, estimator)

    def pointwise(self, data: Data, **how: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """The log-probability of each row, in nats."""
        with arguments(data) as (words,):
            reading, means = _split(how)
            return scores.pointwise(self.stored, words, reading, means, say)[1].numpy()

    def sample(self, n: int = 10, data: Data = None, *, length: Mapping[str, int] | None = None, **how: Any) -> Any:
        """New rows of every variable, latent ones included; of the kind of `data`, or of what the run was fitted to here. data:
        what the `given` variables are. length: of ragged plates."""
        with arguments(data) as (words,):
            reading, means = _split(how)
            found = samples_.sample(self.stored, words, reading, means, say, n, length or {})
            return like(self._like if data is None else data, found)

    # ---- beside data, and beside other runs

    def compare(self, *others: "Run", data: Data = None, draws: int = DRAWS, **how: Any) -> Comparison:
        """This run and others, the best first: log-probability, AIC, BIC and expected log predictive density, on the rows that
        they were fitted to, or on those of `data`. draws: of what the fits leave uncertain."""
        runs = [self, *others]
        with arguments(data, *(run._like for run in runs)) as (words, *_):
            reading, means = _split(how)
            rows = [load_data(run.stored, words, reading, say) for run in runs] if words else None
            return compare.compare([run.stored for run in runs], rows, means.place, say, draws, means.seed)

    def check_fit(self, data: Data, replicates: int = check_fit.REPLICATES, **how: Any) -> CheckedFit:
        """The data beside data sets that the fitted model draws in their place: statistics and calibration."""
        with arguments(data) as (words,):
            reading, means = _split(how)
            return check_fit.check_fit(self.stored, load_data(self.stored, words, reading, say), means, say, replicates)

    def to_arviz(self, draws: int = DRAWS, data: Data = None, **how: Any) -> Any:
        """An xarray DataTree for ArviZ (`pip install 'vispec[arviz]'`): draws of what the fit leaves uncertain, log-likelihoods
        and new data under each, and the data, those of the fit if none are named."""
        with arguments(data, self._like) as (words, _):
            reading, means = _split(how)
            known = compare.rows_of(self.stored, say)
            rows = load_data(self.stored, words, reading, say) if words else known
            if rows is None:
                raise RunError("the training data are not there; name them as `data`")
            return arviz.to_arviz(self.stored, rows, draws, means.place, means.seed, known, say)


def _asked(new: New) -> bool:
    """OptionError for anything but "prior" or None."""
    if new not in (None, "prior"):
        raise OptionError(f"new={new!r}: it is 'prior' or None")
    return new is not None


def _split(how: Mapping[str, Any]) -> tuple[Reading, How]:
    """The keywords of a call: how tables are read, and by which means an answer is found."""
    known = {"columns": None, "index": None, "absent": (), "drop_missing": False, "cache": "auto"}
    means = {"device", "batch", "seed", "samples", "memory"}
    unknown = [name for name in how if name not in known and name not in means]
    if unknown:
        raise TypeError(f"there is no option {unknown[0]!r}; there are {', '.join([*known, *sorted(means)])}")
    reading = readings(**{name: how.get(name, value) for name, value in known.items()})
    place = choose_device(how.get("device") or "cpu", Group())
    given = {name: how[name] for name in ("batch", "seed", "samples", "memory") if name in how}
    return reading, How(place, **given)


def _told(data: Data, found: Iterable[Told]) -> Any:
    """The rows' own answers. What all rows share is told by `shared`."""
    rows = [row for row, _ in found]
    own = [row for row in rows if SHARED not in row]
    if rows and not own:
        raise RunError("no row has an answer of its own: `run.shared(data)` tells what all of them share")
    return like(data, own)
