"""`let s = a then f(s[t-1], ...)`: deterministic state along a chain, wherever what it reads comes from."""

from typing import Any

import pytest
import torch

from vispec.compile import class_of, compile_spec
from vispec.diagnostics import SpecError
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse
from vispec.verify.verify import verify

SMOOTHING = """
param a : unit
plate n:
    chain t:
        given    u : real
        let s = u then a * s[t-1] + u
        observed x : real ~ Normal(s, 1)
"""
GARCH = """
param w : positive
param a : unit
param b : unit
plate s:
    chain t:
        let v : positive = w then w + a * y[t-1] ^ 2 + b * v[t-1]
        observed y : real ~ Normal(0, sqrt(v))
"""
EPIDEMIC = """
param b : unit
param g : unit
plate n:
    chain t:
        given u : unit
        let S : unit = 0.9 then S[t-1] * (1 - b * I[t-1])
        let I : unit = 0.1 then I[t-1] * (1 - g) * u
        let both = [S, I]
        let w : real[2] = both then w[t-1] * 0.5 + both
        let lag = 0 then 1 then lag[t-1] + 0.5 * lag[t-2] + u
        observed x : real ~ Normal(S + w[t, 0] + lag, 1)
"""
SUMMED = """
plate n:
    chain t:
        latent c : bit ~ Bernoulli(0.3) then Bernoulli(0.2 if c[t-1] else 0.6)
        let s = c then 0.5 * s[t-1] + c
        let seen : bit = c then max(seen[t-1], c)
        observed x : real ~ Normal(s, 1)
        observed y : real ~ Normal(seen, 1)
        let asked = s * seen
"""
OF_A_ROW = """
plate n:
    latent k : category[3] ~ Categorical([0.2, 0.3, 0.5])
    chain t:
        let level = 1 if k == 0 else 2 then 0.5 * level[t-1] + (1 if k == 2 else 0)
        plate j:
            observed x : real ~ Normal(level, 1)
"""
CROSSED = """
param a : unit
plate n:
    chain t:
        plate j[2]:
            let s = j then a * s[t-1] + j * x[t-1]
            observed x : real ~ Normal(s, 1)
"""
DRAWN = """
param a : unit
plate n:
    latent z : real ~ Normal(0, 1)
    latent k : bit ~ Bernoulli(0.4)
    chain t:
        latent r : real ~ Normal(0, 1)
        let s = z then a * s[t-1] + r + k * 2
        observed x : real ~ Normal(s, 1)
guide:
    z ~ Normal(0, 1)
    r ~ Normal(x, 1)
"""
DRAWN_ALONG = """
param a : unit
plate n:
    chain t:
        let s = 0.5 then a * s[t-1] + z[t-1]
        latent z : real ~ Normal(s, 1)
        observed x : real ~ Normal(z, 1)
        let e = 0 then 0.9 * e[t-1] + x[t-1] + s
        observed y : real ~ Normal(e, 1)
guide:
    z ~ Normal(x, 1)
"""
OF_PARAMETERS = """
param a : unit
chain t[4]:
    let decay = 1 then a * decay[t-1]
plate n:
    chain t:
        observed x : real ~ Normal(decay, 1)
"""
ONE_ROW = """
param a : unit
chain t:
    let s = 0 then a * s[t-1] + x[t-1]
    observed x : real ~ Normal(s, 1)
"""
SPECS = {
    "smoothing": SMOOTHING,
    "garch": GARCH,
    "epidemic": EPIDEMIC,
    "summed": SUMMED,
    "of a row": OF_A_ROW,
    "crossed": CROSSED,
    "drawn": DRAWN,
    "drawn along": DRAWN_ALONG,
    "guided": DRAWN_ALONG.replace("z ~ Normal(x, 1)", "z ~ Normal(x + s, 1)"),
    "several draws": DRAWN_ALONG + "infer:\n    z : iwae(samples=3)\n",
    "of parameters": OF_PARAMETERS,
    "one row": ONE_ROW,
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=[*SPECS])
def test_agrees_with_brute_force(spec: str):
    report = verify(Source("m.vispec", spec))
    assert not [check for check in report.checks if check.differs]
    assert any(check.cases for check in report.checks)
    assert not any(check.failure for check in report.checks)


