"""Dependency trees: the kernel against every tree there is, models with trees against brute force, and their data."""

import gc
import gzip
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from vispec.cli.main import main
from vispec.compile import compile_spec
from vispec.diagnostics import SpecError
from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.kernels.trees.tree import (
    arc_scores,
    decide_tree,
    is_tree,
    log_number_of_trees,
    tree_depth,
    tree_log_prob,
    tree_mode,
    tree_sample,
    tree_score,
    tree_total,
)
from vispec.model.check import check_model
from vispec.plan.planner import plan_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data.diagnostics import DataError
from vispec.train.data.load import load
from vispec.verify.build import load as load_module
from vispec.verify.oracle.trees import all_trees
from vispec.verify.verify import verify

SPECS = Path(__file__).parents[1] / "specs"


# ---- the kernel


def random_scores(n: int, scale: float, impossible: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(n, n + 1, dtype=torch.float64, generator=generator)
    return scores.masked_fill(torch.rand(n, n + 1, generator=generator) < impossible, -torch.inf)


def score_of_each(scores: Tensor, trees: Tensor) -> Tensor:
    return scores.gather(1, trees.T).sum(0)


def cases() -> Iterator[tuple[int, float, float, int]]:
    return product((1, 2, 3, 4, 5), (1.0, 20.0, 100.0), (0.0, 0.3, 0.6), range(2))


def test_every_tree_is_counted_once() -> None:
    for n in range(5):
        heads = torch.tensor(list(product(range(n + 1), repeat=n)), dtype=torch.long).reshape((n + 1) ** n, n)
        found = {tuple(row) for row in heads[is_tree(heads)].tolist()}
        assert found == set(all_trees(n))
        assert len(found) == round(float(log_number_of_trees(torch.tensor(float(n))).exp()))


def test_log_prob_and_arcs_equal_enumeration() -> None:
    impossible_seen = 0
    for n, scale, impossible, seed in cases():
        scores = random_scores(n, scale, impossible, seed).requires_grad_()
        each = score_of_each(scores, torch.tensor(all_trees(n)))
        possible = each[each > -torch.inf]
        log_z = tree_log_prob(scores)
        (arcs,) = torch.autograd.grad(log_z, scores)
        if not len(possible):
            impossible_seen += 1
            assert log_z == -torch.inf
            assert not arcs.any()
            continue
        (expected,) = torch.autograd.grad(possible.logsumexp(0), scores)
        torch.testing.assert_close(log_z, possible.logsumexp(0), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(arcs, expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(arcs.sum(1), torch.ones(n, dtype=torch.float64), rtol=0, atol=1e-10)
        assert not arcs[scores == -torch.inf].any()
    assert impossible_seen > 2


def test_two_elements_that_strongly_want_each_other_lose_nothing() -> None:
    """The determinant of their Laplacian is (1 + e^100)² - e^200, in which no digit of the answer is left."""
    scores = torch.tensor([[0.0, 0.0, 100.0], [-1.0, 100.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(tree_log_prob(scores), torch.tensor([100.0, 99.0], dtype=torch.float64).logsumexp(0))


def test_single_precision_keeps_marginals_that_sum_to_one() -> None:
    for scale in (1.0, 20.0, 100.0):
        scores = (scale * torch.randn(4, 12, 13, generator=torch.Generator().manual_seed(0))).requires_grad_()
        (arcs,) = torch.autograd.grad(tree_log_prob(scores).sum(), scores)
        torch.testing.assert_close(arcs.sum(-1), torch.ones(4, 12), rtol=0, atol=1e-5)
        torch.testing.assert_close(arcs[..., 0].sum(-1), torch.ones(4), rtol=0, atol=1e-5)


def test_lengths_are_as_if_each_tree_stood_alone() -> None:
    scores, lengths = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.tensor([[4, 1, 0], [2, 3, 4]])
    scores[0, 1, 0, 3] = torch.inf  # rubbish past the end
    log_z = tree_log_prob(scores.requires_grad_(), lengths)
    (arcs,) = torch.autograd.grad(log_z.sum(), scores)
    modes = tree_mode(scores, lengths)
    for b, c in product(range(2), range(3)):
        n = int(lengths[b, c])
        alone = scores[b, c, :n, : n + 1].detach().requires_grad_()
        one = tree_log_prob(alone)
        torch.testing.assert_close(log_z[b, c], one)
        expected = torch.zeros(4, 5, dtype=torch.float64)
        if n:
            expected[:n, : n + 1] = torch.autograd.grad(one, alone)[0]
        torch.testing.assert_close(arcs[b, c], expected)
        assert modes[b, c].tolist() == tree_mode(alone).tolist() + [0] * (4 - n)


def test_mode_is_the_best_tree() -> None:
    for n, scale, impossible, seed in cases():
        scores = random_scores(n, scale, impossible, seed)
        each, mode = score_of_each(scores, torch.tensor(all_trees(n))), tree_mode(scores)
        assert is_tree(mode) or each.max() == -torch.inf
        torch.testing.assert_close(tree_score(scores, mode), each.max(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("impossible", [0.0, 0.4])
def test_samples_have_the_posterior_probabilities(impossible: float) -> None:
    torch.manual_seed(0)
    draws, n = 40_000, 4
    trees, powers = torch.tensor(all_trees(n)), 5 ** torch.arange(n)
    for seed in (1, 2, 5):
        scores = random_scores(n, 1.5, impossible, seed)
        probability = score_of_each(scores, trees).softmax(0)
        assert not probability.isnan().any()
        found = (tree_sample(scores.expand(draws, n, n + 1)) * powers).sum(1)
        counts = (found[:, None] == (trees * powers).sum(1)).sum(0).double()
        assert counts.sum() == draws
        assert not counts[probability == 0].any()
        deviation = (counts - draws * probability) / (draws * probability * (1 - probability)).sqrt().clamp(min=1)
        assert deviation.abs().max() < 5


def test_samples_of_extreme_scores_are_trees() -> None:
    torch.manual_seed(0)
    scores, lengths = 300 * torch.randn(50, 9, 10), torch.randint(0, 10, (50,))
    heads = tree_sample(scores, lengths)
    assert is_tree(heads, lengths).all()
    best = tree_score(scores, tree_mode(scores, lengths), lengths)
    assert (tree_score(scores, heads, lengths) > best - 50).all()


def test_each_algebra_answers_by_its_gradient() -> None:
    torch.manual_seed(0)
    scores, lengths = torch.randn(6, 4, 5, dtype=torch.float64, requires_grad=True), torch.tensor([4, 3, 2, 1, 0, 4])
    log_z = tree_log_prob(scores, lengths)
    for total in (log_sum_exp, maximum, sampled):
        value = tree_total(total, scores, lengths)
        (arcs,) = torch.autograd.grad(value.sum(), scores)
        torch.testing.assert_close(
            value, tree_score(scores, tree_mode(scores, lengths), lengths) if total is maximum else log_z
        )
        inside = torch.arange(4) < lengths[:, None]
        torch.testing.assert_close(arcs.sum(-1), inside.double())
        if total is not log_sum_exp:
            assert is_tree(arcs.argmax(-1), lengths).all()
            assert set(arcs.unique().tolist()) == {0.0, 1.0}


def test_a_module_that_is_gone_takes_nothing_along() -> None:
    """Operators are one to a process: each module registers its sums under a name of its own, and removes that alone."""
    text = compile_spec(Source.read(Path(__file__).parents[1] / "specs" / "induced_dependencies.vispec"), {})
    first, second = dict[str, Any](), dict[str, Any]()
    for space in (first, second):
        exec(text, space)
    scores = torch.randn(2, 3, 4)
    expected = tree_log_prob(scores)
    second.clear()
    gc.collect()
    assert torch.equal(first["tree_log_prob"](scores), expected)
    assert torch.equal(tree_log_prob(scores), expected)


def test_no_tree_is_possible() -> None:
    scores = torch.full((2, 3, 4), -torch.inf, requires_grad=True)
    for total in (log_sum_exp, maximum, sampled):
        value = tree_total(total, scores)
        assert (value == -torch.inf).all()
        assert not torch.autograd.grad(value.sum(), scores)[0].any()
    assert not tree_sample(scores).any()


def test_depth_counts_the_arcs_from_the_root() -> None:
    heads = torch.tensor([[2, 0, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]])
    assert tree_depth(heads).tolist() == [[2, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7]]


def test_decisions() -> None:
    torch.manual_seed(0)
    scores = arc_scores(torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.randn(3))
    assert scores.shape == (2, 3, 4)
    torch.testing.assert_close(decide_tree(scores, None, "mean", False).sum(-1), torch.ones(2, 3))
    for rule, read in (("mean", True), ("mode", False)):
        assert (decide_tree(scores, None, rule, read) == tree_mode(scores)).all()
    assert is_tree(decide_tree(scores, None, "sample", False)).all()


# ---- models


NUMBERS = """
size D = 2
net f(above: real[D]) -> (loc: real[D], scale: positive[D]) = mlp([4])
plate sentence:
    latent head : tree[i] ~ Uniform()
    plate i:
        observed x : real[D] ~ Normal(f(x[head]))
"""

SCORED = """
size K = 3
vocab V
vocab T
param prior : simplex[K]
net score(words: token[V]*) -> (head: real[4]*, dependent: real[4]*, root: real*) = lstm(embed=4, hidden=4, bidirectional)
net label(w: token[V], k: category[K]) -> simplex[T] = embed(4) |> mlp([4])
plate sentence:
    latent k : category[K] ~ Categorical(prior)
    plate i:
        given y : token[V]
    {role} head : tree[i] ~ DependencyTree(score(y[*]))
    plate i:
        observed t : token[T] ~ Categorical(label(y[head], k))
"""

NESTED = """
vocab V
size K = 2
param pi : simplex[K]
param root : simplex[V]
net attach(above: token[V], c: category[K]) -> simplex[V] = embed(4) |> mlp([4])
plate doc:
    plate sentence:
        {role} head : tree[i] ~ Uniform()
        plate i:
            latent c : category[K] ~ Categorical(pi)
            observed x : token[V] ~ Categorical(root) if head == 0 else Categorical(attach(x[head], c))
"""

SIZED = """
param bias : real[-3..3]
param mu : real
plate sentence:
    {role} head : tree[i] ~ Uniform()
    plate i[3]:
        given y : real
        let above = y[head]
        observed x : real ~ Normal(mu if head == 0 else above + bias[i - head], 1)
        observed b : bit ~ Bernoulli(sigmoid(bias[head]))
"""

CHAINED = """
vocab V
size K = 3
param init : simplex[K]
plate k[K]:
    param trans : simplex[K]
net attach(above: token[V]) -> simplex[V] = embed(4) |> mlp([4])
net tag(c: index[k]) -> simplex[V] = embed(4) |> mlp([4])
plate sentence:
    {role} head : tree[i] ~ Uniform()
    chain i:
        latent c : index[k] ~ Categorical(init) then Categorical(trans[c[i-1]])
        given w : token[V]
        observed x : token[V] ~ Categorical(attach(w[head]))
        observed z : token[V] ~ Categorical(tag(c))
"""

TWO = """
vocab V
net attach(above: token[V]) -> simplex[V] = embed(4) |> mlp([4])
plate sentence:
    latent one : tree[i] ~ Uniform()
    latent two : tree[i] ~ Uniform()
    plate i:
        given w : token[V]
        observed x : token[V] ~ Categorical(attach(w[one]))
        observed z : token[V] ~ Categorical(attach(w[two]))
"""

BOTH_ROLES = {"scored": SCORED, "nested": NESTED, "sized": SIZED, "chained": CHAINED}
MODELS = {
    "numbers": NUMBERS,
    "two": TWO,
    **{f"{name}-{role}": text.format(role=role) for name, text in BOTH_ROLES.items() for role in ("latent", "observed")},
}


@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_brute_force(name: str) -> None:
    report = verify(Source("grown.vispec", MODELS[name]), rows=3)
    assert not report.differs, str(report)
    assert not report.unchecked, str(report)


@pytest.mark.parametrize("name", ["induced_dependencies", "parser"])
def test_specs_agree_with_brute_force(name: str) -> None:
    report = verify(Source.read(SPECS / f"{name}.vispec"), rows=3)
    assert not report.differs, str(report)
    assert not report.unchecked, str(report)


def emitted(text: str, sizes: dict[str, int]) -> Any:
    source = Source("grown.vispec", text)
    return load_module(compile_spec(source, sizes), "Grown")


@pytest.mark.parametrize("name", MODELS)
def test_samples_of_models_are_possible(name: str) -> None:
    torch.manual_seed(0)
    sizes = {size: 5 for size in ("V", "T") if f"vocab {size}" in MODELS[name]}
    module, lengths = emitted(MODELS[name], sizes), torch.tensor([3, 1, 2, 3])
    given = {"y": torch.randint(5, (4, 3)), "y_len": lengths, "w": torch.randint(5, (4, 3)), "w_len": lengths}
    if name.startswith("sized"):
        given["y"] = torch.randn(4, 3, dtype=torch.float64)
    ragged = {"i": lengths[:, None].expand(4, 2), "sentence": torch.full((4,), 2)} if "doc" in MODELS[name] else {"i": lengths}
    batch = module.sample(4, given, ragged)
    assert module.log_prob(batch).isfinite().all()


def test_children_are_drawn_given_their_heads() -> None:
    """Each element copies its head, but for a root of its own, so that all elements of a tree are the same."""
    text = """
vocab V
net copy(above: token[V]) -> simplex[V] = embed(6)
plate sentence:
    latent head : tree[i] ~ Uniform()
    plate i:
        observed x : token[V] ~ Categorical(copy(x[head]))
"""
    torch.manual_seed(0)
    module = emitted(text, {"V": 5})
    copy = module.copy
    with torch.no_grad():
        copy.embed.weight.copy_(torch.eye(6))
        copy.out.weight.copy_(100 * torch.eye(6)[:5])
        copy.out.bias.zero_()
    x = module.sample(200, lengths={"i": torch.full((200,), 6)})["x"]
    assert (x == x[:, :1]).all()
    assert len(x[:, 0].unique()) == 5


def test_whole_graph_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    source = Source.read(SPECS / "induced_dependencies.vispec")
    path = tmp_path / "emitted_trees.py"  # the tracer looks up the globals of what it traces in its module
    path.write_text(compile_spec(source, {"V": 7}))
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("emitted_trees").InducedDependencies()
    batch = {"x": torch.randint(7, (4, 5)), "x_len": torch.tensor([5, 3, 1, 4])}
    expected = module.loss(batch, 8)
    expected_gradient = torch.autograd.grad(expected, list(module.parameters()))
    loss = torch.compile(module.loss, fullgraph=True, backend="aot_eager")(batch, 8)
    torch.testing.assert_close(loss, expected)
    for got, wanted in zip(torch.autograd.grad(loss, list(module.parameters())), expected_gradient, strict=True):
        torch.testing.assert_close(got, wanted)


def test_heads_that_are_no_tree_are_impossible() -> None:
    module = emitted(SCORED.format(role="observed"), {"V": 5, "T": 4})
    batch = {
        "y": torch.zeros(4, 3, dtype=torch.long),
        "t": torch.zeros(4, 3, dtype=torch.long),
        "y_len": torch.tensor([3, 3, 3, 1]),
        "head": torch.tensor([[2, 0, 2], [2, 1, 0], [0, 0, 1], [0, 3, 2]]),
    }
    assert module.log_prob(batch).isfinite().tolist() == [True, False, False, True]


def refused(text: str) -> set[str]:
    with pytest.raises(SpecError) as caught:
        plan_model(check_model(parse(Source("bad.vispec", text))))
    return {diagnostic.code for diagnostic in caught.value.diagnostics}


HEAD = "vocab V\nnet f(a: token[V]) -> simplex[V] = embed(4) |> mlp([4])\n"
TREE = "plate sentence:\n    latent head : tree[i] ~ Uniform()\n    {plate} i:\n        {body}\n"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "V713",
            "plate v[V]:\n    param e : simplex[V]\n"
            + TREE.format(plate="plate", body="observed x : token[V] ~ Categorical(e[x[head]])"),
        ),
        ("V713", TREE.format(plate="plate", body="given y : positive\n        observed x : real ~ Normal(0, y[head])")),
        (
            "V713",
            "plate v[V]:\n    param e : simplex[V]\n"
            + TREE.format(plate="plate", body="let a = x[head]\n        observed x : token[V] ~ Categorical(e[a])"),
        ),
        (
            "V702",
            TREE.format(plate="plate", body="observed x : token[V] ~ Categorical(f(x[head]))")
            + "guide:\n    head ~ Uniform()\n",
        ),
        (
            "V212",
            "net lm(p: token[V]*, a: token[V]) -> simplex[V] = lstm(embed=4, hidden=4)\n"
            + TREE.format(plate="chain", body="observed x : token[V] ~ Categorical(lm(x[<i], x[head]))"),
        ),
        (
            "V707",
            "net g(a: token[V], b: token[V]) -> simplex[V] = embed(4) |> mlp([4])\nplate sentence:\n"
            "    latent one : tree[i] ~ Uniform()\n    latent two : tree[i] ~ Uniform()\n"
            "    plate i:\n        given w : token[V]\n        observed x : token[V] ~ Categorical(g(w[one], w[two]))\n",
        ),
    ],
)
def test_what_no_tree_can_do_is_refused(code: str, text: str) -> None:
    assert code in refused(HEAD + text)


ARCS = "net s(w: token[V]*) -> (head: {head}, dependent: {dependent}, root: {root}) = lstm(embed=4, hidden=4)\n"
PARSED = "plate sentence:\n    plate i:\n        given y : token[V]\n    observed h : tree[i] ~ DependencyTree(s(y[*]))\n"


@pytest.mark.parametrize(
    ("head", "dependent", "root"),
    [("real*", "real[3]*", "real*"), ("real[3]*", "real[3]*", "real[2]*"), ("real[3]*", "real[4]*", "real*")],
)
def test_scores_of_arcs_have_their_shapes(head: str, dependent: str, root: str) -> None:
    assert "V409" in refused("vocab V\n" + ARCS.format(head=head, dependent=dependent, root=root) + PARSED)


# ---- data


CONLLU = """# text = Dogs don't bark
1\tDogs\tdog\tNOUN\tNNS\tNumber=Plur\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_
4\tbark\tbark\tVERB\tVB\t_\t0\troot\t_\t_
4.1\tloud\tloud\tADV\tRB\t_\t_\t_\t4:advmod\t_

1\t_\t_\tSYM\tNFP\t_\t0\troot\t_\t_
"""


def parser_model():
    return check_model(parse(Source.read(SPECS / "parser.vispec")))


def written(folder: Path, text: str, name: str = "data.conllu.gz") -> str:
    path = folder / name
    (gzip.open if name.endswith(".gz") else open)(path, "wb").write(text.encode())
    return str(path)


def test_conllu(tmp_path: Path) -> None:
    data = load(parser_model(), [written(tmp_path, CONLLU)], {"y": ("form",)}, sizes={})
    batch = data.batch([0, 1])
    assert batch["head"].tolist() == [[4, 4, 4, 0], [0, 0, 0, 0]]
    assert batch["y_len"].tolist() == [4, 1]
    assert batch["y"].shape == (2, 4)


def test_conllu_names_its_columns_where_none_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--columns y=form, or which it is made of, as y=form,lemma,upos,xpos,feats"):
        load(parser_model(), [written(tmp_path, CONLLU)], sizes={})


def test_heads_from_json_lines(tmp_path: Path) -> None:
    rows = [{"y": ["a", "b", "c"], "head": [2, 0, 2]}, {"y": ["a"], "head": [0]}]
    path = written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "data.jsonl")
    assert load(parser_model(), [path]).batch([0, 1])["head"].tolist() == [[2, 0, 2], [0, 0, 0]]


Change = Callable[[str], str]


@pytest.mark.parametrize(
    ("code", "line", "change"),
    [
        ("D105", 2, lambda text: text.replace("\tdog\t", "\t", 1)),
        ("D105", 4, lambda text: text.replace("\n2\tdo", "\n3\tdo")),
        ("D105", 4, lambda text: text.replace("\n2\tdo", "\nx\tdo")),
        ("D105", 4, lambda text: text.replace("VBP\t_\t4", "VBP\t_\tfour")),
        ("D124", 2, lambda text: text.replace("VBP\t_\t4", "VBP\t_\t5")),
        ("D129", 2, lambda text: text.replace("VBP\t_\t4", "VBP\t_\t0")),
        ("D129", 2, lambda text: text.replace("VB\t_\t0", "VB\t_\t1")),
        ("D117", 2, lambda text: text.replace("VBP\t_\t4", "VBP\t_\t_")),
    ],
)
def test_conllu_with_a_mistake(code: str, line: int, change: Change, tmp_path: Path) -> None:
    assert change(CONLLU) != CONLLU
    with pytest.raises(DataError) as caught:
        load(parser_model(), [written(tmp_path, change(CONLLU), "data.conllu")], {"y": ("form",)})
    first = caught.value.diagnostics[0]
    assert (first.code, first.line) == (code, line)


def test_fit_and_predict_a_parser(tmp_path: Path) -> None:
    words = ["the", "dog", "sleeps"]
    rows = [{"y": words[i:], "head": [[2, 3, 0], [2, 0], [0]][i]} for i in (0, 1, 2)] * 8
    path = written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "data.jsonl")
    run = str(tmp_path / "run")

    def command(*arguments: str) -> str:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == 0, result.output
        return result.stdout

    command("fit", str(SPECS / "parser.vispec"), path, "--epochs", "15", "--batch", "6", "--lr", "0.01", "--out", run)
    found = [json.loads(line) for line in command("predict", run, path, "--rule", "mode", "--jsonl").splitlines()]
    assert [row["head"] for row in found] == [row["head"] for row in rows]
    means = json.loads(command("predict", run, path, "--rule", "mean", "--jsonl").splitlines()[1])["head"]
    assert [len(means), len(means[0])] == [2, 3]
