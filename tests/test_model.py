"""How the checker resolves the constructs of the language: kinds of access, types, plates, order, sizes; it never fails."""

import inspect
import random
import re
from pathlib import Path

import pytest

from vispec.diagnostics import Diagnostic, SpecError
from vispec.model import dims
from vispec.model import model as m
from vispec.model.blocks.fitting import OPTIMIZERS
from vispec.model.check import check, check_model
from vispec.model.show import show, show_law, show_model
from vispec.model.types import Type
from vispec.source import Source
from vispec.syntax.parse import parse

SPECS = sorted((Path(__file__).parents[1] / "specs").glob("*.vispec"))
BAD = sorted((Path(__file__).parent / "bad" / "model").glob("*.vispec"))


def model_of(text: str, **sizes: int) -> m.Model:
    return check_model(parse(Source("tiny_model.vispec", text)), sizes)


def problems(text: str, **sizes: int) -> tuple[Diagnostic, ...]:
    return check(parse(Source("tiny.vispec", text)), sizes)[1]


def codes(text: str, **sizes: int) -> list[str]:
    return [problem.code for problem in problems(text, **sizes)]


def draw(model: m.Model, name: str) -> dict[str, m.Expression]:
    """The parameters of a variable's single distribution."""
    law = model.variable[name].law
    assert isinstance(law, m.Draw)
    return dict(law.args)


# ---- whole specs


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_example_specs_are_right(path: Path) -> None:
    model, found = check(parse(Source.read(path)))
    assert model is not None
    assert found == ()
    assert show_model(model).startswith(f"model {model.name}\n")


def test_printed_form() -> None:
    model = model_of("""
size K = 3
vocab V
param init : simplex[K]
net lm(c: category[K], prefix: token[V]*) -> simplex[V] = lstm(embed=8, hidden=8)
plate k[K]:
    param trans : simplex[K]
plate sentence:
    chain t:
        latent c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : token[V] ~ Categorical(lm(c, x[<t]))
infer:
    c : exact up to 2^10 else score(8, baseline=loo)
fit:
    optimizer : adam(1e-3)
    anneal : kl from 0 to 1 over 10 epochs
""")
    assert (
        show_model(model)
        == """\
model TinyModel
size K = 3
vocab V
plate k[K]
plate sentence: the data
chain t: ragged, lengths x_len; in sentence
param init : simplex[K]
param trans : simplex[K]  in k
net lm(c: category[K], prefix: token[V]*) -> simplex[V]
  lstm(embed=8, hidden=8)
latent c : index[k] ~ Categorical(probs=init) then Categorical(probs=trans[k=c[t-1]])  in sentence, t
observed x : token[V] ~ Categorical(probs=lm(c, x[<t]))  in sentence, t
infer c : exact up to 1024 else score(samples=8, baseline=loo)
fit optimizer : adam(lr=0.001)
fit anneal : kl from 0 to 1 over 10 epochs
"""
    )


# ---- access


ANNOTATORS = """
size K = 3
plate annotator[4]:
    plate k[K]:
        param confusion : simplex[K]
plate item:
    latent truth : index[k] ~ Uniform()
"""


def test_indices_fill_the_plates_that_are_not_open() -> None:
    model = model_of(ANNOTATORS + "    plate annotator:\n        observed x : category[K] ~ Categorical(confusion[truth])\n")
    probs = draw(model, "x")["probs"]
    assert isinstance(probs, m.Select)
    assert [plate for plate, _ in probs.by] == ["k"]
    assert model.variable["x"].plates == ("item", "annotator")


def test_indices_fill_all_plates() -> None:
    law = "        given who : index[annotator]\n        observed x : category[K] ~ Categorical(confusion[who, truth])\n"
    probs = draw(model_of(ANNOTATORS + "    plate rating:\n" + law), "x")["probs"]
    assert isinstance(probs, m.Select)
    assert [(plate, show(index)) for plate, index in probs.by] == [("annotator", "who"), ("k", "truth")]
    assert probs.type == Type("simplex", ("K",))


