"""From what is stored to a Dataset: what numbers of words and labels stand for, now that all are known."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vispec.model.model import Model, Vocab
from vispec.train.data.cached.gather import OBSERVED, STARTS, VALUES
from vispec.train.data.cached.store import Stored
from vispec.train.data.columns import Array
from vispec.train.data.dataset import Dataset, Ragged
from vispec.train.data.diagnostics import DataDiagnostic, Problems
from vispec.train.data.encoding.categories import Raw, shared_labels
from vispec.train.data.encoding.encode import Field
from vispec.train.data.encoding.labels import card_of, group_of, is_coded, label_of
from vispec.train.data.encoding.tokens import lines_of
from vispec.train.data.encoding.vocab import Encoders, Vocabulary, build, listed, specials
from vispec.train.data.sizes import Sizes


@dataclass
class Settled:
    """codes: by vocabulary and group of labels, what each stored number stands for. unknown: some have been met that stand for
    nothing."""

    encoders: Encoders
    codes: Mapping[str, Array]
    sizes: Sizes
    unknown: bool


def settle(
    model: Model, stored: Stored, encoders: Encoders | None, more: bool, sizes: Mapping[str, int], file: str, problems: Problems
) -> Settled:
    """Vocabularies and labels of these data, or those that are given. file: to name where something is wrong."""
    known = encoders or Encoders()
    training = encoders is None or more
    found = Sizes(model, {**stored.meta["sizes"], **sizes})
    codes: dict[str, Array] = {}
    unknown = False
    vocabularies = dict(known.vocabularies)
    for vocab in _used(model, stored):
        words, counts = stored.words(vocab.name)
        if vocab.name not in vocabularies:
            vocabularies[vocab.name] = _built(model, vocab, words, counts, file, problems)
        ids, other = vocabularies[vocab.name].ids, 0 if vocabularies[vocab.name].unknown else -1
        codes[vocab.name] = np.array([ids.get(word, other) for word in words], np.int32)
        unknown |= bool((codes[vocab.name][counts > 0] < 0).any())
        codes[vocab.name] = np.append(np.int32(0), codes[vocab.name])
        found.known[vocab.name] = len(vocabularies[vocab.name])
    labels = dict(known.labels)
    for group, members in _groups(model, stored).items():
        met = stored.meta["labels"].get(group, [])
        if group not in labels and training:
            labels[group] = _labels(model, group, members, stored, met, found, file, problems)
        place = None if labels.get(group) is None else {label: i for i, label in enumerate(labels[group] or ())}
        codes[group] = np.array([int(each) if place is None else place.get(each, -1) for each in met], np.int32)
        card = card_of(model, model.variable[members[0]].type)
        if found.value(card) is None and place:
            found.learn(card, len(place), f"the labels of `{members[0]}`")
        size = found.value(card)
        unknown |= bool((codes[group] < 0).any()) or (size is not None and max(len(place or ()), *codes[group] + 1, 0) > size)
        codes[group] = np.append(np.int32(0), codes[group])
    problems.check()
    built = Encoders(vocabularies, labels)
    return Settled(built.under(known) if training else known, codes, found, unknown)


def _used(model: Model, stored: Stored) -> list[Vocab]:
    names = {str(model.variable[each["name"]].type.card) for each in _fields(stored, model, "token")}
    return [vocab for vocab in model.vocabs if vocab.name in names]


def _fields(stored: Stored, model: Model, domain: str) -> list[Any]:
    return [each for each in stored.meta["fields"] if model.variable[each["name"]].type.domain == domain]


def _groups(model: Model, stored: Stored) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in stored.meta["fields"]:
        variable = model.variable[each["name"]]
        if is_coded(model, variable.type):
            found.setdefault(group_of(model, variable), []).append(variable.name)
    return found


def _built(model: Model, vocab: Vocab, words: list[str], counts: Array, file: str, problems: Problems) -> Vocabulary:
    if source := dict(vocab.options).get("from"):
        return listed(vocab, lines_of(Path(model.source.name).parent / str(source)))
    met = np.flatnonzero(counts)
    built = build(vocab, {words[i]: int(counts[i]) for i in met.tolist()})
    if len(built) == len(specials(vars(built))):
        problems.add("D127", f"no row has a token, so there is no vocabulary {vocab.name}", file)
    return built


def _labels(
    model: Model, group: str, members: list[str], stored: Stored, met: list[str], sizes: Sizes, file: str, problems: Problems
) -> tuple[str, ...] | None:
    type_ = model.variable[members[0]].type
    if type_.labels is not None:
        return tuple(map(label_of, type_.labels))
    told = stored.meta["told"].get(group, [])
    if len(told) == 1 and told[0] is not None:
        return tuple(told[0])  # in the order of the file, if it has one
    what = f"{type_}" if members[1:] else f"`{members[0]} : {type_}`"
    raw = Raw(met, np.zeros(0, np.int64), None, file, members[0])
    return shared_labels([raw], what, card_of(model, type_), sizes, problems)


def assembled(model: Model, stored: Stored, settled: Settled, problems: Problems) -> Dataset:
    """The data, in the file."""
    meta = stored.meta
    fields = {each["name"]: _field(model, stored, settled.codes, each) for each in meta["fields"]}
    ragged = {
        tuple(each["path"]): Ragged(stored.array(STARTS + ".".join(each["path"])), tuple(each["plate"]))
        for each in meta["ragged"]
    }
    sizes = settled.sizes
    warnings = [
        *(DataDiagnostic(**{name: w[name] for name in DataDiagnostic.__dataclass_fields__}) for w in meta["warnings"]),
        *problems.warnings,
    ]
    return Dataset(
        fields,
        ragged,
        {tuple(path): key for path, key in meta["length_keys"]},
        tuple((name, tuple(plates)) for name, plates in meta["observed"]),
        {name: sizes.known[name] for name in sizes.names if name in sizes.known},
        settled.encoders,
        meta["rows"],
        warnings=tuple(warnings),
        columns={name: tuple(names) for name, names in meta["columns"].items()},
        asked={name: tuple(names) for name, names in meta["asked"].items()},
        weight=meta["weight"],
    )


def _field(model: Model, stored: Stored, codes: Mapping[str, Array], told: Mapping[str, Any]) -> Field:
    name, type_ = told["name"], model.variable[told["name"]].type
    group = group_of(model, model.variable[name]) if is_coded(model, type_) else str(type_.card)
    known = codes.get(group) if is_coded(model, type_) or type_.domain == "token" else None
    tail = tuple(told["shape"][1:])
    values: Any = stored.array(VALUES + name, tail if told["rows"] else (), known)
    observed: Any = None
    if told["places"] is not None:
        observed = stored.array(OBSERVED + name, tuple(told["places"][1:]), np.array([False, True]))
    if not told["rows"]:  # what all rows share is small
        values = values[:][: int(np.prod(told["shape"]))].reshape(told["shape"])
        observed = None if observed is None else observed[:].reshape(told["places"])
    return Field(name, tuple(told["path"]), values, observed, told["integer"], told["rows"])


def silent(model: Model, stored: Stored, absent: Mapping[str, str], problems: Problems) -> None:
    """D195 for partial variables of which no row has a value. absent: the file by variable."""
    for each in stored.meta["fields"]:
        if each["places"] is not None and each["name"] not in stored.meta["seen"] and each["name"] in absent:
            problems.warn("D195", f"no row has a value of `{each['name']}`", absent[each["name"]], each["name"])


def with_note(dataset: Dataset, note: DataDiagnostic) -> Dataset:
    """It with one more thing to be told."""
    return replace(dataset, warnings=(note, *dataset.warnings))
