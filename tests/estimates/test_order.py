"""Which axes change places together, and what stands where afterwards."""

import pytest

from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.errors import RunError
from vispec.train.estimates.order import axes_of, exchange, order_by
from vispec.train.estimates.values import Estimate, Estimates, Term

HMM = """\
size K = 2
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param rate  : positive
plate series:
    chain t:
        latent   c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : count ~ Poisson(rate[c])
"""
SECOND = """\
size K = 3
plate k[K]:
    plate before[K]:
        param trans : simplex[K]
param init : simplex[K]
param emit : simplex[K]
plate n:
    latent   a : category[K] ~ Categorical(init)
    latent   b : category[K] ~ Categorical(init)
    latent   c : category[K] ~ Categorical(trans[a, b])
    observed x : category[K] ~ Categorical(emit)
    observed y : bit ~ Bernoulli(0.5 if c == 0 else 0.1)
"""
PLACED = """\
plate k[2]:
    param mu : real
    let far = mu + 5 * k
param p : simplex[2]
plate n:
    latent   c : index[k] ~ Categorical(p)
    observed x : real ~ Normal(far[c], 1)
"""


def model(text: str) -> Model:
    return check_model(parse(Source("m.vispec", text)))


def entries(values: dict[str, list]) -> Estimates:
    """Nested lists of numbers as estimates."""

    def flat(name: str, value: float | list, index: tuple[int, ...] = ()) -> list[Estimate]:
        if not isinstance(value, list):
            return [Estimate(name=name, labels=index, index=index, estimate=value)]
        return [entry for i, item in enumerate(value) for entry in flat(name, item, (*index, i))]

    found = [entry for name, value in values.items() for entry in flat(name, value)]
    return Estimates(log_prob=0.0, rows=1, parameters=tuple(found))


def test_rows_and_columns_of_transitions_move_together() -> None:
    found = entries({"init": [0.9, 0.1], "trans": [[0.7, 0.3], [0.2, 0.8]], "rate": [5.0, 2.0]})
    ordered = order_by(found, model(HMM), "rate")
    told = {entry.title: entry.estimate for entry in ordered.parameters}
    assert list(told) == [
        "init[0]",
        "init[1]",
        "trans[0, 0]",
        "trans[0, 1]",
        "trans[1, 0]",
        "trans[1, 1]",
        "rate[0]",
        "rate[1]",
    ]
    assert list(told.values()) == [0.1, 0.9, 0.8, 0.2, 0.3, 0.7, 2.0, 5.0]
    assert order_by(ordered, model(HMM), "init") == ordered


def test_categories_that_index_plates_draw_them_along() -> None:
    second = model(SECOND)
    moved = exchange(second, "k")
    assert moved.plates == {"k", "before"}
    assert axes_of(second, "trans", moved) == [0, 1]
    assert axes_of(second, "init", moved) == [0]
    assert axes_of(second, "emit", moved) == []


def test_directions_are_renamed_too() -> None:
    mu = [
        Estimate(
            name="rate",
            labels=(i,),
            index=(i,),
            estimate=5.0 - i,
            note="not identified (along rate[0] - rate[1])",
            along=(Term(name="rate", index=(0,), labels=(0,), weight=1), Term(name="rate", index=(1,), labels=(1,), weight=-1)),
        )
        for i in range(2)
    ]
    ordered = order_by(Estimates(log_prob=0.0, rows=1, parameters=tuple(mu)), model(HMM), "rate")
    assert [entry.estimate for entry in ordered.parameters] == [4.0, 5.0]
    assert {entry.note for entry in ordered.parameters} == {"not identified (along rate[1] - rate[0])"}


def test_elements_that_the_model_tells_apart_keep_their_places() -> None:
    found = entries({"mu": [3.0, 1.0], "p": [0.5, 0.5], "far": [3.0, 6.0]})
    with pytest.raises(RunError, match="apart by their positions"):
        order_by(found, model(PLACED), "mu")


def test_elements_with_labels_keep_their_places() -> None:
    found = entries({"rate": [5.0, 2.0]})
    named = tuple(entry.model_copy(update={"labels": (f"state {entry.index[0]}",)}) for entry in found.parameters)
    with pytest.raises(RunError, match="labels of the data"):
        order_by(found.model_copy(update={"parameters": named}), model(HMM), "rate")


def test_plates_that_no_latent_points_at_have_no_order() -> None:
    text = "plate d[2]:\n    param m : real\nplate n:\n    plate d:\n        observed x : real ~ Normal(m, 1)\n"
    with pytest.raises(RunError, match="no latent points at its elements"):
        order_by(entries({"m": [2.0, 1.0]}), model(text), "m")
