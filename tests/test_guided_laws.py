"""Random models with continuous latents under guides: the bound of the very draw that the module made, against enumeration of
what it sums out, with its gradient; and every method answers."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vispec.source import Source
from vispec.verify import checks
from vispec.verify.bounds.draws import check_at_draw
from vispec.verify.bounds.whole import check_shared
from vispec.verify.build import build, randomise
from vispec.verify.data import with_rubbish
from vispec.verify.generate_guided import guided_texts, shared_texts
from vispec.verify.trial import Trial, continuous_latents, small_batch

ROWS = 3
RANDOM = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trial_of(text: str, seed: int) -> Trial:
    built = build(Source("random.vispec", text), {})
    generator = torch.Generator().manual_seed(seed)
    randomise(built, generator)
    batch, _ = small_batch(built, ROWS, generator, 3_000)
    return Trial(built, batch, ROWS)


@settings(RANDOM, max_examples=60)
@given(text=guided_texts(), seed=st.integers(0, 2**20))
def test_the_bound_at_its_own_draw(text: str, seed: int) -> None:
    trial = trial_of(text, seed)
    bound, gradient = check_at_draw(trial)
    assert bound.skipped is None
    assert not bound.differs
    if torch.isfinite(trial.emitted(trial.batch)).all():  # a row that is impossible has no bound to climb
        assert gradient.skipped is None
        assert not gradient.differs
    batch = with_rubbish(trial.built.model, trial.built.sizes, trial.batch, torch.Generator().manual_seed(seed))
    assert not check_at_draw(Trial(trial.built, batch, ROWS))[0].differs


@settings(RANDOM, max_examples=30)
@given(text=shared_texts(), seed=st.integers(0, 2**20))
def test_what_rows_share(text: str, seed: int) -> None:
    trial = trial_of(text, seed)
    for check in check_shared(trial):
        assert not check.differs
    if trial.built.module.estimator == "exact" or not continuous_latents(trial.built):
        assert not checks.check_log_prob(trial).differs
    else:
        assert not check_at_draw(trial)[0].differs


@settings(RANDOM, max_examples=40)
@given(text=guided_texts(), seed=st.integers(0, 2**20))
def test_every_method_answers(text: str, seed: int) -> None:
    trial = trial_of(text, seed)
    module, model = trial.built.module, trial.built.model
    keys = {plate.name: plate.length_key for plate in model.plates if plate.ragged}
    lengths = {name: trial.batch[key] for name, key in keys.items() if key in trial.batch}
    if hasattr(module, "log_weights"):  # not where joint values are enumerated inside a draw
        assert module.log_weights(trial.batch, 3).shape == (3, ROWS)
    told = (
        module.divergences(trial.batch, 2) if hasattr(module, "divergences") else {}
    )  # none where all depend on what is summed
    for found, drawn in told.values():
        assert found.shape == (2, ROWS)
        assert drawn is None or drawn.shape[:2] == (2, ROWS)
    assert module.posterior(trial.batch)
    assert set(module.sample(ROWS, trial.batch, lengths)) >= {v.name for v in model.variables}
    for rule in ("mean", "mode", "sample"):
        module.predict(trial.batch, rule, 3)
