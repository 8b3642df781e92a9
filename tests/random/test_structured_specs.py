"""Random models with structures against brute force, and every question to their modules; half of them under ordinary names.

What is refused is announced: a latent that nothing integrates (V710) or that is drawn along a tree (V724), a last stretch
that no law of lengths cuts (V323), more joint values than the budget allows (V703, V711)."""

import re

import pytest
import torch

from tests.random.judge import judged
from tests.random.structured import structured_spec
from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source
from vispec.verify.build import load

ANNOUNCED = ("V323", "V703", "V710", "V711", "V724")


@pytest.mark.parametrize("seed", range(44))
def test_random_structures_agree_with_brute_force(seed: int) -> None:
    text = structured_spec(seed, plain=seed % 2 == 0)
    found = judged(text, seed)
    assert not found.fails, f"{found.kind}: {found.detail}\n{text}"
    assert found.status != "refused" or found.kind in ANNOUNCED, f"{found.detail}\n{text}"
    assert "look like none" not in found.detail, f"{found.detail}\n{text}"


CONSTRUCTS = {
    "labels": "labels",
    "a tree": r"tree\[",
    "projective": "projective=true",
    "any roots": "roots=any",
    "a grammar": "Grammar",
    "rules by row": r"let \w+ = \w+\(\w+\)",
    "spans": "SpanTree",
    "stretches": "longest",
    "cut": ", cut",
    "observed": r"observed \w+ : (labels|tree|parse)",
    "partial": r"partial \w+ : (labels|tree|parse)",
    "a mixture around": r"latent \w+ : index\[\w+\] ~ (Uniform|Categorical\(\w+\)\n)",
    "moves by the mixture": r"LinearChain\(.*, \w+\[\w+\]\)",
    "a number under a guide": r"latent \w+ : real",
    "several sequences": r"\n    plate \w+:\n        plate",
    "latents of elements": r"latent \w+ : bit",
    "missing cells": r"partial \w+ : (real|bit|count|category)",
    "read through a head": r"\* \w+\[\w+\]",
}


def test_every_construct_is_drawn() -> None:
    texts = [structured_spec(seed) for seed in range(300)]
    missing = [name for name, pattern in CONSTRUCTS.items() if not any(re.search(pattern, text) for text in texts)]
    assert missing == []


# ---- what they found, at its smallest: the kind, and the seed of its data

NOISE = """\
plate row:
    latent e : real ~ Normal(0, 1)
    plate i:
        latent z : bit ~ Bernoulli(0.3)
        observed x : real ~ Laplace(z * 2 + e, 1)
"""
NOISE_IN_A_TREE = """\
param w : real
plate row:
    latent e : real ~ Normal(0, 1)
    latent t : tree[i] ~ Uniform()
    plate i:
        observed x : real ~ Normal(w * x[t] + e, 1)
"""
LENGTHS = """\
vocab V
net f(word: token[V]) -> simplex[V] = embed(2)
plate row:
    plate doc:
        latent t : tree[i] ~ Uniform({})
        plate i:
            partial x : token[V] ~ Categorical(f(x[t]))
"""
IMPOSSIBLE = """\
param first : simplex[3]
param d : simplex[2]
param s : positive
plate k[3]:
    param move : simplex[3]
plate row:
    plate doc[2]:
        chain c of i(longest=2):
            latent t : index[k] ~ Categorical(first) then Categorical(move[t[c-1]])
            latent n : length ~ Categorical(d)
            plate i:
                observed x : real ~ Normal((1 if t == 0 else -1), s)
"""
EXCLUDED = """\
vocab K
plate outcome[2]
param type : simplex[2]
net left(words: token[K]*) -> (head: real[2]*, dependent: real[2]*, root: real*) = gru(2, embed=2, bidirectional=true)
net next(word: token[K]) -> simplex[K] = embed(2)

plate mean:
    latent dose : index[outcome] ~ Categorical([0.3, 0.7])
    plate person:
        plate age:
            given whole : token[K]
        partial tensor : tree[age] ~ DependencyTree(left(whole[*]))
        plate age:
            observed before : token[K] ~ Categorical(next(before[tensor]))
"""
SMALLEST = {
    "a draw is one for all values of what is summed": (NOISE, 0),
    "of heads too": (NOISE_IN_A_TREE, 1),
    "lengths differ where scores do not": (LENGTHS.format(""), 0),
    "of projective trees too": (LENGTHS.format("projective=true"), 0),
    "one sequence of a row is impossible": (IMPOSSIBLE, 5),
    "an arc that the other posterior excludes": (EXCLUDED, 542),
}


@pytest.mark.parametrize("name", SMALLEST)
def test_what_they_found(name: str) -> None:
    found = judged(*SMALLEST[name])
    assert found.status == "agree", found.detail
    assert "look like none" not in found.detail


TREE = """\
plate row:
    observed t : tree[i] ~ Uniform()
    plate i:
        latent x : {law}
        observed y : bit ~ Bernoulli(sigmoid(x))
{more}"""


@pytest.mark.parametrize(
    ("law", "more"),
    [
        ("real ~ Laplace(0.5 * x[t], 1)", "guide:\n    x ~ Normal(0.5 * x[t], 1)\n"),
        ("real ~ Normal(0.5 * x[t], 1)", "infer:\n    x : mc(samples=10)\n"),
        ("bit ~ Bernoulli(0.5 if x[t] == 0 else 0.2)", "infer:\n    x : score(samples=10)\n"),
    ],
)
def test_a_draw_along_a_tree_is_refused(law: str, more: str) -> None:
    with pytest.raises(SpecError) as error:
        compile_spec(Source("s.vispec", TREE.format(law=law, more=more)))
    assert [each.code for each in error.value.diagnostics] == ["V724"]


def test_what_is_summed_along_a_tree_is_not() -> None:
    assert judged(TREE.format(law="bit ~ Bernoulli(0.5 if x[t] == 0 else 0.2)", more=""), 0).status == "agree"


def test_a_rule_that_is_none_is_no_other() -> None:
    text = "plate n:\n    given y : real\n{}    observed x : real ~ Normal(y{}, 1)\n"
    for more in (("", ""), ("    latent z : bit ~ Bernoulli(0.5)\n", " + z")):
        module = load(compile_spec(Source("S.vispec", text.format(*more))), "S")
        with pytest.raises(ValueError, match="rules are mean, mode, sample"):
            module.predict({"y": torch.zeros(2), "x": torch.zeros(2)}, rule="median")  # pyright: ignore[reportCallIssue]
