"""A guard of what all joint values read asks none of them: else a mask of 2^n values an element stands beside the chunks."""

import re

from vispec.compile import compile_spec
from vispec.source import Source
from vispec.verify.verify import verify

SPEC = """
vocab V
net select(word: token[V]) -> positive = embed(2) |> mlp([])
net classify(words: token[V]*) -> simplex[2] = embed(2) |> mean |> mlp([])
plate text:
    plate i:
        given y : token[V]
        let s = select(y)
        latent f : bit ~ Bernoulli(unit(min([1, 0.4 * |i| * s / sum(s[*])])))
    observed x : category[2] ~ Categorical(classify(y[*] where f[*]))
"""


def test_no_mask_of_all_joint_values_for_each_element() -> None:
    text = compile_spec(Source("m.vispec", SPEC), {})
    whole = text[text.index("def log_prob(self") : text.index("def loss(self")]
    assert "enumerated_log_sum" in whole
    assert not re.search(r"# \([^)]*f\[i\]", whole)


def test_it_is_right() -> None:
    report = verify(Source("m.vispec", SPEC))
    assert not report.differs, str(report)
    assert sum(check.cases for check in report.checks) > 50
