"""What data are worth under a run, in nats."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from vispec.answers.compared import pointwise as parts
from vispec.answers.compared.units import Units
from vispec.answers.how import How
from vispec.answers.reading import Say, load_data
from vispec.train.reading import Reading
from vispec.train.scores.evaluate import Score
from vispec.train.scores.final import Latents, final_score, latents_of
from vispec.train.scores.unknown import unknown
from vispec.train.scores.weights import read_estimator
from vispec.train.store.run import Run


def score(run: Run, data: Sequence[str], reading: Reading, how: How, say: Say, estimator: str | None = None) -> Score:
    """Of all rows together. estimator: `iwae(5000)` or `elbo(100)` in place of the model's own bound. Raises DataError,
    RunError, OptionError."""
    chosen = None if estimator is None else read_estimator(estimator)
    dataset = load_data(run, data, reading, say)
    module = run.load(how.place, how.memory)
    latents = latents_of(run.model) if hasattr(module, "shared") else Latents()
    found = final_score(module, dataset, how.size(run), how.place, latents, seed=how.seed, estimator=chosen)
    return replace(found, unknown=unknown(run.model, dataset) or None)


def pointwise(run: Run, data: Sequence[str], reading: Reading, how: How, say: Say) -> tuple[Units, Tensor]:
    """Of each row, in the order of the data; of a spec without a data plate, of each element of its plate, or of each step of
    its chain given those before it; and which of these they are."""
    return parts.pointwise(run, load_data(run, data, reading, say), how)
