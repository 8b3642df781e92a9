"""Trees under options, projective or not, with one root or any number: the kernels against every such tree, models against
brute force with the tree observed, latent or told in part, what data may hold, and the memory of the sums."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from vispec.cli.main import main
from vispec.diagnostics import SpecError
from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.kernels.told.queries import Entropic
from vispec.kernels.trees import projective, tree
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.train.data.checks.trees import crossing
from vispec.train.data.diagnostics import DataError
from vispec.train.data.load import load
from vispec.verify.oracle.trees import Options, all_trees
from vispec.verify.verify import verify

OPTIONS: tuple[Options, ...] = ((("roots", "any"),), (("projective", True),), (("projective", True), ("roots", "any")))
PLAIN: Options = ()
SCALES = (1.0, 20.0, 100.0)
each_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(name for name, _ in options))


def kernel(name: str, options: Options) -> Callable[..., Tensor]:
    """That of such trees; `tree_mode` for all of them."""
    one_root = ("roots", "any") not in options
    words = {"decide": "decide_projective", "is": "is_projective", "log_number": "log_number_of_projective"}
    plain = {"decide": "decide_tree", "is": "is_tree", "log_number": "log_number_of_trees"}
    if ("projective", True) in options:
        found = getattr(projective, words.get(name, f"projective_{name}"))
    else:
        found = getattr(tree, plain.get(name, f"tree_{name}"))
    return lambda *arguments: found(*arguments, one_root=one_root)


def scores_of(n: int, scale: float, impossible: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scores = scale * torch.randn(n, n + 1, dtype=torch.float64, generator=generator)
    return scores.masked_fill(torch.rand(n, n + 1, generator=generator) < impossible, -torch.inf)


def cases() -> Iterator[tuple[int, float, float, int]]:
    return product((1, 2, 3, 4, 5), SCALES, (0.0, 0.3, 0.6), range(2))


@pytest.mark.parametrize("options", [PLAIN, *OPTIONS])
def test_every_tree_is_counted_once(options: Options) -> None:
    counts = {
        PLAIN: [1, 1, 2, 9, 64, 625],  # n^(n-1)
        OPTIONS[0]: [1, 1, 3, 16, 125, 1296],  # Cayley: (n+1)^(n-1)
        OPTIONS[1]: [1, 1, 2, 7, 30, 143],  # C(3n-2, n-1) / n
        OPTIONS[2]: [1, 1, 3, 12, 55, 273],  # C(3n, n) / (2n+1)
    }[options]
    for n, count in enumerate(counts):
        heads = torch.tensor(list(product(range(n + 1), repeat=n)), dtype=torch.long).reshape((n + 1) ** n, n)
        assert {tuple(row) for row in heads[kernel("is", options)(heads)].tolist()} == set(all_trees(n, options))
        assert len(all_trees(n, options)) == count
        zeros = torch.zeros(n, n + 1, dtype=torch.float64)
        told = kernel("log_number", options)(torch.tensor(float(n), dtype=torch.float64))
        for found in (told, kernel("log_prob", options)(zeros)):
            torch.testing.assert_close(found.exp(), torch.tensor(float(count), dtype=torch.float64), rtol=1e-12, atol=0)


@each_option
def test_log_prob_arcs_and_the_best_tree_equal_enumeration(options: Options) -> None:
    impossible_seen = 0
    for n, scale, impossible, seed in cases():
        scores = scores_of(n, scale, impossible, seed).requires_grad_()
        each = scores.gather(1, torch.tensor(all_trees(n, options)).T).sum(0)
        possible = each[each > -torch.inf]
        log_z = kernel("log_prob", options)(scores)
        (arcs,) = torch.autograd.grad(log_z, scores)
        best = kernel("mode", options)(scores)
        if not len(possible):
            impossible_seen += 1
            assert log_z == -torch.inf
            assert not arcs.any()
            assert not kernel("sample", options)(scores).any()
            continue
        (expected,) = torch.autograd.grad(possible.logsumexp(0), scores)
        torch.testing.assert_close(log_z, possible.logsumexp(0), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(arcs, expected, rtol=0, atol=1e-10)
        assert not arcs[scores == -torch.inf].any()
        assert kernel("is", options)(best)
        torch.testing.assert_close(tree.tree_score(scores, best), each.max(), rtol=1e-12, atol=1e-12)
        draws = kernel("sample", options)(scores.expand(8, n, n + 1))
        assert kernel("is", options)(draws).all()
        assert tree.tree_score(scores.expand(8, n, n + 1), draws).isfinite().all()
    assert impossible_seen > 1


@each_option
def test_samples_have_the_posterior_probabilities(options: Options) -> None:
    torch.manual_seed(0)
    draws, n = 20_000, 4
    trees, powers = torch.tensor(all_trees(n, options)), 5 ** torch.arange(n)
    scores = scores_of(n, 1.5, 0.2, 1)
    probability = scores.gather(1, trees.T).sum(0).softmax(0)
    found = (kernel("sample", options)(scores.expand(draws, n, n + 1)) * powers).sum(1)
    counts = (found[:, None] == (trees * powers).sum(1)).sum(0).double()
    assert counts.sum() == draws
    deviation = (counts - draws * probability) / (draws * probability * (1 - probability)).sqrt().clamp(min=1)
    assert deviation.abs().max() < 5


@each_option
def test_lengths_are_as_if_each_tree_stood_alone(options: Options) -> None:
    torch.manual_seed(0)
    scores, lengths = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.tensor([[4, 1, 0], [2, 3, 4]])
    scores[0, 1, 0, 3], scores[1, 0, 3] = torch.inf, torch.nan  # rubbish past the end
    log_z = kernel("log_prob", options)(scores.requires_grad_(), lengths)
    (arcs,) = torch.autograd.grad(log_z.sum(), scores)
    modes = kernel("mode", options)(scores, lengths)
    assert kernel("is", options)(kernel("sample", options)(scores, lengths), lengths).all()
    for b, c in product(range(2), range(3)):
        n = int(lengths[b, c])
        alone = scores[b, c, :n, : n + 1].detach().requires_grad_()
        one = kernel("log_prob", options)(alone)
        torch.testing.assert_close(log_z[b, c], one)
        expected = torch.zeros(4, 5, dtype=torch.float64)
        if n:
            expected[:n, : n + 1] = torch.autograd.grad(one, alone)[0]
        torch.testing.assert_close(arcs[b, c], expected)
        assert modes[b, c].tolist() == kernel("mode", options)(alone).tolist() + [0] * (4 - n)


@each_option
def test_each_algebra_answers_by_its_gradient(options: Options) -> None:
    torch.manual_seed(0)
    scores, lengths = torch.randn(6, 4, 5, dtype=torch.float64, requires_grad=True), torch.tensor([4, 3, 2, 1, 0, 4])
    log_z, total_of = kernel("log_prob", options)(scores, lengths), kernel("total", options)
    counts = torch.arange(4) < lengths[:, None]
    for total in (log_sum_exp, maximum, sampled):
        value = total_of(total, scores, lengths)
        (arcs,) = torch.autograd.grad(value.sum(), scores)
        best = tree.tree_score(scores, kernel("mode", options)(scores, lengths), lengths)
        torch.testing.assert_close(value, best if total is maximum else log_z)
        torch.testing.assert_close(arcs.sum(-1), counts.double())
        if total is not log_sum_exp:
            assert kernel("is", options)(arcs.argmax(-1), lengths).all()
    joint = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    (entropy,) = torch.autograd.grad(total_of(Entropic(joint), scores, lengths).sum(), joint)
    for row, n in enumerate(lengths.tolist()):
        heads = torch.tensor(all_trees(n, options), dtype=torch.long).reshape(len(all_trees(n, options)), n)
        log_p = scores[row, :n].gather(1, heads.T).sum(0).log_softmax(0)
        torch.testing.assert_close(entropy[row], -(log_p.exp() * log_p).sum())


@each_option
def test_single_precision_and_second_derivatives(options: Options) -> None:
    scores = torch.zeros(0)
    for scale in SCALES:
        scores = (scale * torch.randn(4, 12, 13, generator=torch.Generator().manual_seed(0))).requires_grad_()
        (arcs,) = torch.autograd.grad(kernel("log_prob", options)(scores).sum(), scores)
        torch.testing.assert_close(arcs.sum(-1), torch.ones(4, 12), rtol=0, atol=1e-5)
    log_z = kernel("log_prob", options)(scores).sum()
    with pytest.raises(RuntimeError, match="first derivative only"):
        torch.autograd.grad(log_z, scores, create_graph=True)


def test_sums_do_not_take_memory_cubic_in_the_longest_sentence() -> None:
    """n = 600: a table an element is 860 MB of float64, a few are 3 MB each."""
    text = """
