"""The end of a noisy fit: series that are flat, that rise and that approach a maximum, each with a known truth."""

import math
import random
import re
from collections import Counter
from collections.abc import Callable

import pytest

from vispec.train.loop.plateau import KEPT, TOLERANCE, Series, ending, has_settled, is_look, trend

LEAST, MOST = 400, 4000


def series_of(course: Callable[[int], float], epochs: int, noise: float = 0.0, seed: int = 0) -> Series:
    chance, series = random.Random(seed), Series()
    for epoch in range(1, epochs + 1):
        series.add(course(epoch) + noise * chance.gauss(0, 1))
    return series


def end_of(course: Callable[[int], float], noise: float, seed: int = 0, least: int = LEAST, most: int = MOST) -> int:
    """The epoch at which a fit with this objective ends: at a look that finds it flat, or at the last."""
    chance, series = random.Random(seed), Series()
    for epoch in range(1, most):
        series.add(course(epoch) + noise * chance.gauss(0, 1))
        if epoch >= least and is_look(epoch, least) and has_settled(series):
            return epoch
    return most


def constant(epoch: int) -> float:
    return -123.0


def rate_in(text: str) -> float:
    found = re.search(r"(\S+) nats a row and epoch", text)
    assert found is not None, text
    return float(found[1])


def test_the_slope_of_a_line_is_exact_and_without_error() -> None:
    found = trend(series_of(lambda epoch: 3.0 + 0.25 * epoch, 40))
    assert found is not None
    assert found.rise == pytest.approx(0.25)
    assert found.error == pytest.approx(0, abs=1e-12)
    assert (found.epochs, found.course) == (16, "rises")  # of the last 20, eight blocks of two
    assert found.words == "not converged: still rising by 0.25 nats a row and epoch"
    falling = trend(series_of(lambda epoch: -0.25 * epoch, 40))
    assert falling is not None
    assert falling.words == "not converged: falling by 0.25 nats a row and epoch"


@pytest.mark.parametrize("epochs", [6, 12, 40, 300])
def test_the_interval_of_the_slope_holds_the_truth_nineteen_times_in_twenty(epochs: int) -> None:
    truth = 0.01
    found = [trend(series_of(lambda epoch: truth * epoch, epochs, 0.3, seed)) for seed in range(1000)]
    held = sum(abs(t.rise - truth) <= t.error for t in found if t is not None)
    assert 930 <= held <= 970


def test_the_noise_of_an_epoch_is_that_of_its_mean_whether_means_are_merged_or_not() -> None:
    for epochs in (300, 5000):
        found = trend(series_of(lambda epoch: 1e-4 * epoch, epochs, 0.3))
        assert found is not None
        assert found.noise == pytest.approx(0.3, rel=0.15)


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.01, 1.0])
def test_a_flat_series_ends_soon_and_is_called_converged(noise: float) -> None:
    ends = [end_of(constant, noise, seed, least=2000, most=20000) for seed in range(10)]
    assert max(ends) <= 3200
    assert sorted(ends)[5] <= 2500
    text = ending(series_of(constant, 3000, noise))
    assert text.startswith("converged: rising by less than ")
    assert rate_in(text) * 1500 <= max(TOLERANCE, 0.5 * noise)


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.01, 0.1])
def test_a_line_never_ends(noise: float) -> None:
    slope = 1e-3
    assert all(end_of(lambda epoch: slope * epoch, noise, seed) == MOST for seed in range(20))
    text = ending(series_of(lambda epoch: slope * epoch, MOST, noise))
    assert text.startswith("not converged: still rising by ")
    assert rate_in(text) == pytest.approx(slope, rel=0.1)


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.01])
@pytest.mark.parametrize("time", [50, 150])
def test_an_exponential_approach_ends_after_it_has_arrived_and_before_long(noise: float, time: int) -> None:
    ends = [end_of(lambda epoch: -math.exp(-epoch / time), noise, seed) for seed in range(10)]
    left = [math.exp(-end / time) for end in ends]
    assert max(left) < TOLERANCE
    assert max(ends) < 20 * time + 2000  # as long as it takes to average noise away


def test_an_approach_with_a_long_tail_ends_where_the_rest_is_small() -> None:
    """-c / n rises by c / n once more, after n epochs, in all epochs to come."""
    end = end_of(lambda epoch: -0.5 / epoch, 0.0)
    assert 0.5 / end < TOLERANCE
    assert end < MOST
    assert end_of(lambda epoch: -50 / epoch, 0.0) == MOST
    assert end_of(math.log, 0.0) == MOST


def test_false_ends_are_rare() -> None:
    """Of 1000 random series that rise by five times the noise of an epoch over half of their epochs, none is called flat."""
    courses, ended = Counter(), 0
    for seed in range(1000):
        chance = random.Random(seed)
        noise = 10 ** chance.uniform(-2, 1)
        epochs = chance.randint(20, 300)
        slope = 10 * noise / epochs
        series = series_of(lambda epoch, slope=slope: slope * epoch, epochs, noise, seed)
        found = trend(series)
        assert found is not None
        courses[found.course] += 1
        ended += has_settled(series)
    assert ended == 0
    assert courses["flat"] == courses["falls"] == 0
    assert courses["rises"] > 700


def test_noise_that_hides_the_course_is_told() -> None:
    chance = random.Random(1)
    series = Series()
    for _ in range(10):
        series.add(-100 + chance.gauss(0, 1))
    found = trend(series)
    assert found is not None
    assert found.course == "unclear"
    assert not has_settled(series)
    assert abs(found.rise) < found.error
    assert "still rising by" in found.words
    assert "give or take" in found.words
    assert rate_in(found.words) == pytest.approx(found.rise, rel=0.1)


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_too_few_epochs_have_no_course(epochs: int) -> None:
    series = series_of(constant, epochs)
    assert trend(series) is None
    assert not has_settled(series)
    assert ending(series) == "not converged: too few epochs to tell how fast the objective still rises"


def test_a_long_series_stays_small_and_keeps_its_line() -> None:
    series = series_of(lambda epoch: 0.5 * epoch, 10 * KEPT + 7)
    assert len(series.means) < KEPT
    assert series.width * len(series.means) + series.count == 10 * KEPT + 7
    found = trend(series)
    assert found is not None
    assert found.rise == pytest.approx(0.5)
    assert 2 * KEPT < found.epochs <= 5 * KEPT + 7


def test_a_series_that_was_stored_goes_on_bit_for_bit() -> None:
    chance = random.Random(3)
    values = [chance.gauss(0, 1) for _ in range(1500)]
    whole, part = Series(), Series()
    for i, value in enumerate(values):
        whole.add(value)
        part.add(value)
        if i % 97 == 0:
            part = Series.model_validate_json(part.model_dump_json())
    assert part == whole
    assert trend(part) == trend(whole)


def test_looks_grow_apart() -> None:
    looks = [epoch for epoch in range(1, 101) if is_look(epoch, 10)]
    assert looks == [10, 13, 17, 22, 28, 35, 44, 55, 69, 87]
    assert len([epoch for epoch in range(1, 20001) if is_look(epoch, 2000)]) == 11
