"""Values of tests/cases/program that are known by hand, by brute force of others, or in closed form."""

import math

import pytest
import torch
from program_modules import HALF_LOG, HERE, close, made, module, real
from torch import Tensor

# ---- parameters in two plates


def test_a_parameter_in_two_plates_is_read_by_its_own_order() -> None:
    crossed = module("wrong_number_crossed_param", m=[[0, 1], [2, 3]], u=[0, 0])
    batch = {"i": torch.tensor([0, 1]), "j": torch.tensor([1, 0]), "x": real([0, 0])}
    close(crossed.log_prob(batch), [-0.5 - HALF_LOG, -2 - HALF_LOG])
    reopened = module("reopened_plate_swaps_indices_tiny", T=torch.arange(9.0))
    a, b = torch.arange(3).repeat_interleave(3), torch.arange(3).repeat(3)
    close(reopened.log_prob({"a": a, "b": b, "y": 3.0 * a.double() + b}), [-HALF_LOG] * 9)


@pytest.mark.parametrize("first", ["item", "k", "none"])
def test_latent_classes_in_each_spelling(first: str) -> None:
    """The inner plate opened before, or the outer one, or neither."""
    p, pi, x = torch.rand(3, 2).double(), real([0.3, 0.7]), torch.tensor([[0, 1, 1], [1, 1, 0]])
    before = {"item": "plate item[3]:\n    param q : real\n", "k": "plate k[2]:\n    param q : real\n", "none": ""}[first]
    again = {"item": ("", "[2]"), "k": ("[3]", ""), "none": ("[3]", "[2]")}[first]
    text = f"""{before}param pi : simplex[2]
plate item{again[0]}:
    plate k{again[1]}:
        param p : unit
plate n:
    latent c : index[k] ~ Categorical(pi)
    plate item:
        observed x : bit ~ Bernoulli(p[c])
"""
    each = torch.where(x[:, :, None] == 1, p, 1 - p).prod(1)
    close(made(text, p=p, pi=pi).log_prob({"x": x.double()}), (each * pi).sum(-1).log())


# ---- parameters and lookups along chains


def test_a_parameter_along_a_chain() -> None:
    phi, x = [0.2, 0.5, 0.9], real([[1, 0, 1], [0, 0, 0]])
    right = torch.where(x == 1, real(phi), 1 - real(phi)).log().sum(-1)
    for name in ("chain_param_crash", "chain_param_crash_a"):
        close(module(name, phi=phi).log_prob({"x": x}), right)


def test_the_past_and_all_of_what_is_given() -> None:
    u, y = real([[1.0, 2, 3], [0.5, -1, 0]]), real([[0.5, 1, 2], [0, 1, 1]])
    lengths = {name: torch.tensor([3, 2]) for name in ("u_len", "y_len")}
    inside = torch.tensor([[True, True, True], [True, True, False]])

    def right(mean: Tensor) -> Tensor:
        return torch.where(inside, -0.5 * (y - mean) ** 2 - HALF_LOG, 0.0).sum(-1)

    batch = {"u": u, "y": y, **lengths}
    before = torch.cat((torch.zeros(2, 1), u[:, :-1]), 1)
    close(module("lagged_given", c=0.7).log_prob(batch), right(0.7 * before))
    means = torch.where(inside, u, 0.0).sum(-1, keepdim=True) / real([[3], [2]])
    close(module("whole_or_prefix_of_given_in_chain", a=0.7).log_prob(batch), right(0.7 * (u - means)))
    close(module("whole_or_prefix_of_given_in_chain_prefix", a=0.7).log_prob(batch), right(0.7 * (u.cumsum(-1) - u)))


def test_the_past_of_a_let_is_that_of_its_formula() -> None:
    let = module("past_of_a_let", a=0.3)
    text = (HERE / "past_of_a_let.vispec").read_text().replace("v[t-1]", "a * x[t-1]").replace("        let v = a * x\n", "")
    batch = {"x": torch.randn(2, 4).double(), "y": torch.randn(2, 4).double(), "x_len": torch.tensor([4, 2])}
    close(let.log_prob(batch), made(text, a=0.3).log_prob(batch))


def test_elements_of_a_ragged_plate_in_a_chain_are_added_up() -> None:
    x, y = real([[[1, 2], [3, 9]], [[0.5, 9], [9, 9]]]), real([[3, 2], [1, 9]])
    found = module("ragged_plate_inside_chain")
    batch = {"x": x, "y": y, "y_len": torch.tensor([2, 1]), "x_len": torch.tensor([[2, 1], [1, 0]])}
    close(found.log_prob(batch), [-0.5 - 2 * HALF_LOG, -0.125 - HALF_LOG])


# ---- laws of comparisons, branches, small probabilities


def test_a_comparison_is_a_probability() -> None:
    found = module("crash_bernoulli_of_comparison", p=[0.2, 0.5, 0.3])
    close(found.log_prob({"x": real([1, 0])}), [math.log(0.5), math.log(0.5)])
    found = made("param p : simplex[3]\nplate n:\n    latent c : category[3] ~ Categorical(p)\n"
                 "    observed x : bit ~ Bernoulli(c == 1 and c == 1)\n", p=[0.2, 0.1, 0.7])  # fmt: skip
    close(found.log_prob({"x": real([1, 0])}), [math.log(0.1), math.log(0.9)])