import resource, torch
from vispec.kernels.trees.tree import tree_log_prob
def run(n, scale=1):
    scores = (scale * torch.randn(1, n, n + 1)).requires_grad_()
    torch.autograd.grad(tree_log_prob(scores).sum(), scores)
run(9)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(600)
run(300, 300)  # in logs
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 150


# ---- models

SCORED = """
vocab V
vocab T
net score(words: token[V]*) -> (head: real[4]*, dependent: real[4]*, root: real*) = lstm(embed=4, hidden=4, bidirectional)
net label(w: token[V]) -> simplex[T] = embed(4) |> mlp([4])
plate sentence:
    plate i:
        given y : token[V]
    {role} head : tree[i] ~ DependencyTree(score(y[*]){options})
    plate i:
        observed t : token[T] ~ Categorical(label(y[head]))
"""
ALONE = """
vocab V
net score(words: token[V]*) -> (head: real[4]*, dependent: real[4]*, root: real*) = lstm(embed=4, hidden=4, bidirectional)
plate sentence:
    plate i:
        given y : token[V]
    partial head : tree[i] ~ DependencyTree(score(y[*]){options})
"""
UNIFORM = """
net f(above: real[2]) -> (loc: real[2], scale: positive[2]) = mlp([4])
plate doc:
    plate sentence:
        {role} head : tree[i] ~ Uniform({options})
        plate i:
            observed x : real[2] ~ Normal(f(x[head]))
"""
SIZED = """
param mu : real
plate sentence:
    partial head : tree[i] ~ Uniform({options})
    plate i[3]:
        given y : real
        partial x : real ~ Normal(mu if head == 0 else y[head], 1)
"""


