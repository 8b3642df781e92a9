"""Bags of words in the form of the UCI collections: known by their header, and read as documents of words."""

import gzip
from collections.abc import Callable

import pytest
from tabled import Files, files

from vispec.train.data import Dataset

__all__ = ["files"]

BAG = "3\n5\n6\n1 1 2\n1 3 1\n2 2 4\n2 5 1\n3 1 1\n3 4 2\n"
DOCUMENTS = [[1, 1, 3], [2, 2, 2, 2, 5], [1, 4, 4]]
NUMBERS = "size V\nparam p : simplex[V]\nplate doc:\n    plate n:\n        observed w : category[V] ~ Categorical(p)\n"
WORDS = NUMBERS.replace("size V", "vocab V").replace("category", "token")


def rows(data: Dataset) -> list[list[int]]:
    batch = data.batch(range(data.num_rows))
    return [row[:n] for row, n in zip(batch["w"].tolist(), batch["w_len"].tolist(), strict=True)]


@pytest.mark.parametrize("name", ["docword.txt", "docword.kos.txt", "words.txt", "words.docword", "docword.kos.txt.gz"])
@pytest.mark.parametrize(
    "change", [lambda text: text, lambda text: text.replace(" ", "\t"), lambda text: text.replace("\n", "\r\n")]
)
def test_documents_of_words(files: Files, name: str, change: Callable[[str], str]) -> None:
    content = change(BAG).encode()
    data = files.read(NUMBERS, name, gzip.compress(content) if name.endswith(".gz") else content)
    assert rows(data) == [[word - 1 for word in document] for document in DOCUMENTS]
    assert data.sizes["V"] == 5
    assert [warning.message for warning in data.warnings] == ["a bag of words: 3 documents, 5 words"]


def test_words_that_never_occur_and_documents_without_words(files: Files) -> None:
    data = files.read(NUMBERS, "d.txt", "4\n7\n3\n3 2 1\n1 6 1\n1 2 2\n")  # in no order
    assert (rows(data), data.sizes["V"]) == ([[5, 1, 1], [], [1], []], 7)


def test_words_of_a_vocabulary(files: Files) -> None:
    data = files.read(WORDS, "d.txt", BAG)
    told = data.encoders.vocabularies["V"].decode
    assert [told(row) for row in rows(data)] == [[str(word) for word in document] for document in DOCUMENTS]


@pytest.mark.parametrize("spec", [NUMBERS, WORDS])
def test_the_words_beside_it(files: Files, spec: str) -> None:
    files.path("vocab.kos.txt", "ape\nbee\ncat\ndog\neel\n")
    data = files.read(spec, "docword.kos.txt", BAG)
    names = data.encoders.vocabularies["V"].tokens if spec == WORDS else data.encoders.labels["V"]
    assert names is not None
    assert [names[word] for word in rows(data)[0]] == ["ape", "ape", "cat"]
    assert "vocab.kos.txt" in data.warnings[0].message
    files.path("vocab.kos.txt", "ape\nbee\ncat\ndog\n")
    assert "4 distinct words on 4 lines" in files.refused(spec, "docword.kos.txt", BAG)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("d.txt", BAG.removesuffix("3 4 2\n"), "d.txt:3: error[D132]: the third line says that 6 lines follow, and 5 do"),
        ("d.txt", BAG.removesuffix(" 2\n"), "d.txt:9: error[D105]: '3 4' is not a document, a word and a count"),
        ("docword.a.txt", BAG.replace("1 3 1", "1 3"), "docword.a.txt:5: error[D105]: '1 3' is not a document"),
        ("d.docword", BAG.replace("3\n5", "3 5", 1), "d.docword:1: error[D105]: the first three lines"),
        ("d.docword", BAG.replace("2 5 1", "2 6 1"), "d.docword:7: error[D132]: word 6 is not in 1..5, as line 2 says"),
        ("d.docword", BAG.replace("2 5 1", "4 5 1"), "d.docword:7: error[D132]: document 4 is not in 1..3, as line 1 says"),
    ],
)
def test_what_does_not_fit(files: Files, name: str, content: str, what: str) -> None:
    assert what in files.refused(NUMBERS, name, content)


@pytest.mark.parametrize("content", ["3\n5\n6\n1 9 2\n", "3\n5\n6\n1 1\n2 2\n", "3 5\n6\n1\n1 1 1\n", "1\n2\n3\n"])
def test_other_numbers_are_text(files: Files, content: str) -> None:
    assert files.read(NUMBERS, "d.txt", content).num_rows == content.count("\n")
