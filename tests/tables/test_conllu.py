"""`_` in CoNLL-U says that nothing is given, but where it is a word."""

from contextlib import nullcontext

import pytest
from tabled import Files, files

from vispec.train.data import DataError

__all__ = ["files"]

SPEC = "vocab V\nparam p : simplex[V]\nplate s:\n    plate i:\n        {} y : token[V] ~ Categorical(p)\n"
WORDS = [["the", "_", "DET"], ["_", "_", "_"], ["sat", "sit", "_"], ["dogs", "_", "NOUN"]]
FILE = "".join(f"{i}\t{form}\t{lemma}\t{upos}\t_\t_\t_\t_\t_\t_\n" for i, (form, lemma, upos) in enumerate(WORDS, 1))
KNOWN = {
    "form": ["the", "_", "sat", "dogs"],
    "lemma": [None, "_", "sit", None],
    "upos": ["DET", None, None, "NOUN"],
    "xpos": [None] * 4,
    "feats": [None] * 4,
    "deprel": [None] * 4,
}


@pytest.mark.parametrize("name", KNOWN)
def test_an_underscore_is_missing_where_it_is_no_word(name: str, files: Files) -> None:
    whole = "\n1\tx\tx\tx\tx\tx\t0\tx\tx\tx\n"  # a vocabulary needs a word
    data = files.read(SPEC.format("partial"), "d.conllu", FILE + whole, columns={"y": (name,)})
    batch, tokens = data.batch([0]), data.encoders.vocabularies["V"].tokens
    seen = zip(batch["y"][0].tolist(), batch["y_observed"][0].tolist(), strict=True)
    assert [tokens[number] if there else None for number, there in seen] == KNOWN[name]
    assert ("_" in tokens) == ("_" in KNOWN[name])


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("law", ["observed y : token[V] ~ Categorical(p)", "given y : token[V]"])
def test_what_must_be_there_is_named_where_it_is_not(name: str, law: str, files: Files) -> None:
    spec = SPEC.format("partial").replace("partial y : token[V] ~ Categorical(p)", law)
    spec += "        partial  z : token[U] ~ Categorical(q)\nvocab U\nparam q : simplex[U]\n"
    none = "no row has a token" if set(KNOWN[name]) == {None} else r"error\[D117\]: .*the value is missing"
    with pytest.raises(DataError, match=none) if None in KNOWN[name] else nullcontext():
        files.read(spec, "d.conllu", FILE, columns={"y": (name,), "z": ("upos",)})
