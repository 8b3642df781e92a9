"""What stretches of a sequence are as a whole, as words: all those of the data, from each element on, of each length."""

from collections.abc import Mapping

import numpy as np

from vispec.model.model import Model
from vispec.train.data.arrange import Arranged, Path
from vispec.train.data.columns import Array
from vispec.train.data.encoding.vocab import settings
from vispec.train.data.sizes import Sizes

Tokens = tuple[list[str], Array]


def stretches(
    model: Model, arranged: Mapping[str, Arranged], tokens: Mapping[str, Tokens], found: Mapping[Path, Array], sizes: Sizes
) -> dict[str, Tokens]:
    """For each variable that says what stretches are as a whole, the distinct words, and their numbers (elements · L), -1 past
    the end of a sequence. A word is the text of its tokens, with spaces between those that are no characters."""
    known = dict[str, Tokens]()
    for variable in model.variables:
        if variable.type.whole_of is not None and variable.type.whole_of[1] in arranged:
            a = arranged[variable.type.whole_of[1]]
            own = model.variable[a.layout.name]
            chars = next(settings(vocab)["chars"] for vocab in model.vocabs if vocab.name == own.type.card)
            distinct, at = tokens[own.name]
            width = a.shape[-1] if a.layout.tail else 0
            lengths = np.full(len(at) // max(width, 1), width) if a.layout.tail else found[a.layout.path]
            longest = sizes.value(variable.type.shape[0]) or 0
            known[variable.name] = words(distinct, at, lengths, longest, "" if chars else " ")
    return known


def words(distinct: list[str], at: Array, lengths: Array, longest: int, between: str) -> Tokens:
    """Distinct stretches of at most so many tokens, and those from each token on, by length."""
    ends = np.repeat(np.cumsum(lengths), lengths)  # one past the last token of each token's sequence
    places = np.arange(len(at))
    found, numbers = list[str](), np.full((len(at), longest), -1, np.int64)
    texts, codes = np.array(["", *distinct], object), at.astype(np.int64) + 1
    first = texts[codes]
    for d in range(longest):
        here = places[places + d < ends]
        if not len(here):
            break
        if d:
            pairs = codes[here] * (len(distinct) + 1) + at[here + d] + 1
            _, heads, inverse = np.unique(pairs, return_index=True, return_inverse=True)
            each = np.array([f"{first[h]}{between}{distinct[at[h + d]]}" for h in here[heads]], object)
        else:
            _, heads, inverse = np.unique(codes[here], return_index=True, return_inverse=True)
            each = first[here[heads]]
        numbers[here, d] = len(found) + inverse
        found += each.tolist()
        codes, first = np.zeros(len(at), np.int64), np.full(len(at), "", object)
        codes[here], first[here] = inverse, each[inverse]
    return found, numbers.reshape(-1)
