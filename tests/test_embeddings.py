"""Tables of vectors by name: shared by nets, tied to the outputs, started at vectors of a file, frozen."""

import gzip
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from torch.nn import functional as F

from vispec.cli.main import main
from vispec.compile import class_of, compile_spec
from vispec.graph.build import build_graph
from vispec.graph.layout.figure import make_figure
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse
from vispec.verify.build import load
from vispec.verify.verify import verify

TIED = """vocab V(end=true)
embedding E(V, 4)
net lm(words: token[V]*) -> simplex[V] = lstm(embed=E, hidden={hidden}) |> tied(E)
plate sentence:
    chain i:
        observed x : token[V] ~ Categorical(lm(x[<i]))
"""
SHARED = """size Z = 3
vocab V(end=true)
embedding E(V, 4{options})
net lm(z: real[Z], words: token[V]*) -> simplex[V] = gru(embed=E, hidden=4, init=z) |> tied(E)
net encode(words: token[V]*) -> (loc: real[Z], scale: positive[Z]) = embed(E) |> mean |> mlp([8])
plate sentence:
    latent z : real[Z] ~ Normal(0, 1)
    chain i:
        observed x : token[V] ~ Categorical(lm(z, x[<i]))
guide:
    z ~ Normal(encode(x[*]))
fit:
    epochs : 2
"""
VECTORS = "3 4\nthe 1 2 3 4\ncat -.1 .2 .3 .4\nzebra 1 1 1 1\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    Path("d.txt").write_text("the cat sat\nthe dog sat\na cat\n" * 4)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def fit(spec: str, out: str, *options: str) -> Result:
    Path("m.vispec").write_text(spec)
    return run("fit", "m.vispec", "d.txt", "--no-verify", "--out", out, *options)


def parameters(out: str) -> dict[str, torch.Tensor]:
    return load_file(f"{out}/best.safetensors")


def row(out: str, word: str) -> int:
    return Path(out, "vocab", "V.txt").read_text().split().index(word)


