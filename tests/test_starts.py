"""`initialise`: parameters start at what a batch shows of their laws, to the scale of the data, those of components apart."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.test_laws import RANDOM, trial_of
from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.train.store.module import class_of_text
from vispec.verify.generate import spec_texts


def module_of(text: str, **sizes: int) -> nn.Module:
    emitted = compile_spec(Source("spec.vispec", text), sizes)
    return class_of_text(emitted, class_of(emitted))().double()


def started(text: str, batch: dict[str, Tensor], seed: int = 0, **sizes: int) -> nn.Module:
    """The module after its start; all numbers finite, and a log-probability for each row."""
    torch.manual_seed(seed)
    module = module_of(text, **sizes)
    module.initialise(batch)
    assert all(bool(p.isfinite().all()) for p in module.parameters())
    assert not bool(module.log_prob(batch).isnan().any())
    return module


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def three_groups(rows: int = 90) -> Tensor:
    """Around 9,000, 20,000 and 33,000 with deviations of 500, 300 and 2,000."""
    centre, scale = torch.tensor([[9e3, 2e4, 33e3], [500.0, 300.0, 2e3]], dtype=torch.double)
    return (centre + scale * numbers(rows // 3, 3)).flatten()


MIXTURE = """size K = 3
param pi : simplex[K]
plate k[K]:
    param mu : real
    param s  : positive
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real     ~ Normal(mu[c], s[c])
"""


def test_components_start_at_clusters() -> None:
    x = three_groups()
    module = started(MIXTURE, {"x": x})
    mu, order = module.mu.sort()
    torch.testing.assert_close(mu.detach(), torch.tensor([9e3, 2e4, 33e3], dtype=torch.double), rtol=0.1, atol=0)
    torch.testing.assert_close(module.s[order].detach(), torch.tensor([5e2, 3e2, 2e3], dtype=torch.double), rtol=1, atol=0)
    torch.testing.assert_close(module.pi.detach(), torch.full((3,), 1 / 3, dtype=torch.double))


@pytest.mark.parametrize(("factor", "shift"), [(1e-3, 0.0), (1e3, 0.0), (1.0, -5e4)])
def test_a_mixture_starts_to_scale(factor: float, shift: float) -> None:
    first, other = started(MIXTURE, {"x": three_groups()}), started(MIXTURE, {"x": factor * three_groups() + shift})
    torch.testing.assert_close(other.mu, factor * first.mu + shift)
    torch.testing.assert_close(other.s, factor * first.s)
    torch.testing.assert_close(other.pi, first.pi)


def test_restarts_start_apart() -> None:
    x = numbers(60)
    found = [started(MIXTURE, {"x": x}, seed).mu.sort().values.detach() for seed in range(5)]
    assert len({tuple(mu.tolist()) for mu in found}) > 1


@pytest.mark.parametrize("law", ["Normal(m1 if z else m0, s)", "Normal(m1, s) if z else Normal(m0, s)"])
def test_scalars_of_two_components_start_apart(law: str) -> None:
    text = f"""param p : unit
param m0 : real
param m1 : real
param s : positive
plate n:
    latent   z : bit ~ Bernoulli(p)
    observed x : real ~ {law}
"""
    x = torch.cat([numbers(40) - 200, numbers(20) + 900])
    found = [started(text, {"x": x}, seed) for seed in range(6)]
    for module in found:
        low, high = sorted([module.m0.item(), module.m1.item()])
        assert low == pytest.approx(-200, abs=30)  # of 40, one element of all
        assert high == pytest.approx(900, abs=60)
        share = (module.p if module.m1 > module.m0 else 1 - module.p).item()
        assert share == pytest.approx(1 / 3, abs=0.02)
    assert len({bool(module.m1 > module.m0) for module in found}) == 2  # which is which is left to chance


def test_full_covariances_start_at_those_of_clusters() -> None:
    text = """size K = 2
size D
param pi : simplex[K]
plate k[K]:
    param mu : real[D]
    param L  : cholesky[D]
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real[D]  ~ MultivariateNormal(mu[c], L[c])
"""
    factor = torch.tensor([[2.0, 0.0], [3.0, 1.0]], dtype=torch.double)
    x = torch.cat([numbers(300, 2) @ factor.T, numbers(300, 2, seed=1) @ factor.T + 90])
    module = started(text, {"x": x}, D=2)
    for k in range(2):
        torch.testing.assert_close(module.L[k].detach(), factor, rtol=0.1, atol=0.4)
    units = torch.tensor([1e-3, 1e4], dtype=torch.double)
    other = started(text, {"x": x * units}, D=2)
    torch.testing.assert_close(other.mu, module.mu * units)
    torch.testing.assert_close(other.L, module.L * units[:, None])


def test_a_regression_starts_at_the_mean_and_the_deviation() -> None:
    text = """param a : real