def module(text: str) -> Any:
    printed, names = compile_spec(Source("m.vispec", text)), {}
    exec(printed, names)
    return names[class_of(printed)]().double()


def test_garch_by_hand():
    found = module(GARCH)
    found.w, found.a, found.b = (torch.tensor(value).double() for value in (0.5, 0.3, 0.6))
    y = torch.tensor([[0.4, -1.0, 2.0]]).double()
    v = [0.5]
    for before in y[0, :2].tolist():
        v.append(0.5 + 0.3 * before**2 + 0.6 * v[-1])
    expected = torch.distributions.Normal(0, torch.tensor([v]).double().sqrt()).log_prob(y).sum(1)
    torch.testing.assert_close(found.log_prob({"y": y, "y_len": torch.tensor([3])}), expected)


def test_what_is_generated_follows_the_state():
    """Variances of many series, by element, are those of the recursion in the mean."""
    found = module(GARCH)
    found.w, found.a, found.b = (torch.tensor(value).double() for value in (0.5, 0.2, 0.3))
    torch.manual_seed(0)
    y = found.sample(200_000, lengths={"t": torch.full((200_000,), 3)})["y"]
    expected = [0.5, 0.75, 0.875]  # w + (a + b) times the one before
    assert y.square().mean(0).tolist() == pytest.approx(expected, rel=0.02)


def test_a_latent_beside_its_state_is_generated():
    found = module(DRAWN_ALONG)
    found.a = torch.tensor(0.5).double()
    torch.manual_seed(0)
    rows = found.sample(100_000, lengths={"t": torch.full((100_000,), 3)})
    z, y = rows["z"], rows["y"]
    assert z.mean(0).tolist() == pytest.approx([0.5, 0.75, 1.125], abs=0.03)  # s: 0.5, then s / 2 + z
    s1 = 0.25 + z[:, 0]
    assert float((y[:, 1] - rows["x"][:, 0] - s1).mean()) == pytest.approx(0, abs=0.02)


def test_the_text_stays_as_it_is_written():
    text = format_tree(parse(Source("m.vispec", GARCH)))
    assert "let v : positive = w then w + a * y[t-1]^2 + b * v[t-1]" in text
    assert format_tree(parse(Source("m.vispec", text))) == text


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("let s : positive = 1 then a * s[t-1] - u", "V309", "`s` is `positive`"),
        ("let s : positive = u then 2 * s[t-1]", "V309", "`s` is `positive`"),
        ("let s = u then s[t-2]", "V207", "second element"),
        ("let s = u if t == 0 else s[t-1]", "V212", "computed from itself"),
        ("let s = u then s + 1", "V212", "depends on itself"),
        ("let s = [u, 1] then 2", "V308", "`real[2]`"),
        ("let s = u[*] then 2", "V314", "whole sequence"),
        ("let s : positive = u", "V309", "`s` is `positive`"),
    ],
)
def test_what_is_wrong_is_told(line: str, code: str, words: str):
    text = SMOOTHING.replace("let s = u then a * s[t-1] + u", line)
    with pytest.raises(SpecError) as error:
        check_model(parse(Source("m.vispec", text)), {})
    found = [each for each in error.value.diagnostics if each.code == code]
    assert found
    assert any(words in each.message for each in found)


def test_then_needs_a_chain():
    with pytest.raises(SpecError, match="V213"):
        check_model(parse(Source("m.vispec", "plate n:\n    let s = 0 then 1\n    observed x : real ~ Normal(s, 1)\n")), {})
