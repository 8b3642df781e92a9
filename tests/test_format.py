"""The canonical form: the shipped specs are in it, it is stable, and it changes neither the tree nor the comments."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syntax_tools import SPECS, bare

from vispec.diagnostics import SpecError
from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse

BY_NAME = {path.stem: path.read_text(encoding="utf-8") for path in SPECS}


def fmt(text: str) -> str:
    return format_tree(parse(Source("test.vispec", text)))


def check(text: str) -> None:
    """Formatting keeps the tree and the comments, and formatting again changes nothing."""
    before = parse(Source("test.vispec", text))
    formatted = format_tree(before)
    after = parse(Source("test.vispec", formatted))
    assert bare(after.body) == bare(before.body)
    assert sorted(comment for _, comment in after.comments) == sorted(comment for _, comment in before.comments)
    assert format_tree(after) == formatted


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_specs_are_canonical(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert fmt(text) == text


def test_everything_at_once() -> None:
    before = """

# head


# more
size K=8 # eight
vocab V( lower,min_count=2 )
net f(y:real[D]*)   # c
   -> (loc:real,scale:positive)
   = embed(3)|>(mlp( [64,] )~Normal(0,1))|>mean ~ Normal(0,2)
plate n : # hi

  # first
  latent z:real[D]~Normal(0,1)
  given yyy : real
  # end of inner

  observed x : real ~ Normal(z,   # a
       # own
       1) then f(z)# b
  plate q: param a:real # note

  # tail
# outer
plate m[ K ]:
  let x = (a+b)*c-(d-e) if not (a and b) else -2^-1*3
  let y = jump[ j-a[i - 1] ]+|x|
guide:
  z~Normal(encode( x[ * ],x[< i] ))
  theta ~ g
infer:
  z : exact up to 2 ^ 16 else score( samples = 8 )
fit:
  optimizer : adam(lr=1e-3)
  anneal : kl from 0 to 1 over 10 epochs
# last"""
    after = """\
# head

# more
size K = 8  # eight
vocab V(lower=true, min_count=2)
net f(y: real[D]*) -> (loc: real, scale: positive) = embed(3) |> (mlp([64]) ~ Normal(0, 1)) |> mean ~ Normal(0, 2)  # c
plate n:  # hi
    # first
    latent z   : real[D] ~ Normal(0, 1)
    given  yyy : real
    # end of inner

    # a
    # own
    observed x : real ~ Normal(z, 1) then f(z)  # b
    plate q:
        param a : real  # note

    # tail
# outer
plate m[K]:
    let x = (a + b) * c - (d - e) if not (a and b) else -2^-1 * 3
    let y = jump[j - a[i-1]] + |x|
guide:
    z     ~ Normal(encode(x[*], x[<i]))
    theta ~ g
infer:
    z : exact up to 2^16 else score(samples=8)
fit:
    optimizer : adam(lr=1e-3)
    anneal    : kl from 0 to 1 over 10 epochs
# last
"""
    assert fmt(before) == after
    check(before)


def test_long_nets_and_long_chains_of_laws_go_on_below() -> None:
    stages = " |> ".join(f"mlp([{n}00, {n}00])" for n in range(1, 9))
    law = " then ".join(f"Categorical(transition_{n}[state[t-{n}]])" for n in range(1, 5))
    text = f"net f(y: real) -> real = {stages}\nchain t:\n    latent state : index[k] ~ {law}  # order\n"
    formatted = fmt(text)
    assert max(map(len, formatted.splitlines())) <= 120
    assert "\n    = mlp([100, 100])\n    |> mlp([200, 200])\n" in formatted
    assert "\n        then Categorical(transition_4[state[t-4]])  # order\n" in formatted
    check(text)


def test_parentheses_stay_where_they_matter() -> None:
    for text in (
        "(a - b) - c",
        "a - (b - c)",
        "(-a)^2",
        "-a^2",
        "(a^b)^c",
        "a^b^c",
        "not (a and b)",
        "(a if b else c) + 1",
        "(a < b) == c",
    ):
        check(f"let v = {text}\n")
    assert fmt("let v = ((a - (b)) - (c * (d)))") == "let v = a - b - c * d\n"


@pytest.mark.parametrize("name", BY_NAME)
def test_squeezed_and_stretched_specs_come_back(name: str) -> None:
    text = BY_NAME[name]
    stretched = re.sub(r"(?<=\S)(?<![=<>!])([=~:,()\[\]])(?=[^.>*=])(?![^\n]*#)", r" \1 ", text)
    assert bare(parse(Source("s", stretched)).body) == bare(parse(Source("t", text)).body)
    check(stretched)
    assert fmt(text.replace("    ", "\t")) == text
    assert fmt(re.sub(r"\n\n+", "\n\n\n\n", text)) == text
    assert fmt(text.replace("    ", " ")) == text


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(BY_NAME)), st.randoms(use_true_random=False))
def test_comments_and_blank_lines_anywhere(name: str, rng: random.Random) -> None:
    lines: list[str] = []
    for line in BY_NAME[name].splitlines():
        if rng.random() < 0.15:
            lines.append(" " * rng.randrange(12) + f"# note {len(lines)}")
        if rng.random() < 0.15:
            lines.append(rng.choice(("", "   ", "\t")))
        bare_line = "#" not in line and line.strip()
        if bare_line and "(" in line and rng.random() < 0.2:
            line = line.replace("(", f"(  # inside {len(lines)}\n  # own {len(lines)}\n ", 1)
        lines.append(line + f"  # beside {len(lines)}" if bare_line and rng.random() < 0.15 else line)
    text = "\n".join(lines)
    try:
        parse(Source("test.vispec", text))
    except SpecError:
        raise AssertionError(text) from None
    check(text)