def test_own_element_by_name_leaves_the_rest_to_the_event() -> None:
    model = model_of(
        "size D = 3\nplate k[2]:\n    param w : real[D]\n    latent z : real ~ Normal(w[k, 2], 1)\n"
        + "plate n:\n    observed x : real ~ Normal(sum(z[*]), 1)\n"
    )
    loc = draw(model, "z")["loc"]
    assert isinstance(loc, m.Element)
    assert isinstance(loc.base, m.Ref)
    assert loc.type == Type("real")


def test_range_parameter_takes_any_whole_number() -> None:
    model = model_of("""
param jump : real[-5..5]
plate pair:
    plate j:
        given y : real
    chain i:
        latent a : index[j] ~ Uniform() then Categorical(softmax(jump[j - a[i-1]] for j))
        observed x : real ~ Normal(y[a], 1)
""")
    assert model.param["jump"].type == Type("real", (11,), low=-5, high=5)
    law = model.variable["a"].law
    assert isinstance(law, m.Then)
    assert show_law(law) == "Uniform() then Categorical(probs=softmax(jump[j - a[i-1]] for j))"
    last = law.laws[1]
    assert isinstance(last, m.Draw)
    assert dict(last.args)["probs"].type == Type("simplex", ("|j|",))


def test_chain_of_order_two_reads_no_further_than_it_may() -> None:
    text = (
        "plate n:\n    chain t:\n        observed x : real ~ Normal(0, 1) then Normal({}, 1) then Normal(x[t-1] + x[t-2], 1)\n"
    )
    assert codes(text.format("x[t-1]")) == []
    assert codes(text.format("x[t-2]")) == ["V207"]


def test_head_of_a_tree_selects_in_its_plate_without_a_circle() -> None:
    model = model_of(
        "plate s:\n    latent head : tree[i] ~ Uniform()\n    plate i:\n        observed x : real ~ Normal(x[head], 1)\n"
    )
    loc = draw(model, "x")["loc"]
    assert isinstance(loc, m.Select)
    assert loc.by[0][0] == "i"
    assert model.variable["head"].plates == ("s",)
    assert model.order == ("head", "x")


def test_starred_head_is_a_sequence_outside_its_plate_and_an_element_inside() -> None:
    model = model_of("""
net f(y: real*) -> real* = lstm(hidden=4)
plate s:
    let whole = f(y[*])
    plate i:
        given y : real
        let own = f(y[*])
        observed x : real ~ Normal(own + mean(whole), 1)
""")
    assert model.let["whole"].type == Type("real", star=True, over="i")
    assert model.let["own"].type == Type("real", over="i")


def test_sequence_over_a_sized_plate_is_a_vector_too() -> None:
    model = model_of(
        """
net f(z: bit[2]) -> real = mlp([4])
plate n:
    plate k[2]:
        latent z : bit ~ Bernoulli(0.5)
    observed x : real ~ Normal(f(z[*]), 1)
"""
    )
    loc = draw(model, "x")["loc"]
    assert isinstance(loc, m.NetCall)
    assert isinstance(loc.args[0], m.All)


def test_heads_become_parameters_by_name() -> None:
    model = model_of(
        """
net f(y: real) -> (scale: positive, loc: real) = mlp([4])
plate n:
    given y : real
    observed x : real ~ Normal(f(y))
"""
    )
    assert [(name, value.head) for name, value in draw(model, "x").items() if isinstance(value, m.NetCall)] == [
        ("loc", "loc"),
        ("scale", "scale"),
    ]


# ---- plates


def test_data_plate_comes_first_wherever_it_is_opened() -> None:
    model = model_of("plate a[2]:\n    plate n:\n        observed x : real ~ Normal(0, 1)\n")
    assert model.plate["n"].data
    assert model.variable["x"].plates == ("n", "a")


def test_length_key_is_that_of_the_first_data_variable_directly_inside() -> None:
    model = model_of("""
plate n:
    plate i:
        plate k[2]:
            observed x : real ~ Normal(0, 1)
    plate j:
        latent z : real ~ Normal(0, 1)
        observed y : real ~ Normal(z, 1)
""")
    assert {plate.name: plate.length_key for plate in model.plates if plate.ragged} == {"i": "i_len", "j": "y_len"}


# ---- order and causality


def test_order_follows_reading_not_writing() -> None:
    model = model_of("plate n:\n    observed x : real ~ Normal(h, 1)\n    let h = 2 * z\n    latent z : real ~ Normal(0, 1)\n")
    assert model.order == ("z", "h", "x")