param b : real
param s : positive
plate n:
    given    age    : real
    observed income : real ~ Normal(a + b * age, s)
"""
    income = 4e4 + 1e4 * numbers(80)
    module = started(text, {"age": 40 + numbers(80, seed=1), "income": income})
    torch.testing.assert_close(module.a.detach(), income.mean())
    torch.testing.assert_close(module.s.detach(), income.std(correction=0))
    assert module.b.item() == 0


def test_links_and_deterministic_nodes() -> None:
    text = """param a : real
param w : real[2]
param b : real
param c : real
param d : real
plate n:
    given    x : real[2]
    let scale = exp(b + c * sum(x))
    observed k : count ~ Poisson(exp(a + dot(w, x)))
    observed t : positive ~ Exponential(1 / scale)
    observed y : bit ~ Bernoulli(sigmoid(d + dot(w, x)))
    observed u : positive ~ HalfNormal(scale)
"""
    u = 30 * numbers(200).abs()
    batch = {
        "x": numbers(200, 2, seed=1),
        "k": torch.full((200,), 5e4, dtype=torch.double),
        "t": u + 1,
        "y": (torch.arange(200) % 4 == 0).double(),
        "u": u,
    }
    module = started(text, batch)
    assert module.a.item() == pytest.approx(math.log(5e4), rel=1e-4)
    assert module.b.item() == pytest.approx(float(u.square().mean().sqrt().log()))
    assert module.d.item() == pytest.approx(float(torch.logit(torch.tensor(51 / 202))), abs=1e-6)


def test_groups_that_are_given_start_at_their_means() -> None:
    text = """size G = 3
plate g[G]:
    param mu : real
param s : positive
plate n:
    given    which : index[g]
    observed x     : real ~ Normal(mu[which], s)
"""
    which = torch.tensor([0] * 50 + [1] * 49)  # none of the third
    x = 100.0 * which + numbers(99)
    mu = started(text, {"which": which, "x": x}).mu.detach()
    for group, count in ((0, 50), (1, 49)):
        torch.testing.assert_close(mu[group], (count * x[which == group].mean() + x.mean()) / (count + 1))
    torch.testing.assert_close(mu[2], x.mean())


ITEMS = """size K = 2
size I = 4
param pi : simplex[K]
plate k[K]:
    plate item[I]:
        param p : unit
plate person:
    latent c : index[k] ~ Categorical(pi)
    plate item:
        partial y : bit ~ Bernoulli(p[c])
"""


def test_latent_classes_start_at_groups_of_persons() -> None:
    kind = torch.arange(200) % 2
    y = (torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) < torch.where(kind == 0, 0.1, 0.9)[:, None]).double()
    seen = torch.rand(200, 4, generator=torch.Generator().manual_seed(1)) < 0.9
    for missing in (0.0, 1.0, torch.nan):  # anything may stand in a missing cell
        module = started(ITEMS, {"y": y.where(seen, missing), "y_observed": seen})
        p = module.p.detach().sort(0).values
        assert bool((p[0] < 0.25).all() and (p[1] > 0.75).all())
        torch.testing.assert_close(module.pi.detach(), torch.full((2,), 0.5, dtype=torch.double), atol=0.05, rtol=0)


def test_states_of_a_chain_start_at_clusters_without_the_padding() -> None:
    text = """size K = 2
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param rate  : positive
plate series:
    chain t:
        latent   c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : count ~ Poisson(rate[c])
"""
    lengths = torch.tensor([30, 7])
    x = torch.where(torch.arange(30) % 2 == 0, 10.0, 1000.0).expand(2, 30).double()
    padded = x.where(torch.arange(30) < lengths[:, None], 0)
    module = started(text, {"x": padded, "x_len": lengths})
    low, high = module.rate.sort().values.tolist()
    assert low == pytest.approx(10, rel=3)
    assert high == pytest.approx(1000, rel=0.1)
    assert module.init.max().item() == pytest.approx(3 / 4)  # both series begin in one state


def test_known_values_of_a_partial_variable_name_the_clusters() -> None:
    text = """size K = 3
param pi : simplex[K]
plate k[K]:
    param mu : real
    param s  : positive