@pytest.mark.parametrize("hidden", [4, 6])
def test_a_tied_table_is_one_and_reads_and_scores(hidden: int) -> None:
    source = Source("m.vispec", TIED.format(hidden=hidden))
    text = compile_spec(source, {"V": 5})
    module = load(text, class_of(text))
    table = module.get_parameter("E.weight")
    assert [name for name, value in module.state_dict().items() if value.shape == (5, 4)] == ["E.weight"]
    assert ("lm.tied.weight" in module.state_dict()) == (hidden != 4)
    words = torch.tensor([[1, 3, 2], [4, 2, 0]])
    net = module.get_submodule("lm")
    read = torch.cat((net.start.expand(2, 1, 4), F.embedding(words[:, :-1], table)), 1)  # type: ignore[union-attr]
    states = net.lstm(read)  # type: ignore[operator]
    states = states if hidden == 4 else net.tied(states)  # type: ignore[operator]
    logits = states @ table.T + net.out.bias  # type: ignore[union-attr]
    expected = -F.cross_entropy(logits.transpose(1, 2), words, reduction="none").sum(1)
    got = module.log_prob({"x": words, "x_len": torch.tensor([3, 3])})
    torch.testing.assert_close(got, expected)
    for a, b in zip(*(torch.autograd.grad(each.sum(), table) for each in (got, expected)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("spec", [TIED.format(hidden=6), SHARED.format(options=""), SHARED.format(options=", frozen")])
def test_they_agree_with_enumeration(spec: str) -> None:
    report = verify(Source("m.vispec", spec), {})
    assert not report.differs
    assert not report.unchecked


def test_a_shared_table_is_kept_once_and_counted_once() -> None:
    told = fit(SHARED.format(options=""), "r")
    assert told.exit_code == 0, told.output
    assert [name for name, value in parameters("r").items() if value.shape == (7, 4)] == ["E.weight"]
    assert "E       embedding, 28 numbers" in told.output


def test_from_starts_at_the_vectors_of_a_file_and_frozen_keeps_them() -> None:
    for name in ("vectors.txt", "vectors.txt.gz"):
        Path("vectors.txt").write_text(VECTORS)
        Path("vectors.txt.gz").write_bytes(gzip.compress(VECTORS.encode()))
        told = fit(SHARED.format(options=f', from="{name}", frozen'), name[8:])
        assert told.exit_code == 0, told.output
        assert f"E: 2 of 7 words start at their vectors in {name}, 5 at random" in told.output
        assert "E       embedding, fixed, 28 numbers" in told.output
        table = parameters(name[8:])["E.weight"]
        torch.testing.assert_close(table[row(name[8:], "the")], torch.tensor([1.0, 2, 3, 4]))
        torch.testing.assert_close(table[row(name[8:], "cat")], torch.tensor([-0.1, 0.2, 0.3, 0.4]))


def test_a_table_that_is_not_frozen_learns_and_fixed_says_so_from_outside() -> None:
    Path("vectors.txt").write_text(VECTORS.split("\n", 1)[1])  # as GloVe has it
    spec = SHARED.format(options=', from="vectors.txt"')
    fit(spec, "free")
    fit(spec + "    fixed : E\n", "kept")
    assert not torch.equal(parameters("free")["E.weight"][row("free", "the")], torch.tensor([1.0, 2, 3, 4]))
    assert torch.equal(parameters("kept")["E.weight"][row("kept", "the")], torch.tensor([1.0, 2, 3, 4]))


def test_another_run_goes_before_the_file() -> None:
    Path("vectors.txt").write_text(VECTORS)
    spec = SHARED.format(options=', from="vectors.txt"')
    fit(spec, "first", "--epochs", "3")
    Path("vectors.txt").unlink()
    told = fit(SHARED.format(options=', from="vectors.txt", frozen'), "second", "--from", "first")
    assert told.exit_code == 0, told.output
    assert torch.equal(parameters("second")["E.weight"], parameters("first")["E.weight"])


def test_a_frozen_table_without_a_start_is_named() -> None:
    told = fit(SHARED.format(options=", frozen"), "r")
    assert '`E` is fixed where it happens to start: write `embedding E(V, 4, from="...")`' in told.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read vectors.txt: No such file"),
        ("2 3\nthe 1 2 3\n", "vectors.txt, line 1: 3 numbers, and the embedding has 4"),
        ("cat 1 2 3 4\nthe 1 2 3\n", "vectors.txt, line 2: 3 numbers, and the embedding has 4"),
        ("cat 1 2 3 4\nthe 1 2 3 x\n", "vectors.txt, line 2: not a word and 4 numbers"),
        ("zebra 1 2 3 4\n", "vectors.txt: it has a vector of no word of `V`"),
        ("the 1 2 3 nan\n", "vectors.txt: some of its numbers are not finite"),
        (b"\xff\xfe 1 2 3 4\n", "vectors.txt: the file is not in UTF-8"),
    ],
)
def test_a_file_without_such_vectors_is_named(content: str | bytes | None, words: str) -> None:
    if content is not None:
        Path("vectors.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    told = fit(SHARED.format(options=', from="vectors.txt"'), "r")
    assert told.exit_code == 1, told.output
    assert words in told.output + told.stderr
    assert not Path("r").exists()


def test_a_table_is_printed_and_drawn() -> None:
    spec = SHARED.format(options=', from="vectors.txt", frozen')
    source = Source("m.vispec", spec)
    assert format_tree(parse(source)).splitlines()[2] == 'embedding E(V, 4, from="vectors.txt", frozen)'
    graph = build_graph(check_model(parse(source)))
    assert {head for _, head in graph.graph.out_edges("E")} == {"lm", "encode"}
    assert "E" not in {mark.key for mark in make_figure(graph).marks}
    assert "E" in {mark.key for mark in make_figure(graph, factors=True).marks}


def test_at_the_root_of_a_tree_a_table_has_no_row() -> None:
    spec = """vocab V
embedding E(V, 4)
net score(head: token[V], word: token[V]) -> real = embed(E) |> mlp([4])
plate sentence:
    plate i:
        given w : token[V]
    given h : tree[i]
    plate i:
        observed y : real ~ Normal(score(w[h], w), 1)
"""
    Path("m.vispec").write_text(spec)
    told = run("check", "m.vispec")
    assert "V713" in told.output + told.stderr
    assert "`E` has no row for the root" in told.output + told.stderr