def test_past_of_another_variable_of_the_chain_is_no_circle() -> None:
    text = """
net f(v: real*) -> real = lstm(hidden=4)
plate n:
    chain t:
        latent z : real ~ Normal(f(x[<t]), 1)
        observed x : real ~ Normal(z + f({}), 1)
"""
    assert codes(text.format("z[<t]")) == []
    assert codes(text.format("z[*]")) == ["V205"]


def test_past_along_one_chain_allows_the_whole_of_an_inner_plate() -> None:
    assert (
        codes("""
plate n:
    chain t:
        plate i:
            latent z : real ~ Normal(0, 1) then Normal(x[t-1], 1)
            observed x : real ~ Normal(sum(z[*]), 1)
""")
        == []
    )


def test_guide_reads_the_data_as_a_whole() -> None:
    model = model_of("""
net f(v: real*) -> (loc: real, scale: positive) = lstm(hidden=4, bidirectional) |> mean
plate n:
    latent z : real ~ Normal(0, 1)
    chain t:
        observed x : real ~ Normal(z, 1)
guide:
    let h = mean(x[*])
    z ~ Normal(loc=h + f(x[*]).loc, scale=f(x[*]).scale)
""")
    assert model.guide_lets[0].plates == ("n",)
    assert show_law(model.guide[0].law) == "Normal(loc=h + f(x[*]).loc, scale=f(x[*]).scale)"


# ---- sizes


def test_sizes_from_outside_win_over_the_text() -> None:
    text = "size Z = 2\nsize H = 2 * Z + 1\nplate n:\n    observed x : real[H, Z] ~ Normal(0, 1)\n"
    assert [size.value for size in model_of(text).sizes] == [2, 5]
    assert [size.value for size in model_of(text, Z=3).sizes] == [3, 7]
    assert [size.value for size in model_of(text, H=4).sizes] == [2, 4]


def test_size_from_outside_must_exist() -> None:
    (problem,) = problems("size Kind = 2\nplate n:\n    observed x : category[Kind] ~ Uniform()\n", kind=3)
    assert problem.code == "V101"
    assert problem.help == "did you mean `Kind`?"
    assert codes("size K = 2\nplate n:\n    observed x : category[K] ~ Uniform()\n", K=0) == ["V105"]


def test_equal_sizes_are_recognised_as_formulas_and_as_numbers() -> None:
    text = """
size D
size K = 4
net f(x: real[{}]) -> real = mlp([4])
plate n:
    given y : real[{}]
    observed x : real[K] ~ Normal(f(y), D)
"""
    assert codes(text.format("2 * D + D", "D * 3")) == []
    assert codes(text.format("K", "2 + 2")) == []
    assert codes(text.format("D", "K")) == ["V308"]


@pytest.mark.parametrize(
    ("left", "op", "right", "text", "value"),
    [
        ("Z", dims.multiply, 2, "2 * Z", 6),
        ("2 * Z", dims.subtract, "Z", "Z", 3),
        ("Z", dims.subtract, "D", "Z - D", -4),
        ("D + 1", dims.multiply, "D - 1", "D * D - 1", 48),
        ("6 * D", dims.divide, 3, "2 * D", 14),
        ("D", dims.divide, 2, "D // 2", 3),
        ("D // 2", dims.multiply, 2, "2 * (D // 2)", 6),
        ("D", dims.power, "Z", "D ** Z", 343),
        ("Z", dims.power, 2, "Z * Z", 9),
    ],
)
def test_size_arithmetic(left: str, op: object, right: str | int, text: str, value: int) -> None:
    assert callable(op)
    result = op(left, right)
    assert result == text
    assert dims.evaluate(result, {"Z": 3, "D": 7}) == value
    assert dims.evaluate(result, {}) is None
    assert dims.add(result, 0) == result


# ---- models that the language must be able to say

