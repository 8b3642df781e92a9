"""Structures and an estimator, each one file in a package that vispec finds: nothing else has to know of them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import vispec.estimators
import vispec.structures
from vispec.cli.main import main
from vispec.estimators import estimators
from vispec.structures import domains, structures
from vispec.verify.oracle.trees import all_trees

STRUCTURE = '''
"""A chain of order one, as a product of its steps: a toy that says that it takes fewer terms than it does."""

from vispec.lazy import torch
from vispec.structures import chain
from vispec.structures.calls import kernel
from vispec.structures.entry import StructureKind
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Structure


def terms(group, numbers):
    return numbers.of(group.plate) * numbers.elements(group.states)


def form(group, factors, algebra):
    found = chain.form(group, factors, algebra)
    return Structure("toy_chain", found.given, found.binds, (), algebra)


def call(node):
    plate, past, state = node.binds
    init, step, seen = node.given
    given = [(init, (state,)), (build.spread(step, (plate,)), (plate, past, state)), (seen, (plate, state))]
    return kernel(node, f"{__name__}:toy_log_prob", f"{__name__}:toy_total", given, plate)


def toy_log_prob(init, step, seen, lengths=None):
    """log Z (*B): init (*B, K), step (*B, T, K, K), seen (*B, T, K); lengths (*B), at least one."""
    return toy_total(lambda x: torch.logsumexp(x, -1), init, step, seen, lengths)


def toy_total(total, init, step, seen, lengths=None):
    """The same under the algebra of a query."""
    alpha = init + seen[..., 0, :]
    for t in range(1, seen.shape[-2]):
        after = total((alpha.unsqueeze(-1) + step[..., t, :, :]).transpose(-1, -2)) + seen[..., t, :]
        alpha = after if lengths is None else torch.where((t < lengths).unsqueeze(-1), after, alpha)
    return total(alpha)


ENTRY = StructureKind(
    "toy_chain",
    lambda group: chain.recognises(group) and len(group.states) == 1,
    terms,
    form,
    chain.log_sum,
    "one product of its steps",
    call,
    called="a toy chain",
    summed="toy chain",
)
'''

STARS = '''
"""Trees of which all elements but one hang from that one: `Uniform(star=true)`, `DependencyTree(..., star=true)`."""

from functools import partial

from vispec.catalog import Option
from vispec.lazy import torch
from vispec.structures import trees
from vispec.structures.calls import kernel
from vispec.structures.entry import StructureKind


def recognises(group):
    return group.shape is not None and group.shape.options == (("star", True),) and len(group.states) == 1


def terms(group, numbers):
    return numbers.of(group.plate) * numbers.elements(group.states)


def each_star(scores, lengths=None):
    """The score of the star around each element, and whether elements count (*B, n)."""
    n = scores.shape[-2]
    at = torch.arange(n, device=scores.device)
    counts = torch.ones_like(scores[..., 0], dtype=torch.bool) if lengths is None else at < lengths[..., None]
    arcs = scores[..., 1:].masked_fill((at[:, None] == at) | ~counts[..., None], 0.0)
    return (scores[..., 0] + arcs.sum(-2)).masked_fill(~counts, -torch.inf), counts


def star_log_prob(scores, lengths=None):
    return star_total(lambda x: torch.logsumexp(x, -1), scores, lengths)


def star_total(total, scores, lengths=None):
    """The sum over stars (*B) under an algebra; 1 without elements."""
    each, counts = each_star(scores, lengths)
    empty = ~counts.any(-1)
    return torch.where(empty, 0.0, total(each.masked_fill(empty[..., None], 0.0)))


def is_star(heads, lengths=None):
    at = torch.arange(1, heads.shape[-1] + 1, device=heads.device)
    counts = torch.ones_like(heads, dtype=torch.bool) if lengths is None else at <= lengths[..., None]
    root = ((heads == 0) & counts).long().argmax(-1, keepdim=True) + 1
    return ((heads == torch.where(at == root, 0, root)) | ~counts).all(-1)


def number_of_stars(count):
    return count.clamp(min=1).log()


def decide_star(scores, length, rule, read):
    each, counts = each_star(scores, length)
    root = 1 + (torch.distributions.Categorical(logits=each).sample() if rule == "sample" else each.argmax(-1))[..., None]
    at = torch.arange(1, scores.shape[-2] + 1, device=scores.device)
    return torch.where(at == root, 0, root).masked_fill(~counts, 0)


def log_sum_of(arcs, one_root):
    return torch.logsumexp(each_star(arcs)[0], -1)


def call(node):
    return kernel(node, f"{__name__}:star_log_prob", f"{__name__}:star_total", [(node.given[0], node.binds)], node.binds[0])


ENTRY = StructureKind(
    "star",
    recognises,
    terms,
    partial(trees.form_of, "star"),
    partial(trees.sum_by_rows, log_sum_of),
    "one sum over its middle",
    call,
    called="a star",
    summed="stars",
    domain="tree",
    options={"star": Option("flag", False)},
    number=partial(trees.number_by, f"{__name__}:number_of_stars"),
    valid=partial(trees.valid_by, f"{__name__}:is_star"),
    decide=f"{__name__}:decide_star",
    holds=lambda heads, shape: not shape.says("star", True) or all(h in (0, heads.index(0) + 1) for h in heads),
)
'''

ESTIMATOR = '''
"""toy: the mean log-weight of draws from the guide, by a kernel of its own."""

from vispec.estimators.entry import EstimatorKind, Way
from vispec.program import build
from vispec.program.axis import Axis
from vispec.program.node import Call, Part
from vispec.program.size import Size


def toy_mean(weights):
    """The mean of log-weights (samples, B) over the samples."""
    return weights.mean(0)


def combined(w):
    samples = w.samples or Axis("s", "samples", Size.of(1))
    axes = (samples, *w.rows)
    given = ((build.spread(w.node, axes), axes, ""),)
    return Part(Call("kernel", f"{__name__}:toy_mean", given, ((w.rows, "real"),), ()), 0)


ENTRY = EstimatorKind(
    "toy",
    words="the mean log-weight of draws from its guide, by a kernel of its own",
    settings={"samples": "samples"},
    guide=True,
    way=lambda settings, discrete: Way("toy", smooth=True, combined=combined, rank=1),
    bound=lambda settings: "elbo",
)
'''

HMM = """\
size K = 3
param pi : simplex[K]
plate k[K]:
    param A : simplex[K]
    param mu : real
