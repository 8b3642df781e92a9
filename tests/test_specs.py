"""Every spec of specs/: it checks, compiles twice to the same bytes, imports torch alone, and learns from a tiny batch."""

import ast
import math
import sys
from pathlib import Path

import pytest
import torch

from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source
from vispec.verify import checks
from vispec.verify.bounds import queries
from vispec.verify.build import Built, build, load, randomise
from vispec.verify.data import random_batch
from vispec.verify.trial import Trial, small_batch

ROOT = Path(__file__).resolve().parents[1] / "specs"
SPECS = sorted(path.stem for path in ROOT.glob("*.vispec"))
ORDER_TWO = """
size K = 2
vocab V
param init : simplex[K]
plate k[K]:
    param a : simplex[K]
    plate o[K]:
        param b : simplex[K]
        param e : simplex[V]
        plate oo[K]:
            param w : simplex[V]

plate row:
    latent g : category[K] ~ Categorical(init)
    chain t:
        latent   c : category[K] ~ Categorical(init) then Categorical(a[c[t-1]]) then Categorical(b[c[t-2], g])
            then Categorical(b[c[t-2], c[t-1]])
        latent   d : category[K] ~ Categorical(a[g]) then Categorical(a[d[t-1]])
        observed x : token[V] ~ Categorical(e[c, d]) then Categorical(e[c, d]) then Categorical(w[d[t-1], c, c[t-2]])
"""


POINTED_AT = """
size K = 3
vocab V
param prior : simplex[K]
plate k[K]:
    param emit  : simplex[V]
    param trans : simplex[K]

plate doc:
    chain t:
        latent   c : index[k] ~ Categorical(prior) then Categorical(trans[c[t-1]])
        given    other : index[t]
        observed y : token[V] ~ Categorical(emit[c[other]])
    plate label:
        given    at  : index[t]
        latent   u   : index[k] ~ Categorical(trans[c[at]])
        observed tag : token[V] ~ Categorical(emit[u])
"""


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors: more threads only cost."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def param(module: torch.nn.Module, name: str) -> torch.Tensor:
    """A parameter in constrained space."""
    return getattr(module, name).detach()


def tiny(name: str) -> Built:
    return build(Source.read(str(ROOT / f"{name}.vispec")), {})


@pytest.mark.parametrize("name", SPECS)
def test_compiles_to_the_same_bytes_and_imports_torch_alone(name):
    """Beside the standard library, which kernels in C++ need."""
    first, second = (compile_spec(Source.read(str(ROOT / f"{name}.vispec")), {}) for _ in range(2))
    assert first == second
    assert imported(first) - sys.stdlib_module_names == {"torch"}
    if "_CPP" in first:
        assert imported(compile_spec(Source.read(str(ROOT / f"{name}.vispec")), {}, native=False)) == {"torch"}