plate n:
    partial  y : category[K] ~ Categorical(pi)
    observed x : real ~ Normal(mu[y], s[y])
"""
    y = torch.arange(90) % 3
    x = three_groups()
    seen = torch.arange(90) % 10 < 1
    for seed in range(5):
        mu = started(text, {"x": x, "y": y.where(seen, 0), "y_observed": seen}, seed).mu.detach()
        torch.testing.assert_close(mu, torch.tensor([9e3, 2e4, 33e3], dtype=torch.double), rtol=0.1, atol=0)


def test_words_of_states_start_at_frequencies_and_apart() -> None:
    text = """size K = 3
vocab V
param pi : simplex[K]
plate k[K]:
    param emit : simplex[V]
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : token[V] ~ Categorical(emit[c])
"""
    x = torch.tensor([0] * 500 + [1] * 50 + [2] * 5)
    emit = started(text, {"x": x}, V=4).emit.detach()
    assert bool((emit > 0).all())
    assert bool((emit[:, 0] / emit[:, 3] > 20).all())  # e^±3 of noise around 501 to 1
    assert not torch.allclose(emit[0], emit[1], rtol=0.1)


def test_an_index_composed_of_latents_and_data_is_clustered_where_it_is_read() -> None:
    text = """size C = 4
size K = 2
plate k[K]:
    param mu : real
param sigma : positive
plate code[C]:
    plate site[2]:
        given label : category[K]
plate picture:
    latent z : index[code] ~ Uniform()
    plate site:
        observed x : real ~ Normal(mu[label[z]], sigma)
"""
    label = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    x = torch.tensor([-50.0, 70.0], dtype=torch.double)[label].repeat(20, 1) + numbers(80, 2)
    mu = started(text, {"x": x, "label": label}).mu.detach().sort().values
    torch.testing.assert_close(mu, torch.tensor([-50.0, 70.0], dtype=torch.double), atol=3, rtol=0)


def test_a_change_point_is_guessed() -> None:
    text = """param early : real
param late  : real
param s     : positive
plate series:
    latent at : index[t] ~ Uniform()
    plate t:
        observed x : real ~ Normal(early if t < at else late, s)
"""
    x = torch.cat([numbers(20) + 1000, numbers(30) - 500])[None]
    batch = {"x": x, "x_len": torch.tensor([50])}
    found = [started(text, batch, seed) for seed in range(8)]
    assert all(module.early.item() >= module.late.item() for module in found)
    assert len({module.early.item() for module in found}) > 3


def test_what_a_law_must_be_told_is_read_from_the_data() -> None:
    text = """size G = 2
plate g[G]:
    param p : unit
plate n:
    given    tries : count
    given    which : index[g]
    observed y     : count ~ Binomial(tries, p[which])
"""
    tries = torch.tensor([10.0, 100.0, 1000.0, 5.0], dtype=torch.double)
    which = torch.tensor([0, 0, 0, 1])
    module = started(text, {"tries": tries, "which": which, "y": 0.3 * tries})
    own, every = (0.3 * 1110 + 1) / 1112, (0.3 * 1115 + 1) / 1117
    assert module.p[0].item() == pytest.approx((3 * own + every) / 4)


MANY = """size K = 3
param pi : simplex[K]
param a : real
plate k[K]:
    param mu   : real[2]
    param L    : cholesky[2]
    param m    : real
    param s    : positive
    param rate : positive
    param con  : positive
    param p    : unit
    param q    : simplex[4]
    param low  : real
    param df   : positive
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed x : real[2]  ~ MultivariateNormal(mu[c], L[c])
    observed y : real     ~ StudentT(df[c], m[c], s[c])
    observed z : positive ~ Gamma(con[c], rate[c])
    observed b : bit      ~ Bernoulli(p[c])
    observed w : category[4] ~ Categorical(q[c])
    observed v : count    ~ Poisson(exp(a + low[c]))
"""


@pytest.mark.parametrize("rows", [0, 1, 2, 20])
@pytest.mark.parametrize("constant", [True, False])
def test_little_data_gives_no_nan(rows: int, constant: bool) -> None:
    batch = {
        "x": numbers(rows, 2) * 0.1 + 1e5,
        "y": numbers(rows),
        "z": numbers(rows).exp(),
        "b": (numbers(rows) > 0).double(),
        "w": torch.arange(rows) % 4,
        "v": (torch.arange(rows) % 3).double(),
    }
    if constant and rows:
        batch = {name: value[:1].expand(value.shape).clone() for name, value in batch.items()}
    started(MANY, batch)


def test_a_part_of_a_series_has_the_law_of_its_place() -> None:
    text = """param first : real
