"""A grammar as a spec: against all parses by `verify`, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vispec.answers.show import brackets
from vispec.cli.main import main
from vispec.source import Source
from vispec.verify.build import build, randomise
from vispec.verify.data import random_batch
from vispec.verify.oracle.parses import all_parses, log_density

SPECS = Path(__file__).parents[2] / "specs"

SPEC = """\
size V = 3
size NT = 2
size PT = 2
param root : simplex[NT]
plate a[NT]:
    param rule : real[NT + PT, NT + PT]
plate p[PT]:
    param emit : simplex[V]
plate row:
    latent t : parse[i, NT, PT] ~ Grammar(root, rule[*])
    plate i:
        observed x : category[V] ~ Categorical(emit[t])
"""


def test_verified(tmp_path: Path):
    (tmp_path / "s.vispec").write_text(SPEC)
    found = CliRunner().invoke(main, ["verify", str(tmp_path / "s.vispec")])
    assert found.exit_code == 0, found.output
    assert " 0 differ" in found.output


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("latent t", "given t", "V015"),
        ("parse[i, NT, PT]", "parse[i, NT]", "V410"),
        ("real[NT + PT, NT + PT]", "real[NT, NT]", "V409"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, code: str):
    (tmp_path / "s.vispec").write_text(SPEC.replace(old, new))
    found = CliRunner().invoke(main, ["check", str(tmp_path / "s.vispec")])
    assert code in found.output
    assert "Traceback" not in found.output


def test_best_parse():
    """Against all parses, one by one: the nodes in preorder are those of the one that is likeliest with what is seen."""
    built = build(Source("s.vispec", SPEC), {})
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        randomise(built, generator)
        batch = random_batch(built.model, built.sizes, 4, generator, longest=4)
        found, mode = (built.module.posterior(batch, query)["t"] for query in ("tree", "mode"))
        root, rule = (getattr(built.module, name).double() for name in ("root", "rule"))
        for row, count in enumerate(batch["x_len"].tolist()):
            emit = built.module.emit[:, batch["x"][row, :count]].double().log()  # (PT, count)
            parses = all_parses(count, 2, 2)
            scores = [
                log_density(torch.tensor(parse), {"root": root, "rule": rule})
                + sum(emit[tag, i] for i, tag in enumerate(parse[:count]))
                for parse in parses
            ]
            best = parses[int(torch.stack(scores).argmax())]
            nodes = [tuple(node) for node in found[row].tolist() if node[0] >= 0]
            assert len(nodes) == 2 * count - 1
            assert told(nodes, 2) == best
            assert tuple(mode[row, :count].tolist()) == best[:count]
            assert (found[row, 2 * count - 1 :] == -1).all()


def told(nodes: list[tuple[int, int, int]], symbols: int) -> tuple[int, ...]:
    """Nodes in preorder as `all_parses` tells a parse: preterminals, then each node's symbol and those of its children."""
    label = {(first, last): name for first, last, name in nodes}
    rules = list[int]()
    for first, last, name in nodes:
        if first < last:
            left = next(node for node in nodes[nodes.index((first, last, name)) + 1 :] if node[0] == first)
            rules += [name, left[2], label[left[1] + 1, last]]
    return (*(name - symbols for first, last, name in nodes if first == last), *rules)


def test_best_parse_inside_a_bound():
    """Given one draw of a sentence's code."""
    built = build(Source.read(SPECS / "compound_pcfg.vispec"), {})
    batch = random_batch(built.model, built.sizes, 3, torch.Generator().manual_seed(0), longest=4)
    torch.manual_seed(0)
    found = built.module.posterior(batch, "tree")["t"]
    counts = (found[..., 0] >= 0).sum(-1)
    assert counts.tolist() == (2 * batch["x_len"] - 1).tolist()
    assert found[:, 0, 1].tolist() == (batch["x_len"] - 1).tolist()


def test_brackets(tmp_path: Path):
    (tmp_path / "s.vispec").write_text(SPEC.replace("size V = 3\n", "vocab V\n").replace("category[V]", "token[V]"))
    (tmp_path / "d.txt").write_text("the cat sat\na dog\n")

    def vispec(*arguments: str) -> str:
        found = CliRunner().invoke(main, [*arguments])
        assert found.exit_code == 0, found.output
        return found.stdout

    run, data = str(tmp_path / "run"), str(tmp_path / "d.txt")
    vispec("fit", str(tmp_path / "s.vispec"), data, "--set", "optimizer=adam", "--epochs", "2", "--threads", "1", "--out", run)
    first, second = (
        line["t"] for line in map(json.loads, vispec("posterior", run, data, "--query", "tree", "--jsonl").splitlines())
    )
    assert [node[:2] for node in second] == [[0, 1], [0, 0], [1, 1]]
    assert len(first) == 5
    text = vispec("posterior", run, data, "--query", "tree")
    top, left, right = (node[2] for node in second)
    assert f"({top} ({left} a) ({right} dog))" in text
    assert text.count("(") == text.count(")")


def test_brackets_close_where_phrases_end():
    nodes = [(0, 3, 0), (0, 1, 1), (0, 0, 2), (1, 1, 3), (2, 3, 1), (2, 2, 2), (3, 3, 4)]
    assert brackets(nodes, None) == "(0 (1 (2 0) (3 1)) (1 (2 2) (4 3)))"
    assert brackets(nodes, [*"abcd"]) == "(0 (1 (2 a) (3 b)) (1 (2 c) (4 d)))"
    assert brackets(nodes, [*"abc"]) == brackets(nodes, None)  # a word for some elements is none for others
    assert brackets(nodes[1:4], [*"ab"]) == "(1 (2 a) (3 b))"


def test_brackets_where_sequences_end_by_a_symbol(tmp_path: Path):
    """It is an element of the parse."""
    (tmp_path / "s.vispec").write_text(SPEC.replace("size V = 3\n", "vocab V(end=true)\n").replace("category[V]", "token[V]"))
    (tmp_path / "d.txt").write_text("the cat\na dog\n")
    run, data, adam = str(tmp_path / "run"), str(tmp_path / "d.txt"), "optimizer=adam"
    for words in (
        ("fit", str(tmp_path / "s.vispec"), data, "--set", adam, "--epochs", "1", "--threads", "1", "--out", run),
        ("posterior", run, data, "--query", "tree"),
    ):
        found = CliRunner().invoke(main, [*words])
        assert found.exit_code == 0, found.output
    assert all(word in found.stdout for word in ("the)", "cat)", "</s>))"))


def test_a_row_without_a_parse_is_named(tmp_path: Path):
    (tmp_path / "s.vispec").write_text(SPEC.replace("size V = 3\n", "vocab V\n").replace("category[V]", "token[V]"))
    (tmp_path / "d.txt").write_text("the cat\nstocks\na dog\n")
    found = CliRunner().invoke(
        main, ["fit", str(tmp_path / "s.vispec"), str(tmp_path / "d.txt"), "--out", str(tmp_path / "run")]
    )
    assert found.exit_code == 1, found.output
    assert "d.txt:2" in found.stderr
    assert "D133" in found.stderr
    assert "`parse[i, NT, PT]` has 2 elements at least, and plate `i` has 1 here" in " ".join(found.stderr.split())
