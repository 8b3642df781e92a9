"""Pieces of words: learnt from the training data, kept in a run, and put together again in what is drawn and predicted."""

import json

from tabled import Files, done, files, model, vispec

from vispec.source import Source
from vispec.syntax.format import format_tree
from vispec.syntax.parse import parse
from vispec.train.data import Encoders, load
from vispec.train.data.encoding.subwords import joined
from vispec.train.data.encoding.vocab import Vocabulary

__all__ = ["files"]

SPEC = "vocab V(subword(pieces={}){})\nparam p : simplex[V]\nplate s:\n    plate i:\n        {} x : token[V] ~ Categorical(p)\n"
CHOSEN = """vocab V(subword(pieces=14), end=true, lower)
net lm(c: category[3], words: token[V]*) -> simplex[V] = gru(embed=16, hidden=24)
plate s:
    given c : category[3]
    chain i:
        observed x : token[V] ~ Categorical(lm(c, x[<i]))
fit:
    optimizer : adam(lr=0.02)
    epochs    : 40
"""
TEXTS = ("House mouse", "Mouse", "Louse mouse house")


def spec(pieces: int = 12, options: str = "", role: str = "observed") -> str:
    return SPEC.format(pieces, options and f", {options}", role)


def test_words_become_pieces_that_were_learnt(files: Files) -> None:
    data = files.read(spec(), "d.txt", "house mouse\nhouse\n\nmouse mouse house\n")
    vocabulary = data.encoders.vocabularies["V"]
    assert len(vocabulary) == data.sizes["V"] == 12
    batch = data.batch(range(4))
    told = [vocabulary.decode(row[:n]) for row, n in zip(batch["x"].tolist(), batch["x_len"].tolist(), strict=True)]
    assert [joined(vocabulary, row) for row in told] == [["house", "mouse"], ["house"], [], ["mouse", "mouse", "house"]]
    assert len(told[1]) > 1


def test_learning_and_keeping_give_the_same(files: Files) -> None:
    text = "house mouse\nlouse\n"
    first, again = (files.read(spec(options="lower"), "d.txt", text).encoders for _ in range(2))
    assert first == again
    first.save(files.folder / "kept")
    assert sorted(first.files) == ["V.json", "V.txt", "encoders.json"]
    kept = Encoders.load(files.folder / "kept")
    assert kept == first
    other = load(model(spec(options="lower")), [files.path("e.txt", "Louse hôuse\n")], encoders=kept)
    ids = other.batch([0])["x"][0].tolist()
    assert joined(kept.vocabularies["V"], kept.vocabularies["V"].decode(ids)) == ["louse", "h<unk>use"]


def test_missing_words_stay_missing(files: Files) -> None:
    data = files.read(spec(role="partial"), "d.txt", "house ? mouse\n? mouse\n")
    batch = data.batch(range(2))
    known = batch["x_observed"].tolist()
    assert known[1][0] is False
    assert known[1][1] is True
    assert sum(known[0][: batch["x_len"][0]]) == batch["x_len"][0] - 1


def test_pieces_are_put_together_between_symbols() -> None:
    vocabulary = Vocabulary("V", (), begin="<s>", end="</s>")
    assert joined(vocabulary, ["<s>", "▁ho", "use", "▁a", "</s>", "use"]) == ["<s>", "house", "a", "</s>", "use"]
    assert joined(vocabulary, ["use", "s", "<unk>", "▁", "x"]) == ["uses<unk>", "x"]


def test_what_is_predicted_is_words_again(files: Files) -> None:
    rows = "".join(f"{c},{text}\n" for c, text in enumerate(TEXTS))
    data, run = files.path("d.csv", "c,x\n" + rows * 20), str(files.folder / "run")
    done("fit", files.path("m.vispec", CHOSEN), data, "--no-verify", "--out", run)
    for rule in ("greedy", "beam(width=3)"):
        found = done("predict", run, files.path("e.csv", "c\n0\n1\n2\n"), "--jsonl", "--rule", rule)
        assert [json.loads(line)["x"] for line in found.splitlines()] == [text.lower().split() for text in TEXTS]
    drawn = done("sample", run, files.path("e.csv", "c\n0\n1\n2\n"), "-n", "3", "--jsonl")
    assert "house" in {word for line in drawn.splitlines() for word in json.loads(line)["x"]}
    (files.folder / "run/vocab/V.json").write_text("{}")
    refused = vispec("eval", run, data)
    assert refused.exit_code == 1
    assert "V.json" in refused.stderr


def test_the_option_is_printed_as_it_is_written() -> None:
    text = spec(14, "end=true")
    assert format_tree(parse(Source("m.vispec", text))).startswith("vocab V(subword(pieces=14), end=true)\n")