param rest  : real
param s     : positive
plate series:
    chain t[4]:
        observed x : real ~ Normal(first, s) then Normal(rest + 0 * x[t-1], s)
"""
    x = torch.tensor([[100.0, 1.0, 2.0, 3.0], [120.0, 1.0, 2.0, 3.0]], dtype=torch.double)
    module = started(text, {"x": x})
    assert (module.first.item(), module.rest.item()) == (110, 2)


def test_a_common_scale_starts_at_that_inside_the_groups() -> None:
    text = """size K = 2
param pi : simplex[K]
param s  : positive[3]
plate d[2]:
    param sd : positive
    plate k[K]:
        param m : real
plate j[K]:
    param mu : real[3]
plate n:
    latent   c : category[K] ~ Categorical(pi)
    observed x : real[3]  ~ Normal(mu[c], s)
    plate d:
        observed y : real ~ Normal(m[c], sd)
"""
    kind = (torch.arange(400) % 2)[:, None]
    scale = torch.tensor([1.0, 2.0, 3.0], dtype=torch.double)
    batch = {"x": 1000 * kind + scale * numbers(400, 3), "y": 500 * kind + scale[:2] * numbers(400, 2, seed=1)}
    module = started(text, batch)
    for found, true in ((module.s, scale), (module.sd, scale[:2])):  # one element of all among 200 adds 1/200 of the distances
        assert bool((found > 0.9 * true).all() and (found < true + 4).all())


def test_elements_of_a_vector_are_groups_too() -> None:
    text = """size K = 2
param pi : simplex[K]
param mu : real[K]
plate n:
    latent   c : category[K] ~ Categorical(pi)
    observed x : real ~ Normal(mu[c], 1)
"""
    x = torch.cat([numbers(50) - 40, numbers(50) + 40])
    mu = started(text, {"x": x}).mu.detach().sort().values
    torch.testing.assert_close(mu, torch.tensor([-40.0, 40.0], dtype=torch.double), atol=2, rtol=0)


@settings(RANDOM, max_examples=60)
@given(text=spec_texts(), seed=st.integers(0, 2**20))
def test_random_models_start(text: str, seed: int) -> None:
    """Whatever the model: a start of finite numbers that leaves what was possible possible."""
    trial = trial_of(text, seed)
    initialise = getattr(trial.built.module, "initialise", None)
    if initialise is None:
        return
    torch.manual_seed(seed)
    initialise(trial.batch)
    assert all(bool(p.isfinite().all()) for p in trial.built.module.parameters())
    assert not bool(trial.built.module.log_prob(trial.batch).isnan().any())


def test_vectors_counts_and_constants() -> None:
    text = """size K = 3
param p  : unit
param q  : simplex[3]
param a  : positive
param b  : positive[3]
param e  : simplex[4]
param pi : simplex[K]
param s  : positive
plate k[K]:
    param share : simplex[3]
    param loc   : real[2]
plate n:
    latent   c : index[k] ~ Categorical(pi)
    observed y : count ~ Binomial(6, p)
    observed m : count[3] ~ Multinomial(5, q)
    observed d : simplex[3] ~ Dirichlet(a)
    observed f : simplex[3] ~ Dirichlet(b)
    observed w : category[4] ~ Categorical(e)
    observed v : count[3] ~ Multinomial(5, share[c])
    observed u : real[2] ~ Normal(loc[c], s)
"""
    parts = numbers(50, 3).softmax(-1)
    counts = torch.nn.functional.one_hot(torch.arange(50) % 3, 3).double() * 5
    y, w, u = (torch.arange(50) % 7).double(), torch.arange(50) % 4, numbers(50, 2, seed=1)
    module = started(text, {"y": y, "m": counts, "v": counts, "d": parts, "f": parts, "w": w, "u": u})
    assert module.p.item() == pytest.approx((y.sum().item() + 1) / 302)
    torch.testing.assert_close(module.q.detach(), (counts.sum(0) + 1) / 253)
    torch.testing.assert_close((module.b / module.b.sum()).detach(), parts.mean(0))
    assert module.a.item() == pytest.approx(module.b.mean().item())
    torch.testing.assert_close(module.e.detach(), (torch.bincount(w).double() + 1) / 54)
    assert 0.2 < module.s.item() < 1.1
