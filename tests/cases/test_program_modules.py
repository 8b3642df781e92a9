"""Modules of tests/cases/program as their users meet them: names, empty rows, prefixes, what is assigned and asked."""

from itertools import product
from typing import Any

import pytest
import torch
from program_modules import HALF_LOG, HERE, close, made, module, real

from vispec.compile import compile_spec
from vispec.source import Source

# ---- batches and names


EMPTY = {
    "a chain": (HERE / "all_rows_empty.vispec").read_text(),
    "of order two": """plate s:
    chain t:
        latent z : bit ~ Bernoulli(0.5) then Bernoulli(0.2) then Bernoulli(0.9 if z[t-2] else 0.1 + 0.1 * z[t-1])
        observed x : real ~ Normal(z, 1)
""",
    "an alignment": """plate s:
    plate j:
        given y : real
    chain i:
        latent a : index[j] ~ Uniform() then Categorical(softmax(y[j] for j))
        observed x : real ~ Normal(y[a], 1)
""",
    "joint values": """plate s:
    plate i:
        latent z : bit ~ Bernoulli(0.5)
        observed x : real ~ Normal(z, 1)
    let total = sum(z[*])
    observed y : real ~ Normal(total, 1)
""",
}


@pytest.mark.parametrize("kind", EMPTY)
def test_rows_without_elements(kind: str) -> None:
    found = made(EMPTY[kind])
    none = torch.zeros(2, dtype=torch.long)
    for width in (0, 1):
        batch = {"x": torch.zeros(2, width).double(), "x_len": none}
        right = real([0.0, 0.0])
        if "an alignment" in kind:
            batch |= {"y": torch.zeros(2, width).double(), "y_len": none}
        if "joint" in kind:
            batch |= {"y": real([0, 1])}
            right = real([-HALF_LOG, -HALF_LOG - 0.5])
        close(found.log_prob(batch), right)
        found.posterior(batch)


WORDS = [
    "predict",
    "train",
    "to",
    "type",
    "exact",
    "loss",
    "generate",
    "half",
    "double",
    "sample",
    "forward",
    "parameter",
    "one",
    "tilted",
    "T_destination",
]


@pytest.mark.parametrize("word", WORDS)
def test_names_that_the_module_has(word: str) -> None:
    """A net and a parameter of such a name are reached by `parameter`, and so is a size of it."""
    found = made(f"size D = 2\nparam {word} : real\nplate n:\n    observed x : real ~ Normal({word}, 1)\n")
    found.parameter(word).data.fill_(0.5)
    close(found.log_prob({"x": real([0.5])}), [-HALF_LOG])
    net = made(f"size {word}2 = 2\nnet {word}(a: real[{word}2]) -> real = mlp([])\nplate n:\n    given y : real[{word}2]\n"
               f"    observed x : real ~ Normal({word}(y), 1)\n")  # fmt: skip
    called = net.parameter(word)
    close(net.log_prob({"y": real([[1, 2]]), "x": called(real([[1, 2]]))}), [-HALF_LOG])


@pytest.mark.parametrize(
    ("size", "net"), [("D", "d"), ("Recurrent", "recurrent"), ("OneHotLinear", "f"), ("nn", "nn_"), ("Enc", "enc")]
)
def test_a_size_hides_no_class(size: str, net: str) -> None:
    text = f"""size {size} = 3
net {net}(a: category[{size}], w: real*) -> real = lstm(hidden={size})
plate n:
    given y : category[{size}]
    plate i:
        given w : real
    observed x : real ~ Normal({net}(y, w[*]), 1)
"""
    found = made(text)
    batch = {"y": torch.tensor([0, 2]), "w": torch.randn(2, 3).double(), "w_len": torch.tensor([3, 1]), "x": real([0, 1])}
    assert found.log_prob(batch).isfinite().all()


# ---- prefixes


