"""20,000 samples of small models against the exact probability of each sentence: with an end symbol and without one, with
hidden states, of several sentences a row. Lengths are the model's own, or those of the data where it has none."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import vispec

COUNT = 20_000
WORDS = ("</s>", "a", "b")
FIRST, AFTER = np.array([0.3, 0.4, 0.3]), np.array([[0.4, 0.3, 0.3], [0.5, 0.1, 0.4], [0.45, 0.45, 0.1]])
START, STEP, EMIT = np.array([0.7, 0.3]), np.array([[0.6, 0.4], [0.2, 0.8]]), np.array([[0.35, 0.55, 0.1], [0.45, 0.1, 0.45]])
BIGRAM = """
vocab V({end}unknown=false)
param first : simplex[V]
plate v[V]:
    param after : simplex[V]
"""
SENTENCE = """\
plate n:
    chain i:
        observed x : token[V] ~ Categorical(first) then Categorical(after[x[i-1]])
"""
DOCUMENT = """\
plate n:
    plate s:
        chain i:
            observed x : token[V] ~ Categorical(first) then Categorical(after[x[i-1]])
"""
HIDDEN = """
vocab V(end=true, unknown=false)
size K = 2
param start : simplex[K]
plate k[K]:
    param step : simplex[K]
    param emit : simplex[V]
plate n:
    chain i:
        latent c : index[k] ~ Categorical(start) then Categorical(step[c[i-1]])
        observed x : token[V] ~ Categorical(emit[c])
"""
TABLES = {"first": FIRST.tolist(), "after": AFTER.tolist()}
STATES = {"start": START.tolist(), "step": STEP.tolist(), "emit": EMIT.tolist()}


def chain(sentence: Sequence[str]) -> float:
    """Of a bigram model."""
    ids = [WORDS.index(word) for word in sentence]
    return FIRST[ids[0]] * math.prod(AFTER[a, b] for a, b in itertools.pairwise(ids))


def hidden(sentence: Sequence[str]) -> float:
    """Of the hidden Markov model, by the forward algorithm."""
    state, found = START, 1.0
    for word in sentence:
        both = state * EMIT[:, WORDS.index(word)]
        found *= both.sum()
        state = (both / both.sum()) @ STEP
    return found


def ended(longest: int) -> list[tuple[str, ...]]:
    return [each for size in range(longest) for each in itertools.product("ab", repeat=size)]


def fits(drawn: Sequence[Any], expected: Mapping[Any, float]) -> None:
    """χ² of what is likely enough, with all the rest as one more class."""
    seen = Counter(drawn)
    likely = {each: p for each, p in expected.items() if p * COUNT >= 5}
    rest = 1 - sum(likely.values())
    pairs = [(seen[each], p * COUNT) for each, p in likely.items()]
    pairs += [(COUNT - sum(count for count, _ in pairs), rest * COUNT)] if rest * COUNT >= 1 else []
    chi, degrees = sum((count - mean) ** 2 / mean for count, mean in pairs), len(pairs) - 1
    assert degrees > 1
    assert chi < degrees + 4 * math.sqrt(2 * degrees)


@pytest.mark.parametrize("kind", ["bigrams", "hidden states"])
def test_sentences_with_an_end(kind: str) -> None:
    spec, law = (HIDDEN, hidden) if kind == "hidden states" else (BIGRAM.format(end="end=true, ") + SENTENCE, chain)
    run = vispec.load(spec).at([{"x": ["a", "b"]}], STATES if kind == "hidden states" else TABLES)
    drawn = [tuple(row["x"]) for row in run.sample(COUNT)]
    fits(drawn, {each: law([*each, "</s>"]) for each in ended(9)})


def test_the_rows_of_one_call_and_of_another() -> None:
    run = vispec.load(BIGRAM.format(end="end=true, ") + SENTENCE).at([{"x": ["a", "b"]}], TABLES)
    assert run.sample(50) == run.sample(50)
    assert run.sample(50) != run.sample(50, seed=1)


def test_sentences_without_an_end() -> None:
    """A fourth of the data has three words, the rest two."""
    rows = [{"x": list("ab")}] * 3 + [{"x": ["a", "b", "</s>"]}]
    run = vispec.load(BIGRAM.format(end="") + SENTENCE).at(rows, TABLES)
    order = [WORDS.index(word) for word in run.stored.encoders.vocabularies["V"].tokens]
    tables = {"first": FIRST[order].tolist(), "after": AFTER[np.ix_(order, order)].tolist()}
    run = vispec.load(BIGRAM.format(end="") + SENTENCE).at(rows, tables)
    drawn = [tuple(row["x"]) for row in run.sample(COUNT)]
    expected = {each: p * chain(each) for n, p in ((2, 0.75), (3, 0.25)) for each in itertools.product(WORDS, repeat=n)}
    fits(drawn, expected)


def test_several_sentences() -> None:
    """Each ends by itself; how many there are, the data say."""
    rows = [{"x": [list("ab"), list("a")]}, {"x": [list("ab")]}]
    run = vispec.load(BIGRAM.format(end="end=true, ") + DOCUMENT).at(rows, TABLES)
    drawn = [tuple(map(tuple, row["x"])) for row in run.sample(COUNT)]
    one = {each: chain([*each, "</s>"]) for each in ended(7)}
    expected = {(each,): 0.5 * p for each, p in one.items()}
    expected |= {(a, b): 0.5 * p * q for a, p in one.items() for b, q in one.items()}
    fits(drawn, expected)
