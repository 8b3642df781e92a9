"""Sums over projective trees whose heads decide whether to go on, against all trees one by one; and models with them."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from vispec.answers.show import Aligned
from vispec.cli.main import main
from vispec.diagnostics import SpecError
from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.told.queries import Entropic
from vispec.kernels.trees.outward import outward_log_prob, outward_score, outward_total
from vispec.model.check import check_model
from vispec.plan.planner import plan_of
from vispec.source import Source
from vispec.syntax.parse import parse
from vispec.verify.oracle.trees import Heads, all_trees
from vispec.verify.verify import verify

PROJECTIVE = (("projective", True),)
CASES = [(1, 0), (20, 0), (100, 0), (1, 0.2), (100, 0.2)]


def score(heads: Heads, arcs: Tensor, decisions: Tensor) -> Tensor:
    """The score of one tree, by its definition."""
    total = arcs[heads.index(0), 0, 1] if heads else arcs.sum()
    for head in range(1, len(heads) + 1):
        for side, places in enumerate((range(head - 1, 0, -1), range(head + 1, len(heads) + 1))):
            taken = [each for each in places if heads[each - 1] == head]
            for number, each in enumerate(taken):
                first = int(number == 0)
                total = total + arcs[each - 1, head, first] + decisions[head - 1, side, first, 1]
            total = total + decisions[head - 1, side, int(not taken), 0]
    return total


def random(n: int, scale: float, holes: float, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = [scale * torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((n, n + 1, 2), (n, 2, 2, 2))]
    drawn = [each.masked_fill(torch.rand(each.shape, generator=generator) < holes, -torch.inf) for each in drawn]
    return [each.requires_grad_() for each in drawn]


def every(n: int, given: list[Tensor]) -> Tensor:
    return torch.stack([score(heads, *given) for heads in all_trees(n, PROJECTIVE)])


def same_gradients(found: Tensor, wanted: Tensor, given: list[Tensor]) -> None:
    for a, b in zip(*(torch.autograd.grad(each, given, retain_graph=True) for each in (found, wanted)), strict=True):
        torch.testing.assert_close(a, b.nan_to_num(), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("scale", "holes"), CASES)
def test_sum_best_tree_entropy_and_gradients(scale: float, holes: float):
    for n in range(1, 6):
        given = random(n, scale, holes, n)
        each = every(n, given)
        possible = each[each > -torch.inf]
        found, best = outward_log_prob(*given), outward_total(maximum, *given)
        if not len(possible):
            assert found == best == -torch.inf
            assert not any(grad.any() for grad in torch.autograd.grad(found, given))
            continue
        torch.testing.assert_close(found, possible.logsumexp(0))
        same_gradients(found, possible.logsumexp(0), given)
        torch.testing.assert_close(best, possible.max())
        same_gradients(best, possible.max(), given)
        joint = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        told = outward_total(Entropic(joint), *(part[None] for part in given))
        (entropy,) = torch.autograd.grad(told.sum(), joint)
        torch.testing.assert_close(entropy[0], torch.special.entr(possible.softmax(0)).sum(), rtol=1e-8, atol=1e-8)


def test_scores_of_trees_and_their_number():
    for n, count in enumerate([1, 1, 2, 7, 30, 143]):
        trees = all_trees(n, PROJECTIVE)
        assert len(trees) == count
        none = torch.zeros(n, n + 1, 2, dtype=torch.float64), torch.zeros(n, 2, 2, 2, dtype=torch.float64)
        torch.testing.assert_close(outward_log_prob(*none).exp(), torch.tensor(float(count), dtype=torch.float64))
        given = random(n, 2.0, 0.1, n)
        told = torch.tensor(trees, dtype=torch.long).reshape(count, n)
        arcs, decisions = (part.expand(count, *part.shape) for part in given)
        found = outward_score(arcs, decisions, told)
        torch.testing.assert_close(found, every(n, given))


def test_ragged_rows_and_what_rows_share():
    arcs = torch.stack([random(5, 2.0, 0.0, seed)[0].detach() for seed in range(3)]).requires_grad_()
    decisions = random(5, 2.0, 0.0, 7)[1]
    lengths = torch.tensor([3, 0, 5])
    found = outward_log_prob(arcs, decisions, lengths)
    wanted = [outward_log_prob(arcs[row, :n, : n + 1], decisions[:n]) for row, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(found, torch.stack(wanted))
    same_gradients(found.sum(), torch.stack(wanted).sum(), [arcs, decisions])
    rubbish = arcs.detach().clone()
    rubbish[0, 3:], rubbish[0, :, 4:], rubbish[1] = torch.nan, torch.nan, torch.nan
    torch.testing.assert_close(outward_log_prob(rubbish, decisions, lengths), found)


def test_samples():
    torch.manual_seed(0)
    given, draws = random(4, 1.0, 0.1, 3), 20_000
    arcs, decisions = (part.detach().expand(draws, *part.shape).clone().requires_grad_() for part in given)
    value = outward_total(sampled, arcs, decisions)
    torch.testing.assert_close(value[0], outward_log_prob(*given))
    heads = torch.autograd.grad(value.sum(), arcs)[0].sum(-1).argmax(-1)
    trees, powers = torch.tensor(all_trees(4, PROJECTIVE)), 5 ** torch.arange(4)
    counts = ((heads * powers).sum(1)[:, None] == (trees * powers).sum(1)).sum(0).double()
    p = every(4, given).detach().softmax(0)
    assert counts.sum() == draws
    assert ((counts - draws * p) / (draws * p * (1 - p)).sqrt().clamp(min=1)).abs().max() < 5


def test_sentences_of_all_lengths_have_the_mass_of_the_process():
    """The model's sum over all sentences of n words, by the kernel, is the probability that the process ends with n words."""
    torch.manual_seed(1)
    V, longest = 2, 5
    root, attach = torch.rand(V).double().softmax(0), torch.rand(V, 2, V).double().softmax(-1)
    stop = 0.5 + 0.4 * torch.rand(V, 2, 2).double()

    @cache
    def of(word: int, n: int) -> float:
        """That a word has n - 1 words below it."""
        return sum(side(word, 0, 1, k) * side(word, 1, 1, n - 1 - k) for k in range(n))

    @cache
    def side(word: int, at: int, first: int, n: int) -> float:
        """That n words hang from it on a side, from a decision on."""
        ends = float(stop[word, at, first]) if n == 0 else 0.0
        goes = 1 - float(stop[word, at, first])
        below = [sum(float(attach[word, at, v]) * of(v, k) for v in range(V)) for k in range(1, n + 1)]
        return ends + goes * sum(p * side(word, at, 0, n - k) for k, p in enumerate(below, 1))

    total = 0.0
    for n in range(1, longest + 1):
        x = torch.cartesian_prod(*[torch.arange(V)] * n).reshape(-1, n)
        place, head = torch.arange(n), torch.arange(n + 1)
        after = (head <= place[:, None]).long()
        above = torch.cat([x[:, :1], x], 1)[:, None].expand(-1, n, -1)
        arcs = torch.where(head == 0, root.log()[x][:, :, None], attach.log()[above, after, x[:, :, None]])
        decisions = torch.stack([stop.log(), (1 - stop).log()], -1)[x]
        mass = outward_log_prob(arcs[..., None].expand(-1, -1, -1, 2), decisions).exp().sum().item()
        assert mass == pytest.approx(sum(float(root[v]) * of(v, n) for v in range(V)), rel=1e-10)
        total += mass
    assert 0.7 < total < 1