plate row:
    chain t:
        latent c : index[k] ~ Categorical(pi) then Categorical(A[c[t-1]])
        observed x : real ~ Normal(mu[c], 1)
"""
STAR = """\
vocab V
net score(words: token[V]*) -> (head: real[4]*, dependent: real[4]*, root: real*) = lstm(embed=4, hidden=4)
plate row:
    plate i:
        given y : token[V]
    {role} head : tree[i] ~ DependencyTree(score(y[*]), star=true)
    plate i:
        observed x : real ~ Normal(0 if head == 0 else 1, 1)
"""
PRIORS = """\
param m : real
plate row:
    latent z : real ~ Normal(m, 1)
    observed x : real ~ Normal(z, 1)
infer:
    z : toy(samples=3)
guide:
    z ~ Normal(x / 2, 1)
"""


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Both files, where their packages look for entries."""
    files = (
        (vispec.structures, {"toy_structures": STRUCTURE, "toy_stars": STARS}, (structures, domains, all_trees)),
        (vispec.estimators, {"toy_estimators": ESTIMATOR}, (estimators,)),
    )
    for package, texts, cached in files:
        place = tmp_path / package.__name__
        place.mkdir()
        for name, text in texts.items():
            (place / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(place)])
        for each in cached:
            each.cache_clear()
    yield tmp_path
    for package, texts, cached in files:
        for name in texts:
            sys.modules.pop(f"{package.__name__}.{name}", None)
        for each in cached:
            each.cache_clear()


def vispec_(*arguments: str) -> Any:
    found = CliRunner().invoke(main, list(arguments))
    assert found.exit_code == 0, found.output
    return found.output


