"""Entries of a parameter without a named size are called by the labels of the categories that they are of, if these agree."""

from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.estimates.labels import Labels

SPEC = """
param p : simplex[3]
param a : real[3]
param b : real[3]
param both : simplex[3]
param table : real[2, 3]
plate k[3]:
    param row : simplex[3]
param other : real[3]
plate n:
    given v : real[3]
    given d : category[2]
    observed y : category[3] ~ Categorical(p)
    observed u : category[3] ~ Categorical(softmax(a + dot(b, v) * a))
    observed s : category[3] ~ Categorical(both if u == 0 else p)
    observed t : category[3] ~ Categorical(both)
    observed r : category[3] ~ Categorical(row[e])
    observed x : real ~ Normal(other[r] + table[d][y], 1)
    given e : index[k]
"""
MARKS, WORDS = ("1", "2", "3"), ("hi", "lo", "mid")
LABELS = {"y": MARKS, "u": WORDS, "s": MARKS, "t": WORDS, "r": WORDS[:2], "d": None, "k": ("A", "B", "C")}


def model() -> Model:
    return check_model(parse(Source("m.vispec", SPEC)))


def axes(name: str) -> list[list[str | int]]:
    found = model()
    param, labels = found.param[name], Labels.of(found, Encoders({}, LABELS), {})
    shape = [3] * len(param.plates) + [int(size) for size in param.type.shape]
    return [list(axis) for axis in labels.axes(found, param.plates, param.type, shape, name)]


def test_of_a_law_entry_by_entry():
    assert axes("a") == [[*WORDS]]
    assert axes("row") == [["A", "B", "C"], ["hi", "lo", 2]]  # one label has not occurred


def test_where_several_variables_read_them_all_must_have_the_same():
    assert axes("p") == [[*MARKS]]
    assert axes("both") == [[0, 1, 2]]


def test_what_a_sum_goes_over_has_no_labels():
    assert axes("b") == [[0, 1, 2]]


def test_of_what_is_picked():
    assert axes("other") == [["hi", "lo", 2]]
    assert axes("table") == [[0, 1], [*MARKS]]