def test_a_branch_that_is_not_taken_sends_no_gradient() -> None:
    found = module("nan_gradient_of_branch_not_taken", a=0.5)
    batch = {"t": real([-1, 0, 1000]), "x": real([0, 1, 2])}
    found.log_prob(batch)[2].backward()
    close(found.a.grad, 2 - 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["survival_underflow", "survival_underflow_plain"])
def test_survival_is_its_exponent(name: str, dtype: torch.dtype) -> None:
    """log Bernoulli(1; exp(-x)) = -x, also where exp(-x) is 0."""
    found = module(name, rate=0.7).to(dtype)
    t = torch.tensor([0.01, 104.0, 1728.0, 1e6], dtype=dtype)
    log_prob = found.log_prob({"t": t, "failed": torch.zeros(4, dtype=dtype), "x": t, "one": torch.ones(4, dtype=dtype)})
    close(log_prob, -0.7 * t.double(), 1e-6)
    (gradient,) = torch.autograd.grad(log_prob[2], [found.raw_rate])
    close(gradient, -1728 * (1 - math.exp(-0.7)), 1e-5)


def test_a_chance_of_almost_nothing() -> None:
    """log(1 - exp(-x)) for small x, in float32."""
    found = made("plate n:\n    given t : positive\n    observed x : bit ~ Bernoulli(1 - exp(-t))\n").float()
    close(
        found.log_prob({"t": torch.tensor([1e-8, 1e-3]), "x": torch.ones(2)}),
        [math.log(1e-8), math.log(-math.expm1(-1e-3))],
        1e-6,
    )


def test_probabilities_by_their_range() -> None:
    found = module("sign_and_range_of_expressions", p=0.3, q=0.6, beta=0.8)
    batch = {"I": real([2, 0]), "n_pop": real([9, 9]), "S": real([3, 3]), "new": real([1, 0])}
    batch |= {f"x{n}": real([1, 0]) for n in range(1, 6)}
    chances = real([1 - math.exp(-1), 0.3 + 0.6 - 0.18, 0.45, math.sqrt(0.3), 0.09 + 0.42])
    infected = 1 - math.exp(-0.8 * 2 / 9)
    first = math.log(3 * infected * (1 - infected) ** 2) + chances.log().sum()
    close(found.log_prob(batch), [float(first), float((1 - chances).log().sum())])


# ---- sums


def test_a_chain_written_by_hand_costs_a_chain() -> None:
    found = module("tree_enumerated", p=torch.rand(12).softmax(0), t=torch.rand(12, 12).softmax(-1), m=torch.randn(12))
    state = found.p
    for _ in range(6):
        state = state @ found.t
    x = real([0.3, -2])
    log_normal = -0.5 * (x[:, None] - found.m) ** 2 - HALF_LOG
    close(found.log_prob({"x": x}), (state * log_normal.exp()).sum(-1).log())


def test_a_let_that_nothing_reads_changes_nothing() -> None:
    """z and w of two sites each, by brute force in the README of the case, q = 0.35."""
    batch = {"x": real([[0.2, 1.7, 0.5], [2.1, 0.3, 0]]), "x2": real([[1.2, -0.7, 0.4], [0.1, 0.9, 0]])}
    batch["x_len"] = torch.tensor([3, 2])
    for name in ("unread_let_changes_log_prob", "unread_let_changes_log_prob_without"):
        close(module(name, q=0.35).log_prob(batch), [-7.64797, -5.49922], 1e-5)


def test_posteriors_beside_a_plate_that_is_summed_jointly() -> None:
    found = module("posterior_beside_an_enumerated_plate", q=0.35)
    batch = {"x": real([[0.2, 1.7], [2.1, 0.3], [1, 1]]), "y": real([1, 0, 1]), "x_len": torch.tensor([2, 2, 2])}
    d = found.posterior(batch)["d"][..., 1]
    close(d, [[0.2435, 0.7660], [0.7785, 0.2124], [0.5171, 0.5171]], 2e-4)
    close(found.posterior(batch, query="mode")["d"][:2], [[0, 1], [1, 0]])


@pytest.mark.parametrize(("dtype", "far"), [(torch.float32, 15.0), (torch.float64, 15.0), (torch.float64, 40.0)])
def test_a_divergence_far_beyond_the_smallest_number(dtype: torch.dtype, far: float) -> None:
    p, q = module("kl_inf", m=[0, far]).to(dtype), module("kl_inf", m=[far, 0]).to(dtype)
    found = p.posterior({"x": torch.zeros(1, dtype=dtype)}, query="kl", other=q)
    for name in ("c", "(joint)"):
        close(found[name], [far * far / 2], 1e-6)


def test_impossible_draws_are_impossible_and_no_numbers_are_lost() -> None:
    text = (HERE / "score_impossible_nan_a.vispec").read_text()
    found = made(text.replace("(0.5)", "(p)").replace("plate n", "param p : unit\nplate n"))
    batch = {"paid": real([[1, 1, 0], [1, 1, 1]]), "paid_len": torch.tensor([3, 3])}
    for seed in range(8):
        torch.manual_seed(seed)
        found.zero_grad()
        log_prob = found.log_prob(batch)
        assert log_prob[0] == -math.inf or log_prob[0].isfinite()
        assert log_prob[1].isfinite()
        found.loss(batch, num_data=2).backward()
        assert math.isfinite(found.raw_p.grad)
    exact = made(text.replace("score(samples=4, baseline=loo)", "exact"))
    close(exact.log_prob(batch), [2 * math.log(0.975) + math.log(0.025), 3 * math.log(0.975)])