def written(options: Options) -> str:
    return ", ".join(f"{name}={str(value).lower()}" for name, value in options)


MODELS = {
    "uniform": UNIFORM.format(role="latent", options="projective=true"),
    "forest": UNIFORM.format(role="partial", options="roots=any"),
    "observed": SCORED.format(role="observed", options=", projective=true, roots=any"),
    "latent": SCORED.format(role="latent", options=", projective=true"),
    "partial": SCORED.format(role="partial", options=""),
    "sized": SIZED.format(options="projective=true, roots=any"),
    "alone": ALONE.format(options=", projective=true"),
    "spanning": ALONE.format(options=", roots=any, projective=false"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_brute_force(name: str) -> None:
    report = verify(Source("grown.vispec", MODELS[name]), rows=3)
    assert not report.differs, str(report)
    assert not report.unchecked, str(report)


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("V417", "projective=2"),
        ("V417", "projective=any"),
        ("V417", "roots=two"),
        ("V405", "crossing=true"),
        ("V407", "roots=any, roots=any"),
    ],
)
def test_options_that_are_none(code: str, options: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_model(parse(Source("bad.vispec", UNIFORM.format(role="latent", options=options))))
    assert code in {diagnostic.code for diagnostic in caught.value.diagnostics}


# ---- data


def test_crossing_arcs_are_found() -> None:
    generator = np.random.default_rng(0)
    trees = [heads for n in range(1, 6) for heads in all_trees(n, OPTIONS[0])]
    level = np.array([len(heads) for heads in trees])
    start = np.cumsum(level) - level
    whole = np.concatenate([np.array(heads) for heads in trees])
    for missing in (0.0, 0.4):
        heads = np.where(generator.random(len(whole)) < missing, -1, whole)
        found = crossing(heads, np.repeat(start, level), level)
        for first, size in zip(start, level, strict=True):
            arcs = [tuple(sorted((h, d))) for d, h in enumerate(heads[first : first + size], 1) if h >= 0]
            cross = any(a < c < b < d for a, b in arcs for c, d in arcs)
            assert bool(found[first : first + size].any()) == cross


def rows_of(folder: Path, *heads: list[int | None] | None) -> str:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps({"y": ["a"] * 4, "head": each}) + "\n" for each in heads))
    return str(path)


