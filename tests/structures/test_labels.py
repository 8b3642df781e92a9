"""Labels with a linear chain's law, against all labellings in float64: values, gradients and every answer."""

from functools import cache
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch import Tensor

from vispec.compile import compile_spec
from vispec.source import Source
from vispec.verify.build import load

SPEC = """
size TAG = 3
param move : real[TAG, TAG]
plate row:
    plate i:
        given s : real[TAG]
    partial tag : labels[i, TAG] ~ LinearChain(s[*], move)
"""
LENGTHS = (4, 0, 1, 3)
K = 3


@cache
def module(role: str) -> Any:
    return load(compile_spec(Source("chain.vispec", SPEC.replace("partial", role))), "Chain")


def labellings(n: int) -> Tensor:
    return torch.tensor([*product(range(K), repeat=n)], dtype=torch.int64).reshape(K**n, n)


def score_of_each(s: Tensor, move: Tensor, every: Tensor) -> Tensor:
    """(N,), by the definition."""
    found = [
        sum((s[i, y] for i, y in enumerate(each)), s.new_zeros(()))
        + sum((move[a, b] for a, b in pairwise(each)), s.new_zeros(()))
        for each in every.tolist()
    ]
    return torch.stack(found)


def batch_of(scale: float, impossible: bool, seed: int, share: float = 0.4) -> tuple[dict[str, Tensor], Tensor]:
    """Rows, and the table of moves."""
    generator = torch.Generator().manual_seed(seed)
    s = scale * torch.randn(len(LENGTHS), max(LENGTHS), K, generator=generator, dtype=torch.float64)
    move = scale * torch.randn(K, K, generator=generator, dtype=torch.float64)
    seen = torch.rand(s.shape[:2], generator=generator) < share
    tag = torch.randint(K, s.shape[:2], generator=generator)
    if impossible:
        move[0, 1] = s[0, 1, 2] = s[3, 0, 0] = -torch.inf
        tag = torch.where(tag == 2, 0, tag)
        tag[:, 1::2] = 0
        tag[3] = 1
    return {"s": s, "tag": tag, "tag_observed": seen, "tag_len": torch.tensor(LENGTHS), "s_len": torch.tensor(LENGTHS)}, move


CASES = [(scale, impossible, seed) for scale in (1.0, 20.0, 100.0) for impossible in (False, True) for seed in (0, 1)]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Tensor], Tensor]:
    return batch_of(*request.param)


def allowed(batch: dict[str, Tensor], row: int, every: Tensor) -> Tensor:
    """Which labellings have the labels that are seen."""
    n = every.shape[1]
    seen, tag = batch["tag_observed"][row, :n], batch["tag"][row, :n]
    return ((every == tag) | ~seen).all(1)


