"""Latents read in the past or at an index by other laws; bits as truth values, whole numbers as real ones: by brute force."""

import pytest

from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source
from vispec.verify.verify import verify

READ_BY_THE_DATA = """
param p : unit
plate n:
    chain t:
        latent b : bit ~ Bernoulli(p)
        observed x : real ~ Normal(b, 1) then Normal(b + 0.5 * b[t-1], 1)
"""
TWO_LAGS = """
param p : unit
plate n:
    chain t:
        latent b : bit ~ Bernoulli(p)
        observed x : real ~ Normal(b, 1) then Normal(b + 0.5 * b[t-1], 1) then Normal(b + 0.5 * b[t-1] + 0.2 * b[t-2], 1)
"""
READ_BY_A_CHAIN = """
param p : unit
plate n:
    chain t:
        latent b : bit ~ Bernoulli(p)
        latent c : bit ~ Bernoulli(p) then Bernoulli(0.9 if b[t-1] else 0.2)
        observed x : real ~ Normal(b + c, 1)
"""
FIXED_LENGTH = """
param p : unit
plate n:
    chain t[4]:
        latent b : bit ~ Bernoulli(p)
        observed x : real ~ Normal(b, 1) then Normal(b + 0.5 * b[t-1], 1)
"""
PARTLY_SEEN = """
param p : unit
plate n:
    chain t:
        partial b : bit ~ Bernoulli(p)
        observed x : real ~ Normal(b, 1) then Normal(b + 0.5 * b[t-1], 1)
"""
SECOND_LAG_ALONE = """
param p : unit
plate n:
    chain t:
        latent b : bit ~ Bernoulli(p)
        observed x : real ~ Normal(b, 1) then Normal(0, 1) then Normal(b + b[t-2], 1)
"""
LAGS_OF_A_CHAIN = """
param p : unit
plate n:
    chain t:
        latent b : bit ~ Bernoulli(p)
        latent c : bit ~ Bernoulli(p) then Bernoulli(0.9 if b[t-1] else 0.2) then Bernoulli(0.8 if b[t-2] == 1 else 0.1)
        observed x : real ~ Normal(b+c, 1)
"""
ELEMENT_OF_A_ROW = """
size K = 2
size V = 4
param pk : simplex[K]
plate k[K]:
    param e : simplex[V]
    param g : simplex[V]
plate n:
    plate j:
        latent h : index[k] ~ Categorical(pk)
        observed w : category[V] ~ Categorical(g[h])
    given c : index[j]
    observed x : category[V] ~ Categorical(e[h[c]])
"""
ELEMENT_OF_A_FIXED_PLATE = """
size K = 2
size V = 4
param pk : simplex[K]
plate k[K]:
    param e : simplex[V]
size J = 3
plate n:
    given c : index[j]
    plate j[J]:
        latent h : index[k] ~ Categorical(pk)
        given w : real
    observed x : category[V] ~ Categorical(e[h[c]])
"""
ELEMENT_ONE_PLATE_DEEPER = """
size K = 2
size V = 4
param pk : simplex[K]
plate k[K]:
    param e : simplex[V]
plate n:
    plate o:
        plate j:
            latent h : index[k] ~ Categorical(pk)
            given w : real
        given c : index[j]
        observed x : category[V] ~ Categorical(e[h[c]])
"""
ELEMENT_WITH_A_PLATE_INSIDE = """
size K = 2
size V = 4
param pk : simplex[K]
plate k[K]:
    param e : simplex[V]
plate n:
    plate j:
        latent h : index[k] ~ Categorical(pk)
        given w : real
        plate i:
            latent b : bit ~ Bernoulli(0.3 if h == 0 else 0.8)
            given v : real
    given c : index[j]
    observed x : category[V] ~ Categorical(e[h[c]])
"""
CONSTANT_ELEMENT = """
size K = 2
param pk : simplex[K]
plate k[K]:
    param tr : simplex[K]
    param mu : real
plate n:
    chain t[4]:
        latent a : index[k] ~ Categorical(pk) then Categorical(tr[a[t-1]])
        observed x : real ~ Normal(mu[a], 1)
    observed y : bit ~ Bernoulli(0.9 if a[2] == 0 else 0.3)
"""
LOGIC_OF_LATENT_BITS = """
param r : positive
plate n:
    latent z : bit ~ Bernoulli(0.3)
    latent w : bit ~ Bernoulli(0.3)
    observed x : count ~ Poisson(r) if z and w else Zero()
"""
LOGIC_OF_GIVEN_BITS = """
param r : positive
plate n:
    given z : bit
    given w : bit
    latent u : bit ~ Bernoulli(0.3)
    observed x : count ~ Poisson(r) if z and not w and u else Zero()
    observed y : real ~ Normal(1.0 if z or w else 2.0, 1)
"""
POSITIONS_IN_A_NET = """
vocab V
net t(y: token[V]) -> simplex[V] = embed(3)
net f(n: real) -> real = mlp([4])

net k(v: real[2]) -> real = mlp([3])
plate s:
    plate j:
        given y : token[V]
    plate i:
        latent a : index[j] ~ Categorical(softmax(f(j) + f(i) * f(|y|) + f(j*|y|+i) + f(j==i) + f(max([i,j])) + k([i,j]) for j))
        observed x : token[V] ~ Categorical(t(y[a]))
"""
A_COUNT_THAT_IS_LATENT = """
param lam : simplex[6]
param p : unit
plate pop[6]:
    param dummy : real
plate site:
    latent N : index[pop] ~ Categorical(lam)
    plate visit:
        observed y : count ~ Binomial(N, p)
"""
LABEL_UNDER_ITS_GUIDE = """
size K
net enc(x: real[K], y: category[3]) -> (loc: real, scale: positive) = mlp([4])
net clf(e: real) -> simplex[3] = mlp([])
net dec(e: real, y: category[3]) -> real[K] = mlp([4])
plate d:
    latent eta : real ~ Normal(0, 1)
    partial label : category[3] ~ Categorical(clf(eta))
    observed x : real[K] ~ Normal(dec(eta, label), 1)
guide:
    eta ~ Normal(enc(x, label))
    label ~ Uniform()
"""
LATENT_LABEL = """
size K
net enc(x: real[K], y: category[3]) -> (loc: real, scale: positive) = mlp([4])
net clf(e: real) -> simplex[3] = mlp([])
net dec(e: real, y: category[3]) -> real[K] = mlp([4])
plate d:
    latent eta : real ~ Normal(0, 1)
    latent label : category[3] ~ Categorical(clf(eta))
    observed x : real[K] ~ Normal(dec(eta, label), 1)
guide:
    eta ~ Normal(enc(x, label))
    label ~ Uniform()
"""
ADDRESSED_AMONG_COUPLED = """
size K = 3
param s : unit
param p : simplex[K]
param p2 : simplex[K]
plate k[K]:
    param q : unit
plate n:
    latent b : bit ~ Bernoulli(s)
    latent z2 : index[k] ~ Categorical(p if b else p2)
    plate j[2]:
        latent z : bit ~ Bernoulli(q[z2])
        observed y : real ~ Normal(z, 1)
    observed x : real ~ Normal(3*z[1] if b else 4, 1)
"""