SAYABLE = {
    "change point": """
plate n:
    latent s : index[t] ~ Uniform()
    latent early : positive ~ Gamma(1, 1)
    latent late : positive ~ Gamma(1, 1)
    chain t:
        observed x : count ~ Poisson(early) if t < s else Poisson(late)
""",
    "zero inflated": """
param rate : positive
plate n:
    latent z : bit ~ Bernoulli(0.1)
    observed x : count ~ Zero() if z else Poisson(rate)
""",
    "deep state space": """
size Z = 4
size X
net prior(z: real[Z]*, x: real[X]*) -> (loc: real[Z], scale: positive[Z]) = gru(hidden=8)
net dec(z: real[Z]) -> real[X] = mlp([8])
net enc(x: real[X]*) -> (loc: real[Z]*, scale: positive[Z]*) = gru(hidden=8, bidirectional)
plate n:
    chain t:
        latent z : real[Z] ~ Normal(0, 1) then Normal(prior(z[<t], x[<t]))
        observed x : real[X] ~ Normal(dec(z), 1)
guide:
    z ~ Normal(enc(x[*]))
""",
    "concat": """
size Z = 4
net f(v: real[Z + 10]) -> real = mlp([8])
plate n:
    given y : category[10]
    latent z : real[Z] ~ Normal(0, 1)
    observed x : real ~ Normal(f(concat(z, one_hot(y))), 1)
""",
    "layer prior": """
net f(y: real) -> real = (linear(50) ~ Normal(0, 1)) |> mlp([4])
plate n:
    given y : real
    observed x : real ~ Normal(f(y), 1)
infer:
    f : elbo(samples=2)
""",
    "factorial hmm": """
size K = 3
plate k[K]:
    param trans : simplex[K]
    param w : real
plate n:
    chain t:
        plate m[2]:
            latent z : index[k] ~ Uniform() then Categorical(trans[z[t-1]])
        observed x : real ~ Normal(sum(w[z] for m), 1)
""",
    "order two": """
size K = 3
param p0 : simplex[K]
plate a[K]:
    param p1 : simplex[K]
    plate b[K]:
        param p2 : simplex[K]
plate n:
    chain t:
        latent c : category[K] ~ Categorical(p0) then Categorical(p1[c[t-1]]) then Categorical(p2[c[t-1], c[t-2]])
        observed x : real ~ Normal(c == 1, 1)
""",
    "size number": """
size K = 3
plate n:
    latent theta : simplex[K] ~ Dirichlet(1 / K)
    observed x : category[K] ~ Categorical(theta)
    observed y : category[2] ~ Categorical([0.3, 0.7])
    observed w : count ~ Binomial(K, 0.5)
    observed v : count[K] ~ Multinomial(10, theta)
""",
    "loglinear": """
size K = 3
size D
plate k[K]:
    param w : real[D]
    param b : real
plate n:
    given y : real[D]
    observed x : index[k] ~ Categorical(softmax(dot(w, y) + b for k))
""",
    "attention": """
size H = 8
vocab V(end=true)
net enc(y: token[V]*) -> real[H]* = lstm(embed=8, hidden=8, bidirectional)
net query(x: token[V]*) -> real[H] = lstm(embed=8, hidden=8)
net out(h: real[H]) -> simplex[V] = mlp([8])
plate pair:
    plate j:
        given y : token[V]
        let h = enc(y[*])
    chain i:
        latent a : index[j] ~ Categorical(softmax(dot(query(x[<i]), h) for j))
        observed x : token[V] ~ Categorical(out(h[a]))
""",
    "regression with lengths": """
param w : positive
plate n:
    plate i:
        given y : real
    observed x : count ~ Poisson(w * (1 + |y|))
    observed u : real ~ Normal(mean(y[*]) + max(y[*]), 1) if |y| > 3 and not |y| == 5 else Laplace(0, 1)
""",
    "lkj": """
size D = 3
latent L : cholesky[D] ~ LKJCholesky(2)
plate n:
    observed x : real[D] ~ MultivariateNormal(0, L)
infer:
    L : map
""",
    "guide chain": """
net q(x: real*, z: real) -> (loc: real, scale: positive) = gru(hidden=4) |> mean
plate n:
    chain t:
        latent z : real ~ Normal(0, 1) then Normal(z[t-1], 1)
        observed x : real ~ Normal(z, 1)
guide:
    z ~ Normal(q(x[*], 0)) then Normal(q(x[*], z[t-1]))
""",
    "fixed plates image": """
net f(p: bit[28, 28]) -> (loc: real[4], scale: positive[4]) = cnn([8])
net g(z: real[4]) -> unit[28, 28] = mlp([8])
plate n:
    latent z : real[4] ~ Normal(0, 1)
    observed x : bit[28, 28] ~ Bernoulli(g(z))
guide:
    z ~ Normal(f(x))
""",
    "partial chain": """
size K = 4
net tag(w: real*) -> simplex[K]* = gru(hidden=4)
plate n:
    chain i:
        given w : real
        partial y : category[K] ~ Uniform() then Categorical(tag(w[*]))
        observed x : real ~ Normal(0, 1) if y == 2 else Normal(1, 2)
""",
}