def log_joints(batch: dict[str, Tensor], move: Tensor, s: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """All labellings of a row and log p of each with what is seen; -inf where they disagree."""
    every = labellings(LENGTHS[row])
    scores = score_of_each(s[row], move, every)
    return every, (scores - scores.logsumexp(0)).masked_fill(~allowed(batch, row, every), -torch.inf)


def test_log_prob_and_gradients(case: tuple[dict[str, Tensor], Tensor]) -> None:
    batch, move = case
    for role in ("partial", "observed"):
        model, told = module(role), dict(batch)
        if role == "observed":
            told["tag_observed"] = torch.ones_like(batch["tag_observed"])
        s, m = (x.clone().requires_grad_() for x in (batch["s"], move))
        model.move.data = move
        log_prob = model.log_prob({**told, "s": s})
        rows = [log_joints(told, m, s, row)[1].logsumexp(0) for row in range(len(LENGTHS))]
        near = {"rtol": 1e-9, "atol": 1e-12 * max(float(batch["s"][batch["s"].isfinite()].abs().max()), 10)}
        torch.testing.assert_close(log_prob, torch.stack(rows), **near)
        possible = log_prob > -torch.inf
        grads = torch.autograd.grad(log_prob[possible].sum(), (s, model.move))
        wanted = torch.autograd.grad(sum(row for row in rows if row > -torch.inf), (s, m))
        for one, other in zip(grads, wanted, strict=True):
            torch.testing.assert_close(one, other, **near)


def test_answers(case: tuple[dict[str, Tensor], Tensor]) -> None:
    batch, move = case
    model = module("partial")
    model.move.data = move
    told = {query: model.posterior(batch, query) for query in ("marginals", "mode", "kbest(3)", "entropy", "pairs")}
    for row, n in enumerate(LENGTHS):
        every, joint = log_joints(batch, move, batch["s"], row)
        p = joint.softmax(0)
        marginals = torch.stack([torch.nn.functional.one_hot(every[:, i], K).double().T @ p for i in range(n)] or [p[:0]])
        torch.testing.assert_close(told["marginals"]["tag"][row, :n], marginals.reshape(n, K), rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(told["entropy"]["(joint)"][row], torch.special.entr(p).sum(), rtol=1e-8, atol=1e-9)
        best = joint.sort(descending=True, stable=True)
        assert told["mode"]["tag"][row, :n].tolist() == every[best.indices[0]].tolist()
        kept = min(3, int((best.values > -torch.inf).sum()))
        torch.testing.assert_close(told["kbest(3)"]["(log_joint)"][row, :kept], best.values[:kept])
        assert told["kbest(3)"]["tag"][row, :kept, :n].tolist() == every[best.indices[:kept]].tolist()
        for i in range(n - 1):
            both = torch.stack([p[(every[:, i] == a) & (every[:, i + 1] == b)].sum() for a in range(K) for b in range(K)])
            torch.testing.assert_close(told["pairs"]["tag"][row, i].flatten(), both, rtol=1e-8, atol=1e-10)
    assert torch.equal(model.predict(batch, "mode")["tag"][0], told["mode"]["tag"][0])


def test_decisions_and_draws() -> None:
    batch, move = batch_of(1.0, True, 3, share=0.0)
    model, many = module("observed"), 20_000
    model.move.data = move
    best, mean = model.predict(batch, "mode")["tag"], model.predict(batch, "mean")["tag"]
    torch.manual_seed(0)
    for row in (0, 2):
        every, joint = log_joints(batch, move, batch["s"], row)
        n = every.shape[1]
        assert best[row, :n].tolist() == every[joint.argmax()].tolist()
        expected = torch.nn.functional.one_hot(every, K).double().transpose(0, -1) @ joint.exp()
        torch.testing.assert_close(mean[row, :n], expected.T)
        one = {"s": batch["s"][row, None, :n].expand(many, -1, -1), "s_len": torch.full((many,), n)}
        drawn = model.sample(many, one)["tag"]
        counts = (drawn[:, None] == every).all(-1).double().mean(0)
        assert bool((counts[joint == -torch.inf] == 0).all())
        assert float((counts - joint.exp()).abs().max()) < 4 * 0.5 / many**0.5


def test_divergence() -> None:
    import copy

    batch, move = batch_of(1.0, False, 5)
    p = copy.deepcopy(module("partial"))
    q = copy.deepcopy(p)
    p.move.data, q.move.data = move, move.flip(0)
    found = p.posterior(batch, "kl", other=q)["(joint)"]
    for row in range(len(LENGTHS)):
        one, other = (log_joints(batch, m, batch["s"], row)[1].log_softmax(0) for m in (move, move.flip(0)))
        inside = one > -torch.inf
        torch.testing.assert_close(found[row], (one.exp() * (one - other))[inside].sum())


def test_every_labelling_is_counted_once() -> None:
    model = module("observed")
    model.move.data = torch.zeros(K, K, dtype=torch.float64)
    lengths = torch.arange(12)
    batch = {"s": torch.zeros(12, 11, K), "tag": torch.zeros(12, 11, dtype=torch.int64), "s_len": lengths}
    log_prob = model.log_prob({**batch, "s": batch["s"].double()})
    torch.testing.assert_close(log_prob, -lengths * torch.log(torch.tensor(3.0, dtype=torch.float64)))


def test_padding_is_not_read() -> None:
    batch, move = batch_of(1.0, False, 7)
    model = module("partial")
    model.move.data = move
    wanted = model.log_prob(batch)
    past = torch.arange(max(LENGTHS)) >= torch.tensor(LENGTHS)[:, None]
    rubbish = {
        **batch,
        "s": batch["s"].masked_fill(past[..., None], 1e30),
        "tag": batch["tag"].masked_fill(past, 2),
        "tag_observed": batch["tag_observed"] | past,
    }
    torch.testing.assert_close(model.log_prob(rubbish), wanted)