JOINT_VALUES_AMONG_OTHERS = """
param s : unit
param q : unit
plate h[2]:
    param r : unit
plate n:
    latent z2 : index[h] ~ Uniform()
    plate j[2]:
        latent z : bit ~ Bernoulli(q)
        observed y : real ~ Normal(z + z2, 1)
    observed x : real ~ Normal(mean(z[*])*r[z2], 1)
"""
JOINT_VALUES_AT_EACH_STEP = """
param q : unit
plate n:
    chain t:
        latent c : bit ~ Bernoulli(0.3) then Bernoulli(0.8 if c[t-1] else 0.3)
        plate j[2]:
            latent z : bit ~ Bernoulli(0.2 if c else 0.7)
        observed x : real ~ Normal(sum(z[*])*(c + 1), 1)
"""

A_CHAIN_READ_AS_A_WHOLE = """
plate s:
    chain t:
        latent z : bit ~ Bernoulli(0.2) then Bernoulli(0.8 if z[t-1] else 0.1)
    observed n : count ~ Poisson(1 + sum(z[*]))
"""

AN_INDEX_SUMMED_ITSELF = """
size K = 3
param prior : simplex[K]
plate k[K]:
    param trans : simplex[K]
plate doc:
    plate i:
        latent c : index[k] ~ Categorical(prior)
        latent q : index[i] ~ Uniform()
        observed y : category[K] ~ Categorical(trans[c[q]])
"""

JOINT_VALUES_INSIDE_A_DRAW = """
param q : unit
plate n:
    latent u : real ~ Normal(0, 1)
    plate j[2]:
        latent z : bit ~ Bernoulli(q)
    observed x : real ~ Normal(sum(z[*])*u, 1)
guide:
    u ~ Normal(x, 1)
"""

A_WHOLE_CHAIN = """
plate s:
    chain t:
        latent z : bit ~ Bernoulli(0.2) then Bernoulli(0.8 if z[t-1] else 0.1)
    observed n : count ~ Poisson(1 + sum(z[*]))
"""

SPECS = {name.lower(): text for name, text in list(globals().items()) if name.isupper() and isinstance(text, str)}


@pytest.mark.parametrize("name", SPECS)
def test_against_brute_force(name: str) -> None:
    report = verify(Source(f"{name}.vispec", SPECS[name]))
    assert not report.differs, str(report)
    assert any("log-prob" in check.name or "bound" in check.name for check in report.checks), str(report)


def test_what_is_refused() -> None:
    unread = LATENT_LABEL.replace("dec(eta, label)", "dec(eta, 0)").replace("    label ~ Uniform()\n", "")
    with pytest.raises(SpecError) as error:
        compile_spec(Source("m.vispec", unread))
    assert [found.code for found in error.value.diagnostics] == ["V716"]
