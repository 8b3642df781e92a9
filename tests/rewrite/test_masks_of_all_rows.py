"""Masks that are digits of joint values are the same for all rows; what nets draw is drawn again in every pass."""

import pytest
import torch

from vispec.compile import class_of, compile_spec
from vispec.source import Source
from vispec.train.store.module import class_of_text
from vispec.verify.verify import verify

SPEC = """
vocab V
net select(word: token[V]) -> unit = embed(2) |> mlp([])
net classify(words: token[V]*) -> simplex[2] = embed(2) |> mean |> mlp([3])
plate text:
    plate i:
        given y : token[V]
        latent f : bit ~ Bernoulli(select(y))
        let rest = 1 - f
    observed x : category[2] ~ Categorical(classify(y[*] where f[*]))
"""
VECTORS = """
vocab V
net table(word: token[V]) -> real[3] = mlp([])
net select(e: real[3]) -> unit = mlp([])
net classify(words: real[3]*) -> simplex[3] = mean |> mlp([3])
plate text:
    plate i:
        given y : token[V]
        let e = table(y)
        latent f : bit ~ Bernoulli(select(e))
    observed x : category[3] ~ Categorical(classify(e[*] where f[*]))
"""
DROPOUT = SPEC.replace("embed(2) |> mean", "embed(2) |> dropout(0.4) |> lstm(hidden=3)").replace(" |> mlp([3])", "")


def module_text(spec: str) -> str:
    return compile_spec(Source("m.vispec", spec), {})


def log_joint(spec: str) -> str:
    text = module_text(spec)
    return text[text.index("def log_joint_of_f") : text.index("def log_prob")]


@pytest.mark.parametrize("spec", [SPEC, VECTORS])
def test_a_mask_of_digits_is_the_same_for_all_rows(spec: str) -> None:
    assert "of_elements" in log_joint(spec)
    assert "inside_i" not in log_joint(spec)
    report = verify(Source("m.vispec", spec))
    assert not report.differs, str(report)


def test_elements_past_the_end_that_a_mask_would_count_are_left_out() -> None:
    """Their digits are zero, and what is chosen are zeros."""
    negated = SPEC.replace("where f[*]", "where rest[*]")
    assert "inside_i" in log_joint(negated)
    report = verify(Source("m.vispec", negated))
    assert not report.differs, str(report)


def test_what_draws_nothing_needs_no_seed() -> None:
    assert "same_draws(" not in module_text(SPEC)


def test_modules_of_the_users_own_may_draw() -> None:
    own = SPEC.replace("embed(2) |> mean |> mlp([3])", 'python("mine:Net", features=2)')
    assert own != SPEC
    assert "same_draws(self.log_joint_of_f)" in module_text(own)


def test_the_gradient_of_two_passes_is_of_the_same_draws() -> None:
    text = module_text(DROPOUT)
    assert "same_draws(self.log_joint_of_f)" in text
    torch.manual_seed(1)
    module = class_of_text(text, class_of(text))(V=5).double().train()
    batch = {"y": torch.randint(5, (3, 4)), "y_len": torch.tensor([4, 2, 3]), "x": torch.tensor([0, 1, 1])}
    setattr(module, "memory", 2**13)  # a few joint values at a time, twice  # noqa: B010

    def loss() -> torch.Tensor:
        torch.manual_seed(2)
        return module.loss(batch, 3)  # pyright: ignore[reportCallIssue]

    loss().backward()
    for parameter in module.parameters():
        assert parameter.grad is not None
        at, step = parameter.grad.abs().argmax(), 1e-5
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.view(-1)[at] += sign * step
                values.append(float(loss()))
                parameter.view(-1)[at] -= sign * step
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx(float(parameter.grad.view(-1)[at]), rel=1e-5, abs=1e-8)
