"""Options of vocabularies: without unknown words, from a file, in small letters, of characters; and how much is unknown."""

import json

import pytest
from tabled import Files, done, files, model, vispec

from vispec.diagnostics import SpecError
from vispec.train.data import DataError, Encoders, load

__all__ = ["files"]

SPEC = "vocab V{}\nparam p : simplex[V]\nplate s:\n    plate i:\n        {} x : token[V] ~ Categorical(p)\n"


def spec(options: str = "", role: str = "observed") -> str:
    return SPEC.format(options and f"({options})", role)


def test_a_vocabulary_without_unknown_words(files: Files) -> None:
    data = files.read(spec("unknown=false"), "d.txt", "b a b\n")
    assert data.encoders.vocabularies["V"].tokens == ("b", "a")
    assert data.sizes["V"] == 2
    data.encoders.save(files.folder / "kept")
    kept = Encoders.load(files.folder / "kept")
    assert kept.vocabularies == data.encoders.vocabularies
    again = files.read(spec("unknown=false"), "e.txt", "a a\n", encoders=kept, sizes=data.sizes)
    assert again.batch([0])["x"].tolist() == [[1, 1]]


@pytest.mark.parametrize("role", ["observed", "partial"])
def test_an_unseen_tag_is_an_error_with_its_place(files: Files, role: str) -> None:
    text = spec("unknown=false", role)
    known = files.read(text, "d.txt", "b a b\n").encoders
    told = files.refused(text, "e.txt", "a b\nb c c\na d\n", encoders=known)
    assert "e.txt:2: error[D139]: row 2, column `x`: element 2: 'c' is not in vocabulary V of 2 entries" in told
    assert "e.txt:3: error[D139]: row 3, column `x`: element 2: 'd'" in told
    assert told.count("D139") == 2  # once for each word
    assert files.read(text, "f.txt", "? ?\n", encoders=known).num_rows if role == "partial" else True


def test_rare_words_of_a_vocabulary_without_unknown_words(files: Files) -> None:
    assert "D139" in files.refused(spec("unknown=false, min_count=2"), "d.txt", "b a b\n")


def test_words_of_a_file(files: Files) -> None:
    files.path("words.txt", "dog\ncat\r\n\ndog\nox\\\\y\n")
    place = files.path("m.vispec", spec('from="words.txt", end=true'))
    run = str(files.folder / "run")
    done("fit", place, files.path("d.txt", "cat cat emu\ndog\n"), "--no-verify", "--epochs", "2", "--out", run)
    lines = (files.folder / "run/vocab/V.txt").read_text().splitlines()
    assert lines == ["<unk>", "</s>", "dog", "cat", "ox\\\\y"]
    files.path("words.txt", "gone\n")  # a run has its own
    found = json.loads(done("eval", run, files.path("e.txt", "cat emu emu\n"), "--json"))
    assert found["unknown"] == {"V": {"words": 3, "unknown": 2, "rate": pytest.approx(2 / 3)}}
    files.path("words.txt", "\n".join(lines) + "\n")  # a run's own list gives the same numbers
    again = load(model(spec(f'from="{files.folder}/words.txt", end=true')), [files.path("d.txt", "cat cat emu\ndog\n")])
    assert list(again.encoders.vocabularies["V"].tokens) == ["<unk>", "</s>", "dog", "cat", "ox\\y"]


def test_words_of_a_file_that_is_not_there(files: Files) -> None:
    with pytest.raises(DataError, match=r"none.txt: error\[D101\]: cannot read the words of a vocabulary: No such file"):
        load(model(spec(f'from="{files.folder}/none.txt"')), [files.path("d.txt", "a\n")])
    files.path("odd.txt", b"\xff\n")
    with pytest.raises(DataError, match="D104"):
        load(model(spec(f'from="{files.folder}/odd.txt"')), [files.path("d.txt", "a\n")])


def test_nothing_is_counted_of_words_of_a_file() -> None:
    with pytest.raises(SpecError, match="`min_count` chooses among the words of the training data"):
        model(spec('from="words.txt", min_count=2'))
    with pytest.raises(SpecError, match="`from` must be the name of a file in quotes"):
        model(spec("from=true"))


@pytest.mark.parametrize(("options", "words", "text"), [("lower", "A\nb\nB\n", "a B b"), ("chars", "a\nb\n", "ab")])
def test_small_letters_and_characters_of_a_file(files: Files, options: str, words: str, text: str) -> None:
    place = files.path("words.txt", words)
    data = files.read(spec(f'from="{place}", {options}'), "d.txt", f"{text}\n")
    assert data.encoders.vocabularies["V"].tokens == ("<unk>", "a", "b")
    assert data.batch([0])["x"].tolist() == [[1, 2, 2][: len(text.replace(" ", ""))]]


def test_how_much_is_unknown(files: Files) -> None:
    """Of words alone: not of symbols, padding or missing cells."""
    place, run = files.path("m.vispec", spec("begin=true, end=true, min_count=2", "partial")), str(files.folder / "run")
    done("fit", place, files.path("d.txt", "a a b\n"), "--no-verify", "--epochs", "2", "--out", run)
    data = files.path("e.txt", "a c ? ?\na\n")
    assert json.loads(done("eval", run, data, "--json"))["unknown"] == {"V": {"words": 3, "unknown": 1, "rate": 1 / 3}}
    assert "unknown in V         1 of 3 words, 33.33%" in done("eval", run, data)
    assert vispec("eval", run, files.path("f.txt", "a\n")).output.count("0 of 1 words") == 1


@pytest.mark.parametrize(("options", "entries"), [("chars", "4 characters"), ("subword(pieces=8)", "pieces")])
def test_what_is_unknown_is_called_what_it_is(files: Files, options: str, entries: str) -> None:
    place, run = files.path("m.vispec", spec(options)), str(files.folder / "run")
    data = files.path("d.txt", "abba\n")
    done("fit", place, data, "--no-verify", "--epochs", "2", "--out", run)
    assert f" {entries}, 0.00%" in done("eval", run, data)
