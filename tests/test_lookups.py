"""Look-ups for the elements of a whole sequence, `vec[x[<i]]`: the same as by a let, and as a table that is tied."""

import pytest
import torch

from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.verify.build import Emitted, load
from vispec.verify.verify import verify

HEAD = """size E = 8
vocab V(end=true)
plate v[V]:
    param vec : real[E]
net lm(words: real[E]*) -> real[E] = lstm(hidden=8)
plate sentence:
    chain i:
"""
DIRECT = HEAD + "        observed x : token[V] ~ Categorical(softmax(dot(lm(vec[x[<i]]), vec[v]) for v))\n"
BY_LET = HEAD + ("        let e = vec[x]\n        observed x : token[V] ~ Categorical(softmax(dot(lm(e[<i]), vec[v]) for v))\n")
BY_INDEX = DIRECT.replace("vocab V(end=true)\n", "").replace("[V]:", "[20]:").replace("token[V]", "index[v]")
TIED = """size E = 8
vocab V(end=true)
embedding vec(V, E)
net lm(words: token[V]*) -> simplex[V] = lstm(embed=vec, hidden=8) |> linear(E) |> tied(vec)
plate sentence:
    chain i:
        observed x : token[V] ~ Categorical(lm(x[<i]))
"""
GUIDED = """size E = 3
size Z = 2
vocab V(end=true)
plate v[V]:
    param vec : real[E]
net enc(words: real[E]*) -> (loc: real[Z], scale: positive[Z]) = gru(hidden=4) |> mean
net lm(z: real[Z], words: real[E]*) -> real[E] = gru(hidden=4, init=z)
plate s:
    latent z : real[Z] ~ Normal(0, 1)
    chain i:
        observed x : token[V] ~ Categorical(softmax(dot(lm(z, vec[x[<i]]), vec[v]) for v))
guide:
    z ~ Normal(enc(vec[x[*]]))
"""
OTHERS = """size E = 3
vocab V
plate v[V]:
    param vec : real[E]
plate k[3]:
    plate v[V]:
        param u : real[E]
net f(words: real[E]*) -> real[E] = gru(hidden=4) |> mean
plate s:
    plate j:
        given h : token[V]
    plate i:
        given m : bit
        given y : index[j]
    observed a : real[E] ~ Normal(f(vec[h[y[*]]]), 1)
    observed b : real[E] ~ Normal(f(vec[h[y[*]]] where m[*]), 1)
    observed c : real[E] ~ Normal(mean(vec[h[*]]), 1)
    plate k[3]:
        observed d : real[E] ~ Normal(f(u[k, h[*]]) + f(u[2, h[*]]), 1)
"""
LATENT = """size E = 3
vocab V
plate v[V]:
    param vec : real[E]
net lm(words: real[E]*) -> real[E] = gru(hidden=4)
plate s:
    chain i:
        latent z : category[V] ~ Categorical(softmax(dot(lm(vec[z[<i]]), vec[v]) for v))
        observed x : real[E] ~ Normal(vec[z], 1)
"""
SPECS = {"direct": DIRECT, "by_let": BY_LET, "by_index": BY_INDEX, "guided": GUIDED, "others": OTHERS, "latent": LATENT}


@pytest.mark.parametrize("name", SPECS)
def test_they_agree_with_enumeration(name: str) -> None:
    report = verify(Source("m.vispec", SPECS[name]), {"V": 3} if name == "latent" else {}, rows=3)
    assert not report.differs, str(report)
    assert not report.unchecked


def module_of(spec: str) -> Emitted:
    text = compile_spec(Source("m.vispec", spec), {"V": 20} if "vocab" in spec else {})
    return load(text, class_of(text))


@pytest.mark.parametrize("spec", [BY_LET, BY_INDEX, TIED])
def test_they_are_one_model_with_one_table(spec: str) -> None:
    first, other = module_of(DIRECT), module_of(spec)
    own, state = first.state_dict(), other.state_dict()
    assert [name for name, value in state.items() if value.shape == (20, 8)] == [f"vec{'.weight' * (spec == TIED)}"]
    renamed = {"vec": "vec.weight", "lm.out.weight": "lm.linear.weight", "lm.out.bias": "lm.linear.bias"}
    other.load_state_dict({renamed.get(n, n) if spec == TIED else n: x for n, x in own.items()}, strict=spec != TIED)
    batch = {"x": torch.tensor([[1, 19, 3], [4, 0, 7]]), "x_len": torch.tensor([3, 2])}
    torch.testing.assert_close(other.log_prob(batch), first.log_prob(batch))


def test_each_element_is_decoded_by_itself() -> None:
    """The step of the net reads the last element's vector, not all that stands before it."""
    text = compile_spec(Source("m.vispec", DIRECT), {"V": 20})
    step = text.split("def next_x")[1].split("def ")[0]
    assert "lm.next(kept" in step
    assert "prefixes" not in step
