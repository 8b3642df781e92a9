"""Draws of latents that make what the data show impossible: the bound of their row is -inf, nothing is NaN, and a fit names the
variable."""

import random
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.kernels.draws import score
from vispec.kernels.draws.reparameterised import dreg_bound
from vispec.source import Source

ESTIMATORS = [
    *(f"score(samples={s}, baseline={b})" for s in (1, 3) for b in ("none", "mean", "loo", "nvil", "vimco")),
    "mc(samples=3)",
    "elbo(samples=3, gradient=score)",
    "iwae(samples=3, gradient=score)",
    "wake_sleep()",
]


def module_of(text: str) -> torch.nn.Module:
    code = compile_spec(Source("m.vispec", text))
    namespace: dict = {}
    exec(code, namespace)
    return namespace[class_of(code)]().double().train()


def spec(rng: random.Random, estimator: str) -> str:
    """A selection, alone, in a plate or along a chain, of which one value forbids an outcome."""
    inner, indent = rng.choice([("", 0), ("plate i:", 1), ("chain i:", 1)])
    prior = "Bernoulli(p)" + (" then Bernoulli(p if f[i-1] else 0.4)" if inner.startswith("chain") else "")
    law = rng.choice(
        ["Bernoulli(0.9 if f else 1)", "Categorical([0.1, 0.9] if f else [0, 1])", "Bernoulli(q) if f else Bernoulli(1)"]
    )
    kind = "category[2]" if law.startswith("Categorical") else "bit"
    lines = [f"latent f : bit ~ {prior}", f"observed x : {kind} ~ {law}"]
    body = "\n".join("    " * (1 + indent) + line for line in lines)
    head = "param p : unit\nparam q : unit\nplate n:\n" + (f"    {inner}\n" if inner else "")
    guide = "guide:\n    f ~ Bernoulli(r)\n" if estimator.startswith(("elbo", "iwae", "wake")) or rng.random() < 0.5 else ""
    return head + body + f"\n{guide}infer:\n    f : {estimator}\n" + ("param r : unit\n" if guide else "")


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("seed", range(3))
def test_no_estimator_makes_nan_of_an_impossible_row(estimator: str, seed: int) -> None:
    rng = random.Random(f"{estimator}{seed}")
    text = spec(rng, estimator)
    module = module_of(text)
    integer = "category[2]" in text
    inner = "    plate i:" in text or "    chain i:" in text
    x = torch.tensor([[1, 1, 0], [1, 1, 1]]) if inner else torch.tensor([0, 1])
    batch = {"x": x if integer else x.double(), "x_len": torch.tensor([3, 3])}
    met = False
    for draw in range(30):
        torch.manual_seed(draw)
        module.zero_grad()
        log_prob = module.log_prob(batch)  # type: ignore[operator]
        torch.manual_seed(draw)
        loss = module.loss(batch, num_data=2)  # type: ignore[operator]
        loss.backward()
        assert not bool(log_prob.isnan().any()), text
        assert bool(log_prob[1].isfinite()), text
        assert not bool(loss.isnan()), text
        assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None), text
        assert all(bool(b.isfinite().all()) for b in module.buffers()), text
        met = met or bool(log_prob[0] == -torch.inf)
    assert met or "samples=3" in estimator, text  # or the test has tested nothing; of three draws all are seldom impossible


def expected_bound(weight: torch.Tensor, log_q: torch.Tensor, multi: bool, baseline: str) -> torch.Tensor:
    """The gradient (S, B) for log q by the definition, row by row and draw by draw."""
    S, B = weight.shape
    found = torch.zeros(S, B, dtype=torch.float64)
    for b in range(B):
        column = weight[:, b].tolist()
        whole = float(torch.logsumexp(weight[:, b], 0)) - float(torch.tensor(S).double().log())
        for s in range(S):
            others = [value for i, value in enumerate(column) if i != s and value > -torch.inf]
            own = whole if multi else column[s]
            if own == -torch.inf:
                continue
            base = 0.0
            if baseline == "loo" and others:
                base = sum(others) / len(others)
            if baseline == "vimco" and others:
                replaced = [sum(others) / len(others) if i == s else value for i, value in enumerate(column)]
                base = float(torch.logsumexp(torch.tensor(replaced, dtype=torch.float64), 0) - torch.tensor(S).double().log())
            found[s, b] = (own - base) / (1 if multi else S)
    return found


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["bound_none", "bound_loo", "multi_none", "multi_vimco"])
def test_signals_of_possible_draws_leave_out_the_impossible_ones(kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    S = 1 + seed % 4
    weight = torch.randn(S, 6, generator=generator, dtype=torch.float64)
    weight[torch.rand(S, 6, generator=generator) < 0.4] = -torch.inf
    weight.requires_grad_()
    log_q = torch.randn(S, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    value = getattr(score, f"score_{kind}")(weight, log_q)
    multi, baseline = kind.split("_")[0] == "multi", kind.split("_")[1]
    known = weight.detach()
    right = torch.logsumexp(known, 0) - torch.tensor(S).double().log() if multi else known.mean(0)
    assert torch.allclose(value.detach(), right, equal_nan=True)
    by_weight, by_log_q = torch.autograd.grad(value.sum(), [weight, log_q])
    assert torch.allclose(by_log_q, expected_bound(known, log_q, multi, baseline), atol=1e-12)
    share = torch.where(known.amax(0) > -torch.inf, known.softmax(0), 0.0) if multi else (known > -torch.inf).double() / S
    assert torch.allclose(by_weight, share, atol=1e-12)


def test_importance_weights_that_are_all_0_have_no_gradient() -> None:
    weight = torch.tensor([[0.0, -torch.inf], [1.0, -torch.inf]], dtype=torch.float64, requires_grad=True)
    shares: list[torch.Tensor] = []
    bound = dreg_bound(weight, shares)
    (gradient,) = torch.autograd.grad(bound.sum(), [weight])
    assert bound[1] == -torch.inf
    assert torch.allclose(gradient[:, 0], weight.detach()[:, 0].softmax(0))
    assert gradient[:, 1].tolist() == shares[0][:, 1].tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_a_fit_names_the_variable_that_a_draw_made_impossible(seed: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = random.Random(seed)
    names = rng.sample(["paid", "x", "loss", "word", "seen"], 3)
    latent, shown, other = names
    law = rng.choice(["Bernoulli(0.95 if {f} else 1)", "Bernoulli(0.95) if {f} else Bernoulli(1)"]).format(f=latent)
    Path("m.vispec").write_text(
        f"param p : unit\nplate n:\n    latent {latent} : bit ~ Bernoulli(p)\n"
        f"    observed {other} : real ~ Normal({latent}, 1)\n"
        f"    observed {shown} : bit ~ {law}\ninfer:\n    {latent} : score(samples=4, baseline=loo)\n"
    )
    rows = [f'{{"{other}": {rng.gauss(0, 1):.3f}, "{shown}": {int(i != 2)}}}' for i in range(4)]
    Path("d.jsonl").write_text("\n".join(rows) + "\n")
    result = CliRunner().invoke(main, ["fit", "m.vispec", "d.jsonl", "--threads", "1", "--epochs", "50", "--out", "run"])
    assert result.exit_code == 3, result.output
    assert f"a draw of `{latent}` makes the value of `{shown}` in row 3 impossible" in result.output
    assert f"`{latent} : exact`" in result.output
