"""The table for a reader: digits, columns, folding; and intervals."""

import pytest

from vispec.train.estimates.show import body, cells, header, show
from vispec.train.estimates.uncertainty.intervals import at_level, interval
from vispec.train.estimates.values import Estimate, Estimates, Folded


def entry(estimate: float, se: float | None = None, **more) -> Estimate:
    return Estimate(name="a", estimate=estimate, se=se, **more)


def estimates(*entries: Estimate, **more) -> Estimates:
    return Estimates(log_prob=-12.345678, rows=10, parameters=entries, **more)


@pytest.mark.parametrize(
    ("estimate", "se", "shown"),
    [
        (147.4753885, 15.889, ("147.5", "15.9")),
        (0.485178423, 0.014305, ("0.4852", "0.0143")),
        (0.000256665757, 5.224e-05, ("0.0002567", "0.0000522")),
        (-3482258.63, 667815.3, ("-3482259", "667815")),
        (0.0004, 3.2, ("0.00", "3.20")),
        (-1e-9, 0.5, ("0.000", "0.500")),
        (1.5e12, 3e10, ("1.5000e+12", "3.00e+10")),
    ],
)
def test_an_estimate_has_the_decimals_of_its_standard_error(estimate: float, se: float, shown: tuple[str, str]) -> None:
    found = cells(entry(estimate, se))
    assert (found.estimate, found.se) == shown


def test_columns_stand_on_their_decimal_points() -> None:
    found = at_level(estimates(entry(147.4754, 15.889), entry(0.48518, 0.0143), entry(3.0, note="met no row")), 0.95)
    head, *lines = body(found)
    assert head.split() == ["estimate", "std.", "error", "95", "%", "from", "to"]
    assert len({line.index(".") for line in lines}) == 1
    assert lines[-1].endswith("met no row")


def test_what_is_at_its_bound_is_told_as_the_bound() -> None:
    assert cells(entry(3e-10, note="at its bound", scale="unit")).estimate == "0"
    assert cells(entry(0.99999999, note="at its bound", scale="unit")).estimate == "1"


def test_a_line_parts_what_parameters_decide() -> None:
    lines = body(estimates(entry(1.0, 0.1), entry(2.0, 0.1, derived=True)))
    assert set(lines[2]) == {"-"}


def test_long_parameters_are_cut_short_and_nets_are_a_line() -> None:
    many = tuple(Estimate(name="m", labels=(i,), index=(i,), estimate=float(i), se=1.0) for i in range(300))
    found = estimates(*many, folded=(Folded(name="f", numbers=12345, note="net"),))
    lines = show(found)
    assert len(lines) < 30
    assert any("280 more: --all" in line for line in lines)
    assert lines[-1].split() == ["f", "net,", "12,345", "numbers"]
    assert len(show(found, whole=True)) > 300
    assert body(found, most=10)[-1] == "... and 13 more lines: vispec params RUN"


def test_the_first_line_says_what_holds_for_all() -> None:
    found = estimates(free_parameters=3, aic=30.691356, bic=31.5991)
    assert header(found) == ["log-probability -12.3457 nats, 10 rows, 3 free parameters, AIC 30.69, BIC 31.60"]
    assert header(found, scored=True) == ["3 free parameters, AIC 30.69, BIC 31.60"]


def test_a_note_that_all_have_is_told_once() -> None:
    lines = show(estimates(entry(1.0, note="no maximum here"), entry(2.0, note="no maximum here")))
    assert sum("no maximum here" in line for line in lines) == 1


def test_intervals_stay_inside_the_domain() -> None:
    assert interval(2.0, 0.5, "real", 0.95) == pytest.approx((2 - 0.9799820, 2 + 0.9799820))
    low, high = interval(0.01, 0.02, "positive", 0.95)
    assert 0 < low < 0.01 < high
    assert low * high == pytest.approx(1e-4)
    low, high = interval(0.99, 0.02, "unit", 0.95)
    assert 0.5 < low < 0.99 < high < 1
    assert interval(1.0, 1e6, "positive", 0.95)[1] > 1e300


def test_intervals_stay_between_the_ends_of_a_law() -> None:
    low, high = interval(0.6, 0.4, "real", 0.95, (0.0, 10.0))
    assert 0 < low < 0.6 < high < 10
    assert interval(-4.4, 0.4, "real", 0.95, (-5.0, 5.0)) == pytest.approx((low - 5, high - 5))
    low, high = interval(1.6, 0.8, "posterior", 0.95, (1.0, None))
    assert (low - 1, high - 1) == pytest.approx(interval(0.6, 0.8, "posterior", 0.95))


def test_a_posterior_on_the_positive_reals_is_log_normal() -> None:
    mean, deviation = 2.718281828**0.625, (2.718281828**1.25 * (2.718281828**0.25 - 1)) ** 0.5  # of LogNormal(0.5, 0.5)
    low, high = interval(mean, deviation, "posterior", 0.95)
    assert (low, high) == pytest.approx((2.718281828 ** (0.5 - 0.9799820), 2.718281828 ** (0.5 + 0.9799820)), rel=1e-5)