@pytest.mark.parametrize("name", SAYABLE)
def test_can_be_said(name: str) -> None:
    assert [problem.message for problem in problems(SAYABLE[name])] == []


# ---- all problems, one for each mistake


def test_one_mistake_is_reported_once_and_hides_no_other() -> None:
    assert codes("""
size K = 3
param pi : simplex[M]
net f(c: category[M]) -> reel = embed(8)
plate n:
    latent c : category[M] ~ Categorical(pi)
    let h = f(c)
    observed x : real ~ Normal(h, scale)
    observed y : real ~ Normal(h, -1)
""") == ["V101", "V301", "V101", "V408"]


def test_warnings_do_not_stop_a_model() -> None:
    model, found = check(parse(Source("tiny.vispec", "size K = 3\nplate n:\n    observed x : real ~ Normal(0, 1)\n")))
    assert model is not None
    assert [(problem.code, problem.severity) for problem in found] == [("V190", "warning")]


def test_errors_are_raised_in_the_order_of_the_text() -> None:
    with pytest.raises(SpecError) as caught:
        model_of("plate n:\n    observed x : real ~ Normal(0)\n    observed y : reel ~ Normal(0, 1)\n")
    assert [problem.code for problem in caught.value.diagnostics] == ["V406", "V301"]


def test_long_files_are_no_deeper_than_short_ones() -> None:
    lets = "".join(f"    let h{n} = h{n + 1} + 1\n" for n in range(400))
    model = model_of(f"plate n:\n    observed x : real ~ Normal(h0, 1)\n{lets}    let h400 = 1\n")
    assert model.order[0] == "h400"
    circle = "".join(f"    latent z{n} : real ~ Normal(z{(n + 1) % 400}, 1)\n" for n in range(400))
    assert codes(f"plate n:\n    observed x : real ~ Normal(z0, 1)\n{circle}") == ["V212"]


def test_names_of_python_are_names_like_others() -> None:
    model = model_of(
        """
size lambda = 2
plate class:
    latent None : real[lambda] ~ Normal(0, 1)
    observed def : real[lambda] ~ Normal(None, 1)
"""
    )
    assert model.order == ("None", "def")


def test_optimisers_are_those_of_torch() -> None:
    optim = pytest.importorskip("torch").optim
    classes = {name.lower(): kind for name, kind in vars(optim).items() if inspect.isclass(kind)}
    for name in OPTIMIZERS.keys() & classes.keys():
        assert set(OPTIMIZERS[name]) <= set(inspect.signature(classes[name]).parameters)
    assert {"adam", "sgd", "adamw"} <= OPTIMIZERS.keys() & classes.keys()


TOKEN = re.compile(r"\s+|[A-Za-z_]\w*|\d+(?:\.\d+)?|->|\|>|\.\.|[<>=!]=|.", re.DOTALL)


@pytest.mark.parametrize("seed", range(8))
def test_no_mutated_spec_ends_in_a_traceback(seed: int) -> None:
    """Words of one spec replaced by words of others: a model or a SpecError, nothing else."""
    rng = random.Random(seed)
    texts = [TOKEN.findall(path.read_text(encoding="utf-8")) for path in (*SPECS, *BAD)]
    words = sorted({word for text in texts for word in text if not word.isspace()})
    outcomes = set()
    for _ in range(40):
        text = list(rng.choice(texts))
        for _ in range(rng.choice((1, 1, 2, 4))):
            place = rng.choice([n for n, word in enumerate(text) if not word.isspace()])
            text[place] = rng.choice(words)
        try:
            model, found = check(parse(Source("mutated.vispec", "".join(text))))
        except SpecError:
            continue
        assert (model is None) == any(problem.severity == "error" for problem in found)
        outcomes.add(model is not None)
    assert False in outcomes
