"""The chain kernel against enumeration of all paths, at ordinary and at extreme potentials."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vispec.kernels.sums.algebra import chain_total, maximum, sampled
from vispec.kernels.sums.chain import chain_log_prob, chain_log_prob_of_tokens

B, T, K = 3, 5, 3
SHAPES = {"shared": (K, K), "by step": (T - 1, K, K), "by chain": (B, 1, K, K), "by both": (B, T - 1, K, K)}
LENGTHS = {"full": None, "ragged": [5, 1, 3], "empty": [0, 4, 5]}


def potentials(
    trans: str, init: tuple[int, ...], dtype: torch.dtype = torch.double, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(len(trans) + 10 * len(init))
    shapes = init, SHAPES[trans], (B, T, K)
    a, b, c = ((scale * torch.randn(s, generator=generator, dtype=torch.double)).to(dtype) for s in shapes)
    return a, b, c


def scores(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor | None, b: int) -> tuple[list[tuple[int, ...]], Tensor]:
    """All paths of chain b and their log weights, in float64."""
    init, trans, obs = init.double(), trans.double(), obs.double()
    n = obs.shape[1] if length is None else int(length[b])
    paths = list(itertools.product(range(obs.shape[2]), repeat=n))
    if n == 0:
        return paths, obs.new_zeros(1)
    z = torch.tensor(paths)
    step = trans[b] if trans.dim() == 4 else trans
    steps = step.expand(max(n - 1, 0), *step.shape[-2:]) if step.dim() == 2 or len(step) == 1 else step
    total = init.expand(len(obs), -1)[b, z[:, 0]] + obs[b, torch.arange(n), z].sum(1)
    for t in range(1, n):
        total = total + steps[t - 1][z[:, t - 1], z[:, t]]
    return paths, total


def enumerated(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor | None = None) -> Tensor:
    return torch.stack([scores(init, trans, obs, length, b)[1].logsumexp(0) for b in range(len(obs))])


def gradients(value: Tensor, inputs: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
    weight = torch.linspace(0.5, 2, len(value), dtype=value.dtype)
    return torch.autograd.grad((value * weight).sum(), inputs)


def compare(inputs: tuple[Tensor, Tensor, Tensor], length: Tensor | None, value_tol: float, grad_tol: float) -> None:
    for x in inputs:
        x.requires_grad_()
    got, expected = chain_log_prob(*inputs, length), enumerated(*inputs, length)
    torch.testing.assert_close(got.double(), expected, rtol=value_tol, atol=value_tol)
    with torch.no_grad():
        torch.testing.assert_close(chain_log_prob(*inputs, length), got, rtol=value_tol, atol=value_tol)
    for g, e in zip(gradients(got, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(g, e, rtol=grad_tol, atol=grad_tol)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("init", [(K,), (B, K)])
@pytest.mark.parametrize("trans", SHAPES)
@pytest.mark.parametrize("scale", [1, 20, 100])
def test_sums_and_gradients(trans: str, init: tuple[int, ...], length: str, scale: float) -> None:
    size = LENGTHS[length]
    compare(potentials(trans, init, scale=scale), None if size is None else torch.tensor(size), 1e-10, 1e-8)


@pytest.mark.parametrize("trans", SHAPES)
@pytest.mark.parametrize("scale", [1, 20, 100])
def test_single_precision(trans: str, scale: float) -> None:
    """The inputs are rounded first, so what is compared is the arithmetic alone."""
    compare(potentials(trans, (B, K), torch.float, scale), torch.tensor([5, 2, 4]), 1e-6, 1e-4)


def marginals(init: Tensor, trans: Tensor, obs: Tensor, length: Tensor | None = None) -> tuple[Tensor, Tensor]:
    obs = obs.clone().requires_grad_()
    log_z = chain_log_prob(init, trans, obs, length)
    return log_z.detach(), torch.autograd.grad(log_z.sum(), obs)[0]


@pytest.mark.parametrize("scale", [1, 20, 100])
@pytest.mark.parametrize("trans", ["shared", "by both"])
def test_marginals_of_long_chains_sum_to_one(trans: str, scale: float) -> None:
    torch.manual_seed(0)
    n, steps, states = 4, 200, 7
    shape = (states, states) if trans == "shared" else (n, steps - 1, states, states)
    init, trans_, obs = scale * torch.randn(states), scale * torch.randn(shape), scale * torch.randn(n, steps, states)
    log_z, single = marginals(init, trans_, obs)
    torch.testing.assert_close(single.sum(2), torch.ones(n, steps), rtol=0, atol=1e-4)
    exact, double = marginals(init.double(), trans_.double(), obs.double())
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-4)
    torch.testing.assert_close(log_z.double(), exact, rtol=1e-6, atol=0)


def test_rare_switches_keep_their_mass() -> None:
    """Two sticky states and evidence that flips between them: nothing but rare switches explains it."""
    trans = torch.tensor([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]], dtype=torch.double).log()
    side = torch.arange(120) // 30 % 2
    obs = torch.where(torch.nn.functional.one_hot(side, 2) > 0, 0.0, -8.0).double()[None]
    init = torch.zeros(2, dtype=torch.double)
    exact, double = marginals(init, trans, obs)
    log_z, single = marginals(init.float(), trans.float(), obs.float())
    assert (double[0].argmax(1) == side).all()
    torch.testing.assert_close(single.sum(2), torch.ones(1, 120), rtol=0, atol=1e-4)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-4)
    torch.testing.assert_close(log_z.double(), exact, rtol=1e-6, atol=0)


def test_a_path_lost_from_both_ends_is_found() -> None:
    """The best path starts worse than another by e^-100 and ends worse by e^-100, but the other pays e^-300 in between."""
    low, no = -100.0, -math.inf
    obs = torch.zeros(1, 6, 2)
    obs[0, 0, 1] = obs[0, 5, 1] = low
    trans = torch.tensor([[low, no], [no, 0.0]]).expand(5, 2, 2).clone()
    trans[0, 0, 0] = trans[4, 0, 0] = 0.0
    compare((torch.zeros(2), trans, obs), None, 1e-6, 1e-5)
    assert marginals(torch.zeros(2), trans, obs)[1][0, 2, 1] > 0.999


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_structural_zeros(dtype: torch.dtype) -> None:
    """A left-to-right chain, a state that nothing leads to, forbidden observations; one chain has no path at all."""
    no = -math.inf
    trans = torch.tensor([[0.1, 0.3, no], [no, -0.2, 0.5], [no, no, 0.0]], dtype=dtype)
    init = torch.tensor([0.0, no, no], dtype=dtype)
    obs = torch.randn(3, T, K, dtype=dtype, generator=torch.Generator().manual_seed(1))
    obs[0, 3, 0], obs[2, 0, 0] = no, no
    value, grads = run(init, trans, obs)
    expected, e_grads = run(init, trans, obs[:2], enumerated)
    torch.testing.assert_close(value[:2].double(), expected.double(), rtol=1e-6, atol=1e-6)
    assert value[2] == no
    assert all(torch.isfinite(g).all() for g in grads)
    assert (grads[2][2] == 0).all()
    assert (grads[0][1:] == 0).all()
    assert (grads[1][trans == no] == 0).all()
    for g, e in zip((grads[0], grads[1], grads[2][:2]), e_grads, strict=True):
        torch.testing.assert_close(g, e.nan_to_num(0).to(dtype), rtol=1e-5, atol=1e-6)


def run(
    init: Tensor, trans: Tensor, obs: Tensor, function: Callable[..., Tensor] = chain_log_prob
) -> tuple[Tensor, tuple[Tensor, ...]]:
    inputs = [x.clone().requires_grad_() for x in (init, trans, obs)]
    value = function(*inputs)
    return value.detach(), torch.autograd.grad(value.sum(), inputs)


def test_what_lies_past_the_end_is_ignored() -> None:
    torch.manual_seed(0)
    init, trans, obs, length = torch.randn(K), torch.randn(K, K), torch.randn(2, T, K), torch.tensor([2, 0])
    wild = obs.clone()
    wild[0, 2:], wild[1] = torch.nan, torch.inf
    value, grads = run(init, trans, wild, lambda *x: chain_log_prob(x[0], x[1], x[2], length))
    expected, e_grads = run(init, trans, obs, lambda *x: chain_log_prob(x[0], x[1], x[2], length))
    assert torch.equal(value, expected)
    assert all(torch.equal(a, b) for a, b in zip(grads, e_grads, strict=True))
    assert value[1] == 0


def test_leading_dimensions_and_single_elements() -> None:
    torch.manual_seed(0)
    init, trans, obs = torch.randn(2, 3, K), torch.randn(2, 3, 1, K, K), torch.randn(2, 3, T, K)
    length = torch.tensor([[1, 2, 3], [4, 5, 0]])
    together = chain_log_prob(init, trans, obs, length)
    each = [[chain_log_prob(init[i, j], trans[i, j], obs[i, j], length[i, j]) for j in range(3)] for i in range(2)]
    torch.testing.assert_close(together, torch.stack([torch.stack(row) for row in each]))
    alone = chain_log_prob(init[0], torch.randn(3, 0, K, K), obs[0, :, :1])
    torch.testing.assert_close(alone, (init[0] + obs[0, :, 0]).logsumexp(1))
    assert chain_log_prob(torch.randn(K), torch.randn(K, K), torch.randn(0, T, K)).shape == (0,)


def test_nan_is_not_hidden() -> None:
    obs = torch.zeros(2, T, K)
    obs[0, 2, 1] = torch.nan
    value = chain_log_prob(torch.zeros(K), torch.zeros(K, K), obs)
    assert value[0].isnan()
    assert value[1].isfinite()


def path_of(total, init: Tensor, steps: Tensor, obs: Tensor, size: Tensor | None = None) -> Tensor:
    """Where the algebra's gradient leads (B, T), 0 past a chain's length."""
    obs = obs.clone().requires_grad_()
    (found,) = torch.autograd.grad(chain_total(total, init, steps, obs, size).sum(), obs)
    assert ((found == 0) | (found == 1)).all()
    return found.argmax(-1)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("trans", SHAPES)
def test_mode(trans: str, length: str) -> None:
    """Integer potentials make ties; any of the best paths will do."""
    init, steps, obs = potentials(trans, (B, K))
    init, steps, obs = init.round(), steps.round(), obs.round()
    size = None if LENGTHS[length] is None else torch.tensor(LENGTHS[length])
    mode = path_of(maximum, init, steps, obs, size)
    for b in range(B):
        paths, total = scores(init, steps, obs, size, b)
        found = [list(path) + [0] * (T - len(path)) for path in paths].index(mode[b].tolist())
        assert total[found] == total.max()


def test_mode_avoids_the_impossible() -> None:
    trans = torch.full((K, K), -math.inf).fill_diagonal_(0.0)
    obs = torch.zeros(1, T, K)
    obs[0, 0, 0] = 50.0
    obs[0, 3, 0] = -math.inf
    assert path_of(maximum, torch.tensor([0.0, -1.0, -2.0]), trans, obs).tolist() == [[1] * T]


@pytest.mark.parametrize("trans", ["shared", "by both"])
def test_samples_follow_the_posterior(trans: str) -> None:
    torch.manual_seed(0)
    init, steps, obs = potentials(trans, (B, K))
    many, n = 20000, 3
    obs, steps = obs[:, :n], steps if trans == "shared" else steps[:, : n - 1]
    b = 1
    paths, total = scores(init[b], steps if trans == "shared" else steps[b], obs[b : b + 1], None, 0)
    all_steps = steps if trans == "shared" else steps[b].expand(many, -1, -1, -1)
    drawn = path_of(sampled, init[b], all_steps, obs[b].expand(many, -1, -1))
    code = (drawn * torch.tensor([K**2, K, 1])).sum(1)
    share, expected = torch.bincount(code, minlength=len(paths)) / many, total.softmax(0)
    error = (expected * (1 - expected) / many).sqrt()
    assert ((share - expected).abs() < 5 * error + 1e-9).all()


def test_samples_stay_possible_and_inside() -> None:
    torch.manual_seed(0)
    trans = torch.tensor([[0.0, 0.0, -math.inf], [-math.inf, 0.0, 0.0], [-math.inf, -math.inf, 0.0]])
    length = torch.tensor([T, 2] * 50)
    path = path_of(sampled, torch.tensor([0.0, -math.inf, -math.inf]), trans, torch.zeros(100, T, K), length)
    inside = torch.arange(T) < length[:, None]
    assert (path[~inside] == 0).all()
    assert (path[:, 0] == 0).all()
    assert torch.isfinite(trans[path[:, :-1], path[:, 1:]])[inside[:, 1:]].all()


def test_one_operation_under_compile() -> None:
    """fullgraph: no graph break, whatever the length; the same numbers."""
    init, trans, obs = potentials("shared", (K,), torch.float)
    length = torch.tensor([5, 1, 3])

    def loss(init: Tensor, trans: Tensor, obs: Tensor) -> Tensor:
        return chain_log_prob(init.log_softmax(-1), trans.log_softmax(-1), obs.log_softmax(-1), length).sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    value, grads = run(init, trans, obs, lambda *x: compiled(*x)[None])
    expected, e_grads = run(init, trans, obs, lambda *x: loss(*x)[None])
    torch.testing.assert_close(value, expected)
    for g, e in zip(grads, e_grads, strict=True):
        torch.testing.assert_close(g, e)


@pytest.mark.parametrize("trans", SHAPES)
def test_the_operation_is_well_formed(trans: str) -> None:
    """Shapes and strides as declared, gradients as registered (torch's own check of an operation)."""
    from vispec.kernels.sums.chain import canonical, chain_op

    inputs = canonical(*potentials(trans, (K,)), torch.tensor([5, 1, 3]))
    arguments = (*(x.detach().requires_grad_() for x in inputs[:3]), inputs[3], True)
    torch.library.opcheck(chain_op, arguments, test_utils=("test_schema", "test_faketensor", "test_autograd_registration"))


def test_modules_of_one_process_have_operators_of_their_own() -> None:
    """torch caches an operator longer than the module that registered it lives: a second module must not find it."""
    import gc

    from vispec.torch.text.source_text import kernel_texts

    kernels = kernel_texts([("vispec.kernels.sums.chain", "chain_log_prob")])
    text = "\n".join(["import torch", "from torch import Tensor", *kernels])
    obs = torch.randn(2, 4, K)
    found = []
    for _ in range(3):
        names: dict = {}
        exec(compile(text, "module.py", "exec"), names)
        loss = torch.compile(names["chain_log_prob"], fullgraph=True, backend="aot_eager", dynamic=False)
        found.append(loss(torch.zeros(K), torch.zeros(K, K), obs))
        del names, loss
        gc.collect()
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 20.0, 100.0])
@pytest.mark.parametrize("trans", ["shared", "by both"])
def test_tokens_of_a_table_are_its_columns(trans: str, scale: float, dtype: torch.dtype) -> None:
    """Values and gradients, with ragged lengths and impossible outcomes, as where the columns are picked beforehand."""
    torch.manual_seed(0)
    init, steps, _ = (scale * x for x in potentials(trans, (B, K)))
    table = scale * torch.randn(K, 7)
    table[1, 2] = table[0, 5] = -torch.inf
    tokens, length = torch.randint(7, (B, T)), torch.tensor([T, 1, 3][:B])
    leaves = [x.to(dtype).requires_grad_() for x in (init, steps, table.log_softmax(1))]
    got = chain_log_prob_of_tokens(*leaves, tokens, length)
    found = torch.autograd.grad(got.sum(), leaves)
    exact = [x.detach().double().requires_grad_() for x in leaves]
    expected = chain_log_prob(*exact[:2], exact[2].T[tokens], length)
    wanted = torch.autograd.grad(expected.sum(), exact)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(got.double(), expected, **close)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, **close)


