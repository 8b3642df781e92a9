"""What a module calls what a spec names, asked of the module: words that are taken, of this version and of runs of 0.1.0."""

import torch
from torch import nn

from vispec.compile import class_of
from vispec.lower.outputs import lower
from vispec.model.check import check_model
from vispec.model.model import Model
from vispec.named import called, get, has, put, stored
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.torch.module import print_module
from vispec.train.store.module import class_of_text


def compiled(text: str) -> tuple[Model, nn.Module]:
    model = check_model(parse(Source("a.vispec", text)))
    emitted = print_module(lower(plan_model(model)))
    return model, class_of_text(emitted, class_of(emitted))()


TAKEN = """
param loss : real
param training : positive
param index : simplex[2]
net predict(a: real) -> real = mlp([2])
plate n:
    given y : real
    latent c : category[2] ~ Categorical(index)
    observed x : real ~ Normal(loss + predict(y), training)
"""


def test_names_of_the_module_have_others_that_it_tells() -> None:
    model, module = compiled(TAKEN)
    assert type(module).renamed == {"loss": "loss_", "predict": "predict_", "training": "training_"}  # pyright: ignore[reportAttributeAccessIssue]
    assert [called(module, name) for name in ("loss", "index", "predict")] == ["loss_", "index", "predict_"]
    assert [stored(module, model, param) for param in model.params] == ["loss_", "raw_training", "raw_index"]
    assert {stored(module, model, param) for param in model.params} <= module.state_dict().keys()
    assert module.parameter("predict") is get(module, "predict") is module.predict_  # pyright: ignore[reportCallIssue]


def test_taken_names_are_read_and_assigned() -> None:
    _, module = compiled(TAKEN)
    for name, value in (("loss", 2.0), ("training", 0.5), ("index", [0.3, 0.7])):
        put(module, name, torch.tensor(value))
        torch.testing.assert_close(get(module, name), torch.tensor(value))
    assert not has(module, "sample")  # a method is none of them
    assert not has(module, "y")


def test_numbers_are_assigned_whether_or_not_they_are_constrained() -> None:
    text = "param mu : real\nparam s : positive\nparam w : real[2]\nplate n:\n    observed y : real ~ Normal(mu + w[0], s)\n"
    _, module = compiled(text)
    module.mu, module.s, module.w = torch.tensor(3.0), torch.tensor(2.0), torch.tensor([1.0, -1.0])
    assert [module.mu.item(), module.s.item(), module.w.tolist()] == [3.0, 2.0, [1.0, -1.0]]
    assert {name for name, _ in module.named_parameters()} == {"mu", "raw_s", "w"}
    expected = torch.distributions.Normal(4.0, 2.0).log_prob(torch.tensor([1.0]))
    torch.testing.assert_close(module.log_prob({"y": torch.tensor([1.0])}), expected)  # pyright: ignore[reportCallIssue]


def test_a_name_with_raw_before_it_is_another_parameter() -> None:
    text = "param raw_x : real\nparam x : positive\nplate n:\n    observed y : real ~ Normal(raw_x, x)\n"
    model, module = compiled(text)
    assert [stored(module, model, param) for param in model.params] == ["raw_x", "raw_x_"]
    put(module, "raw_x", torch.tensor(3.0))
    put(module, "x", torch.tensor(2.0))
    expected = torch.distributions.Normal(3.0, 2.0).log_prob(torch.tensor([1.0]))
    torch.testing.assert_close(module.log_prob({"y": torch.tensor([1.0])}), expected)  # pyright: ignore[reportCallIssue]


class Old(nn.Module):
    """As in a run of 0.1.0, which says of no name that it is another."""

    def __init__(self) -> None:
        super().__init__()
        self.raw_index = nn.Parameter(torch.zeros(()))
        self.mu = nn.Parameter(torch.zeros(()))

    @property
    def index_(self) -> torch.Tensor:
        return self.raw_index.exp()


def test_modules_of_old_runs_have_an_underscore() -> None:
    module = Old()
    assert [called(module, name) for name in ("index", "mu", "nothing")] == ["index_", "mu", "nothing"]
    assert has(module, "index")
    assert not has(module, "nothing")
