"""A structure and an estimator, each one file in a package that vispec finds: nothing else has to know of them."""

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
from vispec.structures import structures

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
    for package, text, cached in (
        (vispec.structures, STRUCTURE, structures),
        (vispec.estimators, ESTIMATOR, estimators),
    ):
        name = package.__name__.rpartition(".")[2]
        place = tmp_path / name
        place.mkdir()
        (place / f"toy_{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(place)])
        cached.cache_clear()
    yield tmp_path
    for package, cached in ((vispec.structures, structures), (vispec.estimators, estimators)):
        name = package.__name__.rpartition(".")[2]
        sys.modules.pop(f"{package.__name__}.toy_{name}", None)
        cached.cache_clear()


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
