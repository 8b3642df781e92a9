"""A run is used on files of other forms than that of its fit: the columns it remembers hold for files that have them."""

import json

import pytest
from tabled import Files, done, files, vispec

__all__ = ["files"]

TAGGER = """\
vocab W
vocab TAG
net tag(words: token[W]*) -> simplex[TAG]* = lstm(embed=4, hidden=4)
plate sentence:
    plate i:
        given    y : token[W]
        observed x : token[TAG] ~ Categorical(tag(y[*]))
"""
HIDDEN = """\
vocab W
vocab TAG
param init : simplex[TAG]
plate k[TAG]:
    param trans : simplex[TAG]
    param emit  : simplex[W]
plate sentence:
    chain t:
        partial  x : token[TAG] ~ Categorical(init) then Categorical(trans[x[t-1]])
        observed y : token[W]   ~ Categorical(emit[x])
"""
SENTENCES = [("the cat sat", "DET NOUN VERB"), ("dogs ran", "NOUN VERB")]
TREEBANK = "\n".join(
    "".join(
        f"{i}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_\n" for i, (word, tag) in enumerate(zip(*map(str.split, pair), strict=True), 1)
    )
    for pair in SENTENCES
)
TEXT = "dogs sat the\nran\n"
WORDS = [line.split() for line in TEXT.splitlines()]


def fitted(files: Files, spec: str) -> str:
    run = str(files.folder / "run")
    data, options = files.path("train.conllu", TREEBANK), ("--columns", "y=form", "--columns", "x=upos")
    done("fit", files.path("m.vispec", spec), data, *options, "--epochs", "20", "--no-verify", "--out", run)
    return run


def tags(*arguments: str) -> list[list[str]]:
    return [json.loads(line)["x"] for line in done("predict", *arguments, "--jsonl").splitlines()]


@pytest.fixture
def forms(files: Files) -> list[tuple[str, ...]]:
    """The same sentences as arguments of a command, in every form."""
    text = files.path("new.txt", TEXT)
    rows = {
        key: files.path(f"{key}.jsonl", "".join(json.dumps({key: words}) + "\n" for words in WORDS)) for key in ("y", "form")
    }
    bank = "\n\n".join("\n".join(f"{i}\t{word}\t" + "\t".join("_" * 8) for i, word in enumerate(line, 1)) for line in WORDS)
    tagged = files.path("new.conllu", bank + "\n")
    positions = [(text, "--columns", "y=#1"), (f"y={text}", "--columns", "y=#1")]
    return [(text,), (f"y={text}",), *positions, (rows["y"],), (rows["form"],), (rows["y"], "--columns", "y=y"), (tagged,)]


def test_a_tagger_of_a_treebank_tags_text(files: Files, forms: list[tuple[str, ...]]) -> None:
    run = fitted(files, TAGGER)
    found = [tags(run, *form) for form in forms]
    assert [len(row) for row in found[0]] == [3, 1]
    assert all(each == found[0] for each in found)
    assert found[0] == tags(run, files.path("both.jsonl", json_rows(found[0])))


def json_rows(tagged: list[list[str]]) -> str:
    """Words with their tags under the variables' names."""
    return "".join(json.dumps({"y": words, "x": tags}) + "\n" for words, tags in zip(WORDS, tagged, strict=True))


def test_tags_in_the_columns_of_conllu(files: Files) -> None:
    run = fitted(files, TAGGER)
    text = files.path("new.txt", TEXT)
    found = tags(run, text)
    lines = done("predict", run, text, "--conllu").splitlines()
    assert [line.split("\t")[:5] for line in lines[:3]] == [
        [str(i), word, "_", tag, "_"] for i, (word, tag) in enumerate(zip(WORDS[0], found[0], strict=True), 1)
    ]
    assert (lines[3], lines[5:]) == ("", [""])
    blank = done("predict", run, files.path("blank.txt", "dogs\n\nsat the\n"), "--conllu").split("\n\n")
    known = tags(run, files.path("full.txt", "dogs\nsat the\n"))
    assert [[line.split("\t")[3] for line in part.strip().splitlines()] for part in blank][:2] == known
    whole = "# a comment\n1-2\tdogs\t_\t_\t_\t_\t_\t_\t_\t_\n1\tdogs\tdog\t_\tN\t_\t2\tnsubj\t_\tMisc=1\n\n"
    tagged = done("predict", run, files.path("new.conllu", whole), "--conllu")
    assert tagged == whole.replace("dog\t_\tN", f"dog\t{tags(run, files.path('one.txt', 'dogs'))[0][0]}\tN")
    again = files.path("again.conllu", tagged)  # what is written can be read
    assert done("predict", run, again, "--metric", "accuracy", "--jsonl") == '{"x": {"accuracy": 1.0}}\n'
    assert "neither CoNLL-U nor text" in vispec("predict", run, files.path("r.jsonl", '{"y": ["a"]}\n'), "--conllu").output


def test_a_partial_tagger_tags_text_that_has_no_tags(files: Files, forms: list[tuple[str, ...]]) -> None:
    run = fitted(files, HIDDEN)
    found = [tags(run, *form, "--absent", "x") for form in forms]
    assert [len(row) for row in found[0]] == [3, 1]
    assert all(each == found[0] for each in found)
    assert "--absent x" in vispec("predict", run, *forms[0]).output
    known = files.path("known.conllu", TREEBANK)
    told = vispec("predict", run, known, "--metric", "accuracy")
    assert (told.exit_code, "--target x hides it" in told.output) == (1, True)
    hidden = json.loads(done("predict", run, known, "--metric", "accuracy", "--target", "x", "--jsonl"))["x"]["accuracy"]
    given = [tag.split() for _, tag in SENTENCES]
    found = tags(run, files.path("words.txt", "\n".join(words for words, _ in SENTENCES)), "--absent", "x")
    assert hidden == sum(a == b for pair in zip(found, given, strict=True) for a, b in zip(*pair, strict=True)) / 5


def test_what_a_run_read_is_named_where_nothing_is_like_it(files: Files) -> None:
    run = fitted(files, TAGGER)
    told = vispec("predict", run, files.path("other.jsonl", '{"words": ["dogs"], "more": ["sat"]}\n')).output
    assert "no column for `y`, which the run read from `form`" in told
    asked = vispec("predict", run, files.path("new.txt", TEXT), "--columns", "y=form").output
    assert "there is no column `form`, which --columns asks for `y`" in asked
    assert "leave --columns out" in asked