def imported(text):
    nodes = list(ast.walk(ast.parse(text)))
    found = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return found | {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize("name", SPECS)
def test_every_parameter_of_a_spec_learns_from_a_tiny_batch(name):
    built = tiny(name)
    generator = torch.Generator().manual_seed(1)
    randomise(built, generator)
    batch = random_batch(built.model, built.sizes, 6, generator)
    torch.manual_seed(0)
    built.module.train().loss(batch, 60).backward()
    gradients = {key: p.grad for key, p in built.module.named_parameters()}
    assert gradients
    for key, gradient in gradients.items():
        assert gradient is not None, f"{key} has no part in the loss"
        assert bool(gradient.isfinite().all()), key


@pytest.mark.parametrize("text", [(ROOT / "hmm2.vispec").read_text(), ORDER_TWO], ids=["hmm2", "coupled"])
def test_chains_of_order_two_equal_enumeration(text):
    built = build(Source("two.vispec", text), {})
    generator = torch.Generator().manual_seed(3)
    for zeros in (0.0, 0.4):
        randomise(built, generator, zeros=zeros)
        batch, _ = small_batch(built, 5, generator, 1000)
        trial = Trial(built, batch, 5)
        for check in (checks.check_log_prob, checks.check_gradient, checks.check_marginals, checks.check_mode):
            assert not check(trial).differs, check(trial)


@pytest.mark.parametrize("name", ["mixture_hmm", "noisy_or", "partial_tagger", "induced_dependencies", "hierarchical_mixture"])
def test_k_best_and_entropy_equal_enumeration(name):
    built = tiny(name)
    generator = torch.Generator().manual_seed(4)
    randomise(built, generator, zeros=0.3)
    batch, _ = small_batch(built, 4, generator, 1000)
    trial = Trial(built, batch, 4)
    for check in (queries.check_k_best, queries.check_entropy):
        assert check(trial).cases
        assert not check(trial).differs, check(trial)


def test_k_best_lists_all_assignments_and_no_more():
    built = tiny("noisy_or")
    generator = torch.Generator().manual_seed(5)
    randomise(built, generator)
    trial = Trial(built, random_batch(built.model, built.sizes, 2, generator), 2)
    found = built.module.posterior(trial.batch, query="kbest(10)")
    for row, enumeration in enumerate(trial.enumerations):
        expected = enumeration.log_joint.detach().sort(descending=True).values
        assert torch.allclose(found["(log_joint)"][row, : len(expected)], expected)
        assert bool((found["(log_joint)"][row, len(expected) :] == -torch.inf).all())
        assert len({tuple(z.tolist()) for z in found["z"][row, : len(expected)]}) == len(expected) == 8


@pytest.mark.parametrize("text", [(ROOT / "entity_types.vispec").read_text(), POINTED_AT], ids=["entities", "chain"])
def test_latents_read_at_an_index_in_the_data_equal_enumeration(text):
    built = build(Source("pointed.vispec", text), {})
    generator = torch.Generator().manual_seed(9)
    randomise(built, generator, zeros=0.2)
    batch, _ = small_batch(built, 5, generator, 1000)
    trial = Trial(built, batch, 5)
    for check in (checks.check_log_prob, checks.check_gradient, checks.check_marginals, checks.check_mode):
        assert not check(trial).differs, check(trial)
    rubbish = checks.check_rubbish(trial, generator)
    assert not rubbish.differs, rubbish


@pytest.mark.parametrize("law", ["trans[c[a]]) if a == b else Categorical(trans[c[b]]"])
def test_an_index_that_couples_latents_is_refused(law):
    text = f"""
size K = 3
param prior : simplex[K]
plate k[K]:
    param trans : simplex[K]
plate doc:
    plate i:
        latent   c : index[k] ~ Categorical(prior)
        given    a : index[i]
        given    b : index[i]
        latent   q : index[i] ~ Uniform()
        observed y : category[K] ~ Categorical({law})
"""
    with pytest.raises(SpecError) as refused:
        compile_spec(Source("coupled.vispec", text), {})
    assert [d.code for d in refused.value.diagnostics if d.severity == "error"] == ["V708"]


def test_noisy_or_by_its_definition():
    built = tiny("noisy_or")
    randomise(built, torch.Generator().manual_seed(6))
    m = built.module
    x = torch.tensor([[1.0, 0.0]], dtype=torch.double)
    total = torch.zeros((), dtype=torch.double)
    for code in range(8):
        z = torch.tensor([code >> k & 1 for k in range(3)], dtype=torch.double)
        fails = torch.exp(-param(m, "leak")) * torch.exp(-param(m, "strength")).pow(z).prod(1)
        prior = torch.where(z > 0, param(m, "active"), 1 - param(m, "active")).prod()
        total = total + prior * torch.where(x[0] > 0, 1 - fails, fails).prod()
    assert torch.allclose(m.log_prob({"x": x})[0], total.log())


def test_left_to_right_never_goes_back():
    built = tiny("left_to_right")
    randomise(built, torch.Generator().manual_seed(7))
    batch = random_batch(built.model, built.sizes, 20, torch.Generator().manual_seed(8), longest=6)
    best = built.module.posterior(batch, query="sample")["c"]
    moves = (best[:, 1:] - best[:, :-1])[torch.arange(1, best.shape[1]) < batch["x_len"][:, None]]
    assert bool((best[:, 0] == 0).all())
    assert bool(((moves >= 0) & (moves <= 2)).all())


def test_the_density_of_a_hidden_markov_model_with_priors_is_the_product_of_its_parts():
    module = load(compile_spec(Source.read(str(ROOT / "hmm_priors.vispec")), {}), "HmmPriors")
    mu, trans = torch.tensor([3.2, 8.8]).double(), torch.tensor([[0.7, 0.3], [0.1, 0.9]]).double()
    y = torch.tensor([3.1, 8.2, 9.4, 7.1, 4.0, 3.9]).double()
    module.get_parameter("mu_point").data.copy_(mu)
    module.__setattr__("trans_point", trans)  # in constrained space
    seen = -0.5 * (y[:, None] - mu).square() - 0.5 * math.log(2 * math.pi)
    forward = seen[0] - math.log(2)
    for row in seen[1:]:
        forward = torch.logsumexp(forward[:, None] + trans.log(), 0) + row
    prior = (-0.5 * (mu - torch.tensor([3.0, 10.0])).square() - 0.5 * math.log(2 * math.pi)).sum()
    found = -module.loss({"x": y[None], "x_len": torch.tensor([6])}, 1)
    assert torch.allclose(found, prior + torch.logsumexp(forward, 0))


def test_the_mode_of_a_mixture_with_priors_is_where_its_gradient_is_zero():
    module = load(compile_spec(Source.read(str(ROOT / "mixture_priors.vispec")), {}), "MixturePriors")
    torch.manual_seed(0)
    x = torch.cat([torch.randn(60) - 3, 0.5 * torch.randn(40) + 3]).double()
    module.get_parameter("mu_point").data.copy_(torch.tensor([-1.0, 1.0]))
    optimiser = torch.optim.LBFGS(module.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = module.loss({"x": x}, len(x))
        loss.backward()
        return loss

    optimiser.step(closure)
    assert abs(float(param(module, "share_point")[0]) - 0.6) < 0.05
    assert torch.allclose(param(module, "mu_point"), torch.tensor([-3.0, 3.0]).double(), atol=0.3)


def test_a_chain_of_order_three_is_refused_with_a_reason():
    text = "\n".join(
        [
            "size K = 2",
            "param p : simplex[K]",
            "plate k[K]:",
            "    param a : simplex[K]",
            "plate row:",
            "    chain t:",
            "        latent c : category[K] ~ Categorical(p) then Categorical(p) then Categorical(p)",
            "            then Categorical(a[c[t-3]])",
            "        observed x : category[K] ~ Categorical(a[c])",
        ]
    )
    with pytest.raises(SpecError) as refused:
        compile_spec(Source("three.vispec", text), {})
    assert [d.code for d in refused.value.diagnostics] == ["V707"]