def test_few_tokens_of_a_large_table() -> None:
    torch.manual_seed(0)
    init, steps, _ = potentials("shared", (B, K))
    table, tokens = torch.randn(K, 500).log_softmax(1).double().requires_grad_(), torch.randint(500, (B, T))
    expected = chain_log_prob(init, steps, table.T[tokens])
    got = chain_log_prob_of_tokens(init, steps, table, tokens)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x.sum(), table)[0] for x in (got, expected)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_chains_however_far_their_potentials_are_apart(dtype: torch.dtype) -> None:
    """Against recursion in log space: weights and sums that underflow, states and ways that are impossible, many shapes."""
    for seed in range(150):
        g = torch.Generator().manual_seed(seed)
        rows, n, k, steps = (int(torch.randint(low, high, (), generator=g)) for low, high in ((1, 7), (1, 13), (1, 18), (0, 2)))
        scale, impossible = (1, 20, 100)[seed % 3], seed % 2 == 1

        def drawn(*shape: int, g: torch.Generator = g, scale: int = scale, impossible: bool = impossible) -> Tensor:
            found = (scale * torch.randn(shape, generator=g, dtype=torch.double)).to(dtype)
            return found.masked_fill(torch.rand(shape, generator=g) < 0.2, -torch.inf) if impossible else found

        init, trans, obs = drawn(rows, k), drawn(rows, max(1, n - 1) if steps else 1, k, k), drawn(rows, n, k)
        alpha = init.double() + obs[:, 0].double()
        for t in range(1, n):
            step = trans[:, (t - 1) % trans.shape[1]].double()
            alpha = torch.logsumexp(alpha[:, :, None] + step, 1) + obs[:, t].double()
        right, digits = alpha.logsumexp(1), 1e-11 if dtype == torch.float64 else 1e-5
        for grad in (False, True):
            found = chain_log_prob(init.clone().requires_grad_(grad), trans, obs).detach().double()
            torch.testing.assert_close(
                found, right, rtol=digits, atol=digits, msg=lambda text, seed=seed: f"seed {seed}: {text}"
            )