@pytest.mark.parametrize("name", ["a", "b_tokens", "c_leak"])
def test_no_word_reads_those_after_it(name: str) -> None:
    """log p of a sentence's first words does not change with its later ones."""
    text = (HERE / f"prefix_second_argument_{name}.vispec").read_text().replace("vocab V(end=true)\n", "size V = 6\n")
    text = text.replace("vocab S\n", "size S = 4\n").replace("token", "category")
    found = made(text)
    x = torch.tensor([[1, 2, 3, 4], [1, 2, 5, 0]])
    source = torch.randn(1, 2, 4).double() if name == "a" else torch.tensor([[1, 3]])
    batch = {"y": source.expand(2, 2, *source.shape[2:]), "z": torch.ones(2, 2).double(), "y_len": torch.tensor([2, 2])}
    one, other = (found.log_prob(batch | {"x": x[:, :length], "x_len": torch.tensor([length] * 2)}) for length in (2, 4))
    close(one[0], one[1])
    assert abs(other[0] - other[1]) > 1e-6


def test_starred_nets_with_an_argument_of_each_element() -> None:
    """A tagger that reads the whole sentence and the tag before, against all tags of it."""
    found = made((HERE / "crf_let_c_nolet.vispec").read_text().replace("vocab W", "size W = 4").replace("token", "category"))
    y = torch.tensor([[1, 3, 0]])
    batch = {"y": y, "y_len": torch.tensor([3]), "x": torch.zeros(1, 3, dtype=torch.long)}
    with torch.no_grad():
        first = found.first(y).log_softmax(-1)[0, 0]
        step = torch.stack([found.step(y, torch.tensor([k])).log_softmax(-1)[0] for k in range(3)])
        total = real(0.0)
        for path in product(range(3), repeat=3):
            value = first[path[0]] + sum(step[path[t - 1], t, path[t]] for t in (1, 2))
            seen = found.log_prob(batch | {"x": torch.tensor([path]), "x_observed": torch.ones(1, 3, dtype=torch.bool)})
            close(seen, value[None])
            total += value.exp()
        close(total, 1.0)
        close(found.log_prob(batch | {"x_observed": torch.zeros(1, 3, dtype=torch.bool)}), [0.0])


# ---- what a reviewer rejects


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("simplex[3]", [0.2, 0.3, 0.5], [[0.2, 0.3, 0.9], [1.5, -0.5, 0.0]]),
        ("unit", 0.25, [1.5, -0.1]),
        ("positive", 3.0, [-1.0, -1e-3]),
        ("ordered[2]", [-1.0, 2.0], [[2.0, -1.0]]),
        ("cholesky[2]", [[1.0, 0.0], [0.5, 2.0]], [[[1.0, 0.5], [0.5, 2.0]], [[-1.0, 0.0], [0.5, 2.0]]]),
    ],
)
def test_a_parameter_takes_values_of_its_domain(type_: str, good: Any, bad: list[Any]) -> None:
    found = made(f"param a : {type_}\nplate n:\n    observed x : real ~ Normal(0, 1)\n", a=good)
    close(found.a, good)
    for value in bad:
        with pytest.raises(ValueError, match="the parameter cannot be"):
            found.a = real(value)
        close(found.a, good)


def test_a_module_is_called_as_any_other() -> None:
    found = module("wrong_number_crossed_param")
    batch = {"i": torch.tensor([0]), "j": torch.tensor([1]), "x": real([0.5])}
    close(found(batch), found.log_prob(batch).tolist())
    named = dict(found.named_parameters())
    close(torch.func.functional_call(found, named, (batch,)), found.log_prob(batch).tolist())


def test_a_question_without_an_answer_is_named() -> None:
    found = module("kl_inf")
    with pytest.raises(ValueError, match="no query 'typo'"):
        found.posterior({"x": real([0.5])}, query="typo")


@pytest.mark.parametrize(("spec", "names"), [("kind_unread_lets", []), ("past_of_a_let", ["v"]), ("crf_let_a", ["h"])])
def test_a_let_keeps_its_name(spec: str, names: list[str]) -> None:
    lines = compile_spec(Source("case.vispec", (HERE / f"{spec}.vispec").read_text()), only=["log_prob"]).splitlines()
    for name in names:
        assert any(line.strip().startswith(f"{name} = ") for line in lines)
