"""`unit(...)` and the other casts leave a value as it is; where one does not hold, `fit` and `eval` name it and the row."""

from pathlib import Path

import numpy as np
import pytest
from fitting import fitted, vispec, written

SPECS = {
    "`unit(k / m)` of `x` is no unit: 1.25": ("observed x : bit ~ Bernoulli(unit(k / m))", {"k": [1, 5, 0], "m": [2, 4, 3]}),
    "`positive(m - k)` of `x` is no positive: 0": (
        "observed x : bit ~ Bernoulli(exp(-positive(m - k)))",
        {"k": [1, 3, 0], "m": [2, 3, 3]},
    ),
    "`count(k / 2)` of `x` is no count: 0.5": ("observed x : bit ~ Binomial(count(k / 2), 0.5)", {"k": [2, 1, 0]}),
    "`simplex([k / m, 1 - k / 4])` of `x` is no simplex: [0.5, 0.75]": (
        "observed x : category[2] ~ Categorical(simplex([k / m, 1 - k / 4]))",
        {"k": [1, 1, 0], "m": [4, 2, 3]},
    ),
}


@pytest.mark.parametrize("said", SPECS)
def test_fit_and_eval_name_the_cast_that_does_not_hold(said: str, tmp_path: Path) -> None:
    line, wrong = SPECS[said]
    line = line.replace("bit ~ Binomial", "count ~ Binomial")
    data = "    given k : count\n    given m : count\n"
    text = f"param a : real\nplate n:\n{data}    {line}\n    observed y : real ~ Normal(a, 1)\n"
    columns = {"m": [4, 4, 4], "x": [0, 0, 0], "y": [0.1, 0.2, 0.3]}
    fitted(tmp_path, text, columns | {"k": [2, 2, 2]})
    spec, table = written(tmp_path, text, columns | wrong)
    assert f"row 2 of the data: {said}" in vispec("fit", spec, table, "--out", tmp_path / "other", "--threads", "1", code=3)
    assert f"row 2 of the data: {said}" in vispec("eval", tmp_path / "run", table, code=1)


def test_what_stands_past_the_end_of_a_row_is_no_breach(tmp_path: Path) -> None:
    """Padding holds 0, where the cast would not hold; and it sends no gradient."""
    text = """param a : real
plate n:
    plate i:
        given t : real
        observed y : real ~ Normal(a * log(positive(t)), positive(t))
"""
    columns = {"t": [[1.0, 2.0], [3.0], [1.5]], "y": [[0.3, 1.0], [0.4], [0.1]]}
    told, found = fitted(tmp_path, text, {name: np.array(lists, dtype=object) for name, lists in columns.items()})
    assert told["train"]["log_prob"] < 0
    assert abs(found["a"]) < 10