# ---- models

DMV = """\
vocab V
param root : simplex[V]
plate w[V]:
    param stop : unit[2, 2]
    plate s[2]: param attach : simplex[V]
plate sentence:
    latent head : tree[i] ~ HeadOutward(stop[x[*]])
    plate i:
        observed x : token[V] ~ Categorical(root if head == 0 else attach[x[head], head.side])
"""
HIDDEN = """\
plate q[2]: param stop : unit[2, 2]
param p : unit
plate row:
    latent head : tree[i] ~ HeadOutward(stop[z[*]])
    plate i:
        latent z : bit ~ Bernoulli(p)
        observed x : real ~ Normal(z, 1)
"""
SIDES = """\
net score(words: token[V]*) -> (head: real[4]*, dependent: real[4]*, root: real*) = lstm(embed=4, hidden=4)
vocab V
plate s[2]: param mean : real
plate row:
    plate i:
        given y : token[V]
    latent head : tree[i] ~ DependencyTree(score(y[*]))
    plate i:
        observed x : real ~ Normal(mean[head.side], 1)
"""
NET = "net decide(word: token[V]) -> unit[2, 2] = embed(4)\n"
LET = DMV.replace("plate sentence:", NET + "plate sentence:").replace(
    "    plate i:\n", "    plate i:\n        let d = decide(x)\n"
)
MODELS = {
    "observed": DMV.replace("latent", "observed"),
    "partial": DMV.replace("latent", "partial"),
    "missing words": DMV.replace("observed x", "partial x"),
    "one law for all": DMV.replace("    param stop : unit[2, 2]\n", "")
    .replace("param root", "param stop : unit[2, 2]\nparam root")
    .replace("stop[x[*]]", "stop"),
    "a let": LET.replace("stop[x[*]]", "d[*]").replace("    param stop : unit[2, 2]\n", ""),
    "alone": DMV.replace("root if head == 0 else attach[x[head], head.side]", "root").replace(
        "    plate s[2]: param attach : simplex[V]\n", ""
    ),
    "hidden": HIDDEN,
    "hidden, heads observed": HIDDEN.replace("latent head", "observed head"),
    "hidden, in part": HIDDEN.replace("latent head", "partial head").replace("latent z", "partial z"),
    "sides of any tree": SIDES,
    "unequal": DMV.replace(
        "root if head == 0 else attach[x[head], head.side]", "attach[x[head], head.side] if head != 0 else root"
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_brute_force(name: str):
    report = verify(Source(f"{name}.vispec", MODELS[name]), rows=2 if name == "missing words" else 4)
    assert not report.differs, str(report)
    assert not report.unchecked, str(report)


WHOLE = DMV.replace("plate sentence:", "net decide(words: token[V]*) -> unit[2, 2]* = lstm(embed=4, hidden=4)\nplate sentence:")
REFUSED = {
    "V212": WHOLE.replace("stop[x[*]]", "decide(x[*])").replace("    param stop : unit[2, 2]\n", ""),
    "V702": DMV.replace("    plate i:\n", "    plate i:\n        let d = stop[x] if head.side == 0 else stop[x] / 2\n").replace(
        "stop[x[*]]", "d[*]"
    ),
    "V713": DMV.replace("root if head == 0 else ", "").replace("param root : simplex[V]\n", ""),
    "V417": DMV.replace("[*]])", "[*]], roots=any)"),
    "V409": DMV.replace("unit[2, 2]", "unit[2]"),
    "V507": DMV.replace("head.side", "head.first"),
    "V201": DMV.replace("    plate i:\n", "    let d = head.side\n    plate i:\n"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_refused(code: str):
    with pytest.raises(SpecError) as caught:
        plan_of(check_model(parse(Source("m.vispec", REFUSED[code]))))
    assert code in {each.code for each in caught.value.diagnostics}


def test_commands(tmp_path: Path):
    """The best trees are told; nothing is drawn, and it is said why."""
    spec, data, run = tmp_path / "m.vispec", tmp_path / "d.txt", str(tmp_path / "run")
    spec.write_text(DMV)
    data.write_text("the dog sleeps\ndogs sleep\nsleep\n")

    def command(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == code, result.output
        return result.output

    fit = "--set", "optimizer=adam(lr=0.1)", "--epochs", "3", "--no-verify", "--out", run
    command("fit", str(spec), str(data), *fit)
    told = command("posterior", run, str(data), "--query", "mode", "--jsonl").splitlines()
    heads = [tuple(json.loads(line)["head"]) for line in told if line.startswith("{")]
    assert [len(each) for each in heads] == [3, 2, 1]
    assert all(each in all_trees(len(each), PROJECTIVE) for each in heads)
    for asked in (("sample", run, "-n", "2"), ("predict", run, str(data))):
        assert "is not compiled" in command(*asked, code=1)


def test_heads_are_shown_by_their_words():
    plates = "plate n:\n    latent head : tree[i] ~ Uniform()\n    plate i:\n        observed x : token[V] ~ Categorical(w)\n"
    model = check_model(parse(Source("m.vispec", f"vocab V\nparam w : simplex[V]\n{plates}")))
    shown = Aligned(model, {"x": ["the", "cat", "sat"]}).label("head", [2, 3, 0])
    assert shown == "the→cat cat→sat sat→(root)"