@pytest.mark.parametrize(
    ("options", "heads", "words"),
    [
        ("projective=true", [3, 0, 2, 2], "crosses"),
        ("projective=true", [3, None, 1, 2], "circle"),
        ("projective=true", [3, 4, None, None], "crosses"),
        ("projective=true", [0, 0, None, 2], "one root"),
        ("roots=any", [2, 1, 0, 0], "circle"),
    ],
)
def test_heads_that_no_such_tree_has(options: str, heads: list[int | None], words: str, tmp_path: Path) -> None:
    model = check_model(parse(Source("m.vispec", ALONE.format(options=f", {options}"))))
    with pytest.raises(DataError, match=words) as caught:
        load(model, [rows_of(tmp_path, heads)])
    assert {each.code for each in caught.value.diagnostics} == {"D129"}


def test_heads_that_are_missing_or_several_below_the_root(tmp_path: Path) -> None:
    model = check_model(parse(Source("m.vispec", ALONE.format(options=", roots=any"))))
    batch = load(model, [rows_of(tmp_path, [0, 0, 4, 1], [None, 3, None, 0], None)]).batch([0, 1, 2])
    assert batch["head_observed"].tolist() == [[True] * 4, [False, True, False, True], [False] * 4]
    assert batch["head"][0].tolist() == [0, 0, 4, 1]


def test_fit_and_predict_with_some_heads(tmp_path: Path) -> None:
    """One head of each tree is told; the rest follows, for words of like neighbours hang alike."""
    words, whole = ["the", "dog", "sleeps"], [2, 3, 0]
    kept = [[head if place == n % 3 else None for place, head in enumerate(whole)] for n in range(24)]
    path, run = tmp_path / "data.jsonl", str(tmp_path / "run")
    path.write_text("".join(json.dumps({"y": words, "head": heads}) + "\n" for heads in kept))
    spec = tmp_path / "parts.vispec"
    spec.write_text(ALONE.format(options=", projective=true"))

    def command(*arguments: str) -> list[dict]:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]

    command("fit", str(spec), str(path), "--epochs", "30", "--batch", "6", "--lr", "0.02", "--out", run)
    for rule in ("mode", "joint"):
        assert [row["head"] for row in command("predict", run, str(path), "--rule", rule, "--jsonl")] == [whole] * 24
    drawn = command("predict", run, str(path), "--rule", "sample", "--jsonl")
    assert all(row["head"][n % 3] == whole[n % 3] for n, row in enumerate(drawn))
    means = torch.tensor([row["head"] for row in command("predict", run, str(path), "--rule", "mean", "--jsonl")])
    torch.testing.assert_close(means.sum(-1), torch.ones(24, 3))