def test_a_structure(toys: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(toys)
    Path("hmm.vispec").write_text(HMM)
    Path("d.jsonl").write_text('{"x": [0.1, 1.0, -1.0]}\n{"x": [2.0]}\n{"x": [0.3, 0.4]}\n')
    told = " ".join(vispec_("check", "hmm.vispec").split())
    assert "toy chain, summed" in told
    assert {"a", "toy", "chain", "along", "t:", "one", "product", "of", "its", "steps"} <= set(told.split())
    assert "toy chain" in vispec_("explain", "hmm.vispec")
    assert "def toy_log_prob" in vispec_("compile", "hmm.vispec")
    report = vispec_("verify", "hmm.vispec")
    assert " 0 differ" in report
    assert "pairs in chains" in report
    vispec_("fit", "hmm.vispec", "d.jsonl", "--epochs", "2", "--out", "run", "--no-verify")
    rows = [json.loads(line) for line in vispec_("posterior", "run", "d.jsonl", "--jsonl").splitlines()]
    assert [len(row["c"]) for row in rows] == [3, 1, 2]
    assert all(sum(p) == pytest.approx(1, abs=1e-5) for row in rows for p in row["c"])
    vispec_("render", "hmm.vispec", "-o", "out.svg")
    assert "<svg" in Path("out.svg").read_text()
    assert len(lines("sample", "run", "d.jsonl", "-n", "3", "--jsonl")) == 3
    assert [len(row["x"]) for row in lines("predict", "run", "d.jsonl", "--jsonl")] == [3, 1, 2]


def lines(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in vispec_(*arguments).splitlines()]


@pytest.mark.parametrize("role", ["latent", "observed", "partial"])
def test_a_structure_of_a_type(role: str, toys: Path, monkeypatch: pytest.MonkeyPatch):
    """One more option of laws on trees, by its own sum, in all roles that a tree has."""
    monkeypatch.chdir(toys)
    Path("star.vispec").write_text(STAR.format(role=role))
    heads = [[2, 0, 2], [0], [None, 0] if role == "partial" else [2, 0]]
    rows = [{"y": ["a", "b", "c"][: len(each)], "head": each, "x": [1.0, 0.0, 1.0][: len(each)]} for each in heads]
    for row in rows if role == "latent" else ():
        del row["head"]
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert ("stars, summed" in " ".join(vispec_("check", "star.vispec").split())) == (role != "observed")
    assert "star = true" in vispec_("explain", "star.vispec")
    vispec_("render", "star.vispec", "-o", "out.svg")
    assert "<svg" in Path("out.svg").read_text()
    assert "def star_log_prob" in vispec_("compile", "star.vispec")
    assert " 0 differ" in vispec_("verify", "star.vispec")
    vispec_("fit", "star.vispec", "d.jsonl", "--epochs", "2", "--out", "run", "--no-verify")
    for row in lines("posterior", "run", "d.jsonl", "--query", "mode", "--jsonl") if role != "observed" else ():
        assert {*row["head"]} <= {0, row["head"].index(0) + 1}
    assert len(lines("sample", "run", "d.jsonl", "-n", "3", "--jsonl")) == 3
    told = lines("predict", "run", "d.jsonl", "--rule", "mode", "--jsonl")
    assert len(told) == 3
    assert role != "partial" or told[2]["head"] == [2, 0]


def test_an_estimator(toys: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(toys)
    Path("m.vispec").write_text(PRIORS)
    Path("d.jsonl").write_text('{"x": 0.1}\n{"x": 1.5}\n')
    assert "toy(samples=3)" in vispec_("check", "m.vispec")
    assert "toy" in vispec_("explain", "m.vispec")
    assert "def toy_mean" in vispec_("compile", "m.vispec")
    report = vispec_("verify", "m.vispec")
    assert " 0 differ" in report
    assert "bound at its own draw" in report
    vispec_("fit", "m.vispec", "d.jsonl", "--epochs", "2", "--out", "run", "--no-verify")
    rows = [json.loads(line) for line in vispec_("posterior", "run", "d.jsonl", "--jsonl").splitlines()]
    assert [row["z"]["loc"] for row in rows] == pytest.approx([0.05, 0.75])
