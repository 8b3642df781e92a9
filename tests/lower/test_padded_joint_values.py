"""Joint values along several ragged plates: each value of the elements that count once, however wide the batch is."""

import pytest

from vispec.source import Source
from vispec.verify.verify import verify

NESTED = """
param q : unit
plate n:
    plate i:
        given u : real
        plate j:
            given v : real
            latent z : bit ~ Bernoulli(q)
    observed w : real ~ Normal(sum(sum(z[*]) for i), 1)
"""
CROSSED = """
param q : unit
plate n:
    plate i:
        given u : real
    plate j:
        given v : real
    plate i:
        plate j:
            latent z : bit ~ Bernoulli(q)
            let s = z * v
        let t = max(s[*])
    observed w : real ~ Normal(max(t[*]), 1)
"""


@pytest.mark.parametrize("text", [NESTED, CROSSED], ids=["nested", "crossed"])
def test_agrees_with_brute_force(text: str) -> None:
    report = verify(Source("padded.vispec", text))
    assert report.checks
    assert [check for check in report.checks if check.differs] == []
