"""How many words of data are not in the vocabularies of a run."""

from vispec.model.model import Model
from vispec.train.data import Dataset


def unknown(model: Model, data: Dataset) -> dict[str, dict[str, int | float]]:
    """By vocabulary with an entry for unknown words: words of the data that have no other one, all words, and the share of
    those in these. Symbols that stand around sequences are none."""
    found: dict[str, dict[str, int | float]] = {}
    for name, field in data.fields.items():
        vocabulary = data.encoders.vocabularies.get(str(model.variable[name].type.card))
        kind = model.variable[name].type
        if kind.domain != "token" or kind.whole_of is not None or vocabulary is None or not vocabulary.unknown:
            continue
        values = field.values[:-1] if field.path else field.values  # the last element is padding
        there = values if field.observed is None else values[field.observed[: len(values)]]
        added = sum((there == vocabulary.ids[symbol]).sum() for symbol in {vocabulary.begin, vocabulary.end} if symbol)
        told = found.setdefault(vocabulary.name, {"words": 0, "unknown": 0})
        told["words"] += int(there.size - added)
        told["unknown"] += int((there == 0).sum())
    for told in found.values():
        told["rate"] = told["unknown"] / told["words"] if told["words"] else 0.0
    return found
