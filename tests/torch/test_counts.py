"""Words that a net counts and a mixture scores are counted once, and only where both read the same words."""

from vispec.compile import compile_spec
from vispec.source import Source

SPEC = """
size K = 3
vocab V
net encode(words: token[V]*) -> positive[K] = bow |> layernorm |> mlp([4])

plate k[K]:
    param phi : simplex[V]
plate doc:
    latent theta : simplex[K] ~ Dirichlet(0.5)
    plate m:
        given y : token[V]
    plate n:
        latent   topic : index[k] ~ Categorical(theta)
        observed w     : token[V] ~ Categorical(phi[topic])

guide:
    theta ~ Dirichlet(encode(WORDS[*]))
"""


def log_prob(words: str) -> str:
    return compile_spec(Source("topics.vispec", SPEC.replace("WORDS", words)), only=["log_prob"])


def test_counts_are_shared() -> None:
    found = log_prob("w")
    assert "w_counts = shared_counts(w, mask=inside_n, size=self.V, like=self.one)  # (doc, V)" in found
    assert "self.encode(w, words_mask=inside_n, words_counts=w_counts)" in found
    assert "softmax=(False, True), counts=w_counts)" in found


def test_counts_of_other_words_are_not() -> None:
    found = log_prob("y")
    assert "shared_counts" not in found
    assert "mixed_total(" in found
